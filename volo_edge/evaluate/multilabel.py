"""The figures of independent labels: each is said, or not, from a threshold of its probability on.

A photograph's unit of right and wrong is its label accuracy: of the labels that are said or true, the share that are
both; 1 where there are none. Its decisions hang together, so photographs are compared and not decisions, and a label
that is neither said nor true counts for nothing: a file that says no label at all would have nearly every decision
right where labels are rare. Of one label it is whether the photograph is right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from volo_edge.errors import few
from volo_edge.evaluate import facts, statistics
from volo_edge.report.contents import ChangedLabel, LabelDrop, LabelFigures, MultiLabel
from volo_edge.validate.metrics import Logits, sigmoid

CHANCE = 0.05  # of taking a model that knows nothing of a label for one that does

Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LabelFacts:
    """One model's answers to N photographs.

    Args:
        said: (N, labels) whether it says the label; never where a logit of the photograph is no number.
        not_finite: (N,) whether one is.
        accuracy: (N,) label accuracy, 0..1; 0 where a logit is no number, None where the truth is not known.
        exact: (N,) whether all its labels are right; as above.
        divergence: (N,) nats from the float model's probabilities; infinite where a logit is no number.
        calibration_error: points, over all decisions; None as above.
        signal, noise: see `facts.Facts`.
    """

    said: Bools
    not_finite: Bools
    accuracy: NDArray[np.float64] | None
    exact: Bools | None
    divergence: NDArray[np.float64]
    calibration_error: float | None
    signal: float
    noise: float

    @property
    def snr_db(self) -> float:
        """Of the logits; infinite without noise, minus infinity where a logit is not finite."""
        return statistics.decibels(self.signal, self.noise)


def gather(
    logits: Logits, reference: Logits, rows: NDArray[np.int64], has: Bools | None, threshold: float
) -> LabelFacts:
    """The facts of `rows` (N,) of both arrays (any, labels); `has` (N, labels) is the truth where it is known."""
    count, labels = len(rows), logits.shape[1]
    said, not_finite, divergence = np.zeros((count, labels), bool), np.ones(count, bool), np.full(count, np.inf)
    signal = noise = 0.0
    gaps = np.zeros(statistics.BINS)
    for part in facts.parts(logits, reference, rows):
        signal, noise = signal + part.signal, noise + part.noise
        likely = sigmoid(part.ours)
        said[part.good], not_finite[part.good] = likely >= threshold, False
        divergence[part.good] = statistics.binary_divergence(part.ours, part.theirs)
        if has is not None:
            gaps += statistics.calibration_gaps(likely.ravel(), has[part.good].ravel())
    accuracy = exact = error = None
    if has is not None:
        accuracy = np.where(not_finite, 0.0, label_accuracy(said, has))
        exact = (said == has).all(1) & ~not_finite
        decisions = labels * int((~not_finite).sum())
        error = 100 * float(np.abs(gaps).sum() / decisions) if decisions else None
    return LabelFacts(said, not_finite, accuracy, exact, divergence, error, signal, noise)


def label_accuracy(said: Bools, has: Bools) -> NDArray[np.float64]:
    """(N,) the share, 0..1, of the labels said or true that are both; 1 where there is none. Both (N, labels).

    The Jaccard index of the two sets; the accuracy of Godbole and Sarawagi 2004 (PAKDD), sample by sample.
    """
    both, either = (said & has).sum(1), (said | has).sum(1)
    shares: NDArray[np.float64] = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    return shares


def figures(said: Bools, scores: NDArray[np.float32], has: Bools) -> LabelFigures:
    """Of one label, all (N,): whether it is said, its logit, whether the photograph has it.

    A logit that is no number ranks last.
    """
    both, taken, true = int((said & has).sum()), int(said.sum()), int(has.sum())
    average = statistics.average_precision(np.where(np.isfinite(scores), scores, -np.inf), has)
    return LabelFigures(
        precision=100 * both / taken if taken else None,
        recall=100 * both / true if true else None,
        f1=100 * 2 * both / (taken + true) if taken + true else None,
        average_precision=None if average is None else 100 * average,
    )


def every_label(found: LabelFacts, logits: Logits, rows: NDArray[np.int64], has: Bools) -> tuple[LabelFigures, ...]:
    """The figures of each label of `rows` (N,) of the logits (any, labels); `has` (N, labels) is the truth."""
    return tuple(
        figures(found.said[:, label], np.asarray(logits[rows, label]), has[:, label]) for label in range(has.shape[1])
    )


def mean_average_precision(labels: tuple[LabelFigures, ...]) -> float | None:
    """Points, over the labels that a photograph has; None where none does."""
    known = [one.average_precision for one in labels if one.average_precision is not None]
    return sum(known) / len(known) if known else None


def doubt(logits: Logits, rows: NDArray[np.int64], has: Bools, names: tuple[str, ...]) -> str | None:
    """Why the float model's `logits` cannot be right, a sentence: nothing shows that it knows any label; else None.

    See `at_chance`.
    """
    judged, unknown = has.any(0) & ~has.all(0), at_chance(logits, rows, has)
    if not judged.any() or not unknown[judged].all():
        return None
    which = few([names[label] for label in np.flatnonzero(judged)])
    return (
        f"it gives photographs that have a label no higher probability than the others, whichever it is ({which}): "
        "are its labels in the order of its logits, and is what photographs are said to have right"
    )


def at_chance(logits: Logits, rows: NDArray[np.int64], has: Bools) -> NDArray[np.bool_]:
    """(labels,) whether nothing shows that the model knows the label of `rows` (N,), whose truth `has` (N, labels) is.

    Mann and Whitney's test at 5 %, one-sided: photographs that have it must be given higher logits than the others.
    False of a label that no photograph or every one has.
    """
    from scipy.stats import mannwhitneyu

    found = np.zeros(has.shape[1], bool)
    for label in np.flatnonzero(has.any(0) & ~has.all(0)):
        scores, own = np.asarray(logits[rows, label]), has[:, label]
        found[label] = not mannwhitneyu(scores[own], scores[~own], alternative="greater").pvalue <= CHANCE
    return found


def judged(
    found: LabelFacts,
    float_facts: LabelFacts,
    logits: Logits,
    reference: Logits,
    rows: NDArray[np.int64],
    has: Bools | None,
    names: tuple[str, ...],
    photographs: tuple[str, ...],
) -> MultiLabel:
    """What the report says of a file's labels, besides what it says of every file.

    Args:
        found, float_facts: what the file and the float model say of `rows` (N,) of the `logits` and the `reference`.
        has: (N, labels) the truth; None where it is not known.
        names: of the labels.
        photographs: (N,) their names.
    """
    changed = _changed(found, float_facts, logits, reference, rows, has, names, photographs)
    if has is None:
        return MultiLabel(None, None, None, (), changed)
    assert found.accuracy is not None and float_facts.accuracy is not None
    assert found.exact is not None and float_facts.exact is not None
    ours, theirs = every_label(found, logits, rows, has), every_label(float_facts, reference, rows, has)
    return MultiLabel(
        accuracy=facts.compare(found.accuracy, float_facts.accuracy),
        exact=facts.compare(found.exact, float_facts.exact),
        mean_average_precision=mean_average_precision(ours),
        by_label=tuple(
            LabelDrop(name, int(count), float_figures, own)
            for name, count, float_figures, own in zip(names, has.sum(0), theirs, ours, strict=True)
        ),
        changed=changed,
    )


def _changed(
    found: LabelFacts,
    float_facts: LabelFacts,
    logits: Logits,
    reference: Logits,
    rows: NDArray[np.int64],
    has: Bools | None,
    names: tuple[str, ...],
    photographs: tuple[str, ...],
) -> tuple[ChangedLabel, ...]:
    """The labels that only one of them says: for the worse, of unknown truth, for the better; the surest first.

    Sure is the float model where its probability is far from the file's.
    """
    changes = []
    odd = found.said != float_facts.said
    odd[found.not_finite | float_facts.not_finite] = False  # which are counted on their own
    for place, label in zip(*(places.tolist() for places in np.nonzero(odd)), strict=True):
        before, after = (float(sigmoid(np.asarray(of[rows[place], label]))) for of in (reference, logits))
        truth = None if has is None else bool(has[place, label])
        effect: Literal["better", "worse", "other"] = "other"
        if truth is not None:
            effect = "better" if bool(found.said[place, label]) == truth else "worse"
        changes.append(ChangedLabel(photographs[place], names[label], truth, before, after, effect))
    order = ("worse", "other", "better")
    return tuple(
        sorted(changes, key=lambda c: (order.index(c.effect), -abs(c.float_model - c.file), c.photograph, c.label))
    )
