"""The figures that compare two models, against hand counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from volo_edge.convert import _one_class
from volo_edge.errors import RequestError
from volo_edge.validate import metrics
from volo_edge.validate.parity import compare, not_run
from volo_edge.validate.reference import finite

REFERENCE = np.array([[3.0, 0.0, 4.0], [0.0, 12.0, 0.0]], np.float32)  # of norm 13


def test_relative_error_and_snr_of_a_known_difference() -> None:
    off = REFERENCE + np.array([[0, 1.3, 0], [0, 0, 0]], np.float32)
    assert metrics.relative_error(off, REFERENCE) == pytest.approx(0.1)
    assert metrics.snr_db(off, REFERENCE) == pytest.approx(20)
    assert metrics.max_abs_error(off, REFERENCE) == metrics.max_abs_error(REFERENCE, off) == pytest.approx(1.3)


def test_equal_logits_have_no_error_and_infinite_snr() -> None:
    assert metrics.relative_error(REFERENCE, REFERENCE) == 0
    assert metrics.snr_db(REFERENCE, REFERENCE) == math.inf
    assert metrics.top1_agreement(REFERENCE, REFERENCE) == 1


def test_top1_agreement_counts_images() -> None:
    assert metrics.top1_agreement(REFERENCE[:, ::-1], REFERENCE) == 0.5


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_no_number_never_passes(bad: float) -> None:
    off = REFERENCE.copy()
    off[1, 0] = bad
    result = compare(off, REFERENCE, 1e9, "a runtime", "x86-64")
    assert result.passed is False
    assert (result.relative_error, result.snr_db, result.top1_agreement) == (math.inf, -math.inf, 0.5)


def test_parity_passes_up_to_its_tolerance() -> None:
    off = REFERENCE + np.array([[0, 1.3, 0], [0, 0, 0]], np.float32)
    assert compare(off, REFERENCE, 0.11, "a runtime", "x86-64").passed is True
    assert compare(off, REFERENCE, 0.09, "a runtime", "x86-64").passed is False


def test_softmax_of_large_logits_is_finite() -> None:
    probabilities = metrics.softmax(np.array([1000.0, 1000.0, -1000.0], np.float32))
    assert probabilities.tolist() == [0.5, 0.5, 0.0]


def test_a_float_model_whose_answers_are_no_numbers_is_refused() -> None:
    assert finite(np.zeros((2, 3), np.float32)).shape == (2, 3)
    with pytest.raises(RequestError, match="answers are no numbers: see its weights, and --mean and --std"):
        finite(np.array([[0, np.nan]], np.float32))


def test_one_class_for_all_photographs_is_told() -> None:
    constant, varied = np.tile(np.array([[0, 1, 0]], np.float32), (8, 1)), np.eye(3, dtype=np.float32).repeat(3, 0)
    (said,) = _one_class(constant, ("cat", "dog", "frog"))
    assert "says 'dog' of all 8 photographs" in said
    assert _one_class(varied, ("cat", "dog", "frog")) == _one_class(constant[:, :1], ("cat",)) == ()


def test_a_logit_of_nothing_says_the_label() -> None:
    """Its probability is one half, from which on a label is said."""
    zero, more = np.array([[0.0, -1.0]], np.float32), np.array([[0.5, -1.0]], np.float32)
    assert metrics.labels_agreement(zero, more) == metrics.labels_agreement(more, zero) == 1


def test_parity_at_its_tolerance_passes_and_of_a_file_that_was_not_run_is_not_known() -> None:
    exact = compare(np.array([[3.0]], np.float32), np.array([[2.0]], np.float32), 0.5, "a runtime", "x86-64")
    assert exact.relative_error == 0.5 and exact.passed is True
    assert not_run("nobody ran it", 0.5).passed is None
