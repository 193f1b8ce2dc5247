"""A conversion by the installed command, in a process of its own, with what it cost: used by the benchmarks here.

Published weights are not needed for such figures: each tensor is filled from its own name with unit-gain noise (as the
tests' oracles are), which leaves shapes, operators, time and rounding as they are. The photographs are real.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from tests.weights import named_weights
from volo_edge import calibration
from volo_edge.model import VOLO
from volo_edge.variants import VARIANTS

COMMAND = str(Path(sys.executable).with_name("volo-edge"))


def write_weights(name: str, path: Path, side: int | None = None) -> None:
    """A checkpoint of the model called `name`, for images of `side` x `side` pixels or the model's own size."""
    architecture = VARIANTS[name].architecture
    if side is not None:
        architecture = replace(architecture, image_size=(side, side))
    state = named_weights(VOLO(architecture)).state_dict()
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path)


def convert(
    name: str,
    scheme: str,
    weights: Path,
    output: Path,
    target: str = "executorch",
    side: int | None = None,
    photographs: int = 256,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a conversion cost and made, as the benchmarks' results have it, and what its `--json` says.

    `photographs` are what a scheme is fitted to; `seconds` and `peak_bytes` (of memory) are the whole command's.
    """
    command = [COMMAND, "convert", "--json", "--target", target, "--quantize", scheme, "--model", name]
    command += ["--weights", str(weights), "--calibration", str(calibration.DEMO_CALIBRATION), "--output", str(output)]
    command += ["--calibration-size", str(photographs)]
    command += [] if side is None else ["--image-size", str(side)]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    said: dict[str, Any] = json.loads(printed)
    seconds = time.monotonic() - start
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    manifest = said["manifest"]
    figures = {
        "model": name,
        "scheme": scheme,
        "parameters": manifest["model"]["parameters"],
        "macs": manifest["graph"]["macs"],
        "file_bytes": manifest["files"]["model"]["bytes"],
        "seconds": seconds,
        "peak_bytes": peak,
    }
    return figures, said


def memory(figures: dict[str, Any]) -> float:
    """The peak of a conversion over the size of the float weights."""
    return float(figures["peak_bytes"] / (4 * figures["parameters"]))
