"""Class maps: files that say which class a folder or a photograph is of, in the forms that people have them in.

JSON: an object of labels, or their indices, by folder or photograph. CSV with a header, `file,label`. Text as ImageNet
has it, a line a photograph: `ILSVRC2012_val_00000001.JPEG 65`.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from volo_edge import inputs
from volo_edge.errors import RequestError

_FILES = ("file", "filename", "file_name", "image", "image_id", "imageid", "path", "photograph", "folder")
_LABELS = ("label", "class", "class_name", "class_id", "category", "target", "index")
_FORMS = 'give JSON of {"folder": "label"}, CSV with the header file,label, or lines of a file and its class'


def read(path: Path) -> dict[str, Any]:
    """The label, its index, or either as text, by folder or photograph.

    Raises:
        RequestError: the file cannot be read, is no class map, or says two things of one photograph.
    """
    try:
        text = inputs.read_text(path)
        pairs = _pairs(text, path.suffix.lower())
    except OSError as error:
        raise RequestError(f"class map {path}: cannot be read: {error.strerror or error}") from None
    except RequestError as error:
        raise RequestError(f"class map {path}: {error}; {_FORMS}") from None
    except (ValueError, csv.Error) as error:  # no UTF-8, say
        raise RequestError(f"class map {path}: cannot be read ({error}); {_FORMS}") from None
    found: dict[str, Any] = {}
    for name, label in pairs:
        if found.setdefault(name, label) != label:
            raise RequestError(f"class map {path}: {name!r} is both {found[name]!r} and {label!r}: leave one of them")
    return found


def _pairs(text: str, suffix: str) -> list[tuple[str, Any]]:
    if suffix == ".json" or text.lstrip()[:1] in ("{", "["):
        return _of_json(text)
    if suffix == ".csv":
        return _of_table([row for row in csv.reader(io.StringIO(text)) if row])
    return [_of_line(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _of_json(text: str) -> list[tuple[str, Any]]:
    try:
        pairs = inputs.parse_json(text, _Pairs)
    except ValueError as error:
        raise RequestError(f"cannot be read as JSON ({error})") from None
    if not isinstance(pairs, _Pairs):
        raise RequestError("is no JSON object")
    return pairs


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, with each of its names as often as it is there."""


def _of_table(rows: list[list[str]]) -> list[tuple[str, Any]]:
    head = [cell.strip().lower() for cell in rows[0]] if rows else []
    file = next((number for number, cell in enumerate(head) if cell in _FILES), None)
    label = next((number for number, cell in enumerate(head) if cell in _LABELS), None)
    if file is None or label is None:
        raise RequestError(f"its first row has no header with a column of files and one of labels ({','.join(head)})")
    for number, row in enumerate(rows, start=1):
        if len(row) != len(head):
            raise RequestError(f"row {number} has {len(row)} cells, and the first {len(head)}")
    return [(row[file].strip(), row[label].strip()) for row in rows[1:]]


def _of_line(number: int, line: str) -> tuple[str, Any]:
    """A file and its class, the last word of the line, or what comes after a tab."""
    parts = line.strip().split("\t") if "\t" in line.strip() else line.strip().rsplit(None, 1)
    if len(parts) != 2:
        raise RequestError(f"line {number} is not a file and its class ({line.strip()[:40]!r})")
    return parts[0].strip(), parts[1].strip()
