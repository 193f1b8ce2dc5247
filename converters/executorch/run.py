"""Runs a saved .pte in ExecuTorch's own runtime, as a phone does.

Without a Mac there is no Core ML: what runs then is the package inside the program, in the evaluator of such packages.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from converters.coreml import evaluator
from converters.executorch.coreml_package import BACKEND, unpacked
from converters.executorch.program import Forward, one_line, read_forward
from converters.runner import Array, Runner, RuntimeMissing
from volo_edge.errors import RequestError


def load(path: Path, runtime: str | None = None) -> Runner:
    """The program at `path`, ready to run in the `runtime`, a key of `converters.targets.RUNTIMES`.

    Raises:
        RequestError: the runtime does not take it, or its Core ML package is damaged.
        RuntimeMissing: it needs Core ML, this is no macOS, and it is not all one package that the evaluator knows.
    """
    from executorch.runtime import Runtime

    executorch, forward = Runtime.get(), _on_core_ml(path)
    if forward is not None and runtime is None:
        runtime = "native" if executorch.backend_registry.is_available(BACKEND) else "evaluator"
    if forward is not None and runtime == "evaluator":
        return _evaluator(forward, path)
    try:
        program = executorch.load_program(str(path))
        method = program.load_method("forward")
    except RuntimeError as error:
        raise RequestError(f"ExecuTorch cannot load {path} ({error}): convert it again") from error

    def run(images: Array) -> Array:
        rows = [method.execute([torch.from_numpy(image[None])])[0] for image in images]
        return np.asarray(torch.cat(rows))

    backend = "XNNPACK" if forward is None else "Core ML"
    return Runner(f"ExecuTorch {version('executorch')}, {backend}", run)


def set_threads(threads: int) -> None:
    """How many threads XNNPACK takes in this process. Before anything is loaded: later it may hang or abort (1.4.1)."""
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool

    _unsafe_reset_threadpool(threads)


def _on_core_ml(path: Path) -> Forward | None:
    """The tables of the program at `path` if it has a Core ML delegate; None if it has none or they cannot be read."""
    try:
        with one_line(path):
            forward = read_forward(path)
            return forward if BACKEND in forward.backends() else None
    except RequestError:
        return None


def _evaluator(forward: Forward, path: Path) -> Runner:
    """The evaluator on the Core ML package that is all of the program at `path`."""
    with one_line(path):
        delegates, kernels = forward.delegates(), forward.calls("KernelCall")
        if len(delegates) > 1 or kernels:
            raise RuntimeMissing(
                f"{path} is {len(delegates)} delegate call(s) and {len(kernels)} operator(s) outside them, which only "
                "ExecuTorch with Core ML runs, on macOS or iOS; a program that is one call runs here too"
            )
        payload = forward.payload(delegates[0])
    with unpacked(payload, path) as package:
        try:
            program = evaluator.load(package, "typed")
        except evaluator.Unsupported as error:
            raise RuntimeMissing(f"Core ML runs on macOS only, and the evaluator elsewhere cannot: {error}") from error
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise RequestError(
            f"{path} takes {len(program.inputs)} inputs to {len(program.outputs)} outputs, not an image to logits"
        )
    given, made = program.inputs[0].name, program.outputs[0].name

    def run(images: Array) -> Array:
        return np.concatenate([program(**{given: image[None]})[made] for image in images])

    return Runner("volo-edge's evaluator (not Core ML itself) of the program's Core ML package, in its own types", run)
