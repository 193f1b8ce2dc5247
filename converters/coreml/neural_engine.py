"""What is published about the operators that leave the Neural Engine, or are slow on it, checked on a saved package.

Core ML chooses where an operator runs when it loads a model, on the device: these are warnings, not proofs. On a Mac,
`units` asks it for its plan. The sources, by the letter a rule names:

R  apple/coreai-models, neural_engine_rules.md (b1cb71b, 2026-06): Apple's rules for models of the Neural Engine
T  "Deploying Transformers on the Apple Neural Engine", machinelearning.apple.com, 2022
O  coremltools 9.0, docs-guides: typed-execution.md, opt-palettization-perf.md, opt-quantization-perf.md
M  apple/coreai-models issue 279 (2026-09): 4-bit integers in blocks, cosine 0.367 on an iPhone 16 Pro Max
F  sbryngelson/ANEForge (067717a): operators compiled for the Neural Engine alone, by a private route
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from volo_edge.converters import rules
from volo_edge.converters.coreml.evaluator.package import DTYPES, Operator, Package, Value
from volo_edge.converters.program import RESHAPES, Operation
from volo_edge.converters.rules import Rule


def _kinds(names: str) -> frozenset[str]:
    return frozenset(names.split())


_BYTES = {dtype.name: dtype.bits / 8 for dtype in DTYPES.values()}
_LARGEST = 16384  # of rows, columns and contracted values; 65536 from the M5 on
_DENIED = _kinds(
    "gather gather_nd gather_along_axis scatter scatter_nd scatter_along_axis slice_update sliding_windows one_hot "
    "non_zero shape band_part cumsum argsort topk reduce_argmax reduce_argmin reduce_prod logical_and logical_or "
    "logical_xor mod crop_resize rnn gru lstm classify"
)
_COPIES = RESHAPES | _kinds(
    "transpose concat split slice_by_index slice_by_size crop pad tile stack reverse pixel_shuffle pixel_unshuffle "
    "depth_to_space space_to_depth cast"
)
_STORED = "constexpr_"  # operators that make a weight out of its compressed form, which hardware may do in passing


@dataclass(frozen=True)
class Use:
    """An operator, as the rules see it.

    Args:
        operator: as read.
        given: what it reads, by parameter.
        made: its first output.
        package: all of the program.
        at_edge: whether it reads an input of the program, or makes an output.
    """

    operator: Operator
    given: dict[str, Value]
    made: Value
    package: Package
    at_edge: bool

    def ints(self, parameter: str) -> list[int]:
        """A constant argument of integers; [] where it is not given."""
        (name,) = self.operator.arguments.get(parameter, ("",))
        return [int(number) for number in np.ravel(np.asarray(self.package.constants.get(name, [])))]

    @property
    def is_convolution(self) -> bool:
        """Whether it slides a kernel over rows and columns."""
        return self.operator.kind in ("conv", "conv_transpose") and len(self.given["weight"].shape) == 4


def _rank(use: Use) -> str:
    rank = len(use.made.shape)
    return f"{rank} axes: Core ML takes 5" if rank > 5 else ""


def _matrix_rank(use: Use) -> str:
    wide = use.operator.kind in ("transpose", "matmul") and len(use.made.shape) == 5
    return "5 axes: transposes and matrix products of as many fail" if wide else ""


def _axes(use: Use) -> str:
    rows = [size for size in use.made.shape[2:] if size and size > _LARGEST]
    return f"an axis of {rows[0]}: {_LARGEST} fit" if rows else ""


def _padding(use: Use) -> str:
    return rules.padding(use.made.shape, use.made.dtype)


def _single(use: Use) -> str:
    plain = use.operator.kind != "cast" and not use.at_edge and not use.operator.kind.startswith(_STORED)
    return rules.SINGLE if plain and use.made.dtype == "fp32" else ""


def _cast(use: Use) -> str:
    interior = use.operator.kind == "cast" and not use.at_edge
    return rules.CAST if interior else ""


def _denied(use: Use) -> str:
    return "the operator is not computed there" if use.operator.kind in _DENIED else ""


def _kernel(use: Use) -> str:
    width = use.given["weight"].shape[3] if use.is_convolution else 0
    return f"a kernel {width} wide: 13 fit" if width and width > 13 else ""


def _stride(use: Use) -> str:
    strides = use.ints("strides") if use.is_convolution else []
    odd = [stride for stride in strides if stride > 2 and stride not in (4, 6, 8, 9, 12)]
    if odd:
        return f"a stride of {odd[0]}: 1, 2, 4, 6, 8, 9 and 12 are fast"
    weight = use.operator.arguments["weight"][0] if use.is_convolution else ""
    palette = any(
        operator.kind == "constexpr_lut_to_dense" and operator.outputs[0].name == weight
        for operator in use.package.operators
    )
    wide = [stride for stride in strides if stride > 2]
    return f"a palette of weights with a stride of {wide[0]}: 2 is the most" if palette and wide else ""


def _softmax(use: Use) -> str:
    axis = use.ints("axis")
    if use.operator.kind != "softmax" or len(use.made.shape) != 4:
        return ""
    return "a softmax over other axes than the channels" if axis and axis[0] % 4 != 1 else ""


def _slice(use: Use) -> str:
    begin = use.ints("begin") if use.operator.kind in ("slice_by_index", "slice_by_size") else []
    return "a slice of the last axis, which before A16 saturates over 4094" if begin and begin[-1] else ""


def _blocks(use: Use) -> str:
    return rules.blocks(use.given["scale"].shape) if use.operator.kind == "constexpr_blockwise_shift_scale" else ""


RULES = (
    Rule("R", _rank),
    Rule("F", _matrix_rank),
    Rule("F", _axes),
    Rule("R", _padding),
    Rule("R, O", _single),
    Rule("R, O", _cast),
    Rule("F", _denied),
    Rule("F", _kernel),
    Rule("R", _stride),
    Rule("R, T", _softmax),
    Rule("F", _slice),
    Rule("M, F", _blocks),
)

_LAST = frozenset(("cast", "softmax", "sigmoid", "classify"))


def operations(package: Package) -> Iterator[Operation]:
    """Each operator of the program in order, with the reasons it may leave the Neural Engine or be slow on it."""
    values = {value.name: value for value in package.inputs}
    for name, value in package.constants.items():
        values[name] = Value(name, np.shape(value) if isinstance(value, np.ndarray) else (), package.types[name])
    outputs, inputs = ({value.name for value in ends} for ends in (package.outputs, package.inputs))
    # what only makes probabilities or classes of an output is at the edge as well
    for operator in reversed(package.operators):
        if operator.kind in _LAST and any(out.name in outputs for out in operator.outputs):
            outputs |= {name for names in operator.arguments.values() for name in names}
    for operator in package.operators:
        values |= {output.name: output for output in operator.outputs}
        read = [name for names in operator.arguments.values() for name in names]
        use = Use(
            operator=operator,
            given={key: values[names[0]] for key, names in operator.arguments.items() if names},
            made=operator.outputs[0],
            package=package,
            at_edge=not inputs.isdisjoint(read) or any(output.name in outputs for output in operator.outputs),
        )
        yield Operation(
            name=use.made.name,
            kind=operator.kind,
            shape=tuple(size or 0 for size in use.made.shape),
            dtype=use.made.dtype,
            bytes=sum(_bytes(values[name]) for name in read) + sum(map(_bytes, operator.outputs)),
            copies=operator.kind in _COPIES,
            reasons=rules.reasons(RULES, use),
        )


def _bytes(value: Value) -> int:
    return int(_BYTES.get(value.dtype, 0) * prod(size or 1 for size in value.shape))


def units(path: Path) -> dict[str, str]:
    """Of each operator's first output, where Core ML itself plans to run it; {} where there is no Core ML."""
    if platform.system() != "Darwin":
        return {}
    import coremltools as ct
    from coremltools.models.compute_plan import MLComputePlan

    plan = MLComputePlan.load_from_path(ct.utils.compile_model(str(path)), compute_units=ct.ComputeUnit.ALL)
    found = {}
    for operation in plan.model_structure.program.functions["main"].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is not None:  # constants run nowhere
            device = type(usage.preferred_compute_device).__name__
            found[operation.outputs[0].name] = device.removeprefix("ML").removesuffix("ComputeDevice")
    return found
