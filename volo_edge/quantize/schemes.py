"""What each quantization scheme is: frozen data, one entry a scheme."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """How a model's numbers are stored and computed.

    Args:
        name: what `--quantize` takes.
        summary: what it does, in a sentence.
        targets: names of the targets that take it.
        calibrates: whether it needs calibration photographs.
        minimum_ios: the first iOS that runs it in Core ML.
        tolerance: largest relative error of the logits, |file - float| / |float| in the 2-norm over all the parity
            photographs, that a conversion may have.
    """

    name: str
    summary: str
    targets: tuple[str, ...]
    calibrates: bool
    minimum_ios: int
    tolerance: float


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            name="fp32",
            summary="no quantization: single precision weights and arithmetic",
            targets=("executorch", "coreml"),
            calibrates=False,
            minimum_ios=16,
            tolerance=1e-4,
        ),
        Scheme(
            name="fp16",
            summary="half precision weights and arithmetic, what the Neural Engine computes in",
            targets=("coreml",),
            calibrates=False,
            minimum_ios=16,
            tolerance=2e-2,
        ),
    )
}
