"""Two releases of ExecuTorch in turns: each runs the files that its own exporter wrote.

    python benchmarks/upgrade.py OLD/bin/python OLD_FILES NEW/bin/python NEW_FILES [--threads 2] [--output FILE.json]

Each Python has a release of executorch, nothing else of this project is needed there; each folder has the artifacts of
`volo-edge convert` with it, called alike in both. Of every file that both have, prints whether it is the same file,
whether it gives the same logits of noise, and how long the new one takes for the old one's unit of time: the median
over the rounds of the ratio of two turns of one round, with the first and the third quartile. Where others use the
machine, one thread and the ratio of processor time tell more: waiting for a processor is not in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
from pathlib import Path
from statistics import median, quantiles
from typing import Any

_RUNNER = """
import json, sys, time
import torch
from executorch.extension.pybindings import portable_lib
from importlib.metadata import version
portable_lib._unsafe_reset_threadpool(int(sys.argv[2]))
program = portable_lib._load_for_executorch(sys.argv[1])
size = program.method_meta("forward").input_tensor_meta(0).sizes()
images = [255 * torch.rand(tuple(size), generator=torch.Generator().manual_seed(0))]
logits = program.forward(images)[0].flatten().tolist()
print(json.dumps({"version": version("executorch"), "logits": logits}), flush=True)
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        start = time.perf_counter(), time.process_time()
        program.forward(images)
        times.append((1000 * (time.perf_counter() - start[0]), 1000 * (time.process_time() - start[1])))
    print(json.dumps([sorted(clock)[len(times) // 2] for clock in zip(*times)]), flush=True)
"""


class Contender:
    """A file in a Python's ExecuTorch, ready; `version` and `logits` are its own."""

    def __init__(self, python: str, file: Path, threads: int) -> None:
        self._process = subprocess.Popen(
            [python, "-c", _RUNNER, str(file), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        said = self._heard()
        self.version: str = said["version"]
        self.logits: list[float] = said["logits"]

    def turn(self, runs: int) -> list[float]:
        """The median of `runs` runs in milliseconds, and in those of a processor, after two that warm it up."""
        for count in (2, runs):
            assert self._process.stdin is not None
            print(count, file=self._process.stdin, flush=True)
            taken: list[float] = self._heard()
        return taken

    def stop(self) -> None:
        """End its process."""
        self._process.communicate()

    def _heard(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args[:1]))} ended with status {self._process.wait()}")
        return json.loads(line)


def compared(name: str, pythons: tuple[str, str], files: tuple[Path, Path], args: argparse.Namespace) -> dict[str, Any]:
    """What the two releases make of one file."""
    contenders = [Contender(python, file, args.threads) for python, file in zip(pythons, files, strict=True)]
    try:
        turns = []
        for number in range(args.rounds):  # neither is always the first
            order = (0, 1) if number % 2 else (1, 0)
            taken = {side: contenders[side].turn(args.runs) for side in order}
            turns.append([taken[0], taken[1]])
    finally:
        for one in contenders:
            one.stop()
    old, new = (one.logits for one in contenders)
    ratios = {  # wall clock, processor
        clock: [after[number] / before[number] for before, after in turns]
        for number, clock in enumerate(("ratio", "processor_ratio"))
    }
    return {
        "file": name,
        "versions": [one.version for one in contenders],
        "same_bytes": len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 1,
        "logits_error": math.dist(old, new) / math.hypot(*old),
        "milliseconds": [median(turn[0] for turn in side) for side in zip(*turns, strict=True)],
        **{clock: quantiles(found, n=4, method="inclusive") for clock, found in ratios.items()},
        "turns": turns,
    }


def main() -> None:
    """Compare all files that both folders have."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("old_python")
    parser.add_argument("old_files", type=Path)
    parser.add_argument("new_python")
    parser.add_argument("new_files", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    names = sorted(str(file.relative_to(args.old_files)) for file in args.old_files.rglob("*.pte"))
    found = []
    print("| file | ms, old | ms, new | new / old | of a processor's time | same file | error of the logits |")
    print("|---|---:|---:|---:|---:|---|---:|")
    for name in names:
        files = args.old_files / name, args.new_files / name
        if not files[1].exists():
            continue
        one = compared(name, (args.old_python, args.new_python), files, args)
        found.append(one)
        ratios = ("{1:.2f} ({0:.2f} to {2:.2f})".format(*one[clock]) for clock in ("ratio", "processor_ratio"))
        cells = [f"`{Path(name).parent}`", *(f"{time:.1f}" for time in one["milliseconds"]), *ratios]
        cells += ["yes" if one["same_bytes"] else "no", f"{one['logits_error']:.0e}"]
        print(f"| {' | '.join(cells)} |", flush=True)
        if args.output:
            args.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
