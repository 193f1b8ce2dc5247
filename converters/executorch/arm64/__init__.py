"""Runs a .pte that XNNPACK computes as the ARM64 code of phones: here on ARM64 Linux, in qemu on any other.

What runs is `runner.cpp` with ExecuTorch's own libraries for ARM64. `command` makes everything ready that is not yet:
the SDK is fetched, the runner built, and a processor that qemu is to compute is proved by `probe` first.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from volo_edge import machine
from volo_edge.console import Steps
from volo_edge.converters import process
from volo_edge.converters.executorch.arm64 import build, instructions, probe, qemu
from volo_edge.converters.executorch.arm64.processors import COMMON, PROCESSORS, USUAL, Processor, find
from volo_edge.converters.process import Process
from volo_edge.converters.runner import RuntimeMissing
from volo_edge.errors import RequestError

__all__ = ["PROCESSORS", "USUAL", "Emulated", "Processor", "command", "count", "find", "load", "prepare"]


def prepare(names: Sequence[str], steps: Steps) -> tuple[str, ...]:
    """The processors to run files on besides this machine's own, ready; what they need is fetched, built and tried now.

    Args:
        names: of those asked for; () for the usual, which are none besides its own on ARM64 Linux.

    Raises:
        RuntimeMissing: this machine lacks something for it, or its qemu computes one of them wrongly.
    """
    chosen = tuple(names) or (() if build.native() else USUAL)
    for name in chosen:
        with steps.step(f"making {name} ready"):
            _prefix(find(name), ())
    return chosen


def load(path: Path, name: str | None) -> Process:
    """The program at `path` on a processor, ready to run.

    Args:
        path: the program.
        name: of the processor; None for this machine's own on ARM64 Linux, and a common phone's elsewhere.

    Raises:
        RequestError: the program is damaged, or not one that XNNPACK computes.
        RuntimeMissing: as of `prepare`.
    """
    if name is None and build.native():
        return process.load("executorch", path, "native")
    return Emulated(path, find(name or COMMON))


class Emulated(Process):
    """A program on a processor that qemu computes."""

    def __init__(self, path: Path, processor: Processor) -> None:
        self._place = tempfile.TemporaryDirectory()  # goes with this object
        self._trace = Path(self._place.name) / "trace"
        super().__init__(command(path, processor, trace=self._trace), path, f"arm64 {processor.name}")
        self.runtime = f"{self.runtime} in qemu {qemu.find().version}"

    def finish(self) -> tuple[str, ...]:
        """End the process; the products that it executed, keys of `instructions.PRODUCTS`."""
        super().finish()  # which makes qemu's log whole
        return instructions.products(self._trace)


def command(path: Path, processor: Processor, trace: Path | None = None) -> list[str]:
    """A command that reads images and writes logits, as `converters.process` describes.

    Args:
        path: the program.
        processor: what qemu computes.
        trace: where qemu writes what it translated, for `instructions.products`.

    Raises:
        RuntimeMissing: this machine lacks something for it, or its qemu computes the processor wrongly.
    """
    log = () if trace is None else ("-d", "in_asm", "-D", str(trace))
    return [*_prefix(processor, log), str(path)]


def count(paths: Sequence[Path], processor: Processor) -> list[int]:
    """Instructions of one inference of each program at `paths`, in one thread, with made-up inputs of any shape.

    It is the second: the first also does what is done once, 13 % more for the demo model.

    Raises:
        RuntimeMissing: as of `command`.
        RequestError: a program does not run.
    """
    log = ("-d", "in_asm,exec,nochain", "-D", "/dev/stdout")
    run = [*_prefix(processor, log), *map(str, paths), "--one-thread", "--inferences", "2"]
    counts = instructions.count(run)
    if len(counts) != 2 * len(paths):
        raise RequestError(f"qemu's log shows {len(counts)} inferences of {2 * len(paths)}: take another qemu")
    return counts[1::2]


def _prefix(processor: Processor, log: Sequence[str]) -> list[str]:
    """The command without the runner's own arguments."""
    if sys.platform != "linux":
        here = "; this machine is ARM64 itself, and --runtime native runs that" * (machine.instruction_set() == "arm64")
        raise RuntimeMissing(f"--runtime arm64 needs Linux, because what runs the file is a Linux program{here}")
    found = qemu.find()  # before anything is fetched
    compiler = build.compiler()
    runner = build.runner(compiler)
    probe.require(processor, found, compiler, runner)
    return probe.emulated(processor, found, compiler, runner, log)
