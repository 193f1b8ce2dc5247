"""Times XNNPACK's programs in a process of its own, which one that is damaged may take down; `profile` starts it.

Started with a JSON object on its command line: `programs`, each a `path` and the `shapes` of its inputs, and `threads`.
Writes a line for each of `ROUNDS` rounds when it is done: JSON, the milliseconds of each program's turn.
"""

from __future__ import annotations

import json
import os
import sys
import time
from statistics import median
from typing import Any

import torch
from executorch.extension.pybindings import _C

from volo_edge.converters.executorch.run import set_threads

ROUNDS, WARM, RUNS = 9, 2, 5


def main(asked: dict[str, Any]) -> None:
    """Load all, then let each run in turns."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print
    set_threads(asked["threads"])
    torch.manual_seed(0)
    programs = [_C._load_program(one["path"]) for one in asked["programs"]]  # each must outlive its method
    methods = [program.load_method("forward") for program in programs]
    inputs = [[torch.randn(shape) for shape in one["shapes"]] for one in asked["programs"]]
    for _ in range(ROUNDS):
        print(json.dumps([_turn(*pair) for pair in zip(methods, inputs, strict=True)]), file=answers, flush=True)


def _turn(method: Any, inputs: list[torch.Tensor]) -> float:
    """Milliseconds: the median of a turn's runs."""
    times = []
    for _ in range(WARM + RUNS):
        start = time.perf_counter()
        method(inputs)
        times.append(1000 * (time.perf_counter() - start))
    return median(times[WARM:])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
