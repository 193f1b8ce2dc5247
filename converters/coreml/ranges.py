"""Which operators of a saved package make numbers that half precision cannot hold, found on real photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from volo_edge.converters.coreml import evaluator
from volo_edge.converters.coreml.evaluator.package import Operator
from volo_edge.converters.program import HalfPrecision
from volo_edge.converters.runner import Array

HALF_MAXIMUM = 65504.0
# On the Neural Engine a matrix product turns infinite near half of that (sbryngelson/ANEForge,
# docs/developer/op-quirks.md).
NEAR_MAXIMUM = HALF_MAXIMUM / 2
# Of an operator's output, |half(x) - x| / |x|: rounding alone makes 2e-4; more is lost to infinity or to zero.
LOST = 1e-2


def ranges(
    path: Path, images: Array, advance: Callable[[int], None] = lambda count: None
) -> tuple[HalfPrecision, tuple[str, ...]]:
    """What the package at `path` makes of `images` (N, 3, H, W), 0..255, computed in single precision.

    With it, the operators that must compute in single precision for nothing to be lost: those that come near the
    limits, and all that read what they make.

    Raises:
        RequestError: the package is damaged.
        Unsupported: the evaluator does not know one of its operators.
    """
    program = evaluator.load(path, "float32")
    peaks: dict[str, float] = {}
    lost: dict[str, float] = {}
    readers: dict[str, set[str]] = {}

    def see(operator: Operator, made: tuple[Any, ...]) -> None:
        name = operator.outputs[0].name
        for given in (given for names in operator.arguments.values() for given in names):
            readers.setdefault(given, set()).add(name)
        for output, value in zip(operator.outputs, made, strict=True):
            if output.dtype == "fp16" and isinstance(value, Tensor) and value.numel():
                peaks[output.name] = max(peaks.get(output.name, 0.0), float(value.abs().amax()))
                lost[output.name] = max(lost.get(output.name, 0.0), _lost(value))

    for image in images:
        program(see, **{program.inputs[0].name: image[None]})
        advance(1)
    large = [name for name, peak in peaks.items() if peak > NEAR_MAXIMUM]
    small = [name for name, share in lost.items() if share > LOST and name not in large]
    largest = max(peaks, key=lambda name: peaks[name], default="")
    found = HalfPrecision(len(images), peaks.get(largest, 0.0), largest, tuple(large), tuple(small))
    return found, _with_readers([*large, *small], readers)


def _lost(value: Tensor) -> float:
    """|half(x) - x| / |x|, 0 for a tensor of zeros."""
    size = value.norm()
    return float((value.half().float() - value).clamp(-HALF_MAXIMUM, HALF_MAXIMUM).norm() / size) if size else 0.0


def _with_readers(names: Iterable[str], readers: dict[str, set[str]]) -> tuple[str, ...]:
    found = dict.fromkeys(names)
    for name in tuple(found):
        found |= dict.fromkeys(sorted(readers.get(name, ())))
    return tuple(found)
