"""The statistics of an evaluation against closed forms, scipy, and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import rel_entr, softmax
from scipy.stats import binomtest, skellam

from volo_edge.evaluate import facts, statistics
from volo_edge.validate.metrics import snr_db


def lost(worse: int, better: int, count: int) -> NDArray[np.float64]:
    return np.repeat([1.0, -1.0, 0.0], [worse, better, count - worse - better])


def test_mcnemar_on_known_tables() -> None:
    assert statistics.mcnemar(0, 0) == 1
    assert statistics.mcnemar(5, 0) == 2 / 2**5
    assert statistics.mcnemar(0, 10) == 2 / 2**10
    assert statistics.mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 2**10)
    assert statistics.mcnemar(7, 7) == 1


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test(worse: int, better: int) -> None:
    if worse + better:
        assert statistics.mcnemar(worse, better) == pytest.approx(binomtest(worse, worse + better).pvalue, rel=1e-9)
    assert statistics.mcnemar(worse, better) == statistics.mcnemar(better, worse)


def test_mcnemar_of_many_flips_is_quick_and_no_overflow() -> None:
    assert statistics.mcnemar(9000, 8000) == pytest.approx(binomtest(9000, 17000).pvalue, rel=1e-6)
    assert statistics.mcnemar(3000, 0) == 0  # smaller than any double


@pytest.mark.parametrize(("worse", "better", "count"), [(40, 30, 5000), (300, 100, 5000), (25, 25, 500)])
def test_the_interval_is_bonett_and_prices(worse: int, better: int, count: int) -> None:
    total, found = count + 2, statistics.drop_interval(lost(worse, better, count))
    p, q = (worse + 1) / total, (better + 1) / total
    half = statistics.NORMAL_95 * math.sqrt((p + q - (p - q) ** 2) / total)
    assert found.low == pytest.approx(100 * (p - q - half), abs=0.06 * 100 * half)
    assert found.high == pytest.approx(100 * (p - q + half), abs=0.06 * 100 * half)
    assert found == statistics.drop_interval(lost(worse, better, count))  # the same each time


def test_an_interval_without_a_flip_is_not_of_no_width() -> None:
    found = statistics.drop_interval(lost(0, 0, 500))  # one worse and one better added: Skellam's distribution
    low, high = (100 * skellam.ppf(share, 1, 1) / 502 for share in (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx((low, high)) and low < 0 < high
    assert statistics.drop_interval(lost(0, 0, 50_000)).high < 0.01


def test_the_interval_covers_the_truth() -> None:
    generator = np.random.default_rng(1)
    p, q, count = 0.02, 0.012, 1000
    drawn = generator.multinomial(count, [p, q, 1 - p - q], 200)
    inside = 0
    for worse, better, _ in drawn.tolist():
        interval = statistics.drop_interval(lost(worse, better, count))
        inside += interval.low <= 100 * (p - q) <= interval.high
    assert 0.90 <= inside / len(drawn) <= 0.99


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 10_000))
def test_the_interval_surrounds_and_mirrors_the_drop(worse: int, better: int, count: int) -> None:
    interval, mirrored = (statistics.drop_interval(lost(*pair, count)) for pair in ((worse, better), (better, worse)))
    slack = 100 * 2 / count
    assert interval.low - slack <= 100 * lost(worse, better, count).mean() <= interval.high + slack
    assert interval.high == pytest.approx(-mirrored.low, abs=0.1 * (interval.high - interval.low) + slack)


def test_the_resolution_is_where_the_interval_leaves_zero() -> None:
    count = 5000
    smallest = next(w for w in range(1, 100) if statistics.drop_interval(lost(w, 0, count)).low > 0)
    assert 100 * lost(smallest, 0, count).mean() == pytest.approx(
        statistics.resolution(lost(smallest, 0, count)), abs=0.05
    )
    assert statistics.resolution(lost(0, 0, count)) > statistics.resolution(lost(0, 0, 10 * count))


def test_calibration_error_in_closed_form() -> None:
    sure = np.full(10, 0.95)
    assert statistics.calibration_error(sure, np.array([True] * 9 + [False])) == pytest.approx(5)
    assert statistics.calibration_error(sure, np.array([True] * 10)) == pytest.approx(5)
    two = np.array([0.95] * 10 + [0.55] * 10)
    right = np.array([True] * 10 + [False] * 10)
    assert statistics.calibration_error(two, right) == pytest.approx(100 * (0.5 * 0.05 + 0.5 * 0.55))
    assert statistics.calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0


def test_divergence_is_scipys() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = (generator.normal(size=(20, 7)).astype(np.float32) * 5 for _ in range(2))
    expected = rel_entr(softmax(theirs, 1), softmax(ours, 1)).sum(1)
    assert statistics.kl_divergence(ours, theirs) == pytest.approx(expected, rel=1e-4)
    assert statistics.kl_divergence(ours, ours) == pytest.approx(0, abs=1e-12)
    assert statistics.kl_divergence(ours + 1000, theirs) == pytest.approx(expected, rel=1e-3)  # a shift changes nothing


def test_facts_do_not_depend_on_how_many_are_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    reference = generator.normal(size=(50, 8)).astype(np.float32)
    logits = reference + 0.3 * generator.normal(size=(50, 8)).astype(np.float32)
    rows, labels = np.arange(3, 50), generator.integers(0, 8, 47)
    whole = facts.gather(logits, reference, rows, labels)
    monkeypatch.setattr(facts, "_TOGETHER", 7)
    parts = facts.gather(logits, reference, rows, labels)
    for name in ("said", "confidence", "top1", "top5", "divergence"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name
    assert whole.snr_db == pytest.approx(snr_db(logits[3:], reference[3:]))
    assert parts.snr_db == pytest.approx(whole.snr_db)
    order = np.argsort(-logits[3:], 1)
    assert np.array_equal(whole.top1, order[:, 0] == labels)
    assert np.array_equal(whole.top5, (order[:, :5] == labels[:, None]).any(1))


def test_a_logit_that_is_no_number_is_a_miss() -> None:
    reference = np.eye(4, dtype=np.float32)
    logits = reference.copy()
    logits[1, 3] = np.nan
    logits[2, 0] = np.inf
    found = facts.gather(logits, reference, np.arange(4), np.arange(4))
    assert found.said.tolist() == [0, -1, -1, 3]
    assert found.top1.tolist() == found.top5.tolist() == [True, False, False, True]
    assert found.snr_db == -math.inf and math.isinf(found.divergence[1])


def test_comparison_counts_the_flips() -> None:
    theirs, ours = np.array([1, 1, 1, 0, 0] * 20, bool), np.array([1, 1, 0, 1, 0] * 20, bool)
    found = facts.compare(ours, theirs)
    assert (found.float_model, found.file, found.drop, found.worse, found.better) == (60, 60, 0, 20, 20)
    assert found.p_value == 1 and found.low < 0 < found.high


def test_the_interval_of_few_is_that_of_all_samples_that_can_be() -> None:
    """Six draws of one worse, one better, one neither, with one of each of the first two added to four photographs."""
    sums = np.array([1.0])
    for _ in range(6):
        sums = np.convolve(sums, np.full(3, 1 / 3))
    below = np.cumsum(sums)
    low, high = (100 * (int(np.searchsorted(below, share)) - 6) / 6 for share in (0.025, 0.975))
    found = statistics.drop_interval(np.array([1.0, -1.0, 0.0, 0.0]))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_worse_is_what_only_the_float_model_has_right() -> None:
    found = facts.compare(np.array([False, True, True]), np.array([True, True, True]))
    assert (found.worse, found.better, found.drop > 0) == (1, 0, True)


def test_a_class_that_lost_has_a_drop_above_zero() -> None:
    labels, nothing = np.array([0, 0, 1, 1]), np.zeros(4)
    theirs, ours = np.array([True, True, True, False]), np.array([True, False, True, True])
    float_facts, own = (facts.Facts(labels, nothing, right, right, nothing, 0, 0) for right in (theirs, ours))
    lost_, gained = facts.by_class(own, float_facts, labels, ("cat", "dog"))
    assert (lost_.label, lost_.float_model, lost_.file, lost_.drop) == ("cat", 100, 50, 50)
    assert (gained.label, gained.float_model, gained.file, gained.drop) == ("dog", 50, 100, -50)
