"""What is reported against operators of Core AI on devices, checked on a saved asset.

Nothing here has run on a device: these are warnings, not proofs. The sources, by the letter a rule names; R and M are
those of `converters.coreml.neural_engine`, which Core AI compiles for too:

R  apple/coreai-models, neural_engine_rules.md (b1cb71b, 2026-06): Apple's rules for models of the Neural Engine
M  apple/coreai-models issue 279 (2026-09): 4-bit integers in blocks, cosine 0.367 on an iPhone 16 Pro Max
A  apple/coreai-torch issue 116: argmax of half precision
H  apple/coreai-torch issue 51: a matrix product of two axes, 4 % off on the Neural Engine; four axes avoid it
"""

from __future__ import annotations

from dataclasses import dataclass

from volo_edge.converters import rules
from volo_edge.converters.rules import Rule

STORED = frozenset(("blockwise_shift_scale", "lut_to_dense"))  # what makes a weight of its stored form


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
    return "" if use.kind in STORED else rules.padding(*use.made)


def _single(use: Use) -> str:
    plain = use.kind not in ("cast", *STORED) and not use.at_edge
    return rules.SINGLE if plain and use.made[1] == "fp32" else ""


def _cast(use: Use) -> str:
    return rules.CAST if use.kind == "cast" and not use.at_edge else ""


def _blocks(use: Use) -> str:
    return rules.blocks(use.given[1][0]) if use.kind == "blockwise_shift_scale" else ""


def _argmax(use: Use) -> str:
    half = any(dtype == "fp16" for _, dtype in use.given)
    return "of half precision, it is reported to be wrong" if use.kind in ("reduce_argmax", "argmax") and half else ""


def _matrix(use: Use) -> str:
    flat = use.kind.endswith("matmul") and len(use.made[0]) == 2
    return "a matrix product of two axes is reported to be 4 % off: four avoid it" if flat else ""


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
    """What is reported against an operator, each with its source; see `converters.rules.reasons`."""
    return rules.reasons(RULES, use)
