"""The photographs to judge on: which class each folder stands for, and what speaks against them."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from calibration.images import ImageList
from volo_edge import files
from volo_edge.errors import RequestError, did_you_mean
from volo_edge.labels import imagenet_labels, imagenet_synsets

_SYNSET = re.compile(r"n\d{8}")  # a folder of ImageNet's


def class_of(folders: Sequence[str], labels: tuple[str, ...], class_map: Path | None) -> tuple[tuple[int, ...], str]:
    """The index among `labels` that each class folder stands for, and a note on how it was found ("" as its name).

    Raises:
        RequestError: a folder stands for none, or the class map is no such thing.
    """
    if class_map is not None:
        return _mapped(folders, labels, class_map)
    number = {label: index for index, label in enumerate(labels)}
    if labels == imagenet_labels() and all(_SYNSET.fullmatch(folder) for folder in folders):
        number = {synset: index for index, synset in enumerate(imagenet_synsets())}
    unknown = [folder for folder in folders if folder not in number]
    if not unknown:
        return tuple(number[folder] for folder in folders), ""
    if len(unknown) == len(folders) == len(labels):
        return tuple(range(len(labels))), (
            f"no class folder is named after a label ({folders[0]!r} for one): they were taken in sorted order for the "
            f"labels in theirs, {folders[0]!r} for {labels[0]!r} and so on"
        )
    raise RequestError(
        f"{len(unknown)} of {len(folders)} class folders are no labels of the model ({_few(unknown)}; its labels are "
        f"{_few(labels)}): say what they are with --class-map FILE.json"
    )


def _mapped(folders: Sequence[str], labels: tuple[str, ...], path: Path) -> tuple[tuple[int, ...], str]:
    try:
        given: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"class map {path}: cannot be read as JSON ({error})") from None
    if not isinstance(given, dict):
        raise RequestError(f'class map {path}: is no JSON object of {{"folder": "label" or its index}}')
    missing = [folder for folder in folders if folder not in given]
    if missing:
        raise RequestError(
            f"class map {path}: says nothing of {len(missing)} class folders ({_few(missing)}): add them"
        )
    number = {label: index for index, label in enumerate(labels)}
    found = []
    for folder in folders:
        value = given[folder]
        if isinstance(value, str) and value not in number:
            known = did_you_mean(value, list(labels)) if len(labels) <= 20 else f"{len(labels)} labels"
            raise RequestError(f"class map {path}: {folder!r} is {value!r}, which is no label of the model: {known}")
        index = number[value] if isinstance(value, str) else value
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(labels):
            raise RequestError(f"class map {path}: {folder!r} is {value!r}: give a label, or 0..{len(labels) - 1}")
        found.append(index)
    return tuple(found), f"class folders were given their labels by {path.name}"


def problems(images: ImageList, numbers: Sequence[int], labels: tuple[str, ...]) -> list[str]:
    """What speaks against the class folders `images.classes`, which stand for the labels `numbers`: sentences."""
    found = []
    counts = Counter(numbers[label] for label in images.labels or ())
    missing = [label for index, label in enumerate(labels) if not counts[index]]
    if missing:
        found.append(f"{len(missing)} of the model's {len(labels)} classes have no photograph: {_few(missing)}")
    if counts and max(counts.values()) > 2 * min(counts.values()):
        found.append(
            f"classes are uneven, {min(counts.values())} to {max(counts.values())} photographs: large ones count most"
        )
    twice = [labels[index] for index, count in Counter(numbers).items() if count > 1]
    if twice:
        found.append(f"several class folders stand for one label: {_few(twice)}")
    return found


def shared(images: ImageList, others: ImageList) -> list[str]:
    """Names of the `images` that are among `others` too, to the byte, whatever they are called there."""
    sizes: defaultdict[int, list[Path]] = defaultdict(list)
    for index in range(len(others)):
        sizes[others.path(index).stat().st_size].append(others.path(index))
    hashes: dict[int, set[str]] = {}
    found = []
    for index, name in enumerate(images.files):
        size = images.path(index).stat().st_size
        if size not in sizes:
            continue
        if size not in hashes:
            hashes[size] = {files.sha256(path) for path in sizes[size]}
        if files.sha256(images.path(index)) in hashes[size]:
            found.append(name)
    return found


def _few(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more
