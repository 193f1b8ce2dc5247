"""Whether a difference is real: plain numbers from counts. `docs/accuracy.md` tells what each one means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAMPLES = 10_000  # of a bootstrap: the ends of its interval then move by a hundredth of its width from seed to seed
SEED = 0
NORMAL_95 = 1.959963984540054
BINS = 15  # of the calibration error, as Guo et al. 2017 (arXiv:1706.04599) have it


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


def drop(worse: int, better: int, photographs: int) -> float:
    """Points of accuracy lost: `worse` photographs only the float model has right, `better` only the file."""
    return 100 * (worse - better) / photographs


def drop_interval(worse: int, better: int, photographs: int) -> Interval:
    """The drop's 95 % interval: the percentiles of a paired bootstrap.

    To draw photographs anew, each with both models' answers, is to draw how many of them are of each kind: worse,
    better or neither. One is added of each of the first two, as Bonett and Price 2012 do (British Journal of
    Mathematical and Statistical Psychology 65): a sample without a flip is no proof that there is none.
    """
    total = photographs + 2
    chances = np.array([worse + 1, better + 1, total - worse - better - 2]) / total
    drawn = np.random.default_rng(SEED).multinomial(total, chances, SAMPLES)
    low, high = np.percentile(100 * (drawn[:, 0] - drawn[:, 1]) / total, [2.5, 97.5])
    return Interval(float(low), float(high))


def resolution(worse: int, better: int, photographs: int) -> float:
    """Points: the smallest drop whose interval leaves out zero, with as many flips on as many photographs."""
    return 100 * NORMAL_95 * math.sqrt(worse + better + 2) / (photographs + 2)


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
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gaps = np.bincount(bins, confidence - right, BINS)
    return 100 * float(np.abs(gaps).sum() / len(confidence))


def kl_divergence(logits: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) nats: of the probabilities that `logits` (N, classes) give from those that `reference` gives."""
    ours, theirs = _log_softmax(logits), _log_softmax(reference)
    divergence: NDArray[np.float64] = (np.exp(theirs) * (theirs - ours)).sum(1)
    return divergence


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return result
