"""Runs a saved .mlpackage: in Core ML on macOS, elsewhere in the evaluator of its ML program."""

from __future__ import annotations

import math
import platform
from pathlib import Path

import numpy as np

from volo_edge.converters.coreml import evaluator
from volo_edge.converters.runner import Array, Runner, RuntimeMissing
from volo_edge.errors import RequestError


def load(path: Path, runtime: str | None = None) -> Runner:
    """The package at `path`, ready to run in the `runtime`, a key of `converters.targets.RUNTIMES`.

    Raises:
        RequestError: the package is damaged.
        RuntimeMissing: this is no macOS, and Core ML was asked for, or the evaluator does not know an operator.
    """
    on_mac = platform.system() == "Darwin"
    if runtime == "native" and not on_mac:
        raise RuntimeMissing("Core ML runs on macOS only: leave --runtime native out, and the evaluator runs the file")
    return _core_ml(path) if on_mac and runtime != "evaluator" else _evaluator(path)


def _core_ml(path: Path) -> Runner:
    import coremltools as ct
    from PIL import Image

    model = ct.models.MLModel(str(path))

    def run(images: Array) -> Array:
        rows = []
        for image in images:
            levels = image.transpose(1, 2, 0).astype(np.uint8)
            photograph = Image.fromarray(levels[:, :, 0] if levels.shape[2] == 1 else levels)
            rows.append(model.predict({"image": photograph})["logits"])
        return np.concatenate(rows).astype(np.float32)

    described = model.get_spec().description
    size = next(given.type.imageType for given in described.input)
    channels = 1 if size.ColorSpace.Name(size.colorSpace).startswith("GRAY") else 3
    logits = next((made.type.multiArrayType.shape for made in described.output if made.name == "logits"), ())
    if not logits:
        raise RequestError(f"{path} does not say how many logits it gives: convert the model again")
    shape = (1, channels, size.height, size.width)
    return Runner(f"Core ML, macOS {platform.mac_ver()[0]}", shape, math.prod(logits), run)


def _evaluator(path: Path) -> Runner:
    try:
        program = evaluator.load(path, "typed")
    except evaluator.Unsupported as error:
        raise RuntimeMissing(f"Core ML runs on macOS only, and the evaluator elsewhere cannot: {error}") from error
    return evaluated(
        program, "image", "logits", "volo-edge's evaluator (not Core ML itself), in the program's own types"
    )


def evaluated(program: evaluator.Evaluator, image: str, logits: str, runtime: str) -> Runner:
    """`program`, which makes `logits` of an `image`; RequestError where it has no such input and output."""
    given = next((value for value in program.inputs if value.name == image), None)
    made = next((value for value in program.outputs if value.name == logits), None)
    if given is None or made is None or None in (*given.shape, *made.shape):
        raise RequestError(
            f"the package does not make '{logits}' of an '{image}' of fixed size: convert the model again"
        )

    def run(images: Array) -> Array:
        return np.concatenate([program(**{image: one[None]})[logits] for one in images])

    size, answer = (tuple(side for side in value.shape if side is not None) for value in (given, made))
    return Runner(runtime, size, math.prod(answer), run)
