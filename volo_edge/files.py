"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from volo_edge import interrupts, names
from volo_edge.errors import RequestError

MANIFEST = "manifest.json"  # by which an artifact is known


def sha256(path: Path) -> str:
    """Of a file's bytes; of a folder, of the lines "<hash> <name>" of the files under it, sorted by name."""
    if not path.is_dir():
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    inside = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    lines = "".join(f"{sha256(path / name)} {name}\n" for name in inside)
    return hashlib.sha256(lines.encode()).hexdigest()


def size(path: Path) -> int:
    """Bytes of a file, or of the files under a folder."""
    return (
        sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else path.stat().st_size
    )


@dataclass
class NewFolder:
    """A folder being written; see `new_folder`.

    Args:
        working: where to write it.
        path: the name it takes at the end; may be changed until then.
        force: whether it may replace what has that name; may be changed until then.
    """

    working: Path
    path: Path
    force: bool


def write_text(path: Path, text: str) -> None:
    """UTF-8 with "\\n" on every system."""
    path.write_bytes(text.encode())


def check_replaceable(path: Path, mark: str, force: bool) -> None:
    """RequestError where `path` cannot be a name, or exists and may not be replaced.

    It may with `force`, if it holds a file `mark`.
    """
    names.check_name(path)
    _check_replaceable(path, mark, force)


def _check_replaceable(path: Path, mark: str, force: bool) -> None:
    if not os.path.lexists(path):
        return
    if not force:
        raise RequestError(f"{path} exists already: pass --force to replace it, or another --output")
    if not (path.is_dir() and ((path / mark).is_file() or not any(path.iterdir()))):
        raise RequestError(f"{path} exists and is no earlier result (it holds no {mark}): pass another --output")


def check_new_file(path: Path, force: bool) -> None:
    """RequestError where `path` cannot be a name, is a folder, or exists and may not be replaced without `force`."""
    names.check_name(path)
    if path.is_dir():
        raise RequestError(f"{path} is a folder: pass another --output")
    if os.path.lexists(path) and not force:
        raise RequestError(f"{path} exists already: pass --force to replace it, or another --output")


@contextmanager
def new_file(path: Path, force: bool = False) -> Iterator[Path]:
    """Where to write a file that takes the name `path` once the block ends well, and is gone if it does not."""
    check_new_file(path, force)
    working = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with names.known_as(working, lambda: path):
            yield working
        with interrupts.held_back():
            check_new_file(path, force)  # again: the work took minutes
            working.replace(path)
    except OSError as error:
        raise RequestError(f"cannot write {path}: {error.strerror or error}; pass another --output") from error
    finally:
        working.unlink(missing_ok=True)


def state_folder(output: Path) -> Path:
    """Where work for `output` that may be stopped and goes on later keeps what it has done: hidden, beside it."""
    return output.parent / f".{output.name}.state"


def key(*parts: object) -> str:
    """A name for what is made from `parts`, the same in every process: whether earlier work is of the same request."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


@contextmanager
def new_folder(path: Path, mark: str, force: bool = False) -> Iterator[NewFolder]:
    """A folder that takes the name `path` once the block ends well, and leaves nothing behind if it does not.

    It is written under a hidden name in the same parent and renamed, so that nobody ever sees half of it.

    Raises:
        RequestError: `path` exists and may not be replaced, or nothing can be written there.
    """
    check_replaceable(path, mark, force)
    made = [parent for parent in (path.parent, *path.parent.parents) if not os.path.lexists(parent)]
    working: Path | None = None
    try:
        with interrupts.held_back():  # or a folder could be there that nobody knows of
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                working = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".partial", dir=path.parent))
                working.chmod(0o777 & ~_umask())
            except OSError as error:
                raise RequestError(f"cannot write in {path.parent}: {error.strerror}; pass another --output") from error
        folder = NewFolder(working, path, force)
        with names.known_as(working, lambda: folder.path):
            yield folder
        with interrupts.held_back():
            _publish(folder, mark)
    except (OSError, RuntimeError) as error:
        if reason := _no_room(error):
            # the converters write parts of the file there first
            room = f"make room there and in {tempfile.gettempdir()}, or pass another --output"
            raise RequestError(f"cannot write {path}: {reason}; {room}") from error
        raise
    finally:
        with interrupts.held_back():
            if working is not None:
                shutil.rmtree(working, ignore_errors=True)
            for parent in made:
                with suppress(OSError):  # it is not empty: the result is in it, or another's
                    parent.rmdir()


def _no_room(error: Exception) -> str | None:
    """Why nothing more could be written, where that is what `error` says in one way or another."""
    if isinstance(error, OSError):
        text = re.search(r"\[Errno (\d+)\]", str(error))  # shutil.copytree leaves of its errors their text only
        number = error.errno or (int(text[1]) if text else None)
        return os.strerror(number) if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None
    # Core ML's writer of weights, in C++, does not say what went wrong
    return "its weights could not be written" if "FileWriter" in str(error) else None


def _publish(folder: NewFolder, mark: str) -> None:
    _check_replaceable(folder.path, mark, folder.force)  # again: the work took minutes
    if not os.path.lexists(folder.path):
        folder.working.rename(folder.path)
        return
    old = folder.working.with_suffix(".old")
    folder.path.rename(old)
    try:
        folder.working.rename(folder.path)
    except OSError:
        old.rename(folder.path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
