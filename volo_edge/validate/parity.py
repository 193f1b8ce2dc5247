"""Parity: the saved file, in a runtime on a processor, on real photographs, against the float model."""

from __future__ import annotations

from dataclasses import dataclass

from volo_edge.activation import Activation
from volo_edge.validate import metrics
from volo_edge.validate.metrics import Logits


@dataclass(frozen=True)
class Parity:
    """One of the manifest's `parity`, field for field.

    Args:
        images: photographs compared.
        runtime: what ran the file; None where it was not run.
        processor: whose code it ran, "x86-64" or "arm64 armv8.2-dotprod"; None where it was not run.
        instructions: of ARM64, those for products of numbers that were seen to run: they tell which kernels did.
        relative_error: |file - float| / |float| over all logits, in the 2-norm.
        max_abs_error: the largest difference of two logits.
        snr_db: the same as a signal to noise ratio in decibels.
        top1_agreement: share, 0..1, of photographs that both put in the same class; None where labels are independent.
        tolerance: the largest `relative_error` that passes.
        passed: None where the file was not run.
        note: why it was not run, "" otherwise.
        twin: whether what ran is not the file but a twin of it, made with it from the same weights, which computes in
            single precision and does not ship: how far the weights are from the float model, on photographs that the
            file itself would take too long for.
        labels_agreement: of independent labels, the share, 0..1, of photographs of which both say the same ones, each
            from a probability of one half on; None where classes exclude each other.
    """

    images: int
    runtime: str | None
    processor: str | None
    instructions: tuple[str, ...]
    relative_error: float | None
    max_abs_error: float | None
    snr_db: float | None
    top1_agreement: float | None
    tolerance: float
    passed: bool | None
    note: str = ""
    labels_agreement: float | None = None
    twin: bool = False


def compare(
    logits: Logits,
    reference: Logits,
    tolerance: float,
    runtime: str,
    processor: str,
    instructions: tuple[str, ...] = (),
    activation: Activation = "softmax",
) -> Parity:
    """Both arrays are (N, num_classes), of the same photographs in the same order."""
    error = metrics.relative_error(logits, reference)
    exclusive = activation == "softmax"
    return Parity(
        images=len(reference),
        runtime=runtime,
        processor=processor,
        instructions=instructions,
        relative_error=error,
        max_abs_error=metrics.max_abs_error(logits, reference),
        snr_db=metrics.snr_db(logits, reference),
        top1_agreement=metrics.top1_agreement(logits, reference) if exclusive else None,
        labels_agreement=None if exclusive else metrics.labels_agreement(logits, reference),
        tolerance=tolerance,
        passed=error <= tolerance,
    )


def not_run(why: str, tolerance: float) -> Parity:
    """The parity of a file whose runtime this machine does not have."""
    return Parity(0, None, None, (), None, None, None, None, tolerance, None, why)
