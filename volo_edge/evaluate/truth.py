"""Independent labels: which of them each photograph has, as its class folder or a class map says."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volo_edge import inputs
from volo_edge.calibration.images import ImageList
from volo_edge.errors import RequestError, did_you_mean, few

SEPARATOR = ";"  # between the labels of one photograph in a CSV file
_MARKS = {
    "0": False,
    "1": True,
    "0.0": False,
    "1.0": True,
}  # the last two are what spreadsheets make of them
_FORMS = f"file,labels (a photograph's with '{SEPARATOR}' between), or file and a column of 0 and 1 for each label"

Row = tuple[int, ...]  # the labels that a photograph has, by index


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of N photographs.

    Args:
        has: (N, labels) whether each has each label.
        folders: what the photographs of each class folder have, in words; () where a class map names photographs.
        problems: how that is known, and what speaks against it, a sentence each.
    """

    has: NDArray[np.bool_]
    folders: tuple[str, ...]
    problems: tuple[str, ...]


def of(images: ImageList, everything: ImageList, labels: tuple[str, ...], class_map: Path | None) -> Truth | None:
    """Which of the `labels` each of the `images` has; None where nothing says.

    Args:
        images: the photographs judged.
        everything: those of the folder, `images` among them.
        labels: names of the model's labels, in the order of its logits.
        class_map: JSON or CSV, see docs/accuracy.md; None for the class folders' names.

    Raises:
        RequestError: a folder stands for no label, or the class map is no such thing or says nothing of a photograph.
    """
    if class_map is not None:
        text = _read(class_map)
        if text.lstrip()[:1] in ("{", "["):
            given, note = _json(text, labels, class_map), f"{class_map.name} says which labels photographs have"
            if images.classes and given.keys() >= set(images.classes):
                return _by_folder(images, labels, [given[folder] for folder in images.classes], note)
        else:
            given, note = _csv(text, labels, class_map), f"{class_map.name} says which labels photographs have"
        return _by_photograph(images, everything, labels, given, class_map, note)
    if images.labels is None:
        return None
    if len(labels) == 1:
        return _by_folder(images, labels, *_of_one_label(images.classes, labels[0]))
    unknown = [folder for folder in images.classes if folder not in labels]
    if unknown:
        raise RequestError(
            f"{len(unknown)} of {len(images.classes)} class folders are no labels of the model ({few(unknown)}; its "
            f"labels are {few(labels)}): say which labels photographs have with --class-map"
        )
    rows = [(labels.index(folder),) for folder in images.classes]
    return _by_folder(images, labels, rows, "photographs have the label that their folder is named after, and no other")


def _of_one_label(folders: tuple[str, ...], label: str) -> tuple[list[Row], str]:
    """What two class folders say of a single label: "1" and "0", or its name and any other; and in words."""
    named = label if label in folders else "1" if set(folders) == {"0", "1"} else None
    if len(folders) != 2 or named is None:
        raise RequestError(
            f"the model has one label, {label!r}, and the class folders are {few(folders)}: make it two, called '1' "
            f"(photographs that have it) and '0', or {label!r} and anything; or say which have it with --class-map"
        )
    other = next(folder for folder in folders if folder != named)
    note = f"photographs in {named!r} were taken to have {label!r}, those in {other!r} not to have it"
    return [(0,) if folder == named else () for folder in folders], note


def _by_folder(images: ImageList, labels: tuple[str, ...], rows: Sequence[Row], note: str) -> Truth:
    assert images.labels is not None
    words = tuple(", ".join(labels[index] for index in row) or "no label" for row in rows)
    return _truth([rows[folder] for folder in images.labels], labels, words, [note])


def _by_photograph(
    images: ImageList, everything: ImageList, labels: tuple[str, ...], given: dict[str, Row], path: Path, note: str
) -> Truth:
    missing = [name for name in images.files if name not in given]
    if missing:
        raise RequestError(
            f"class map {path}: says nothing of {len(missing)} of {len(images)} photographs ({few(missing)}; it names "
            f"{few(sorted(given)) or 'none'}): give their names from {images.root} on"
        )
    notes, gone = [note], sorted(given.keys() - set(everything.files))
    if gone:
        notes.append(f"{len(gone)} photograph(s) of {path.name} are not in the folder: {few(gone)}")
    return _truth([given[name] for name in images.files], labels, (), notes)


def _truth(rows: Sequence[Row], labels: tuple[str, ...], folders: tuple[str, ...], notes: list[str]) -> Truth:
    has = np.zeros((len(rows), len(labels)), bool)
    for place, row in enumerate(rows):
        has[place, list(row)] = True
    for what, which in (("no photograph has", ~has.any(0)), ("every photograph has", has.all(0))):
        if which.any():
            names = few([labels[index] for index in np.flatnonzero(which)])
            notes.append(f"{what} {int(which.sum())} of the model's {len(labels)} label(s): {names}")
    return Truth(has, folders, tuple(notes))


# Class maps


def _read(path: Path) -> str:
    try:
        return inputs.read_text(path)
    except RequestError as error:
        raise RequestError(f"class map {path}: {error}") from None
    except (OSError, ValueError) as error:
        raise RequestError(f"class map {path}: cannot be read as text ({error})") from None


def _json(text: str, labels: tuple[str, ...], path: Path) -> dict[str, Row]:
    """{"photograph or class folder": ["label", ...]}; a label may stand alone, or be its index."""
    try:
        given: Any = inputs.parse_json(text)
    except ValueError as error:
        raise RequestError(f"class map {path}: cannot be read as JSON ({error})") from None
    if not isinstance(given, dict):
        raise RequestError(f'class map {path}: is no JSON object of {{"photograph": ["label", ...]}}')
    found = {}
    for name, values in given.items():
        where = f"class map {path}: {name!r}"
        several = values if isinstance(values, list) else [values]
        found[_plain(name)] = tuple(_index(value, labels, where) for value in several)
    return found


def _csv(text: str, labels: tuple[str, ...], path: Path) -> dict[str, Row]:
    """Rows of a photograph and its labels, or of a photograph and 0 or 1 for each label, under a header."""
    try:
        lines = [(row, number) for number, row in enumerate(csv.reader(io.StringIO(text), strict=True), 1) if any(row)]
    except csv.Error as error:
        raise RequestError(f"class map {path}: cannot be read as CSV ({error})") from None
    header = [cell.strip() for cell in lines[0][0]] if lines else []
    if len(header) < 2 or header[0].lower() != "file":
        raise RequestError(f"class map {path}: is neither a JSON object nor CSV with the header {_FORMS}")
    columns = header[1:]
    marked = set(columns) == set(labels) and len(columns) == len(labels)
    if not marked and len(columns) > 1:
        odd = [name for name in columns if name not in labels] or [name for name in labels if name not in columns]
        raise RequestError(f"class map {path}: its columns are not the model's labels ({few(odd)}): give {_FORMS}")
    found: dict[str, Row] = {}
    lines_of: dict[str, int] = {}
    for cells, number in lines[1:]:
        where = f"class map {path}, row {number}"
        if len(cells) != len(header):
            raise RequestError(f"{where}: {len(cells)} cells under a header of {len(header)}: give {_FORMS}")
        name, values = _plain(cells[0].strip()), [cell.strip() for cell in cells[1:]]
        if name in lines_of:
            raise RequestError(f"{where}: {name!r} is in row {lines_of[name]} already: give each photograph one row")
        lines_of[name] = number
        found[name] = _marked(values, columns, labels, where) if marked else _listed(values[0], labels, where)
    return found


def _marked(values: list[str], columns: list[str], labels: tuple[str, ...], where: str) -> Row:
    for value, column in zip(values, columns, strict=True):
        if value not in _MARKS:
            raise RequestError(f"{where}: {column!r} is {value!r}: give 1 where the photograph has the label, else 0")
    return tuple(labels.index(column) for value, column in zip(values, columns, strict=True) if _MARKS[value])


def _listed(value: str, labels: tuple[str, ...], where: str) -> Row:
    return tuple(_index(name, labels, where) for part in value.split(SEPARATOR) if (name := part.strip()))


def _index(value: Any, labels: tuple[str, ...], where: str) -> int:
    """Of the label that is called `value`, or has that index."""
    if isinstance(value, str) and value in labels:
        return labels.index(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(labels):
        return value
    known = did_you_mean(str(value), list(labels)) if len(labels) <= 20 else f"it has {len(labels)}"
    raise RequestError(f"{where}: {value!r} is no label of the model: {known}")


def _plain(name: str) -> str:
    """A photograph's name as `ImageList` has it."""
    return name.replace("\\", "/").removeprefix("./")
