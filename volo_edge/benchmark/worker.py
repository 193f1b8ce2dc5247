"""A contender in a process of its own: makes itself ready, answers the photographs, then runs when it is told to.

Started with a JSON object on its command line, whose `work` is a folder to write into: this process is killed at its
end, so that whoever started it removes that. On standard output, a line of JSON each: first `{"logits": [...],
"memory": bytes}`, the latter what loading and running a file added to its peak, or `{"error": "..."}`; then for every
line "N M" on standard input, M milliseconds of runs after N that warm it up.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from volo_edge import machine


def serve(asked: dict[str, Any]) -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    try:
        run, images, before = _ready(asked, Path(asked["work"]))
        logits = np.concatenate([run(image[None]) for image in images])
    except Exception as error:  # whatever a runtime refuses VOLO with is its result
        detail = next(line for line in [*str(error).strip().splitlines(), type(error).__name__] if line)
        answer(error=f"{type(error).__name__}: {detail}")
        return
    memory = None if before is None else machine.peak_memory() - before
    answer(logits=logits.tolist() if logits.size < 1e6 else [], memory=memory)
    image = images[:1]
    for line in sys.stdin:
        warm, runs = map(int, line.split())
        for _ in range(warm):
            run(image)
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            run(image)
            times.append(1000 * (time.perf_counter() - start))
        answer(milliseconds=times)


def _ready(asked: dict[str, Any], work: Path) -> tuple[Any, Any, int | None]:
    """What runs, the photographs, and of a file the peak memory before it was loaded."""
    import torch

    from volo_edge.benchmark import runners

    torch.set_num_threads(asked["threads"])
    if asked["kind"] == "products":
        side = runners.ROOFLINE
        return runners.products(asked["name"], asked["threads"], work), np.ones((1, 1, side, side), np.float32), None
    images = np.load(asked["images"])
    folder = Path(asked["folder"])
    if asked["kind"] == "artifact":
        run, before = runners.of_artifact(folder, asked["threads"])
        return run, images, before
    return runners.of_peer(asked["name"], folder, asked["weights"], asked["threads"], images, work), images, None


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
