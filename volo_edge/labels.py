"""Names of the classes, in the order of the logits.

`imagenet1k.txt` has a line a class of ImageNet-1k, in the order of the ILSVRC2012 synsets (sorted by their ids), which
is the order of every published VOLO's logits: the synset's id, a tab, and its lemmas from WordNet 3.0, Princeton
University.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from volo_edge import label_files
from volo_edge.variants import Variant


@dataclass(frozen=True)
class Labels:
    """Names of the classes.

    Args:
        names: in the order of the logits, no two alike.
        notes: what was taken for granted or changed, a sentence each.
    """

    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def labels_for(
    variant: Variant,
    num_classes: int,
    labels_file: Path | None = None,
    *,
    own: tuple[str, ...] = (),
    published: bool,
) -> Labels:
    """`num_classes` different names.

    Args:
        variant: whose own names are used where the weights are those that were published of it.
        num_classes: outputs of the model.
        labels_file: in a form that `volo_edge.label_files` reads; goes before everything else. None to do without:
            the model's own, the published model's names, else class_0, class_1, ...
        own: names that the model's configuration has, where it has as many.
        published: whether the weights are those that were published of the variant. What others trained may have as
            many classes, and be of others.

    Raises:
        RequestError: a file that cannot be read, or whose names are too few, too many or empty.
    """
    if labels_file is not None:
        names, notes = told_apart(label_files.read(labels_file, num_classes))
        return Labels(names, tuple(f"labels {labels_file}: {note}" for note in notes))
    if len(own) == num_classes:
        names, notes = told_apart(own)
        return Labels(names, ("classes are called as config.json has it", *notes))
    if published and num_classes == variant.architecture.num_classes:
        return Labels(variant.labels or imagenet_labels())
    said = (
        f"nothing says what its {num_classes} classes are called: they are class_0, class_1, ... (--labels names them)"
    )
    return Labels(tuple(f"class_{index}" for index in range(num_classes)), (said,))


def told_apart(names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """The names, a second `crane` called `crane (2)`, and a sentence on these where there are any.

    Core ML's classifiers answer by name and take no two alike; and so that a report may hold the files of all targets
    against each other, these have the same names.
    """
    taken, changed = set(names), []
    seen: Counter[str] = Counter()
    found = []
    for index, name in enumerate(names):
        seen[name] += 1
        new = name
        while seen[name] > 1 and new in taken:
            new = f"{name} ({seen[name]})"
            seen[name] += new in taken
        if new != name:
            taken.add(new)
            changed.append(f"class {index} is called {new!r}")
        found.append(new)
    if not changed:
        return tuple(found), []
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return tuple(found), [f"classes of the same name were told apart: {', '.join(changed[:3])}{more}"]


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


def plain(name: str) -> str:
    """A name as it compares with others that mean the same: `Golden_Retriever` and `golden retriever` are alike.

    Unicode's compatibility forms (NFKC), case, and blanks, underscores and hyphens between words make no difference.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return " ".join(filter(None, re.split(r"[\s_\-]+", folded)))


@cache
def in_imagenet_order(labels: tuple[str, ...]) -> bool:
    """Whether the classes are ImageNet-1k's in the order of the published models' logits, whatever list names them.

    Lists differ in which of a synset's lemmas they take, so nearly all must be one of theirs, or the synset's id.
    """
    rows = _table()
    if len(labels) != len(rows):
        return False

    def is_of(label: str, synset: str, lemmas: str) -> bool:
        names = {plain(synset), plain(lemmas), *(plain(lemma) for lemma in lemmas.split(", "))}
        return plain(re.sub(r" \(\w+\)$", "", label)) in names or plain(label.partition(",")[0]) in names

    return sum(is_of(label, *row) for label, row in zip(labels, rows, strict=True)) >= 0.9 * len(rows)


def _table() -> list[list[str]]:
    return [line.split("\t") for line in _TABLE.read_text(encoding="utf-8").splitlines()]


_TABLE = Path(__file__).with_name("imagenet1k.txt")
