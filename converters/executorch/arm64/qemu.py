"""qemu's user mode for ARM64: one program's instructions computed, its system calls handed on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass

from volo_edge.converters.runner import RuntimeMissing

REMEDY = "apt-get install qemu-user-static (Debian, Ubuntu)"
_NAMES = ("qemu-aarch64-static", "qemu-aarch64")


@dataclass(frozen=True)
class Qemu:
    """A qemu-aarch64: the path of the program, and its version as it says it ("7.2.22")."""

    path: str
    version: str


def find() -> Qemu:
    """$VOLO_EDGE_QEMU, or the first on the PATH; RuntimeMissing where there is none, or it does not work."""
    chosen = os.environ.get("VOLO_EDGE_QEMU")
    path = next(filter(None, map(shutil.which, (chosen,) if chosen else _NAMES)), None)
    if path is None:
        what = f"there is no program {chosen} (VOLO_EDGE_QEMU)" if chosen else "qemu-aarch64 is not here"
        raise RuntimeMissing(f"running a file as ARM64 code on this machine takes qemu, and {what}: {REMEDY}")
    try:
        ended = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeMissing(f"{path} does not start ({error}): {REMEDY}") from error
    version = re.search(r"qemu-aarch64 version (\d+(?:\.\d+)*)", ended.stdout)
    if version is None:
        raise RuntimeMissing(f"{path} is no qemu-aarch64: {REMEDY}")
    return Qemu(path, version[1])
