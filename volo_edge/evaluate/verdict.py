"""The gate, and what a person should take from an artifact's figures, in a sentence or two."""

from __future__ import annotations

from volo_edge.report.contents import Comparison, OnProcessor


def passes(top1: Comparison, processors: tuple[OnProcessor, ...], photographs: int, max_drop: float) -> bool:
    """Whether the file is shown to lose no more than `max_drop` points here, and to hold on every other processor."""
    return top1.high <= max_drop and all(_holds(there, photographs, max_drop) for there in processors)


def _holds(there: OnProcessor, photographs: int, max_drop: float) -> bool:
    """Whether the gate holds on a processor.

    One that saw all `photographs` is held to the same as this machine. One that saw fewer could hardly ever rule out
    what all of them can: it fails where it is shown to lose more, and the verdict says what it rules out.
    """
    if there.top1 is None:
        return True
    return (there.top1.high if there.photographs == photographs else there.top1.low) <= max_drop


def verdict(
    top1: Comparison | None,
    agreement: float,
    processors: tuple[OnProcessor, ...],
    photographs: int,
    max_drop: float | None,
    doubted: bool = False,
) -> str:
    """The sentences, which follow the artifact's name.

    Args:
        top1: the file here, on all `photographs`; None without classes.
        agreement: points of the photographs that the file and the float model put in the same class.
        processors: the file on other processors.
        photographs: how many were judged here.
        max_drop: the gate's, in points; None where none was set.
        doubted: whether the float model's own answers cannot be right.
    """
    if top1 is None:
        return f"says the float model's class for {agreement:.2f} % of the photographs."
    said = _change(top1)
    if max_drop is None:
        return said
    if doubted:
        return f"{said} Fails: the float model's own answers cannot be right."
    if top1.drop > max_drop:
        return f"{said} Fails: more than {max_drop:g}."
    if top1.high > max_drop:
        return (
            f"{said} Fails: the drop itself is at most {max_drop:g}, but the interval's upper end is not; more "
            "photographs narrow it."
        )
    for there in processors:
        if there.top1 is not None and not _holds(there, photographs, max_drop):
            where = f"{there.processor}: there, on {there.photographs} photographs, it"
            return f"{said} Fails on {where} {_change(there.top1)}"
    return f"{said} Passes: even the interval's upper end is at most {max_drop:g}{_elsewhere(processors, photographs)}."


def _change(top1: Comparison) -> str:
    interval = f"95 % interval {top1.low:+.2f} to {top1.high:+.2f}"
    change = f"{'gains' if top1.drop < 0 else 'loses'} {abs(top1.drop):.2f} points of top-1"
    if top1.low > 0 or top1.high < 0:
        return f"{change} (drop's {interval}), which is more than chance."
    if top1.worse == top1.better == 0:
        return f"has the same photographs right as the float model (drop's {interval})."
    return f"{change} (drop's {interval}), which may be chance."


def _elsewhere(processors: tuple[OnProcessor, ...], photographs: int) -> str:
    """What other processors rule out that saw fewer photographs."""
    fewer = [there for there in processors if there.top1 is not None and there.photographs < photographs]
    if not fewer:
        return ""
    worst = max(there.top1.high for there in fewer if there.top1 is not None)
    seen = min(there.photographs for there in fewer)
    return f"; on ARM64, {seen} photographs rule out a drop of more than {worst:.2f}"
