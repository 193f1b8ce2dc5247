"""Files: their hashes and sizes, and the names that other files give them."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

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


def write_text(path: Path, text: str) -> None:
    """UTF-8 with "\\n" on every system."""
    path.write_bytes(text.encode())


def key(*parts: object) -> str:
    """A name for what is made from `parts`, the same in every process: whether earlier work is of the same request."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def within(folder: Path, name: str, what: str) -> Path:
    """The place in `folder` that a file calls `name`, with forward slashes; links on the way are followed.

    Args:
        folder: what the name may not lead out of.
        name: as the file has it; nobody vouches for it.
        what: what has that name, for the error: "the path of 'model'".

    Raises:
        RequestError: the name is absolute, or leads out of the folder by "..", by a link or to the folder itself.
    """
    try:
        path = folder / name
        home, place = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
    except ValueError:  # a null byte
        home = place = folder
    if os.path.isabs(name) or ".." in Path(name).parts or place == home or not place.is_relative_to(home):
        raise RequestError(f"{what} leads out of {folder}: {name!r}")
    return path
