"""What is reported against operators of Core AI on devices, checked on a saved asset.

Nothing here has run on a device: these are warnings, not proofs. The sources, by the letter a rule names; R and M are
those of `converters.coreml.neural_engine`, which Core AI compiles for too:

R  apple/coreai-models, neural_engine_rules.md (b1cb71b, 2026-06): Apple's rules for models of the Neural Engine
M  apple/coreai-models issue 279 (2026-09): 4-bit integers in blocks, cosine 0.367 on an iPhone 16 Pro Max
A  apple/coreai-torch issue 116: argmax of half precision
H  apple/coreai-torch issue 51: a matrix product of two axes, 4 % off on the Neural Engine; four axes avoid it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

STORED = frozenset(("blockwise_shift_scale", "lut_to_dense"))  # what makes a weight of its stored form
_ROW_BYTES = 64  # the last axis is padded to a multiple


@dataclass(frozen=True)
class Use:
    """An operator, as the rules see it.

    Args:
        kind: its name, "conv2d".
        given, made: shapes and types of what it reads and of what it makes.
        at_edge: whether it reads the input of the program, or makes its output.
    """

    kind: str
    given: tuple[tuple[tuple[int, ...], str], ...]
    made: tuple[tuple[int, ...], str]
    at_edge: bool


def _rank(use: Use) -> str:
    rank = len(use.made[0])
    return f"{rank} axes: 5 are taken" if rank > 5 else ""


def _padding(use: Use) -> str:
    shape, dtype = use.made
    if len(shape) < 3 or dtype != "fp16" or prod(shape) < 4096 or use.kind in STORED:
        return ""
    row = shape[-1] * 2
    factor = -(-row // _ROW_BYTES) * _ROW_BYTES / row
    return f"a last axis of {shape[-1]} is padded to {factor:.1f} times its size" if factor >= 2 else ""


def _single(use: Use) -> str:
    plain = use.kind not in ("cast", *STORED) and not use.at_edge
    return "single precision is not computed there" if plain and use.made[1] == "fp32" else ""


def _cast(use: Use) -> str:
    return "a change of type within the network splits it" if use.kind == "cast" and not use.at_edge else ""


def _blocks(use: Use) -> str:
    if use.kind != "blockwise_shift_scale":
        return ""
    scale = use.given[1][0]
    return "integers in blocks are reported to be computed wrongly" if len(scale) > 1 and scale[1] > 1 else ""


def _argmax(use: Use) -> str:
    half = any(dtype == "fp16" for _, dtype in use.given)
    return "of half precision, it is reported to be wrong" if use.kind in ("reduce_argmax", "argmax") and half else ""


def _matrix(use: Use) -> str:
    flat = use.kind.endswith("matmul") and len(use.made[0]) == 2
    return "a matrix product of two axes is reported to be 4 % off: four avoid it" if flat else ""


@dataclass(frozen=True)
class Rule:
    """A reported reason: its source's letters, and what finds it, "" where all is well."""

    source: str
    finds: Callable[[Use], str]


RULES = (
    Rule("R", _rank),
    Rule("R", _padding),
    Rule("R", _single),
    Rule("R", _cast),
    Rule("M", _blocks),
    Rule("A", _argmax),
    Rule("H", _matrix),
)


def reasons(use: Use) -> tuple[str, ...]:
    """Why an operator may leave the Neural Engine, be slow on it or be wrong on a device, each with its source."""
    found = ((rule, rule.finds(use)) for rule in RULES)
    return tuple(f"{reason} [{rule.source}]" for rule, reason in found if reason)
