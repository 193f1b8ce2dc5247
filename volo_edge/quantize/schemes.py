"""What each quantization scheme is: frozen data, one entry a scheme."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activations = Literal["float", "dynamic", "static"]


@dataclass(frozen=True)
class Weights:
    """How a layer's weights are stored.

    Args:
        kind: "float"; "integer", a multiple of a scale; or "palette", one of the values in a table of the layer's own.
        bits: of each weight; 0 where `kind` is "float".
        group: inputs of one output channel that share a scale; None for all of them. Of integers only.
        compensated: whether the rounding of each weight makes up for that of the ones before it, on calibration
            photographs (`volo_edge.quantize.compensate`).
    """

    kind: Literal["float", "integer", "palette"]
    bits: int = 0
    group: int | None = None
    compensated: bool = False

    def __str__(self) -> str:
        if self.kind == "float":
            return "float"
        return f"{self.kind}{self.bits}" + (f" in groups of {self.group}" if self.group else "")


@dataclass(frozen=True)
class Precision:
    """How a layer computes.

    Args:
        weights: how its weights are stored.
        activations: how its inputs are rounded: "float", not at all; "dynamic", to 8 bits, each token within its own
            range, found at run time; "static", to 8 bits, inputs and outputs within ranges found in calibration.
    """

    weights: Weights
    activations: Activations = "float"


FLOAT = Precision(Weights("float"))
INT8 = Weights("integer", 8)
INT8_FITTED = Weights("integer", 8, compensated=True)
INT4 = Weights("integer", 4, group=32, compensated=True)  # one scale for 32 is what XNNPACK and Core ML both have


@dataclass(frozen=True)
class Scheme:
    """How a model's numbers are stored and computed.

    Which layers are which, and why the rest stays float, is told in `volo_edge.quantize.layers`.

    Args:
        name: what `--quantize` takes.
        summary: what it does, in a sentence.
        backends: names of what computes it, see `converters.targets`.
        minimum_ios: the first iOS that runs it in Core ML; Core AI, of iOS 27, has them all.
        tolerance: largest relative error of the logits, |file - float| / |float| in the 2-norm over all the parity
            photographs, that a conversion may have.
        projections: the linears and the convolutions whose patches do not overlap, which hold nearly all weights.
        stem: the convolutions over pixels.
        compute: what is not quantized computes in: "float32" or "float16".
        warning: what to know before shipping it, "" where there is nothing.
        advice: another scheme that may serve better, and what it takes; "" where there is none.
    """

    name: str
    summary: str
    backends: tuple[str, ...]
    minimum_ios: int
    tolerance: float
    projections: Precision = FLOAT
    stem: Precision = FLOAT
    compute: Literal["float32", "float16"] = "float32"
    warning: str = ""
    advice: str = ""

    @property
    def quantizes(self) -> bool:
        """Whether any layer is not float."""
        return (self.projections, self.stem) != (FLOAT, FLOAT)

    @property
    def calibrates(self) -> bool:
        """Whether it needs calibration photographs."""
        precisions = (self.projections, self.stem)
        return any(which.activations == "static" or which.weights.compensated for which in precisions)


_APPLE = ("coreml", "coreai")


def _palette(bits: int, tolerance: float) -> Scheme:
    return Scheme(
        name=f"palette{bits}",
        summary=f"weights out of {2**bits} values a layer, fitted to the photographs; half precision arithmetic",
        backends=_APPLE,
        minimum_ios=16,
        tolerance=tolerance,
        projections=Precision(Weights("palette", bits, compensated=True)),
        compute="float16",
    )


SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            name="fp32",
            summary="no quantization: single precision weights and arithmetic",
            backends=("xnnpack", *_APPLE),
            minimum_ios=15,
            tolerance=1e-4,
        ),
        Scheme(
            name="fp16",
            summary="half precision weights and arithmetic, what the Neural Engine computes in",
            backends=_APPLE,
            minimum_ios=15,
            tolerance=2e-2,
            compute="float16",
        ),
        Scheme(
            name="int8-dynamic",
            summary="8-bit weights, activations to 8 bits token by token at run time; the stem's convolutions in float",
            backends=("xnnpack",),
            minimum_ios=16,
            tolerance=0.1,
            projections=Precision(INT8, "dynamic"),
            advice="--quantize int8-hybrid --calibration DIR: fewer instructions on phones, fitted to photographs",
        ),
        Scheme(
            name="int8-hybrid",
            summary="int8-dynamic, with the stem's convolutions in 8 bits too, their ranges from the photographs",
            backends=("xnnpack",),
            minimum_ios=16,
            tolerance=0.1,
            projections=Precision(INT8, "dynamic"),
            stem=Precision(INT8_FITTED, "static"),
        ),
        Scheme(
            name="int8-static",
            summary="8-bit weights and activations, all ranges from the photographs",
            backends=("xnnpack", *_APPLE),
            minimum_ios=17,
            tolerance=0.2,
            projections=Precision(INT8_FITTED, "static"),
            stem=Precision(INT8_FITTED, "static"),
            compute="float16",
        ),
        Scheme(
            name="int4-dynamic",
            summary="4-bit weights in groups of 32, fitted to the photographs; activations to 8 bits at run time",
            backends=("xnnpack",),
            minimum_ios=16,
            tolerance=0.2,
            projections=Precision(INT4, "dynamic"),
        ),
        Scheme(
            name="int8-weight",
            summary="8-bit weights, half precision arithmetic",
            backends=_APPLE,
            minimum_ios=16,
            tolerance=0.1,
            projections=Precision(INT8),
            compute="float16",
        ),
        Scheme(
            name="int4-weight",
            summary="4-bit weights in groups of 32, fitted to the photographs; half precision arithmetic",
            backends=_APPLE,
            minimum_ios=18,
            tolerance=0.2,
            projections=Precision(INT4),
            compute="float16",
            warning="integers in groups are reported to compute wrongly on the Neural Engine (apple/coreai-models "
            "issue 279): run the self-test on a device, or take palette4",
        ),
        _palette(8, 0.1),
        _palette(6, 0.1),
        _palette(4, 0.2),
    )
}
