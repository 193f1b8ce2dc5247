"""Runs a saved .pte in ExecuTorch's own runtime, as a phone does."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from converters.runner import Array, Runner
from volo_edge.errors import RequestError


def load(path: Path) -> Runner:
    """The program at `path`, ready to run; RequestError where the runtime does not take it."""
    from executorch.runtime import Runtime

    try:
        program = Runtime.get().load_program(str(path))
        method = program.load_method("forward")
    except RuntimeError as error:
        raise RequestError(f"ExecuTorch cannot load {path} ({error}): convert it again") from error

    def run(images: Array) -> Array:
        rows = [method.execute([torch.from_numpy(image[None])])[0] for image in images]
        return np.asarray(torch.cat(rows))

    return Runner(f"ExecuTorch {version('executorch')}, XNNPACK", run)
