"""Reads a saved .mlpackage: the ML program in its specification, and the constants in its weight file.

Only what is on disk is read: the manifest, the protobuf of coremltools' `mlmodel/format/MIL.proto`, and the blobs of
its `mlmodel/src/MILBlob`. A blob file starts with a header of 64 bytes (count and version of the format, 2); a constant
names the offset of a record of 64 bytes (0xDEADBEEF, type, bytes, offset of the data). All of it is little-endian, and
integers of less than a byte are packed from the lowest bit of the first byte up.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volo_edge import inputs
from volo_edge.errors import RequestError

Constant = NDArray[Any] | str | list[Any]


@dataclass(frozen=True)
class DType:
    """How MIL stores a type.

    Args:
        name: as this package calls it.
        bits: of a value.
        numpy: type of the array it is read into.
        blob: its number in a weight file, 0 where it has none.
    """

    name: str
    bits: int
    numpy: type[np.generic]
    blob: int = 0


DTYPES = {
    "BOOL": DType("bool", 8, np.bool_),
    "FLOAT16": DType("fp16", 16, np.float16, 1),
    "FLOAT32": DType("fp32", 32, np.float32, 2),
    "FLOAT64": DType("fp64", 64, np.float64),
    "INT4": DType("int4", 4, np.int8, 8),
    "INT8": DType("int8", 8, np.int8, 4),
    "INT16": DType("int16", 16, np.int16, 6),
    "INT32": DType("int32", 32, np.int32, 14),
    "INT64": DType("int64", 64, np.int64),
    "UINT1": DType("uint1", 1, np.uint8, 9),
    "UINT2": DType("uint2", 2, np.uint8, 10),
    "UINT3": DType("uint3", 3, np.uint8, 12),
    "UINT4": DType("uint4", 4, np.uint8, 11),
    "UINT6": DType("uint6", 6, np.uint8, 13),
    "UINT8": DType("uint8", 8, np.uint8, 3),
    "UINT16": DType("uint16", 16, np.uint16, 7),
    "UINT32": DType("uint32", 32, np.uint32, 15),
}
# The field of a TensorValue that holds numbers as they are; in the remaining one, `bytes`, they lie as in memory.
_NUMBERS = ("floats", "doubles", "ints", "longInts", "bools")
_HEADER = struct.Struct("<II")
_RECORD = struct.Struct("<IIQQ")
_RECORD_BYTES = 64
_SENTINEL = 0xDEADBEEF
_BLOB_VERSION = 2


@dataclass(frozen=True)
class Value:
    """A tensor of the program: its name, its shape (None where it is not fixed) and "fp16", "int32", "string", ..."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Operator:
    """An operator.

    Args:
        kind: "conv", "layer_norm", ...
        arguments: by parameter, the names of the values bound to it; more than one where the parameter is a list.
        outputs: what it makes.
    """

    kind: str
    arguments: dict[str, tuple[str, ...]]
    outputs: tuple[Value, ...]


@dataclass(frozen=True)
class Package:
    """A saved ML program.

    Args:
        opset: "CoreML6" is iOS 16's.
        inputs, outputs: of the main function.
        operators: in the order they run, without the constants.
        constants: by name, as stored, integers of less than a byte unpacked.
        types: "fp16", "int8", ... of each constant.
    """

    opset: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    operators: tuple[Operator, ...]
    constants: dict[str, Constant]
    types: dict[str, str]


def read_package(path: str | Path) -> Package:
    """What the .mlpackage folder at `path` holds; RequestError where it is missing, something else or damaged."""
    path = Path(path)
    if not path.is_dir():
        raise RequestError(f"{path} is not a Core ML package (.mlpackage), which is a folder")
    try:
        manifest = inputs.parse_json(inputs.read_bytes(path / "Manifest.json"))
        model = path / "Data" / manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        if not model.resolve().is_relative_to(path.resolve()):
            raise RequestError("its model lies outside the package")
        inputs.require_regular(model)
        import coremltools as ct  # here: it takes seconds

        return _read(ct.utils.load_spec(str(path)), _Blobs(model.parent))
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    except Exception as error:  # protobuf and the package reader each raise their own
        detail = " ".join(str(error).split())[:120]
        raise RequestError(f"{path} is damaged, or no Core ML package of an ML program ({detail})") from error


def _read(specification: Any, blobs: _Blobs) -> Package:
    if specification.WhichOneof("Type") != "mlProgram":
        raise RequestError("a Core ML package that holds no ML program")
    if "main" not in specification.mlProgram.functions:
        raise RequestError("its ML program has no function 'main'")
    function = specification.mlProgram.functions["main"]
    block = function.block_specializations[function.opset]
    constants: dict[str, Constant] = {}
    types: dict[str, str] = {}
    operators: list[Operator] = []

    def add_constant(name: str, value: Any) -> str:
        constants[name], types[name] = _constant(name, value, blobs), _dtype_name(value.type)
        return name

    for operation in block.operations:
        outputs = tuple(_value(output) for output in operation.outputs)
        if operation.type == "const":
            add_constant(outputs[0].name, operation.attributes["val"])
            continue
        if operation.blocks:
            raise RequestError(f"operator '{operation.type}' holds a block of its own, and those are not evaluated")
        prefix = outputs[0].name if outputs else operation.type
        arguments = {
            parameter: tuple(
                given.name
                if given.WhichOneof("binding") == "name"
                else add_constant(f"{prefix}.{parameter}.{index}", given.value)
                for index, given in enumerate(argument.arguments)
            )
            for parameter, argument in operation.inputs.items()
        }
        # iOS 16 keeps what a compressed constant is made of among its attributes
        for parameter, value in operation.attributes.items():
            if parameter != "name":
                arguments[parameter] = (add_constant(f"{prefix}.{parameter}", value),)
        operators.append(Operator(operation.type, arguments, outputs))

    made = {output.name: output for operator in operators for output in operator.outputs}
    inputs = tuple(_value(given) for given in function.inputs)
    made |= {given.name: given for given in inputs}
    known = {given.name for given in inputs} | constants.keys()
    for operator in operators:
        if unknown := [name for names in operator.arguments.values() for name in names if name not in known]:
            raise RequestError(f"its operator '{operator.kind}' reads {unknown[0]!r}, which nothing before it makes")
        known |= {output.name for output in operator.outputs}
    missing = [name for name in block.outputs if name not in made and name not in constants]
    if missing:
        raise RequestError(f"its output '{missing[0]}' is made by no operator")
    for name in block.outputs:
        if name not in made:
            made[name] = Value(name, np.shape(constants[name]), types[name])
    return Package(
        opset=function.opset,
        inputs=inputs,
        outputs=tuple(made[name] for name in block.outputs),
        operators=tuple(operators),
        constants=constants,
        types=types,
    )


def _value(named: Any) -> Value:
    return Value(named.name, _shape(named.type), _dtype_name(named.type))


def _shape(value_type: Any) -> tuple[int | None, ...]:
    return tuple(
        dimension.constant.size if dimension.WhichOneof("dimension") == "constant" else None
        for dimension in value_type.tensorType.dimensions
    )


def _mil_name(value_type: Any) -> str:
    tensor = value_type.tensorType
    return str(type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[tensor.dataType].name)


def _dtype_name(value_type: Any) -> str:
    if value_type.WhichOneof("type") != "tensorType":
        return str(value_type.WhichOneof("type"))
    name = _mil_name(value_type)
    return DTYPES[name].name if name in DTYPES else name.lower()


def _constant(name: str, value: Any, blobs: _Blobs) -> Constant:
    """The constant `value`, called `name`, whether it lies in the specification or in the weight file."""
    if value.type.WhichOneof("type") == "listType":
        return [_constant(name, item, blobs) for item in value.immediateValue.list.values]
    if value.type.WhichOneof("type") != "tensorType":
        raise RequestError(f"constant '{name}' is neither a tensor nor a list")
    shape = tuple(size or 0 for size in _shape(value.type))
    mil_name = _mil_name(value.type)
    if value.WhichOneof("value") == "blobFileValue":
        return blobs.read(name, value.blobFileValue, _known(name, mil_name), shape)
    tensor = value.immediateValue.tensor
    field = tensor.WhichOneof("value")
    if field == "strings":
        return str(tensor.strings.values[0])
    dtype = _known(name, mil_name)
    if field in _NUMBERS:
        found = np.array(getattr(tensor, field).values, dtype.numpy)
        if found.size != prod(shape):
            raise RequestError(f"constant '{name}' has {found.size} values for shape {shape}")
        return found.reshape(shape)
    return _unpack(name, np.frombuffer(tensor.bytes.values, np.uint8), dtype, shape)


def _known(name: str, mil_name: str) -> DType:
    if mil_name not in DTYPES:
        raise RequestError(f"constant '{name}' is of type {mil_name}, which is not evaluated")
    return DTYPES[mil_name]


def _unpack(name: str, data: NDArray[np.uint8], dtype: DType, shape: tuple[int, ...]) -> NDArray[Any]:
    """Bytes as an array of `dtype` and `shape`; integers of less than a byte as (u)int8."""
    count = prod(shape)
    if len(data) != (count * dtype.bits + 7) // 8:
        raise RequestError(f"constant '{name}' has {len(data)} bytes for shape {shape} of {dtype.name}")
    if dtype.bits >= 8:
        return data.view(dtype.numpy).reshape(shape).copy()
    bits = np.unpackbits(data, bitorder="little")[: count * dtype.bits].reshape(count, dtype.bits)
    values = np.packbits(bits, axis=1, bitorder="little")[:, 0]
    if dtype.numpy is np.int8:
        sign = 1 << (dtype.bits - 1)
        return ((values ^ sign).astype(np.int8) - np.int8(sign)).reshape(shape)
    return values.reshape(shape)


class _Blobs:
    """The weight files beside the specification in `folder`, which programs call @model_path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, NDArray[np.uint8]] = {}

    def read(self, name: str, place: Any, dtype: DType, shape: tuple[int, ...]) -> NDArray[Any]:
        """The constant `name` at `place`, a BlobFileValue; RequestError where it is not there whole."""
        file = self._open(place.fileName)
        record = bytes(file[place.offset : place.offset + _RECORD_BYTES])
        if len(record) < _RECORD_BYTES:
            raise RequestError(f"{place.fileName} ends before constant '{name}': the file is truncated")
        sentinel, blob, size, start = _RECORD.unpack_from(record)
        if sentinel != _SENTINEL or blob != dtype.blob:
            raise RequestError(f"{place.fileName} has no {dtype.name} at offset {place.offset}, for constant '{name}'")
        if start + size > len(file):
            raise RequestError(f"{place.fileName} ends within constant '{name}': the file is truncated")
        return _unpack(name, file[start : start + size], dtype, shape)

    def _open(self, name: str) -> NDArray[np.uint8]:
        if name not in self._files:
            path = (self._folder / name.removeprefix("@model_path/")).resolve()
            if not path.is_relative_to(self._folder.resolve()):
                raise RequestError(f"its weight file {name} lies outside the package")
            if not path.is_file() or path.stat().st_size < _RECORD_BYTES:
                raise RequestError(f"its weight file {name} is missing or empty")
            file = np.memmap(path, np.uint8, "r")
            if _HEADER.unpack_from(bytes(file[: _HEADER.size]))[1] != _BLOB_VERSION:
                raise RequestError(f"its weight file {name} is not of the blob format's version {_BLOB_VERSION}")
            self._files[name] = file
        return self._files[name]
