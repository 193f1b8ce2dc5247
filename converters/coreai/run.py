"""Runs a saved .aimodel in Apple's own runtime: the system's on macOS 27, elsewhere the one in coreai-core's wheel."""

from __future__ import annotations

import asyncio
import atexit
import math
import platform
import re
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from volo_edge.converters.coreai.mlir import require_whole
from volo_edge.converters.runner import Array, Runner
from volo_edge.errors import RequestError


def load(path: Path, runtime: str | None = None) -> Runner:
    """The asset at `path`, ready to run.

    Raises:
        RequestError: the asset is damaged, or makes anything but "logits" of an "image".
    """
    from coreai.authoring import AIModelAsset

    require_whole(path)
    loop = asyncio.new_event_loop()
    with tempfile.TemporaryDirectory() as folder:  # the runtime's compiled copy, which lives on in memory
        tempfile.tempdir, usual = folder, tempfile.tempdir
        try:
            asset = AIModelAsset.load(path)
            image, logits = _shapes(asset, path)
            model = asset.executable()
            function = loop.run_until_complete(model.__aenter__()).load_function("main")
            # left to the interpreter's end, the runtime aborts now and then
            atexit.register(lambda: loop.run_until_complete(model.__aexit__(None, None, None)))
            _answer(loop, function, np.zeros(image, np.float32))
        except RuntimeError as error:
            detail = " ".join(str(error).split())[:120]
            raise RequestError(f"Core AI does not load {path} ({detail}): convert the model again") from error
        finally:
            tempfile.tempdir = usual

    def run(images: Array) -> Array:
        return np.concatenate([_answer(loop, function, one[None]) for one in images])

    return Runner(_name(), image, math.prod(logits), run)


def _name() -> str:
    release = version("coreai-core")
    if platform.system() == "Darwin":
        return f"Core AI, macOS {platform.mac_ver()[0]}, coreai-core {release}"
    return f"Core AI, Apple's runtime for {platform.system()}, {release}"


def _shapes(asset: Any, path: Path) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the image and of the logits; in the asset's own summary they read "NDArray (Float32, 1 by 3 by 64 by 64)"."""
    summary = asset.summary(include_statistics=False)
    ends = []
    for found, wanted in ((summary.function_inputs("main"), "image"), (summary.function_outputs("main"), "logits")):
        if [name for name, _ in found] != [wanted] or not found[0][1].startswith("NDArray (Float32"):
            raise RequestError(f"{path} does not make 'logits' of an 'image' of fixed size: convert the model again")
        ends.append(tuple(map(int, re.findall(r"\d+", found[0][1].partition(",")[2]))))
    return ends[0], ends[1]


def _answer(loop: asyncio.AbstractEventLoop, function: Any, image: Array) -> Array:
    from coreai.runtime import NDArray

    async def answer() -> Array:
        made = await function({"image": NDArray(np.ascontiguousarray(image, np.float32))})
        return np.array(made["logits"].numpy(), np.float32)  # a copy: the runtime takes its own back

    return loop.run_until_complete(answer())
