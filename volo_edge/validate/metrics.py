"""How far one model's logits are from another's: plain numbers from two arrays (N, num_classes)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


def relative_error(logits: Logits, reference: Logits) -> float:
    """|logits - reference| / |reference|, 2-norms over all numbers; infinity where a logit is not finite."""
    difference = logits.astype(np.float64) - reference
    error = float(np.linalg.norm(difference) / np.linalg.norm(reference.astype(np.float64)))
    return error if math.isfinite(error) else math.inf


def max_abs_error(logits: Logits, reference: Logits) -> float:
    """The largest difference of two numbers; infinity where a logit is not finite."""
    error = float(np.abs(logits.astype(np.float64) - reference).max())
    return error if math.isfinite(error) else math.inf


def snr_db(logits: Logits, reference: Logits) -> float:
    """Signal to noise ratio in decibels, the reference being the signal; infinity for equal arrays."""
    error = relative_error(logits, reference)
    if error == 0:
        return math.inf
    return -math.inf if math.isinf(error) else -20 * math.log10(error)


def top1_agreement(logits: Logits, reference: Logits) -> float:
    """Share, 0..1, of the images of which both say the same class; one with a logit that is no number is a miss."""
    same = logits.argmax(1) == reference.argmax(1)
    return float((same & np.isfinite(logits).all(1)).mean())


def labels_agreement(logits: Logits, reference: Logits) -> float:
    """Share, 0..1, of the images of which both say the same labels, each from a probability of one half on.

    One with a logit that is no number is a miss.
    """
    same = ((logits >= 0) == (reference >= 0)).all(1)
    return float((same & np.isfinite(logits).all(1)).mean())


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities over the last axis."""
    exponents = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponents / exponents.sum(-1, keepdims=True)
    return probabilities


def sigmoid(logits: Logits) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) of each."""
    probabilities: NDArray[np.float64] = np.exp(log_sigmoid(logits))
    return probabilities


def log_sigmoid(logits: Logits) -> NDArray[np.float64]:
    """The logarithm of `sigmoid`, which is a number where that is too small for one."""
    logarithms: NDArray[np.float64] = -np.logaddexp(0, -logits.astype(np.float64))
    return logarithms
