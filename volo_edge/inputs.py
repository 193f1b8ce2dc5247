"""Files that a person gives: regular ones of sensible size, read whole; and JSON with nothing in it that a number,
a name or a nesting may not be.

What a file holds is hostile until it is proven. A pipe or a device would be waited for or read for ever, and
`json.loads` takes what no JSON file may have: NaN, numbers of any length, halves of characters.
"""

from __future__ import annotations

import json
import re
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn

from volo_edge.errors import RequestError

MAX_TEXT = 2**26  # bytes of a text file: 64 MB, a line each of a million photographs
_MAX_DIGITS = 19  # of a whole number: those of 64 bits
_MAX_FLOAT = 400  # characters: Python writes 24 at most, other programs all of a double's digits
_KINDS: dict[str, Callable[[int], bool]] = {
    "a folder": stat.S_ISDIR,
    "a pipe": stat.S_ISFIFO,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
    "a socket": stat.S_ISSOCK,
}


def require_regular(path: Path) -> int:
    """Bytes of the file at `path`; links are followed.

    Raises:
        RequestError: it is a folder, a pipe, a device or a socket. The message does not name it.
        OSError: nothing is there, or it may not be looked at.
    """
    try:
        found = path.stat()
    except ValueError as error:  # a name with a null byte
        raise FileNotFoundError(2, str(error)) from None
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for name, is_it in _KINDS.items() if is_it(found.st_mode)), "something else")
        raise RequestError(f"is {kind}, not a regular file: give a file")
    return found.st_size


def read_bytes(path: Path, limit: int = MAX_TEXT) -> bytes:
    """What is in the regular file at `path`, `limit` bytes at most; errors as `require_regular`, and for more bytes."""
    require_regular(path)
    with path.open("rb") as file:
        data = file.read(limit + 1)  # and not by its size: some of /proc say 0 and never end
    if len(data) > limit:
        raise RequestError(f"is larger than {limit / 2**20:.0f} MB, which is no such file: give another")
    return data


def read_text(path: Path) -> str:
    """UTF-8 text, with or without a byte order mark; errors as `read_bytes`, UnicodeDecodeError for other bytes."""
    return read_bytes(path).decode("utf-8-sig")


def stored_at(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where in a zip `file` the bytes of a record lie that is stored as it is."""
    file.seek(info.header_offset)
    local = file.read(30)  # a local header, then the name and the extra field
    name, extra = struct.unpack("<HH", local[26:30])
    return info.header_offset + 30 + int(name) + int(extra)


def parse_json(text: str | bytes, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """What JSON `text` says.

    Args:
        pairs: what to make of an object's entries; None for a dictionary.

    Raises:
        ValueError: no JSON, nested too deep, a number that is not finite or has more than 19 digits, or a name or text
            with half a character (a lone surrogate), which could be written nowhere.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        found = json.loads(
            text, object_pairs_hook=pairs, parse_int=_whole, parse_float=_finite, parse_constant=_no_number
        )
        if re.search(r"\\u[dD][89a-fA-F]", text):  # only what is escaped can be half
            json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("a text in it has half a character (a lone surrogate)") from None
    return found


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS:
        raise ValueError(f"it has a number of {len(digits)} digits")
    return int(digits)


def _finite(text: str) -> float:
    value = float(text) if len(text) <= _MAX_FLOAT else float("inf")
    if value in (float("inf"), -float("inf")):
        raise ValueError(f"it has the number {text[:20]}, which is out of range")
    return value


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"it has the number {text}, which JSON does not know")
