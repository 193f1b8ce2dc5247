"""Files with the names of a model's classes, in the forms that people have them in.

Text with a name a line; `0: cat` lines, with or without braces and quotes; CSV; JSON: a list, an object of names by
index or of indices by name, or the `config.json` of a model that has either.
"""

from __future__ import annotations

import ast
import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from volo_edge import inputs
from volo_edge.errors import RequestError

_NUMBERED = re.compile(r"[{\s]*(\d{1,9})(?:\s*[:;\t]\s*|\s+)(.+?)[,}\s]*")  # 0: cat; 0 cat
_SYNSET = re.compile(r"n\d{8}\s+(.+)")  # n01440764 tench, Tinca tinca
_KEYS = ("id2label", "label2id", "label_names")  # of a model's config.json, the first that is there
_INDEX_COLUMNS = ("index", "idx", "id", "class_id", "class_index", "class_idx", "label_id")
_NAME_COLUMNS = ("name", "label", "class", "class_name", "label_name", "category")
_REMEDY = "give one name a line, or JSON of names by index"


def read(path: Path, num_classes: int) -> list[str]:
    """The `num_classes` names in a file, by index; any may be there more than once.

    Raises:
        RequestError: it cannot be read, is of no form that is known, or has too few names, too many, or an empty one.
    """
    try:
        names = _named(_decoded(inputs.read_bytes(path)), path.suffix.lower())
    except OSError as error:
        raise RequestError(f"labels {path}: cannot be read: {error.strerror or error}") from None
    except RequestError as error:
        raise RequestError(f"labels {path}: {error}") from None
    except (ValueError, csv.Error) as error:  # a null byte in the path or in a table, say
        raise RequestError(f"labels {path}: cannot be read: {error}") from None
    if len(names) != num_classes:
        remedy = "give one a line"
        if len(names) == num_classes + 1 and names[0].strip().lower() == "background":
            remedy = "leave out the first, 'background', which lists of TensorFlow have before the others"
        raise RequestError(f"labels {path}: {len(names)} names for {num_classes} classes; {remedy}")
    for number, name in enumerate(names):
        if not name:
            raise RequestError(f"labels {path}: line {number + 1} is empty; give each class a name")
        if {"\n", "\r"} & set(name):
            raise RequestError(f"labels {path}: the name of class {number} has several lines; give it one")
        if not name.isascii() and re.search("[\ud800-\udfff]", name):  # of Python's text, which may have them
            raise RequestError(f"labels {path}: the name of class {number} has half a character; write it out")
    return names


def _decoded(data: bytes) -> str:
    try:
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # Windows' "Unicode"
            text = data.decode("utf-16")
        else:
            text = data.decode("utf-8-sig")  # with or without a byte order mark
    except ValueError:
        raise RequestError(f"not UTF-8 text; {_REMEDY}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _named(text: str, suffix: str) -> list[str]:
    """The names in `text` of a file whose name ends in `suffix`."""
    if suffix == ".json" or (text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] in ("}", "]")):
        return [name.strip() for name in _of_object(_parsed(text))]
    if suffix in (".csv", ".tsv"):
        return _of_table([*csv.reader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")])
    lines = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    numbers = [int(one[1]) for one in numbered if one]
    if len(numbers) == len(lines) and {*numbers} == {*range(len(lines))}:
        return _by_index({int(one[1]): _unquoted(one[2]) for one in numbered if one})
    if len(numbers) == len(lines) > 1 and numbers == sorted({*numbers}):  # counted, and not from 0
        raise RequestError(
            f"its lines are numbered {numbers[0]} to {numbers[-1]}; number the classes from 0, each of them"
        )
    synsets = [_SYNSET.fullmatch(line) for line in lines]
    return [one[1] for one in synsets if one] if all(synsets) else lines


def _unquoted(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1].replace(f"\\{text[0]}", text[0]).strip() if quoted else text


def _parsed(text: str) -> Any:
    """JSON, or what Python prints a dictionary or a list as."""
    try:
        return inputs.parse_json(text)
    except ValueError as error:
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise RequestError(f"no JSON ({error}); {_REMEDY}") from None


def _of_object(given: Any) -> Sequence[str]:
    """The names in a list, in an object of them by index or of indices by name, or in a model's `config.json`."""
    if isinstance(given, Mapping):
        found = next((given[key] for key in _KEYS if isinstance(given.get(key), Mapping | list)), given)
        if isinstance(found, Mapping):
            return _of_mapping(found)
        given = found
    if not (isinstance(given, list) and all(isinstance(name, str) for name in given)):
        raise RequestError('no list of names and no object of names by index; give {"0": "cat", ...}')
    return given


def _of_mapping(given: Mapping[Any, Any]) -> Sequence[str]:
    if all(_is_index(key) for key in given):
        return _by_index({int(key): _name(value) for key, value in given.items()})
    if all(_is_index(value) for value in given.values()):
        by_index = {int(value): str(key) for key, value in given.items()}
        if len(by_index) < len(given):
            raise RequestError("two names have the same index; give each class its own")
        return _by_index(by_index)
    raise RequestError('no object of names by index, or of indices by name; give {"0": "cat", ...}')


def _is_index(value: Any) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"\d{1,9}", str(value)) is not None


def _name(value: Any) -> str:
    """A name, or the last of several, as Keras has them: ["n01440764", "tench"]."""
    if isinstance(value, list | tuple) and value:
        value = value[-1]
    if not isinstance(value, str):
        raise RequestError(f"{value!r} is no name; give each class one")
    return value


def _by_index(names: Mapping[int, str]) -> list[str]:
    if missing := [index for index in range(len(names)) if index not in names]:
        highest = max(names)
        raise RequestError(f"no name for class {missing[0]}, and one for {highest}; number the classes from 0")
    return [names[index] for index in range(len(names))]


def _of_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """The names of a CSV file: its only column, or one of them beside one of indices."""
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        return []
    width = len(rows[0])
    if any(len(row) != width for row in rows):
        raise RequestError("its rows have different numbers of cells; quote names that have commas in them")
    head = [cell.lower() for cell in rows[0]]
    has_head = any(cell in (*_INDEX_COLUMNS, *_NAME_COLUMNS) for cell in head)
    body = rows[1:] if has_head else rows
    if width == 1:
        return [name for (name,) in body]
    index = next((number for number in range(width) if body and all(_is_index(row[number]) for row in body)), None)
    if index is None or not (has_head or width == 2):
        raise RequestError("no column of indices beside one of names; give a header: index,name")
    others = [number for number in range(width) if number != index]
    name = next((number for number in others if has_head and head[number] in _NAME_COLUMNS), others[0])
    by_index = {int(row[index]): row[name] for row in body}
    if len(by_index) < len(body):
        raise RequestError("two rows have the same index; give each class its own")
    return _by_index(by_index)
