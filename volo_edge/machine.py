"""This machine: what it is, for records of how a number was made, and how much of it to use."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

_PIXELS_TOGETHER = {"cpu": 2**18}  # enough to keep two cores busy, little beside the weights of a VOLO
_PIXELS_ON_A_GPU = 2**23


@dataclass(frozen=True)
class Machine:
    """A computer: its operating system, its processor, and how many cores this process may use."""

    system: str
    processor: str
    cores: int


def this() -> Machine:
    """The one that this runs on."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    system = f"macOS {platform.mac_ver()[0]}" if platform.system() == "Darwin" else platform.system()
    return Machine(f"{system}, {platform.machine()}", processor(), cores)


def images_together(size: tuple[int, int], device: str = "cpu") -> int:
    """How many images of `size` (height, width) the float model takes in a batch on a kind of `device`, at least 1."""
    height, width = size
    return max(1, _PIXELS_TOGETHER.get(device, _PIXELS_ON_A_GPU) // (height * width))


def give_memory_back() -> None:
    """Free what only cycles refer to, and have the C library return to the system what it keeps for later.

    Graphs of programs are cycles and hold all weights.
    """
    gc.collect()
    trim()


def trim() -> None:
    """Have the C library return to the system what it keeps for later.

    The GNU C library keeps most of what tensors and photographs left, for each thread apart, where it is of little use
    to larger ones (malloc_trim(3)). Other C libraries are left as they are.
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if malloc_trim is not None:
        malloc_trim(0)


def peak_memory() -> int:
    """Bytes of memory that this process had at most, what it shares with others counted in."""
    try:  # on Linux getrusage(2) counts in what the process had that started this one
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return int(peak) * 1024
    except (OSError, ValueError):
        import resource  # of Unix alone

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def instruction_set() -> str:
    """What this machine executes: "x86-64", "arm64"."""
    name = platform.machine().lower()
    return {"amd64": "x86-64", "x86_64": "x86-64", "aarch64": "arm64"}.get(name, name)


def processor() -> str:
    """Its name, as the system has it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
