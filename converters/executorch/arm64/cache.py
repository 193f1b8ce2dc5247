"""What is fetched or built once for this machine, and found again by name: folders that appear whole or not at all.

Two processes may want the same at once: each makes its own, and the first to be done gives the name.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from volo_edge import interrupts
from volo_edge.errors import RequestError


def folder() -> Path:
    """Where it all is: $VOLO_EDGE_CACHE, else volo-edge in $XDG_CACHE_HOME or ~/.cache."""
    if chosen := os.environ.get("VOLO_EDGE_CACHE"):
        return Path(chosen).absolute()
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if os.path.isabs(home) else Path.home() / ".cache") / "volo-edge"


def made(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache; where there is none, one that `fill` wrote into.

    Raises:
        RequestError: the cache cannot be written, or what `fill` raises, and then nothing is left of it.
    """
    path = folder() / name
    if path.is_dir():
        return path
    working: Path | None = None
    try:
        with interrupts.held_back():  # or a folder could be there that nobody knows of
            path.parent.mkdir(parents=True, exist_ok=True)
            working = Path(tempfile.mkdtemp(prefix=f".{name}-", suffix=".partial", dir=path.parent))
        fill(working)
        try:
            working.rename(path)
        except OSError:
            if not path.is_dir():  # no other process was first
                raise
    except OSError as error:
        what = error.strerror or str(error)
        raise RequestError(f"cannot write {path}: {what}; set VOLO_EDGE_CACHE to a folder with room") from error
    finally:
        with interrupts.held_back():
            if working is not None:
                shutil.rmtree(working, ignore_errors=True)
    return path
