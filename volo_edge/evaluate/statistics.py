"""Whether a difference is real: plain numbers from counts. `docs/accuracy.md` tells what each one means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volo_edge.validate.metrics import log_sigmoid, sigmoid

SAMPLES = 10_000  # of a bootstrap: the ends of its interval then move by a hundredth of its width from seed to seed
SEED = 0
NORMAL_95 = 1.959963984540054
_TOGETHER = 1_000_000  # numbers drawn that are in memory
BINS = 15  # of the calibration error, as Guo et al. 2017 (arXiv:1706.04599) have it

# (N,) of each photograph, what the float model has right of it less what the file has: 1 where only the float model has
# it right (worse), -1 where only the file has (better), else 0; of several labels, between.
Lost = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, in points."""

    low: float
    high: float


def accuracy_interval(right: int, photographs: int) -> Interval:
    """Of an accuracy: Clopper and Pearson's, which holds it 95 times of 100 however few the photographs are."""
    from scipy.stats import binomtest  # here: it takes a second to import

    found = binomtest(right, photographs).proportion_ci(0.95, "exact")
    return Interval(100 * float(found.low), 100 * float(found.high))


def drop_interval(lost: Lost) -> Interval:
    """The 95 % interval of the mean of `lost`, the drop: the percentiles of a paired bootstrap.

    To draw photographs anew, each with both models' answers, is to draw how many of them are of each kind: worse,
    better or neither, or as many kinds as there are losses. One is added of each of the first two, as Bonett and Price
    2012 do (British Journal of Mathematical and Statistical Psychology 65): a sample without a flip is no proof that
    there is none.
    """
    values, counts = np.unique(lost, return_counts=True)
    photographs = dict(zip(values.tolist(), counts.tolist(), strict=True))
    kinds = [1.0, -1.0, *(value for value in photographs if value not in (1, -1, 0)), 0.0]
    total = len(lost) + 2
    chances = np.array([photographs.get(kind, 0) + (abs(kind) == 1) for kind in kinds]) / total
    generator, together = np.random.default_rng(SEED), max(1, _TOGETHER // len(kinds))
    drawn = [
        generator.multinomial(total, chances, min(together, SAMPLES - first)) @ np.array(kinds)
        for first in range(0, SAMPLES, together)
    ]
    low, high = np.percentile(100 * np.concatenate(drawn) / total, [2.5, 97.5])
    return Interval(float(low), float(high))


def resolution(lost: Lost) -> float:
    """Points: the smallest drop whose interval leaves out zero, with as much lost and won on as many photographs."""
    return 100 * NORMAL_95 * math.sqrt(float((lost**2).sum()) + 2) / (len(lost) + 2)


def decibels(signal: float, noise: float) -> float:
    """Signal to noise ratio of two sums of squares; infinite without noise, minus infinity where noise is."""
    if not math.isfinite(noise):
        return -math.inf
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def mcnemar(worse: int, better: int) -> float:
    """McNemar's exact test, two-sided: the chance of a split at least so uneven if either kind is equally likely."""
    flips, fewer = worse + better, min(worse, better)
    ways = total = 1
    for index in range(fewer):
        ways = ways * (flips - index) // (index + 1)
        total += ways
    return min(1.0, float(2 * total / 2**flips))


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Points (0..100) between how sure a model is and how often it is right, the mean over its photographs.

    Args:
        confidence: (N,) probability, 0..1, of the class that it says.
        right: (N,) whether that is the photograph's.
    """
    return 100 * float(np.abs(calibration_gaps(confidence, right)).sum() / len(confidence))


def calibration_gaps(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(`BINS`,) of the photographs in each bin, the sum of what confidence they have too much; both as above."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps: NDArray[np.float64] = np.bincount(bins, confidence - right, BINS).astype(np.float64)
    return gaps


def kl_divergence(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) nats: of the probabilities that `logits` (N, classes) give from those that `reference` gives."""
    ours, theirs = _log_softmax(logits), _log_softmax(reference)
    divergence: NDArray[np.float64] = (np.exp(theirs) * (theirs - ours)).sum(1)
    return divergence


def binary_divergence(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) nats: as `kl_divergence`, of labels that are independent: the sum of each one's."""
    likely = sigmoid(reference)
    has = log_sigmoid(reference) - log_sigmoid(logits)
    has_not = log_sigmoid(-reference) - log_sigmoid(-logits)
    divergence: NDArray[np.float64] = (likely * has + (1 - likely) * has_not).sum(1)
    return divergence


def average_precision(scores: NDArray[np.float32], has: NDArray[np.bool_]) -> float | None:
    """Of one label, 0..1: the mean of the precision at each photograph that has it, the highest scores first.

    Each threshold takes all photographs of one score, as `sklearn.metrics.average_precision_score` does: the sum of
    (R_n - R_n-1) P_n over thresholds, without interpolation.

    Args:
        scores: (N,) in the order of probabilities.
        has: (N,) whether each photograph has it; None is the answer where none does.
    """
    if not has.any():
        return None
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.append(ranked[1:] != ranked[:-1], True)  # of the photographs of one score
    found, taken = np.cumsum(has[order])[last], np.flatnonzero(last) + 1
    return float((np.diff(found, prepend=0) * found / taken).sum() / found[-1])


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result
