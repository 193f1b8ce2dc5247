"""What a command writes: it appears whole or not at all, replaces only what volo-edge wrote, and has one writer.

Work for an output X is done in a hidden folder beside it, `.X.volo-edge`: `lock` is held by the process that does it,
`new` becomes X, `old` is what X was, and `state` is what work that was stopped goes on from. When the work is done the
folder is gone. What a killed process left in it, the next one that works for X cleans up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import socket
import tempfile
import threading
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volo_edge import files, inputs, interrupts
from volo_edge.errors import RequestError, few

ANOTHER = "pass another --output"
_NAME_BYTES = 255  # of a file's name, on every file system that matters
_MARK_BYTES = 1 << 28  # a report of 50,000 photographs has a tenth of that
_OF_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}  # lost without regret
_TRIES = 100
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL)
_UNLOCKED = "VOLO_EDGE_NO_LOCK"


Inputs = tuple[Path | str | None, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of output, and how one that is there is known again, so that nothing else is replaced.

    Args:
        what: in words.
        mark: of a folder, the JSON file that it is known by; None where the output is a file.
        keys: what the JSON object has, or the members of the .npz.
        names: of a folder, its files and folders beside the mark, given the object; with forward slashes.
    """

    what: str
    mark: str | None
    keys: Collection[str]
    names: Callable[[dict[str, Any]], Iterable[str]] = lambda values: ()


def _artifacts_files(manifest: dict[str, Any]) -> list[str]:
    return [info["path"] for info in manifest["files"].values()]


ARTIFACT = Kind("artifact", files.MANIFEST, ("format_version", "target", "quantization", "files"), _artifacts_files)


@dataclass(frozen=True)
class Place:
    """Where the work for an output is done; see `owned`.

    Args:
        path: the output, links resolved.
        home: the hidden folder beside it.
    """

    path: Path
    home: Path

    @property
    def new(self) -> Path:
        """What becomes the output, once it is whole."""
        return self.home / "new"

    @property
    def old(self) -> Path:
        """What the output was, until the new one has its name."""
        return self.home / "old"

    @property
    def state(self) -> Path:
        """The folder that keeps what is done of work that may be stopped and goes on later."""
        return self.home / "state"

    @property
    def lock(self) -> Path:
        """The file that is locked."""
        return self.home / "lock"


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


def state(output: Path) -> Path:
    """Where work for `output` that may be stopped keeps what it has done, see `Place.state`."""
    return _place(output).state


def check(path: Path, kind: Kind, force: bool, sources: Inputs = ()) -> None:
    """RequestError where an output may not be written to `path`.

    That is where something is there and `force` is not given, or it is no output of that `kind`, holds files that
    volo-edge did not write, or one of the `sources`; where the path itself cannot be; and where another process works
    for it.
    """
    place = _place(path)
    _require_free(place, path)
    if not os.path.lexists(place.path):
        return
    strangers = _strangers(place.path, kind, str(path))
    if not force:
        raise RequestError(f"{path} exists already: pass --force to replace it, or another --output")
    for given in sources:
        if given is not None and Path(os.path.realpath(given)).is_relative_to(place.path):
            raise RequestError(f"{given} is in {path}, which is to be replaced: {ANOTHER}")
    if strangers:
        raise RequestError(f"{path} holds what volo-edge did not write ({few(strangers)}): move it away, or {ANOTHER}")


def _strangers(path: Path, kind: Kind, name: str) -> list[str]:
    """What is in the folder at `path` besides an output of that `kind`; RequestError where it holds none."""
    if kind.mark is None:
        if path.is_dir():
            raise RequestError(f"{name} is a folder: {ANOTHER}")
        if not _is_file_of(path, kind):
            raise RequestError(f"{name} exists and is no {kind.what}: {ANOTHER}")
        return []
    if not path.is_dir():
        raise RequestError(f"{name} exists and is no {kind.what}: {ANOTHER}")
    there = [inner.relative_to(path) for inner in path.rglob("*") if inner.is_symlink() or not inner.is_dir()]
    there = [inner for inner in there if inner.name not in _OF_SYSTEMS]
    if not there:
        return []
    values = _marked(path / kind.mark, kind)
    if values is None:
        raise RequestError(f"{name} exists and is no {kind.what} (it has no {kind.mark} that says so): {ANOTHER}")
    try:
        ours = {Path(inner) for inner in (kind.mark, *kind.names(values))} - {Path()}  # which would be all of it
    except (KeyError, TypeError, AttributeError):
        raise RequestError(f"{name} exists and its {kind.mark} is damaged: {ANOTHER}") from None
    return sorted(inner.as_posix() for inner in there if ours.isdisjoint((inner, *inner.parents)))


def _is_file_of(path: Path, kind: Kind) -> bool:
    if not path.is_file() or path.is_symlink():
        return False
    if zipfile.is_zipfile(path):
        with suppress(Exception), zipfile.ZipFile(path) as archive:  # zipfile raises nearly anything
            return {f"{key}.npy" for key in kind.keys} <= set(archive.namelist())
        return False
    return _marked(path, kind) is not None


def _marked(path: Path, kind: Kind) -> dict[str, Any] | None:
    """The JSON object by which an output is known; None where the file is none of that `kind`."""
    try:
        if path.is_symlink():
            return None
        values = inputs.parse_json(inputs.read_bytes(path, _MARK_BYTES))
    except (OSError, ValueError, RequestError):
        return None
    return values if isinstance(values, dict) and values.keys() >= set(kind.keys) else None


@contextmanager
def new_folder(path: Path, kind: Kind, force: bool = False, sources: Inputs = ()) -> Iterator[NewFolder]:
    """A folder that takes the name `path` once the block ends well, and leaves nothing behind if it does not.

    It is written in the hidden folder and renamed, so that nobody ever sees half of it.

    Raises:
        RequestError: as `check` and `owned`, or nothing can be written there.
    """
    with owned(path) as place, _errors_named(path, place):
        check(path, kind, force, sources)
        place.new.mkdir()
        folder = NewFolder(place.new, path, force)
        yield folder
        with owned(folder.path) as final:  # which may have become another one
            _publish(place.new, final, kind, folder.force, sources)


@contextmanager
def new_file(path: Path, kind: Kind, force: bool = False, sources: Inputs = ()) -> Iterator[Path]:
    """Where to write a file that takes the name `path` once the block ends well, and is gone if it does not.

    Raises:
        RequestError: as `new_folder`.
    """
    with owned(path) as place, _errors_named(path, place):
        check(path, kind, force, sources)
        yield place.new
        _publish(place.new, place, kind, force, sources)


def _publish(new: Path, place: Place, kind: Kind, force: bool, sources: Inputs) -> None:
    """Give `new` the output's name; what had it is gone afterwards, or has it again where that fails."""
    with interrupts.held_back():
        check(place.path, kind, force, sources)  # again: the work took minutes
        if not os.path.lexists(place.path):
            new.rename(place.path)
            return
        place.path.rename(place.old)
        try:
            if strangers := _strangers(place.old, kind, str(place.path)):  # which came since the check
                raise RequestError(f"{place.path} holds what volo-edge did not write ({few(strangers)}): {ANOTHER}")
            new.rename(place.path)
        except BaseException:
            place.old.rename(place.path)
            raise
        _remove(place.old)


_held: dict[Path, tuple[Place, int]] = {}  # by output: what this process works for, and in which thread


@contextmanager
def owned(output: Path) -> Iterator[Place]:
    """Around work for `output`: no other process works for it meanwhile, and what a killed one left is cleaned up.

    The lock (flock) ends with its process, however that ends. It holds among the machines of a network folder where
    the file system passes locks on, as NFS and SMB do and sshfs does not; where there are no locks at all, that is an
    error, and with VOLO_EDGE_NO_LOCK=1 the work is done without.

    Within itself it may be asked for again.

    Raises:
        RequestError: another process works for it, or nothing can be written there.
    """
    place = _place(output)
    mine, thread = _held.get(place.path, (None, threading.get_ident()))
    if mine is not None and thread == threading.get_ident():
        yield mine
        return
    made = [parent for parent in (place.home, *place.home.parents) if not os.path.lexists(parent)]
    lock: int | None = None
    try:
        with interrupts.held_back():  # or a folder could be there that nobody knows of
            lock = _locked(place, output)
            _held[place.path] = place, thread
            _clean_up(place)
        yield place
    finally:
        with interrupts.held_back():
            if lock is not None:
                _clean_up(place)
                with suppress(OSError):  # a lock file that stays does no harm
                    place.lock.unlink(missing_ok=True)
                del _held[place.path]
            for folder in dict.fromkeys((place.home, *made)):
                with suppress(OSError):  # it is not empty: state is in it, the output, or another's work
                    folder.rmdir()
            if lock is not None:
                os.close(lock)


def _place(output: Path) -> Place:
    """Where the work for `output` is done; RequestError where it cannot have such a name."""
    try:
        path = Path(os.path.realpath(output))
        place = Place(path, path.with_name(f".{path.name}.volo-edge"))
        too_long = max(len(os.fsencode(part)) for part in (*path.parts, place.home.name)) > _NAME_BYTES
    except ValueError:  # no name at all, or a null byte in it
        raise RequestError(f"--output {str(output)!r} is no name for a file or folder: {ANOTHER}") from None
    if too_long:
        raise RequestError(f"--output {output}: its name is too long: {ANOTHER}")
    return place


def _locked(place: Place, output: Path) -> int:
    """The lock file, open and locked; RequestError where another process has it."""
    reason = None
    for _ in range(_TRIES):
        try:
            place.home.mkdir(parents=True, exist_ok=True)
            if place.home.is_symlink():
                raise RequestError(f"{place.home} is a link, where volo-edge works for {output}: remove it")
            lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError as error:  # who was done has just removed the folder
            reason = error.strerror
            continue
        except OSError as error:
            reason = error.strerror
            break
        if _is_ours(lock, place, output):
            with suppress(OSError):  # a full disk: who it is, is for people only
                os.ftruncate(lock, 0)
                os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
            return lock
        os.close(lock)
    raise RequestError(f"cannot write in {place.path.parent}: {reason or 'others do all the time'}; {ANOTHER}")


def _require_free(place: Place, output: Path) -> None:
    """RequestError where another process works for the output now: before the work, `owned` will tell for sure."""
    if place.path in _held or not place.lock.is_file():
        return
    with suppress(FileNotFoundError):  # who was done has just removed it
        lock = os.open(place.lock, os.O_RDWR | os.O_NOFOLLOW)
        _is_ours(lock, place, output)
        os.close(lock)


def _is_ours(lock: int, place: Place, output: Path) -> bool:
    """Whether this process has locked the file of that name; RequestError where another has, or nothing can be."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS and os.environ.get(_UNLOCKED):
            return True
        who = os.pread(lock, 200, 0).decode(errors="replace")
        os.close(lock)
        if error.errno in _NO_LOCKS:
            raise RequestError(
                f"the file system of {place.path.parent} has no locks, and two commands with one --output would spoil "
                f"each other's work: {ANOTHER}, or set {_UNLOCKED}=1 and see to it yourself"
            ) from None
        doing = f"another volo-edge ({who}) is" if who else "another volo-edge is"
        raise RequestError(f"{doing} working for {output}: wait until it is done, or {ANOTHER}") from None
    try:
        return os.path.samestat(os.fstat(lock), os.stat(place.lock))
    except FileNotFoundError:  # who was done has just removed it, and another may have made it anew
        return False


def _clean_up(place: Place) -> None:
    """Remove what is half done; a killed process may have taken the output's name away and not given it anew."""
    if os.path.lexists(place.old):
        if os.path.lexists(place.path):
            _remove(place.old)
        else:
            place.old.rename(place.path)
    for inner in place.home.iterdir():
        if inner not in (place.lock, place.state):
            _remove(inner)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _errors_named(path: Path, place: Place) -> Iterator[None]:
    """Errors are one line that names the output, not the hidden folder that is gone by then."""
    try:
        yield
    except RequestError as error:
        if str(place.new) in str(error):
            raise RequestError(str(error).replace(str(place.new), str(path))) from error
        raise
    except (OSError, RuntimeError) as error:
        if reason := _no_room(error):
            # the converters write parts of the file there first
            room = f"make room there and in {tempfile.gettempdir()}, or {ANOTHER}"
            raise RequestError(f"cannot write {path}: {reason}; {room}") from error
        if isinstance(error, OSError) and str(place.home) in f"{error.filename} {error.filename2} {error}":
            raise RequestError(f"cannot write {path}: {error.strerror or error}; {ANOTHER}") from error
        raise


def _no_room(error: Exception) -> str | None:
    """Why nothing more could be written, where that is what `error` says in one way or another."""
    if isinstance(error, OSError):
        text = re.search(r"\[Errno (\d+)\]", str(error))  # shutil.copytree leaves of its errors their text only
        number = error.errno or (int(text[1]) if text else None)
        return os.strerror(number) if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None
    # Core ML's writer of weights, in C++, does not say what went wrong
    return "its weights could not be written" if "FileWriter" in str(error) else None
