"""Runs a saved .pte in ExecuTorch's own runtime, as a phone does.

Without a Mac there is no Core ML: what runs then is the package inside the program, in the evaluator of such packages.
"""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch  # before _C, which finds torch's libraries where they are loaded
from executorch.extension.pybindings import _C  # `executorch.runtime` is this, and seven seconds of the exporter

from volo_edge.converters.coreml import evaluator
from volo_edge.converters.coreml.run import evaluated
from volo_edge.converters.executorch.coreml_package import BACKEND, unpacked
from volo_edge.converters.executorch.program import Forward, one_line, read_forward
from volo_edge.converters.runner import Array, Runner, RuntimeMissing
from volo_edge.errors import RequestError

_FLOAT = 6  # torch's ScalarType


def load(path: Path, runtime: str | None = None) -> Runner:
    """The program at `path`, ready to run in the `runtime`, a key of `converters.targets.RUNTIMES`.

    Raises:
        RequestError: the runtime does not take it, or its Core ML package is damaged.
        RuntimeMissing: it needs Core ML, this is no macOS, and it is not all one package that the evaluator knows.
    """
    forward = _on_core_ml(path)
    if forward is not None and runtime is None:
        runtime = "native" if _C._is_available(BACKEND) else "evaluator"
    if forward is not None and runtime == "evaluator":
        return _evaluator(forward, path)
    try:
        program = _C._load_program(str(path), program_verification=_C.Verification.InternalConsistency)
        method = program.load_method("forward")
    except RuntimeError as error:
        raise RequestError(f"ExecuTorch cannot load {path} ({error}): convert it again") from error
    image, logits = _image_to_logits(method.method_meta(), path)

    def run(images: Array, program: Any = program) -> Array:  # whose bytes must outlive the method
        return np.asarray(torch.cat([method([torch.from_numpy(one[None])])[0] for one in images]))

    backend = "XNNPACK" if forward is None else "Core ML"
    return Runner(f"ExecuTorch {version('executorch')}, {backend}", image, logits, run)


def set_threads(threads: int) -> None:
    """How many threads XNNPACK takes in this process. Before anything is loaded: later it may hang or abort."""
    _C._unsafe_reset_threadpool(threads)


def _image_to_logits(method: Any, path: Path) -> tuple[tuple[int, ...], int]:
    """Shape of the image and number of logits; RequestError where the method does not make the one of the other."""
    counts = method.num_inputs(), method.num_outputs()
    if counts != (1, 1):
        raise RequestError("{} takes {} inputs to {} outputs, not an image to logits".format(path, *counts))
    given, made = method.input_tensor_meta(0), method.output_tensor_meta(0)
    image, logits = tuple(given.sizes()), tuple(made.sizes())
    if len(image) != 4 or image[0] != 1 or image[1] not in (1, 3) or {given.dtype(), made.dtype()} != {_FLOAT}:
        raise RequestError(f"{path} takes {image} to {logits}, not an image of float32 to logits")
    return image, math.prod(logits)


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
    runtime = "volo-edge's evaluator (not Core ML itself) of the program's Core ML package, in its own types"
    return evaluated(program, program.inputs[0].name, program.outputs[0].name, runtime)
