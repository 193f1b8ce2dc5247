"""Names of the classes, in the order of the logits.

`imagenet1k.txt` has a line a class of ImageNet-1k, in the order of the ILSVRC2012 synsets (sorted by their ids), which
is the order of every published VOLO's logits: the synset's id, a tab, and its lemmas from WordNet 3.0, Princeton
University.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

from volo_edge.errors import RequestError
from volo_edge.variants import Variant


def labels_for(variant: Variant, num_classes: int, labels_file: Path | None = None) -> tuple[str, ...]:
    """`num_classes` different names.

    Args:
        variant: whose own names are used where they are as many.
        num_classes: outputs of the model.
        labels_file: UTF-8 text, one name a line; goes before everything else. None to do without: the variant's names,
            ImageNet-1k's for 1000 classes, else class_0, class_1, ...

    Raises:
        RequestError: a file that cannot be read, or whose names are too few, too many, empty or repeated.
    """
    if labels_file is not None:
        return _from_file(labels_file, num_classes)
    if len(variant.labels) == num_classes:
        return variant.labels
    if num_classes == 1000:
        return imagenet_labels()
    return tuple(f"class_{index}" for index in range(num_classes))


def _from_file(path: Path, num_classes: int) -> tuple[str, ...]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # with or without a byte order mark
    except OSError as error:
        raise RequestError(f"labels {path}: cannot be read: {error.strerror or error}") from None
    except ValueError:  # bytes that are no UTF-8, or a path with a null byte
        raise RequestError(f"labels {path}: not UTF-8 text; give one name a line") from None
    names = [line.strip() for line in text.rstrip().split("\n")] if text.strip() else []
    if len(names) != num_classes:
        raise RequestError(f"labels {path}: {len(names)} names for {num_classes} classes; give one a line")
    seen: dict[str, int] = {}
    for number, name in enumerate(names, start=1):
        if not name:
            raise RequestError(f"labels {path}: line {number} is empty; give each class a name")
        if name in seen:
            raise RequestError(
                f"labels {path}: lines {seen[name]} and {number} are both {name!r}; give each class its own name"
            )
        seen[name] = number
    return tuple(names)


@cache
def imagenet_labels() -> tuple[str, ...]:
    """ImageNet-1k's 1000 names: a synset's first lemma, all of them where two start alike, its id where that fails."""
    rows = _table()
    first = Counter(lemmas.split(", ")[0] for _, lemmas in rows)
    whole = Counter(lemmas for _, lemmas in rows)
    names = []
    for synset, lemmas in rows:
        name = lemmas.split(", ")[0]
        if first[name] > 1:  # maillot; maillot, tank suit
            name = lemmas
        if whole[lemmas] > 1:  # the bird and the machine: WordNet has the one lemma, crane, for both
            name = f"{lemmas} ({synset})"
        names.append(name)
    return tuple(names)


@cache
def imagenet_synsets() -> tuple[str, ...]:
    """The ids of ImageNet-1k's 1000 classes, which its folders are named after: "n01440764" is the first."""
    return tuple(synset for synset, _ in _table())


def _table() -> list[list[str]]:
    return [line.split("\t") for line in _TABLE.read_text(encoding="utf-8").splitlines()]


_TABLE = Path(__file__).with_name("imagenet1k.txt")
