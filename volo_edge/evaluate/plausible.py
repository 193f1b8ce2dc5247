"""Whether the float model's own answers can be right: held against wrong ones, any file passes a gate.

`docs/accuracy.md` says why the limits are what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from volo_edge.artifact import ModelInfo
from volo_edge.evaluate import statistics
from volo_edge.evaluate.facts import Facts, Labels
from volo_edge.labels import in_imagenet_order
from volo_edge.variants import VARIANTS

BELOW_PUBLISHED = 20.0  # points: ImageNetV2 costs a model about 12, the classes of a subset some more
BELOW_EXPECTED = 5.0  # points: another library's decoder and resizing cost one or two
COVERED = 0.5  # of the model's classes: on fewer, a published accuracy says little
_REMEDY = "see that the classes (--class-map), the weights and the preprocessing are the right ones"


@dataclass(frozen=True)
class Known:
    """What the float model's top-1 accuracy should be.

    Args:
        top1: in points.
        source: who says so: "--expected-top1", or the variant that it was published of.
    """

    top1: float
    source: str

    @property
    def least(self) -> float:
        """Points that a right reference reaches, for all that photographs and libraries differ."""
        return self.top1 - (BELOW_EXPECTED if self.source == EXPECTED else BELOW_PUBLISHED)


EXPECTED = "--expected-top1"


def known(model: ModelInfo, labels: tuple[str, ...], judged: Labels, expected: float | None) -> Known | None:
    """What is known of a model's accuracy on photographs of the classes `judged` (N,); None where nothing is.

    A published accuracy is of the published weights at their size, and of all their classes.
    """
    if expected is not None:
        return Known(expected, EXPECTED)
    variant = VARIANTS.get(model.name)
    if variant is None or not variant.publishes(model.weights) or model.image_size != variant.architecture.image_size:
        return None
    own = labels == variant.labels if variant.labels else in_imagenet_order(labels)
    if not own or len(np.unique(judged)) < COVERED * len(labels):
        return None
    return Known(variant.top1, variant.name)


def doubt(found: Facts, judged: Labels, classes: int, expectation: Known | None) -> str | None:
    """Why the float model's answers cannot be right, in a sentence; None where nothing speaks against them.

    Args:
        found: its answers to N photographs.
        judged: (N,) their classes.
        classes: how many the model has.
        expectation: what its accuracy should be; None where nothing is known.
    """
    count, right = len(judged), int(found.top1.sum())
    interval, whole = (statistics.accuracy_interval(number, count) for number in (right, count))
    said = []
    if interval.low <= 100 / classes < whole.low:  # and not so few that even all of them would show nothing
        said.append(f"guessing among {classes} classes may do as well")
    if expectation is not None and interval.high < expectation.least:
        published = f"were published of {expectation.source} ({EXPECTED} says what it reaches on others)"
        said.append(f"{expectation.top1:g} % {'were expected' if expectation.source == EXPECTED else published}")
    renamed = _renamed(found.said, judged)
    if renamed > 2 * right and statistics.accuracy_interval(renamed, count).low > max(interval.high, 100 / classes):
        said.append(f"it would be {100 * renamed / count:.2f} % if these classes were others")
    if not said:
        return None
    figure = f"it puts {100 * right / count:.2f} % of {count:,} photographs in the right class"
    return f"{figure}, and {'; '.join(said)}: {_REMEDY}"


def _renamed(said: Labels, judged: Labels) -> int:
    """How many of N photographs would be in the right class if each class were another one, which suits best.

    What suits the photographs of one half is tried on the other half, and the other way round, so that few photographs
    of many classes do not make it look good.

    Args:
        said: (N,) the model's classes; -1 for none.
        judged: (N,) what they are taken to be.
    """
    kinds, judged = np.unique(judged, return_inverse=True)
    order = np.argsort(judged, kind="stable")
    second = np.empty(len(judged), bool)
    second[order] = np.arange(len(judged)) % 2 == 1
    right = 0
    for half in (second, ~second):
        fit = ~half & (said >= 0)
        counts = np.zeros((len(kinds), int(said.max(initial=0)) + 1), int)
        np.add.at(counts, (judged[fit], said[fit]), 1)
        rows, columns = linear_sum_assignment(counts, maximize=True)
        best = np.full(len(kinds), -2)
        best[rows] = columns
        right += int((best[judged[half]] == said[half]).sum())
    return right
