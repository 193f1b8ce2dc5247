"""Names and shapes from a file, as messages show them: short, and harmless to a terminal."""

from __future__ import annotations

from collections.abc import Iterable


def size(shape: tuple[int, ...]) -> str:
    """(10, 192) as 10x192."""
    return "x".join(map(str, shape)) or "?"


def quoted(name: object) -> str:
    """A name from a file, which may hold anything, line ends and terminal codes too."""
    text = repr(name)
    return text if len(text) <= 80 else text[:77] + "..."


def few(names: Iterable[object]) -> str:
    """The first few names."""
    return listed([quoted(name) for name in names])


def listed(texts: list[str], shown: int = 3) -> str:
    """The first few of `texts`, and how many more there are."""
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return ", ".join(texts[:shown]) + more
