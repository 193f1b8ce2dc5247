"""The Swift compiler that `tests/swift_tools.sh` fetched."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = ROOT / ".tools" / "swift-trixie"

needed = pytest.mark.skipif(
    not TOOLS.exists() or shutil.which("unshare") is None, reason="no Swift compiler: bash tests/swift_tools.sh .tools"
)


def run(build: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where this repository is /src and the folder `build` is /build; what it says is all in stdout."""
    script = ["bash", ROOT / "tests" / "swift_in.sh", TOOLS, ROOT, build]
    return subprocess.run([*script, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
