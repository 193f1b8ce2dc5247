"""ExecuTorch for ARM64 Linux: headers and libraries out of its own wheel for that system.

ExecuTorch publishes no SDK of its own; its Python wheel holds one (`executorch/include`, `executorch/lib`), which needs
no Python. It is of the release that is installed here, and its bytes are known.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from volo_edge import files
from volo_edge.converters.executorch.arm64 import cache
from volo_edge.converters.runner import RuntimeMissing

VERSION = "1.5.1"  # as pyproject.toml pins it
SHA256 = "8ee02348a3ea80ddf770822911ebf78da616b73afce0fbaaa79f23311c88c66a"
WHEEL = f"executorch-{VERSION}-cp311-cp311-manylinux_2_28_aarch64.whl"  # libraries of other Pythons' are the same
LIBRARIES = ("executorch", "executorch_backend_xnnpack", "executorch_kernels_optimized", "executorch_threadpool")
_DOWNLOAD = (
    *("pip", "download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"),
    *("--abi", "cp311", "--platform", "manylinux_2_28_aarch64", f"executorch=={VERSION}", "--dest"),
)
NAME = f"executorch-{VERSION}-aarch64-{SHA256[:12]}"

Fetch = Callable[[Path], None]


def present() -> bool:
    """Whether it is there already."""
    return (cache.folder() / NAME).is_dir()


def download(to: Path) -> None:
    """Fetch the wheel into the folder `to`, with pip; RuntimeMissing where that fails."""
    command = [sys.executable, "-m", *_DOWNLOAD, str(to)]
    ended = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if ended.returncode or not (to / WHEEL).is_file():
        errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")] or ["pip could not fetch it"]
        raise RuntimeMissing(
            f"running a file as ARM64 code takes ExecuTorch's wheel for that system ({errors[0]}): {by_hand()}"
        )


def by_hand() -> str:
    """What to do where the wheel cannot be fetched from here."""
    return f"on a machine that can, run '{' '.join((*_DOWNLOAD, '.'))}' and put the wheel into {cache.folder()}"


def unpacked(fetch: Fetch = download) -> Path:
    """The folder with its `include` and `lib`, fetched on first use.

    Args:
        fetch: writes the wheel into a folder; not called where one was put into the cache by hand.

    Raises:
        RuntimeMissing: the wheel cannot be fetched, or is not the one that is known.
    """

    def fill(working: Path) -> None:
        wheel = cache.folder() / WHEEL
        if not wheel.is_file():
            fetch(working)
            wheel = working / WHEEL
        if (found := files.sha256(wheel)) != SHA256:
            which = (
                f"{wheel}, which you may remove," if wheel.parent == cache.folder() else f"what pip fetched as {WHEEL}"
            )
            raise RuntimeMissing(
                f"{which} is not the published one (its SHA-256 is {found[:12]}..., not {SHA256[:12]}...); {by_hand()}"
            )
        wanted = tuple(f"executorch/lib/lib{name}.so" for name in LIBRARIES)
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.startswith("executorch/include/") or name in wanted:
                    archive.extract(name, working)
        (working / WHEEL).unlink(missing_ok=True)

    return cache.made(NAME, fill) / "executorch"
