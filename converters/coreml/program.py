"""What a saved Core ML package holds: operators, layers and constants, read from its files on disk."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from volo_edge.converters.coreml.evaluator.package import DTYPES, Operator, Package, read_package
from volo_edge.converters.coreml.neural_engine import operations, units
from volo_edge.converters.program import (
    Layer,
    Levels,
    Program,
    StoredLayer,
    TensorType,
    by_frequency,
    bytes_by,
    damage_is_told,
)

_BITS = {dtype.name: dtype.bits for dtype in DTYPES.values()}
_COMPRESSED = {  # what each operator that decompresses a tensor is given
    "constexpr_affine_dequantize": "quantized_data",
    "constexpr_blockwise_shift_scale": "data",
    "constexpr_lut_to_dense": "indices",
    "dequantize": "input",
}
_LAYERS = {"conv": "convolution", "conv_transpose": "transposed convolution", "linear": "linear"}


def _damage_is_told(path: str | Path) -> AbstractContextManager[None]:
    """Around what follows a program that may lack what coremltools gives each operator."""
    return damage_is_told(f"{path} is damaged: its program is not as coremltools writes them", ArithmeticError)


def read_program(path: str | Path) -> Program:
    """What the .mlpackage folder at `path` holds; RequestError where it is missing, something else or damaged."""
    with _damage_is_told(path):
        return _program(read_package(path), Path(path))


def _program(package: Package, path: Path) -> Program:
    import coremltools as ct

    description = ct.utils.load_spec(str(path)).description
    constants = _Constants(package)
    layers = tuple(_layer(operator, constants) for operator in package.operators if operator.kind in _LAYERS)
    for name in package.constants:
        constants.note(name, "other constants")
    planned = units(path)
    tensors = (*package.inputs, *(output for operator in package.operators for output in operator.outputs))
    return Program(
        file_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        inputs=tuple(_input(feature) for feature in description.input),
        outputs=tuple(
            TensorType(tuple(size or 0 for size in out.shape), out.dtype, out.name) for out in package.outputs
        ),
        operators=by_frequency(Counter(operator.kind for operator in package.operators)),
        layers=layers,
        bytes_by_kind=constants.bytes_by(0),
        bytes_by_dtype=constants.bytes_by(1),
        opset=package.opset,
        largest_rank=max(len(tensor.shape) for tensor in tensors),
        operations=tuple(replace(operation, unit=planned.get(operation.name)) for operation in operations(package)),
    )


def read_weights(path: str | Path) -> tuple[StoredLayer, ...]:
    """What the layers of the .mlpackage folder at `path` compute with, in the order they run; RequestError as above.

    The windows' one-hot kernels are among them.
    """
    with _damage_is_told(path):
        return _weights(read_package(path))


def _weights(package: Package) -> tuple[StoredLayer, ...]:
    from volo_edge.converters.coreml.evaluator import decoded  # torch
    from volo_edge.converters.coreml.evaluator.operators import OPERATORS

    made_by = {output.name: operator for operator in package.operators for output in operator.outputs}

    def known(name: str) -> Any:
        """A constant, decompressed where it must be, as the program types it."""
        if name in package.constants:
            return decoded(package.constants[name], package.types[name])
        operator = made_by[name]
        value = OPERATORS[operator.kind](**{key: known(names[0]) for key, names in operator.arguments.items()})
        return value.half().float() if operator.outputs[0].dtype == "fp16" else value

    def levels(name: str) -> Levels | None:
        """Of what `dequantize` makes."""
        operator = made_by.get(name)
        if operator is None or operator.kind != "dequantize":
            return None
        arguments = operator.arguments
        lowest = -128 if made_by[arguments["input"][0]].outputs[0].dtype == "int8" else 0
        zero = int(known(arguments["zero_point"][0])) if "zero_point" in arguments else 0
        return Levels(float(known(arguments["scale"][0])), zero, lowest, lowest + 255)

    found = []
    for operator in package.operators:
        weight = operator.arguments.get("weight")
        if operator.kind not in _LAYERS or weight is None:
            continue
        bias = operator.arguments.get("bias")
        given = levels(operator.arguments["x"][0])
        weights, biases = (
            None if names is None else np.asarray(known(names[0]), np.float32) for names in (weight, bias)
        )
        assert weights is not None
        found.append(StoredLayer(weights, biases, given, None))
    return tuple(found)


class _Constants:
    """Which constants have been seen, each counted once, under the kind it was first seen as."""

    def __init__(self, package: Package) -> None:
        self._package = package
        self._made_by = {output.name: operator for operator in package.operators for output in operator.outputs}
        self._seen: dict[str, tuple[str, str, int]] = {}

    def note(self, name: str, kind: str) -> int:
        """Bytes of the constant `name`, or of all that a compressed one is made of; 0 where it is none."""
        if name in self._package.constants:
            value, dtype = self._package.constants[name], self._package.types[name]
            if not isinstance(value, np.ndarray):
                return 0
            size = value.size * _BITS[dtype] // 8
            self._seen.setdefault(name, (kind, dtype, size))
            return int(size)
        operator = self._made_by.get(name)
        if operator is None or not operator.kind.startswith("constexpr"):
            return 0
        return sum(self.note(part, kind) for parts in operator.arguments.values() for part in parts)

    def described(self, name: str) -> tuple[tuple[int, ...], str, int]:
        """Shape, type and inputs that share a scale (0: no groups) of a tensor, as it is before it is decompressed."""
        if name in self._package.constants:
            return np.shape(self._package.constants[name]), self._package.types[name], 0
        operator = self._made_by.get(name)
        values = operator.outputs if operator else self._package.inputs
        value = next(value for value in values if value.name == name)
        shape, dtype, group = tuple(size or 0 for size in value.shape), value.dtype, 0
        if operator is not None and operator.kind in _COMPRESSED:
            (part,) = operator.arguments[_COMPRESSED[operator.kind]]
            dtype = self._type(part)
            if operator.kind == "constexpr_lut_to_dense":
                (table,) = operator.arguments["lut"]
                entries = np.shape(self._package.constants[table])
                dtype = f"palette{(entries[-2] if len(entries) > 1 else entries[0]).bit_length() - 1}"
            if operator.kind == "constexpr_blockwise_shift_scale":
                (scale,) = operator.arguments["scale"]
                blocks = np.shape(self._package.constants[scale])[1]
                group = shape[1] // blocks if blocks > 1 else 0
        return shape, dtype, group

    def _type(self, name: str) -> str:
        """Of a constant, or of what an operator makes."""
        if name in self._package.types:
            return self._package.types[name]
        return next(output.dtype for output in self._made_by[name].outputs if output.name == name)

    def bytes_by(self, part: int) -> dict[str, int]:
        """Bytes of what was seen, by kind (`part` 0) or by type (1)."""
        return bytes_by(self._seen.values(), part)


def _layer(operator: Operator, constants: _Constants) -> Layer:
    (weight,), (given,) = operator.arguments["weight"], operator.arguments["x"]
    size = constants.note(weight, "linear weights" if operator.kind == "linear" else "convolution weights")
    size += sum(constants.note(name, "biases") for name in operator.arguments.get("bias", ()))
    shape, dtype, group = constants.described(weight)
    kind = _LAYERS[operator.kind]
    if kind == "convolution" and shape[1] == 1 and shape[0] > 1:
        kind = "depthwise convolution"
    return Layer(kind, shape, dtype, constants.described(given)[1], group, size)


def _input(feature: Any) -> TensorType:
    """An input as an app sees it: an image, or an array."""
    if feature.type.WhichOneof("Type") == "imageType":
        image = feature.type.imageType
        return TensorType((image.height, image.width), f"{image.ColorSpace.Name(image.colorSpace)} image", feature.name)
    array = feature.type.multiArrayType
    dtype = {"FLOAT32": "fp32", "FLOAT16": "fp16"}.get(array.ArrayDataType.Name(array.dataType), "other")
    return TensorType(tuple(array.shape), dtype, feature.name)
