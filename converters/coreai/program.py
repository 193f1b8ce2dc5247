"""What a saved Core AI asset holds: operators, layers and constants, read back from its file on disk.

The public `AIModelAsset.summary` has no operator by itself, and no weights: both are in the program's MLIR module.
"""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volo_edge.converters.coreai import mlir
from volo_edge.converters.coreai.devices import STORED, Use, reasons
from volo_edge.converters.program import (
    Activation,
    Layer,
    Levels,
    Operation,
    Program,
    StoredLayer,
    TensorType,
    by_frequency,
    bytes_by,
    damage_is_told,
)

_LAYERS = {"conv2d": "convolution", "conv_transpose2d": "transposed convolution"}
_KEEPS = {"pad", "slice", "reshape"}  # between what rounds an activation and the layer that takes it
_COPIES = _KEEPS | {"concat", "transpose", "cast"}
_TYPES = {"f32": "fp32", "f16": "fp16", "bf16": "bf16", "i1": "bool"}


def read_program(path: str | Path) -> Program:
    """What the .aimodel folder at `path` holds; RequestError where it is missing, something else or damaged."""
    with _damage_is_told(path):
        mlir.require_sound(Path(path))
        return Reader(Path(path)).program()


def read_weights(path: str | Path) -> tuple[StoredLayer, ...]:
    """What the layers of the .aimodel folder at `path` compute with, in the order they run; RequestError as above.

    The windows' one-hot kernels are among them.
    """
    with _damage_is_told(path):
        mlir.require_sound(Path(path))
        reader = Reader(Path(path))
        return tuple(reader.stored(operator) for operator in reader.layers())


def _damage_is_told(path: str | Path) -> AbstractContextManager[None]:
    """Around what follows a program."""
    return damage_is_told(f"{path} is no Core AI asset of volo-edge's, or is damaged", RuntimeError, OSError)


class Reader:
    """The function `main` of the asset at `path`, which must be sound."""

    def __init__(self, path: Path) -> None:
        self._path, self._mlir = path, mlir.read(path)
        graphs = [one for one in self._mlir.body.operations if _name(one) == "graph"]
        main = next(one for one in graphs if one.operation.attributes["sym_name"].value == "main")
        (block,) = main.regions[0].blocks
        self._main = main
        self._operators = [one.operation for one in block.operations]
        self._inputs = list(block.arguments)
        self._resources: dict[str, bytes] | None = None

    def program(self) -> Program:
        files = [file for file in self._path.rglob("*") if file.is_file()]
        computing = [one for one in self._operators if _name(one) not in ("constant", "output")]
        notes: dict[Any, tuple[str, str, int]] = {}
        layers = tuple(self._layer(one, notes) for one in self.layers())
        for one in self._operators:
            if _name(one) == "constant":
                self._note(one.results[0], "other constants", notes)
        (last,) = (one for one in self._operators if _name(one) == "output")
        names = (_names(self._main, "arg_attrs"), _names(self._main, "res_attrs"))
        operations = tuple(self._operation(one) for one in computing)
        return Program(
            file_bytes=sum(file.stat().st_size for file in files),
            inputs=tuple(TensorType(*_type(v), name) for v, name in zip(self._inputs, names[0], strict=True)),
            outputs=tuple(TensorType(*_type(v), name) for v, name in zip(last.operands, names[1], strict=True)),
            operators=by_frequency(Counter(_name(one) for one in computing)),
            layers=layers,
            bytes_by_kind=bytes_by(notes.values(), 0),
            bytes_by_dtype=bytes_by(notes.values(), 1),
            opset=f"iOS {mlir.minimum_system(self._path)}",
            largest_rank=max(len(operation.shape) for operation in operations),
            operations=operations,
        )

    def layers(self) -> list[Any]:
        """The operators that carry weights."""
        return [one for one in self._operators if _name(one) in _LAYERS]

    def stored(self, operator: Any) -> StoredLayer:
        """What a layer computes with."""
        bias = self._bias(operator)
        return StoredLayer(
            self._decoded(operator.operands[1]),
            None if bias is None else self._decoded(bias).reshape(-1),
            self._rounding(operator.operands[0]),
            None,
        )

    def _operation(self, operator: Any) -> Operation:
        given = [_type(value) for value in operator.operands]
        made = _type(operator.results[0])
        ends = any(_owner(value) is None for value in operator.operands) or any(
            _name(use.owner) == "output" for use in operator.results[0].uses
        )
        use = Use(_name(operator), tuple(given), made, ends)
        return Operation(
            name=operator.results[0].get_name().removeprefix("%"),
            kind=use.kind,
            shape=made[0],
            dtype=made[1],
            bytes=sum(_size(value) for value in (*operator.operands, *operator.results)),
            copies=use.kind in _COPIES,
            reasons=reasons(use),
        )

    def _layer(self, operator: Any, notes: dict[Any, tuple[str, str, int]]) -> Layer:
        weight, bias = operator.operands[1], self._bias(operator)
        size = self._note(weight, "convolution weights", notes)
        size += 0 if bias is None else self._note(bias, "biases", notes)
        shape, dtype = _type(weight)
        kind, group, made_by = _LAYERS[_name(operator)], 0, _owner(weight)
        if made_by is not None and _name(made_by) in STORED:
            dtype = _type(made_by.operands[0])[1].replace("uint", "palette")
            blocks = _type(made_by.operands[1])[0]
            group = shape[1] // blocks[1] if _name(made_by) == "blockwise_shift_scale" and blocks[1] > 1 else 0
        if kind == "convolution" and shape[1] == 1 and shape[0] > 1:
            kind = "depthwise convolution"
        rounded = self._dequantized(operator.operands[0])
        given = _type(operator.operands[0] if rounded is None else rounded.operands[0])[1]
        return Layer(kind, shape, dtype, given, group, size)

    def _note(self, value: Any, kind: str, notes: dict[Any, tuple[str, str, int]]) -> int:
        """Bytes of a constant, or of all that a stored weight is made of; 0 of anything else. Each is noted once."""
        owner = _owner(value)
        if owner is None:
            return 0
        if _name(owner) == "constant":
            size = _size(value)
            notes.setdefault(value.get_name(), (kind, _type(value)[1], size))
            return size
        if _name(owner) not in STORED:
            return 0
        parts = list(owner.operands)[:2]  # the rest is zeros, written once for all
        return self._note(parts[0], kind, notes) + self._note(parts[1], "scales", notes)

    def _bias(self, operator: Any) -> Any:
        """What is added to all that a layer makes, a constant for each channel; None where nothing is."""
        (use, *others) = list(operator.results[0].uses)
        if others or _name(use.owner) != "broadcasting_add":
            return None
        (other,) = (value for value in use.owner.operands if value != operator.results[0])
        owner, shape = _owner(other), _type(other)[0]
        channels = _type(operator.results[0])[0][1]
        constant = owner is not None and _name(owner) == "constant"
        return other if constant and shape == (1, channels, 1, 1) else None

    def _dequantized(self, value: Any) -> Any:
        """The operator that a layer's input was rounded by; None where it was not."""
        owner = _owner(value)
        while owner is not None and _name(owner) in _KEEPS:
            owner = _owner(owner.operands[0])
        return owner if owner is not None and _name(owner) == "dequantize" else None

    def _rounding(self, value: Any) -> Activation:
        rounded = self._dequantized(value)
        if rounded is None:
            return None
        integers, scale, zero = list(rounded.operands)[:3]
        lowest = 0 if _type(integers)[1].startswith("uint") else -128
        return Levels(float(self._decoded(scale)), int(self._decoded(zero)), lowest, lowest + 255)

    def _decoded(self, value: Any) -> NDArray[np.float32]:
        """A constant, or the weights that are stored as something else."""
        owner = _owner(value)
        kind = None if owner is None else _name(owner)
        if kind == "lut_to_dense":
            codes, table = (self.constant(part) for part in list(owner.operands)[:2])
            weights: NDArray[np.float32] = table.reshape(-1)[codes].astype(np.float32)
            return weights
        if kind == "blockwise_shift_scale":
            integers, scales = (self.constant(part) for part in list(owner.operands)[:2])
            for axis, (size, blocks) in enumerate(zip(integers.shape, scales.shape, strict=True)):
                scales = scales.repeat(size // blocks, axis)
            return integers.astype(np.float32) * scales.astype(np.float32)
        return self.constant(value).astype(np.float32)

    def constant(self, value: Any) -> NDArray[Any]:
        """What a constant holds, its integers as int8 or uint8."""
        owner = _owner(value)
        shape, dtype = _type(value)
        if owner is None or _name(owner) != "constant":
            raise ValueError(f"{value.get_name()} is no constant")
        apart = mlir.resource(owner)
        if apart is None:
            return _dense(owner.attributes["value"], shape, dtype)
        if self._resources is None:
            self._resources = dict(mlir.resources(self._mlir))
        return _unpacked(self._resources[apart], shape, dtype)


def _name(operator: Any) -> str:
    """Of an operator, without its dialect."""
    return str(operator.operation.name).removeprefix("coreai.").removeprefix("decomposable.")


def _owner(value: Any) -> Any:
    """The operator that makes a value; None of an input."""
    owner = value.owner
    return owner if hasattr(owner, "operands") else None


def _type(value: Any) -> tuple[tuple[int, ...], str]:
    """Shape and type of a value."""
    kind = str(value.type.element_type)
    integer = kind.startswith(("si", "ui"))
    return tuple(value.type.shape), f"{'u' * (kind[0] == 'u')}int{kind[2:]}" if integer else _TYPES[kind]


def _bits(dtype: str) -> int:
    digits = "".join(filter(str.isdigit, dtype))
    return int(digits) if digits else 1


def _size(value: Any) -> int:
    shape, dtype = _type(value)
    return -(-prod(shape) * _bits(dtype) // 8)


def _names(graph: Any, ends: str) -> list[str]:
    """Of the inputs or outputs of a function."""
    return [attributes["coreai.name"].value for attributes in graph.operation.attributes[ends]]


def _dense(attribute: Any, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    from coreai._compiler.ir import DenseElementsAttr

    found = np.array(DenseElementsAttr(attribute)).reshape(shape)
    narrow = "int" in dtype and _bits(dtype) < 8  # a small one is not packed
    return found.astype(np.uint8 if dtype[0] == "u" else np.int8) if narrow else found


def _unpacked(data: bytes, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """Numbers of fewer than 8 bits lie one after another, the first in the lowest bits."""
    bits, count = _bits(dtype), prod(shape)
    if "int" not in dtype:
        return np.frombuffer(data, {"fp16": "<f2", "fp32": "<f4"}[dtype], count).reshape(shape)
    if bits >= 8:
        return np.frombuffer(data, f"<{dtype[0]}{bits // 8}", count).reshape(shape)
    each = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[: count * bits].reshape(count, bits)
    numbers: NDArray[Any] = (each << np.arange(bits, dtype=np.uint8)).sum(1, dtype=np.uint8)
    if dtype[0] == "i":
        numbers = (numbers ^ (1 << bits - 1)).astype(np.int8) - np.int8(1 << bits - 1)
    return numbers.reshape(shape)
