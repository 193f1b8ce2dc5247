"""The gate, and what a person should take from an artifact's figures, in a sentence or two."""

from __future__ import annotations

from volo_edge.activation import Activation
from volo_edge.report.contents import FIGURES, Comparison, OnProcessor


def passes(judged: Comparison, processors: tuple[OnProcessor, ...], photographs: int, max_drop: float) -> bool:
    """Whether the file is shown to lose no more than `max_drop` points here, and to hold on every other processor."""
    return judged.high <= max_drop and all(_holds(there, photographs, max_drop) for there in processors)


def _holds(there: OnProcessor, photographs: int, max_drop: float) -> bool:
    """Whether the gate holds on a processor.

    One that saw all `photographs` is held to the same as this machine. One that saw fewer could hardly ever rule out
    what all of them can: it fails where it is shown to lose more, and the verdict says what it rules out.
    """
    if there.judged is None:
        return True
    return (there.judged.high if there.photographs == photographs else there.judged.low) <= max_drop


def verdict(
    judged: Comparison | None,
    agreement: float,
    processors: tuple[OnProcessor, ...],
    photographs: int,
    max_drop: float | None,
    activation: Activation = "softmax",
    doubted: bool = False,
) -> str:
    """The sentences, which follow the artifact's name.

    Args:
        judged: the file here, on all `photographs`; None where no truth is known.
        agreement: points of the photographs that the file and the float model put in the same class, or give the same
            labels.
        processors: the file on other processors.
        photographs: how many were judged here.
        max_drop: the gate's, in points; None where none was set.
        activation: of the model.
        doubted: whether the float model's own answers cannot be right.
    """
    what = "class" if activation == "softmax" else "labels"
    if judged is None:
        return f"says the float model's {what} for {agreement:.2f} % of the photographs."
    said = _change(judged, activation)
    if max_drop is None:
        return said
    if doubted:
        return f"{said} Fails: the float model's own answers cannot be right."
    if judged.drop > max_drop:
        return f"{said} Fails: more than {max_drop:g}."
    if judged.high > max_drop:
        return (
            f"{said} Fails: the drop itself is at most {max_drop:g}, but the interval's upper end is not; more "
            "photographs narrow it."
        )
    for there in processors:
        if there.judged is not None and not _holds(there, photographs, max_drop):
            where = f"{there.processor}: there, on {there.photographs} photographs, it"
            return f"{said} Fails on {where} {_change(there.judged, activation)}"
    return f"{said} Passes: even the interval's upper end is at most {max_drop:g}{_elsewhere(processors, photographs)}."


def _change(judged: Comparison, activation: Activation) -> str:
    interval = f"95 % interval {judged.low:+.2f} to {judged.high:+.2f}"
    change = f"{'gains' if judged.drop < 0 else 'loses'} {abs(judged.drop):.2f} points of {FIGURES[activation]}"
    if judged.low > 0 or judged.high < 0:
        return f"{change} (drop's {interval}), which is more than chance."
    if judged.worse == judged.better == 0:
        right = "photographs right" if activation == "softmax" else "label accuracy of every photograph"
        return f"has the same {right} as the float model (drop's {interval})."
    return f"{change} (drop's {interval}), which may be chance."


def _elsewhere(processors: tuple[OnProcessor, ...], photographs: int) -> str:
    """What other processors rule out that saw fewer photographs."""
    fewer = [there for there in processors if there.judged is not None and there.photographs < photographs]
    if not fewer:
        return ""
    worst = max(there.judged.high for there in fewer if there.judged is not None)
    seen = min(there.photographs for there in fewer)
    return f"; on ARM64, {seen} photographs rule out a drop of more than {worst:.2f}"
