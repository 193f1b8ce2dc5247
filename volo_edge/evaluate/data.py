"""The photographs to judge on: which class each folder stands for, and what speaks against them."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from volo_edge import files
from volo_edge.calibration.images import ImageList, left_out
from volo_edge.errors import RequestError, did_you_mean, few
from volo_edge.evaluate import class_map
from volo_edge.labels import imagenet_synsets, in_imagenet_order, plain
from volo_edge.preprocess import UnreadableImage, look

_SYNSET = re.compile(r"(n\d{8})(?:[\s_-].*)?")  # a folder of ImageNet's, and of those who add the name


@dataclass(frozen=True)
class Classes:
    """Which of the model's classes the photographs are of.

    Args:
        numbers: the index among the model's labels for each photograph; None where no class is known.
        folders: the same for each class folder; () where photographs were given their classes one by one.
        notes: how it was found, where not by the labels' names; a sentence each.
    """

    numbers: tuple[int, ...] | None
    folders: tuple[int, ...]
    notes: tuple[str, ...]


def classes_of(images: ImageList, labels: tuple[str, ...], given: Path | None, gate: bool) -> Classes:
    """The classes of the `images`: by the class map at `given`, else by the names of their folders.

    Args:
        images: the photographs.
        labels: the model's.
        given: a class map, of folders or of photographs; None without one.
        gate: whether a gate is to be judged on it, which nothing may be guessed for.

    Raises:
        RequestError: a folder or photograph stands for no class, or the class map is no such thing.
    """
    if given is not None:
        return _mapped(images, labels, given)
    if images.labels is None:
        return Classes(None, (), ("there are no class folders: no accuracy is known, only how far answers are apart",))
    return _by_folder(images, *class_of(images.classes, labels, gate))


def _by_folder(images: ImageList, folders: tuple[int, ...], note: str) -> Classes:
    assert images.labels is not None
    return Classes(tuple(folders[label] for label in images.labels), folders, (note,) * bool(note))


def class_of(folders: Sequence[str], labels: tuple[str, ...], gate: bool = False) -> tuple[tuple[int, ...], str]:
    """The index among `labels` that each class folder stands for, and a note on how it was found ("" as its name).

    Raises:
        RequestError: a folder stands for none; or for a `gate`, nothing but the folders' order tells what they are.
    """
    number, note = indices(folders, labels, "class folders")
    unknown = [folder for folder in folders if folder not in number]
    if not unknown:
        return tuple(number[folder] for folder in folders), note
    if len(unknown) < len(folders) or len(folders) != len(labels):
        raise RequestError(
            f"{len(unknown)} of {len(folders)} class folders are no labels of the model ({few(unknown)}; its labels "
            f"are {few(labels)}): say what they are with --class-map FILE"
        )
    order = f"{folders[0]!r} for {labels[0]!r} and so on"
    if gate:
        raise RequestError(
            "no class folder is named after a label, and --max-drop judges nothing on folders that are taken in sorted "
            f"order ({order}): say what they are with --class-map FILE, or name them after the labels"
        )
    return tuple(range(len(labels))), (
        f"no class folder is named after a label: they were taken in sorted order for the labels in theirs ({order})"
    )


def indices(
    names: Sequence[str], labels: tuple[str, ...], what: str, remedy: str = "say what they are with --class-map FILE"
) -> tuple[dict[str, int], str]:
    """The index among `labels` of each of the `names` that stands for one, and a note ("" where all are labels).

    A name is a label, or one written otherwise (see `volo_edge.labels.plain`), or a synset of ImageNet's; or all are
    indices, unless they are labels.

    Raises:
        RequestError: numbers that may be labels or indices, or are beyond the labels; `what` says what has them, and
            `remedy` what to do.
    """
    number = {label: index for index, label in enumerate(labels)}
    if all(re.fullmatch(r"[0-9]{1,9}", name) for name in names) and not all(name in number for name in names):
        return _numbered(names, labels, what, remedy), (
            f"{what} were taken for indices among the labels: {names[0]!r} for {labels[int(names[0])]!r} and so on"
        )
    if in_imagenet_order(labels):
        number = {synset: index for index, synset in enumerate(imagenet_synsets())} | number
    alike: defaultdict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        alike[plain(label)].append(index)
    found, otherwise = {}, []
    for name in names:
        synset = _SYNSET.fullmatch(name)
        if name in number:
            found[name] = number[name]
        elif synset and synset[1] in number:
            found[name] = number[synset[1]]
        elif len(same := alike[plain(name)]) == 1:
            found[name] = same[0]
            otherwise.append(f"{name!r} for {labels[same[0]]!r}")
    more = f" and {len(otherwise) - 3} more" if len(otherwise) > 3 else ""
    note = f"{what} were taken for labels that are written otherwise: {', '.join(otherwise[:3])}{more}"
    return found, note if otherwise else ""


def _numbered(names: Sequence[str], labels: tuple[str, ...], what: str, remedy: str) -> dict[str, int]:
    """Of names that all are numbers and not all labels."""
    if some := [name for name in names if name in labels]:
        raise RequestError(f"{what}: some numbers are labels ({few(some)}) and others are not: {remedy}")
    if beyond := [name for name in names if int(name) >= len(labels)]:
        last = len(labels) - 1
        from_one = "they seem to be counted from 1; " if {len(labels)} == {int(name) for name in beyond} else ""
        raise RequestError(f"{what}: {few(beyond)} is beyond the model's classes, 0..{last}: {from_one}{remedy}")
    return {name: int(name) for name in names}


def _mapped(images: ImageList, labels: tuple[str, ...], path: Path) -> Classes:
    """What the class map at `path` says of the class folders, or of the photographs where it names none of them."""
    values = class_map.read(path)
    if any(folder in values for folder in images.classes):
        missing = [folder for folder in images.classes if folder not in values]
        if missing:
            raise RequestError(
                f"class map {path}: says nothing of {len(missing)} class folders ({few(missing)}): add them"
            )
        number, note = _labelled({folder: values[folder] for folder in images.classes}, labels, path)
        folders = tuple(number[folder] for folder in images.classes)
        return _by_folder(images, folders, f"class folders were given their labels by {path.name}{note}")
    keys = _keys(images, values, path)
    number, note = _labelled({key: values[key] for key in keys}, labels, path)
    said = f"photographs were given their labels by {path.name}{note}"
    return Classes(tuple(number[key] for key in keys), (), (said,))


def _keys(images: ImageList, values: dict[str, Any], path: Path) -> list[str]:
    """What the class map calls each photograph: its name in the folder, its last part, or that without its ending."""
    found: list[str] = []
    missing: list[str] = []
    for name in images.files:
        pure = PurePosixPath(name)
        key = next((key for key in (name, pure.name, pure.stem) if key in values), None)
        if key is None:
            missing.append(name)
        else:
            found.append(key)
    if missing:
        folders = f" and none of the class folders ({few(images.classes)})" if images.classes else ""
        raise RequestError(
            f"class map {path}: says nothing of {len(missing)} photographs ({few(missing)}){folders}: add them"
        )
    if twice := [key for key, count in Counter(found).items() if count > 1]:
        raise RequestError(f"class map {path}: {twice[0]!r} is several photographs: give their names with the folders'")
    return found


def _labelled(values: dict[str, Any], labels: tuple[str, ...], path: Path) -> tuple[dict[str, int], str]:
    """The index among `labels` that each value of a class map stands for, and a note ("" or one that goes on)."""
    texts = list(dict.fromkeys(value for value in values.values() if isinstance(value, str)))
    number, note = indices(texts, labels, f"class map {path}: its values", "give labels") if texts else ({}, "")
    found = {}
    for name, value in values.items():
        if isinstance(value, str) and value not in number:
            known = did_you_mean(value, list(labels)) if len(labels) <= 20 else f"{len(labels)} labels"
            raise RequestError(f"class map {path}: {name!r} is {value!r}, which is no label of the model: {known}")
        index = number[value] if isinstance(value, str) else value
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(labels):
            raise RequestError(f"class map {path}: {name!r} is {value!r}: give a label, or 0..{len(labels) - 1}")
        found[name] = index
    return found, note and f"; {note.removeprefix(f'class map {path}: ')}"


def problems(images: ImageList, classes: Classes, labels: tuple[str, ...]) -> list[str]:
    """What speaks against the `images` and what is known of their classes: sentences."""
    found = [*classes.notes, *left_out(images)]
    if classes.numbers is None:
        return found
    counts = Counter(classes.numbers)
    missing = [label for index, label in enumerate(labels) if not counts[index]]
    if missing:
        found.append(f"{len(missing)} of the model's {len(labels)} classes have no photograph: {few(missing)}")
    if max(counts.values()) > 2 * min(counts.values()):
        found.append(
            f"classes are uneven, {min(counts.values())} to {max(counts.values())} photographs: large ones count most"
        )
    twice = [labels[index] for index, count in Counter(classes.folders).items() if count > 1]
    if twice:
        found.append(f"several class folders stand for one label: {few(twice)}")
    return found


def altered(images: ImageList) -> list[str]:
    """A sentence on what is done to photographs when they are opened, and other loaders may leave undone; or none."""
    turned = transparent = 0
    for index in range(len(images)):
        try:
            seen = look(images.path(index))
        except UnreadableImage:
            continue
        turned += seen.turned
        transparent += seen.transparent
    if not turned and not transparent:
        return []
    return [
        f"{turned} photograph(s) are turned upright as their EXIF data says, and {transparent} with transparency are "
        "laid over white: what trained the model may have done neither, and would have seen others"
    ]


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
