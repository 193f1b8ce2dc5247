"""Names of files and folders to write: whether they can be had, and how a person knows what is still being written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from volo_edge.errors import GateError, RequestError

_HIDDEN = 32  # bytes that hidden names have more than the one they stand for: ".NAME-XXXXXXXX.partial" and its kin
_USUAL = 255, 4096  # bytes of a name and of a path, where the file system does not say


def check_name(path: Path) -> None:
    """RequestError where nothing can be written at `path` for its name: it is none, or with what is added too long."""
    if path.name in ("", ".."):
        raise RequestError(f"{str(path)!r} is no name for something new: pass another --output")
    whole = path.absolute()
    there = next(parent for parent in whole.parents if parent.is_dir() or parent == parent.parent)
    name, place = (_limit(there, *which) for which in zip(("PC_NAME_MAX", "PC_PATH_MAX"), _USUAL, strict=True))
    longest = max((len(os.fsencode(part)) for part in path.parts[:-1]), default=0)
    own = len(os.fsencode(path.name))
    if own > name - _HIDDEN or longest > name:
        raise RequestError(
            f"{path} has a name of {max(own, longest)} bytes: there it may have {name}, of which volo-edge needs "
            f"{_HIDDEN}; pass a shorter --output"
        )
    if len(os.fsencode(whole)) > place - 2 * name:  # what a folder has in it has names too
        raise RequestError(
            f"{path} is a path of {len(os.fsencode(whole))} bytes: it may have {place}, of which volo-edge needs "
            f"{2 * name}; pass a shorter --output"
        )


def _limit(there: Path, what: str, usual: int) -> int:
    """Bytes, as the file system at `there` has it."""
    try:
        found = os.pathconf(there, what)
    except (AttributeError, OSError, ValueError):  # of POSIX alone
        return usual
    return found if found > 0 else usual


@contextmanager
def known_as(working: Path, path: Callable[[], Path]) -> Iterator[None]:
    """Around what writes at `working`: errors say instead `path()`, the name that it takes and that a person gave."""
    try:
        yield
    except (RequestError, GateError) as error:
        if str(working) not in str(error):
            raise
        raise type(error)(str(error).replace(str(working), str(path()))) from error
    except OSError as error:
        for attribute in ("filename", "filename2"):
            name = getattr(error, attribute)
            if isinstance(name, (str, os.PathLike)):
                setattr(error, attribute, str(name).replace(str(working), str(path())))
        raise
