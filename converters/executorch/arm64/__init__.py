"""Runs a .pte that XNNPACK computes as the ARM64 code of phones: here on ARM64 Linux, in qemu on any other.

What runs is `runner.cpp` with ExecuTorch's own libraries for ARM64. `command` makes everything ready that is not yet:
the SDK is fetched, the runner built, and a processor that qemu is to compute is proved by `probe` first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from converters.executorch.arm64 import build, instructions, probe, qemu, sdk
from converters.executorch.arm64.processors import PROCESSORS, USUAL, Processor, find
from converters.runner import RuntimeMissing
from volo_edge.errors import RequestError

__all__ = ["PROCESSORS", "USUAL", "Processor", "command", "count", "describe", "find", "usual"]


def usual() -> Processor | None:
    """What a file runs on where nothing is said: this machine's own processor on ARM64 Linux, else a common phone's."""
    return None if build.native() else PROCESSORS["armv8.2-dotprod"]


def describe(processor: Processor | None) -> str:
    """What runs the file, for reports: "ExecuTorch 1.5.1, XNNPACK, armv8.0 in qemu 7.2.22"."""
    where = "ARM64" if processor is None else f"{processor.name} in qemu {qemu.find().version}"
    return f"ExecuTorch {sdk.VERSION}, XNNPACK, {where}"


def command(
    path: Path, processor: Processor | None, *, threads: int | None = None, trace: Path | None = None
) -> list[str]:
    """A command that reads images and writes logits, see `runner.cpp`; its environment is the caller's.

    Args:
        path: the program.
        processor: what qemu computes; None for this machine's own.
        threads: of the runtime; as many as it finds good where None.
        trace: where qemu writes what it translated, for `instructions.products`; not of this machine's own processor.

    Raises:
        RuntimeMissing: this machine lacks something for it, or its qemu computes the processor wrongly.
    """
    log = () if trace is None else ("-d", "in_asm", "-D", str(trace))
    return [*_prefix(processor, log), str(path), *(("--threads", str(threads)) if threads else ())]


def count(paths: Sequence[Path], processor: Processor) -> list[int]:
    """Instructions of one inference of each program at `paths`, in one thread, with made-up inputs of any shape.

    It is the second: the first also does what is done once, 13 % more for the demo model.

    Raises:
        RuntimeMissing: as of `command`.
        RequestError: a program does not run.
    """
    log = ("-d", "in_asm,exec,nochain", "-D", "/dev/stdout")
    run = [*_prefix(processor, log), *map(str, paths), "--threads", "1", "--inferences", "2"]
    counts = instructions.count(run)
    if len(counts) != 2 * len(paths):
        raise RequestError(f"qemu's log shows {len(counts)} inferences of {2 * len(paths)}: take another qemu")
    return counts[1::2]


def _prefix(processor: Processor | None, log: Sequence[str]) -> list[str]:
    """The command without the runner's own arguments."""
    if sys.platform != "linux":
        raise RuntimeMissing(
            "a file runs as ARM64 code on Linux only, because the runner is a Linux program: use Linux"
        )
    if processor is None and not build.native():
        raise RuntimeMissing(f"this machine's own processor is no ARM64: choose one of {', '.join(PROCESSORS)}")
    found = None if processor is None else qemu.find()  # before anything is fetched
    compiler = build.compiler()
    runner = build.runner(compiler)
    if processor is None or found is None:
        return [str(runner)]
    probe.require(processor, found, compiler, runner)
    return probe.emulated(processor, found, compiler, runner, log)
