"""Runs a saved .mlpackage in Core ML, which only macOS has."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np

from converters.runner import Array, Runner, RuntimeMissing


def load(path: Path) -> Runner:
    """The package at `path`, compiled and ready to run; RuntimeMissing anywhere but on macOS."""
    if platform.system() != "Darwin":
        raise RuntimeMissing(f"Core ML runs on macOS only, and this is {platform.system()}: run it on a Mac")
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
