"""What a saved Core ML package holds, read from its specification on disk.

The specification is the protobuf of coremltools' `mlmodel/format/MIL.proto`: one main function, its operators in the
order they run, each constant with its type and either its value or its place in the weight file.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

from converters.program import Layer, Program, TensorType, by_frequency
from volo_edge.errors import RequestError

_DTYPES = {
    "FLOAT16": ("fp16", 2),
    "FLOAT32": ("fp32", 4),
    "FLOAT64": ("fp64", 8),
    "INT4": ("int4", 0.5),
    "INT8": ("int8", 1),
    "INT16": ("int16", 2),
    "INT32": ("int32", 4),
    "UINT1": ("uint1", 1 / 8),
    "UINT2": ("uint2", 1 / 4),
    "UINT3": ("uint3", 3 / 8),
    "UINT4": ("uint4", 0.5),
    "UINT6": ("uint6", 3 / 4),
    "UINT8": ("uint8", 1),
    "UINT16": ("uint16", 2),
    "BOOL": ("bool", 1),
}
_LAYERS = {"conv": "convolution", "conv_transpose": "transposed convolution", "linear": "linear"}


def read_program(path: str | Path) -> Program:
    """What the .mlpackage folder at `path` holds; RequestError where it is missing, something else or damaged."""
    path = Path(path)
    if not path.is_dir():
        raise RequestError(f"{path} is not a Core ML package (.mlpackage), which is a folder")
    import coremltools as ct

    try:
        specification = ct.utils.load_spec(str(path))
        return _read(specification, sum(file.stat().st_size for file in path.rglob("*") if file.is_file()))
    except RequestError:
        raise
    except Exception as error:  # protobuf and the package reader each raise their own
        detail = " ".join(str(error).split())[:120]
        raise RequestError(f"{path} is damaged, or no Core ML package of an ML program ({detail})") from error


def _read(specification: Any, file_bytes: int) -> Program:
    if specification.WhichOneof("Type") != "mlProgram":
        raise RequestError("a Core ML package that holds no ML program: convert it with volo-edge")
    function = specification.mlProgram.functions["main"]
    operators = function.block_specializations[function.opset].operations
    made_by = {output.name: operator for operator in operators for output in operator.outputs}
    types = {output.name: output.type for operator in operators for output in operator.outputs}
    types |= {given.name: given.type for given in function.inputs}
    constants: dict[str, tuple[str, str, int]] = {}

    def argument(operator: Any, name: str) -> str | None:
        found = operator.inputs[name].arguments if name in operator.inputs else []
        return found[0].name if found else None

    def note(name: str | None, kind: str) -> int:
        """Notes the constant `name`, or all that a compressed one is made of, and gives its bytes."""
        if name is None or name not in made_by:
            return 0
        operator = made_by[name]
        if operator.type.startswith("constexpr"):
            parts = [value for given in operator.inputs.values() for value in given.arguments]
            named = sum(note(part.name, kind) for part in parts if part.WhichOneof("binding") == "name")
            return named + sum(_bytes(value.type) for value in operator.attributes.values())
        if operator.type != "const":
            return 0
        size = _bytes(types[name])
        constants.setdefault(name, (kind, _dtype(types[name]), size))
        return size

    layers = []
    for operator in operators:
        if operator.type not in _LAYERS:
            continue
        weight = argument(operator, "weight")
        size = note(weight, "linear weights" if operator.type == "linear" else "convolution weights")
        size += note(argument(operator, "bias"), "biases")
        shape = _shape(types[weight])
        kind = _LAYERS[operator.type]
        if kind == "convolution" and shape[1] == 1 and shape[0] > 1:
            kind = "depthwise convolution"
        stored = made_by[weight]
        dtype = _dtype(types[weight]) if stored.type == "const" else stored.type.removeprefix("constexpr_")
        layers.append(Layer(kind, shape, dtype, _dtype(types[argument(operator, "x")]), 0, size))
    for name, operator in made_by.items():
        if operator.type == "const" and types[name].WhichOneof("type") == "tensorType":
            note(name, "other constants")

    by_kind: Counter[str] = Counter()
    by_dtype: Counter[str] = Counter()
    for kind, dtype, size in constants.values():
        by_kind[kind] += size
        by_dtype[dtype] += size
    description = specification.description
    return Program(
        file_bytes=file_bytes,
        inputs=tuple(_feature(feature) for feature in description.input),
        outputs=tuple(_feature(feature, types) for feature in description.output),
        operators=by_frequency(Counter(operator.type for operator in operators if operator.type != "const")),
        layers=tuple(layers),
        bytes_by_kind=by_frequency(by_kind),
        bytes_by_dtype=by_frequency(by_dtype),
        opset=function.opset,
        largest_rank=max(len(_shape(kind)) for kind in types.values() if kind.WhichOneof("type") == "tensorType"),
    )


def _feature(feature: Any, types: dict[str, Any] | None = None) -> TensorType:
    """An input or output; the description of an output leaves its shape to the program."""
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType":
        image = feature.type.imageType
        return TensorType((image.height, image.width), f"{image.ColorSpace.Name(image.colorSpace)} image")
    if types and feature.name in types:
        return TensorType(_shape(types[feature.name]), _dtype(types[feature.name]))
    array = feature.type.multiArrayType
    dtype = {"FLOAT32": "fp32", "FLOAT16": "fp16"}.get(array.ArrayDataType.Name(array.dataType), "other")
    return TensorType(tuple(array.shape), dtype)


def _shape(value_type: Any) -> tuple[int, ...]:
    return tuple(dimension.constant.size for dimension in value_type.tensorType.dimensions)


def _dtype_name(value_type: Any) -> str:
    tensor = value_type.tensorType
    return str(type(tensor).DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[tensor.dataType].name)


def _dtype(value_type: Any) -> str:
    name = _dtype_name(value_type)
    return _DTYPES[name][0] if name in _DTYPES else name.lower()


def _bytes(value_type: Any) -> int:
    return int(prod(_shape(value_type)) * _DTYPES.get(_dtype_name(value_type), ("", 0))[1])
