"""Runs a saved file in a process of its own, which a runtime that aborts may take down: `process` starts and asks it.

Standard output and input speak the protocol that `process` describes; what libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from volo_edge.converters.runner import Runner


def main(target: str, path: str, runtime: str) -> None:
    """Load a `target`'s file in a `runtime`, "" for what the machine has, and answer until input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # before anything is imported that prints
    from volo_edge.converters.targets import TARGETS
    from volo_edge.errors import RequestError

    try:
        runner: Runner = TARGETS[target].module("run").load(Path(path), runtime or None)
    except ImportError as error:
        missing = f"{error.name or error} cannot be imported: see 'volo-edge doctor'"
        _say(answers, {"error": "RuntimeMissing", "message": missing})
        return
    except RequestError as error:
        _say(answers, {"error": type(error).__name__, "message": str(error)})
        return
    _say(answers, {"runtime": runner.runtime, "image": runner.image, "logits": runner.logits})
    try:
        _serve(runner, sys.stdin.buffer, answers)
    except RequestError as error:
        sys.exit(str(error))


def _say(answers: BinaryIO, header: dict[str, object]) -> None:
    answers.write(json.dumps(header).encode() + b"\n")
    answers.flush()


def _serve(runner: Runner, images: BinaryIO, answers: BinaryIO) -> None:
    import numpy as np

    count = int(np.prod(runner.image))
    while len(pixels := images.read(4 * count)) == 4 * count:
        image = np.frombuffer(pixels, "<f4").reshape(runner.image)
        start = time.perf_counter()
        logits = runner.run(image)
        seconds = time.perf_counter() - start
        if logits.size != runner.logits:
            sys.exit(f"the file gives {logits.size} logits where it says {runner.logits}")
        answers.write(struct.pack("<d", seconds) + logits.astype("<f4").tobytes())
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
