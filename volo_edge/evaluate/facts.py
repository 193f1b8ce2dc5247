"""What is kept of each photograph: a few numbers instead of its logits, and the figures that follow from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volo_edge.evaluate import statistics
from volo_edge.report.contents import ClassDrop, Comparison
from volo_edge.validate.metrics import Logits, softmax

_TOGETHER = 4096  # photographs whose logits are in memory
TOP = 5

Labels = NDArray[np.int64]
Right = NDArray[np.bool_] | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Facts:
    """One model's answers to N photographs.

    Args:
        said: (N,) the class of the largest logit; -1 where one is not finite.
        confidence: (N,) its probability, 0..1.
        top1, top5: (N,) whether the photograph's class is the first, or among the first five; False without classes.
        divergence: (N,) nats from the float model's probabilities; infinite where a logit is not finite.
        signal, noise: squares of the float model's logits and of the differences from them, summed over all.
    """

    said: Labels
    confidence: NDArray[np.float64]
    top1: NDArray[np.bool_]
    top5: NDArray[np.bool_]
    divergence: NDArray[np.float64]
    signal: float
    noise: float

    @property
    def snr_db(self) -> float:
        """Of the logits; infinite without noise, minus infinity where a logit is not finite."""
        return statistics.decibels(self.signal, self.noise)

    @property
    def not_finite(self) -> NDArray[np.bool_]:
        """(N,) whether a logit is no number."""
        return np.less(self.said, 0)


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the photographs, as many as are in memory together.

    Args:
        good: places, among all, of the M whose logits are all numbers.
        ours, theirs: (M, classes) their logits, a model's and the float model's.
        signal, noise: see `Facts`; of all photographs of the part.
    """

    good: Labels
    ours: Logits
    theirs: Logits
    signal: float
    noise: float


def parts(logits: Logits, reference: Logits, rows: NDArray[np.int64]) -> Iterator[Part]:
    """`rows` (N,) of both arrays (any, classes), a part at a time."""
    for start in range(0, len(rows), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        ours, theirs = np.asarray(logits[rows[part]]), np.asarray(reference[rows[part]])
        signal = float((theirs.astype(np.float64) ** 2).sum())
        finite = np.isfinite(ours).all(1)
        noise = float(((ours[finite].astype(np.float64) - theirs[finite]) ** 2).sum()) if finite.all() else math.inf
        yield Part(np.flatnonzero(finite) + start, ours[finite], theirs[finite], signal, noise)


def gather(logits: Logits, reference: Logits, rows: NDArray[np.int64], labels: Labels | None) -> Facts:
    """The facts of `rows` (N,) of both arrays (any, classes); `labels` (N,) are the photographs' classes."""
    said, confidence, divergence = np.full(len(rows), -1), np.zeros(len(rows)), np.full(len(rows), np.inf)
    top1, top5 = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    signal = noise = 0.0
    for part in parts(logits, reference, rows):
        good, ours, theirs = part.good, part.ours, part.theirs
        signal, noise = signal + part.signal, noise + part.noise
        if not len(good):
            continue
        said[good] = ours.argmax(1)
        confidence[good] = softmax(ours).max(1)
        divergence[good] = statistics.kl_divergence(ours, theirs)
        if labels is not None:
            own = ours[np.arange(len(good)), labels[good]][:, None]
            above = (ours > own).sum(1)
            top1[good] = said[good] == labels[good]
            top5[good] = above < TOP
    return Facts(said, confidence, top1, top5, divergence, signal, noise)


def compare(right: Right, float_right: Right) -> Comparison:
    """Both (N,): which photographs the file and the float model have right, or how much of each, 0..1."""
    lost = float_right.astype(np.float64) - right
    worse, better = int((lost > 0).sum()), int((lost < 0).sum())
    interval = statistics.drop_interval(lost)
    return Comparison(
        float_model=100 * float(float_right.mean()),
        file=100 * float(right.mean()),
        drop=100 * float(lost.sum() / len(lost)),
        low=interval.low,
        high=interval.high,
        better=better,
        worse=worse,
        p_value=statistics.mcnemar(worse, better),
        resolution=statistics.resolution(lost),
    )


def by_class(facts: Facts, float_facts: Facts, labels: Labels, names: tuple[str, ...]) -> tuple[ClassDrop, ...]:
    """Of each class with a photograph, in the order of `names`."""
    counts, ours, theirs = (
        np.bincount(labels, weights, len(names)) for weights in (None, facts.top1, float_facts.top1)
    )
    return tuple(
        ClassDrop(
            label=names[index],
            photographs=int(counts[index]),
            float_model=100 * float(theirs[index] / counts[index]),
            file=100 * float(ours[index] / counts[index]),
            drop=100 * float((theirs[index] - ours[index]) / counts[index]),
        )
        for index in np.flatnonzero(counts)
    )
