"""Runs a saved .mlpackage: in Core ML on macOS, elsewhere in the evaluator of its ML program."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from converters.coreml import evaluator
from converters.runner import Array, Runner, RuntimeMissing


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
            photograph = Image.fromarray(image.transpose(1, 2, 0).astype(np.uint8))
            rows.append(model.predict({"image": photograph})["logits"])
        return np.concatenate(rows).astype(np.float32)

    return Runner(f"Core ML, macOS {platform.mac_ver()[0]}", run)


def _evaluator(path: Path) -> Runner:
    try:
        program = evaluator.load(path, "typed")
    except evaluator.Unsupported as error:
        raise RuntimeMissing(f"Core ML runs on macOS only, and the evaluator elsewhere cannot: {error}") from error

    def run(images: Array) -> Array:
        return np.concatenate([program(image=image[None])["logits"] for image in images])

    return Runner("volo-edge's evaluator (not Core ML itself), in the program's own types", run)
