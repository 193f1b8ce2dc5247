"""What is published against operators on Apple's devices, as far as Core ML and Core AI share it.

Both compile for the same Neural Engine; each has a `Use` of its own, what it shows a rule of an operator, and its list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Generic, TypeVar

Use = TypeVar("Use")

SINGLE = "single precision is not computed there"
CAST = "a change of type within the network splits it"
_ROW_BYTES = 64  # the last axis is padded to a multiple


@dataclass(frozen=True)
class Rule(Generic[Use]):
    """A published reason: its source's letters, and what finds it, "" where all is well."""

    source: str
    finds: Callable[[Use], str]


def reasons(rules: Iterable[Rule[Use]], use: Use) -> tuple[str, ...]:
    """Why an operator may leave the Neural Engine, be slow on it or be wrong on a device, each with its source."""
    found = ((rule, rule.finds(use)) for rule in rules)
    return tuple(f"{reason} [{rule.source}]" for rule, reason in found if reason)


def padding(shape: Sequence[int | None], dtype: str) -> str:
    """Whether a tensor of half precision takes twice its size or more because its last axis is short."""
    if len(shape) < 3 or not shape[-1] or dtype != "fp16" or prod(size or 1 for size in shape) < 4096:
        return ""
    row = shape[-1] * 2
    factor = -(-row // _ROW_BYTES) * _ROW_BYTES / row
    return f"a last axis of {shape[-1]} is padded to {factor:.1f} times its size" if factor >= 2 else ""


def blocks(scale: Sequence[int | None]) -> str:
    """Whether integers have several scales a row, given the shape of these."""
    several = len(scale) > 1 and (scale[1] or 0) > 1
    return "integers in blocks are reported to be computed wrongly" if several else ""
