"""What a saved ExecuTorch program holds, read from the file's own bytes: operators, delegates, weights, memory.

The graph in memory is what was asked for; the file is what a phone gets. flatc, which executorch installs with its
schemas, does the parsing: no executorch import (several seconds), and a damaged file cannot take this process down.

Layout, from executorch 1.5.1: the extended header and segments of `exir/_serialize/_program.py`, the tables of
`exir/_serialize/program.fbs`, the payload header of `backends/xnnpack/serialization/xnnpack_graph_serialize.py` and
the graph of `schema.fbs` beside it. XNNPACK's weights are not in its payload but in the program's named segments. A
Core ML delegate's payload is a package, which is read as one.
"""

from __future__ import annotations

import json
import mmap
import re
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from volo_edge.converters.executorch import coreml_package
from volo_edge.converters.program import Activation, Layer, Levels, Program, StoredLayer, TensorType, by_frequency
from volo_edge.errors import RequestError

Table = dict[str, Any]  # one flatbuffer table, as flatc writes it in JSON
Enter = Callable[[str, str, str, int], None]  # notes one constant: where it lies, kind, dtype, bytes

# ScalarType of scalar_type.fbs: the name XNNPACK has for it, or torch's, and its bytes
_SCALARS = {
    "FLOAT": ("fp32", 4),
    "HALF": ("fp16", 2),
    "BFLOAT16": ("bf16", 2),
    "DOUBLE": ("fp64", 8),
    "BYTE": ("uint8", 1),
    "CHAR": ("int8", 1),
    "SHORT": ("int16", 2),
    "INT": ("int32", 4),
    "LONG": ("int64", 8),
    "BOOL": ("bool", 1),
}

# XNNPACK's nodes that have weights: (what a Layer calls them, whose bytes their weights are)
_LAYERS = {
    "XNNFullyConnected": ("linear", "linear weights"),
    "XNNConv2d": ("convolution", "convolution weights"),
    "XNNDepthwiseConv2d": ("depthwise convolution", "convolution weights"),
    "XNNConvTranspose2d": ("transposed convolution", "convolution weights"),
}


@dataclass(frozen=True)
class Forward:
    """The method `forward` of a file, as the file's own tables have it; what is in its delegates is unread.

    Args:
        data: the whole file.
        base: where its segments start.
        tables: the Program of program.fbs.
        plan: the ExecutionPlan among them.
    """

    data: bytes | mmap.mmap
    base: int
    tables: Table
    plan: Table

    def calls(self, kind: str) -> list[Table]:
        """Arguments of the instructions "KernelCall" or "DelegateCall", in the order they run."""
        steps = [step for chain in self.plan["chains"] for step in chain["instructions"]]
        return [step["instr_args"] for step in steps if step["instr_args_type"] == kind]

    def delegates(self) -> list[int]:
        """Number of the delegate of each call."""
        return [call["delegate_index"] for call in self.calls("DelegateCall")]

    def backends(self) -> tuple[str, ...]:
        """Backend of the delegate of each call."""
        return tuple(self.plan["delegates"][number]["id"] for number in self.delegates())

    def payload(self, number: int) -> bytes:
        """What the backend wrote of delegate `number`; ValueError where it is not all there."""
        place = self.plan["delegates"][number]["processed"]
        if place["location"] == "INLINE":
            return bytes(self.tables["backend_delegate_data"][place["index"]]["data"])
        return self.segment(place["index"])

    def segment(self, number: int) -> bytes:
        """The bytes of segment `number`; ValueError where they are not all there."""
        segment = self.tables["segments"][number]
        start = self.base + segment["offset"]
        if start + segment["size"] > len(self.data):
            raise ValueError(f"segment {number} ends outside the file")
        return self.data[start : start + segment["size"]]


def read_program(path: str | Path) -> Program:
    """What `forward` of the .pte file at `path` holds; RequestError where it is missing, no .pte, cut short or damaged.

    Operators are XNNPACK's nodes over all delegates, as "XNNSoftmax"; those outside read "aten::cumsum.out". Weights
    have XNNPACK's types and layout: (out, in), (out, height, width, in), depthwise (1, height, width, channels). Of a
    Core ML delegate, all that is what `converters.coreml.program` says of its package. A delegate that is neither's
    counts among `bytes_by_kind` as "<backend> payload", and in no type.
    """
    forward = read_forward(path)
    with one_line(path):
        return _read(forward, path)


def read_weights(path: str | Path) -> tuple[StoredLayer, ...]:
    """What the layers of the .pte file at `path` compute with, in the order they run; RequestError as `read_program`.

    Layers of a delegate that is neither XNNPACK's nor Core ML's are not among them.
    """
    forward = read_forward(path)
    found: list[StoredLayer] = []
    with one_line(path):
        named = {item["key"]: item["segment_index"] for item in forward.tables.get("named_data", [])}
        sizes = {key: forward.tables["segments"][index]["size"] for key, index in named.items()}
        for number, backend in zip(forward.delegates(), forward.backends(), strict=True):
            payload = forward.payload(number)
            if backend == "XnnpackBackend":
                graph = _xnnpack_graph(payload, sizes)
                inline = struct.unpack_from("<4x4sHIIIQ", payload)[4]

                def constant(entry: Table, payload: bytes = payload, inline: int = inline) -> bytes:
                    if entry["named_key"]:
                        return forward.segment(named[entry["named_key"]])
                    return payload[inline + entry["offset"] :][: entry["size"]]

                found += _stored(graph, constant)
            elif backend == coreml_package.BACKEND:
                from volo_edge.converters.coreml import program

                with coreml_package.unpacked(payload, path) as package:
                    found += program.read_weights(package)
    return tuple(found)


def read_forward(path: str | Path) -> Forward:
    """The tables of the .pte file at `path`; RequestError as `read_program`."""
    try:
        with Path(path).open("rb") as file:  # mapped, not read: weights are most of it, and few ask for them
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror}") from None
    except ValueError:
        raise RequestError(f"{path} is empty") from None
    if data[4:6] != b"ET":  # the file identifier is "ET12" today; flatc holds it against the schema's
        raise RequestError(f"{path} is not an ExecuTorch program (.pte)")
    header = struct.unpack_from("<4sIQQQ", data[:40].ljust(40, b"\0"), 8)
    program_end, base, segment_bytes = header[2:] if header[0] == b"eh00" else (len(data), 0, 0)
    expected = max(40, program_end, base + segment_bytes)
    if len(data) < expected:
        raise RequestError(f"{path} is cut short: {len(data)} of {expected} bytes; copy or convert it again")
    with one_line(path):
        tables = _tables("exir/_serialize/program.fbs", data[:program_end])
        plans = {plan["name"]: plan for plan in tables["execution_plan"]}
        if "forward" not in plans:
            raise ValueError("it has no method 'forward'")
        return Forward(data, base, tables, plans["forward"])


@contextmanager
def one_line(path: str | Path) -> Iterator[None]:
    """Turns what tables that are not sound raise, where they are looked into, into a RequestError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, struct.error, subprocess.SubprocessError) as error:
        detail = " ".join((str(error) if isinstance(error, ValueError) else repr(error)).split())[:120]
        raise RequestError(f"{path} is damaged, or of another release of ExecuTorch ({detail})") from error


def _read(forward: Forward, path: str | Path) -> Program:
    """`read_program` once the file is known to be whole; any of the errors of `one_line` where it is not sound."""
    program, plan = forward.tables, forward.plan
    kernels = [plan["operators"][call["op_index"]] for call in forward.calls("KernelCall")]

    constants: dict[str, tuple[str, str, int]] = {}  # by where each lies, so that what is shared counts once

    def enter(place: str, kind: str, dtype: str, size: int) -> None:
        constants.setdefault(place, (kind, dtype, size))

    named = {item["key"]: program["segments"][item["segment_index"]]["size"] for item in program.get("named_data", [])}
    operators: Counter[str] = Counter()
    layers: list[Layer] = []
    packages: list[Program] = []
    for number, backend in zip(forward.delegates(), forward.backends(), strict=True):
        payload = forward.payload(number)
        if backend == "XnnpackBackend":
            graph = _xnnpack_graph(payload, named)
            operators.update(node["xnode_union_type"] for node in graph["xnodes"])
            layers += _layers(graph, number, enter)
        elif backend == coreml_package.BACKEND:
            packages.append(_package(payload, path))
        else:
            enter(f"payload {number}", f"{backend} payload", "", len(payload))

    tensors = [value["val"] for value in plan["values"] if value["val_type"] == "Tensor"]
    for tensor in tensors:  # a parameter that is added or multiplied stays outside: the delegate gets it as an input
        if tensor["data_buffer_idx"]:
            dtype, size = _SCALARS[tensor["scalar_type"]]
            enter(f"buffer {tensor['data_buffer_idx']}", "other constants", dtype, prod(tensor["sizes"]) * size)

    by_kind: Counter[str] = Counter()
    by_dtype: Counter[str] = Counter()
    for kind, dtype, size in constants.values():
        by_kind[kind] += size
        if dtype:
            by_dtype[dtype] += size
    for package in packages:
        operators.update(package.operators)
        layers += package.layers
        by_kind.update(package.bytes_by_kind)
        by_dtype.update(package.bytes_by_dtype)
    return Program(
        file_bytes=len(forward.data),
        delegates=forward.backends(),
        undelegated=by_frequency(Counter(f"{kernel['name']}.{kernel['overload']}".rstrip(".") for kernel in kernels)),
        inputs=tuple(_tensor_type(plan["values"][index]) for index in plan["inputs"]),
        outputs=tuple(_tensor_type(plan["values"][index]) for index in plan["outputs"]),
        arena_bytes=sum(plan["non_const_buffer_sizes"][1:]),  # the first is reserved for constants
        operators=by_frequency(operators),
        layers=tuple(layers),
        bytes_by_kind=by_frequency(by_kind),
        bytes_by_dtype=by_frequency(by_dtype),
        opset=next((package.opset for package in packages), None),
        largest_rank=max((package.largest_rank or 0 for package in packages), default=None),
    )


def _package(payload: bytes, path: str | Path) -> Program:
    """What the package of a Core ML delegate holds; RequestError where it is damaged."""
    from volo_edge.converters.coreml import program  # torch and coremltools, which a program on XNNPACK does not need

    with coreml_package.unpacked(payload, path) as package:
        return program.read_program(package)


def _layers(graph: Table, number: int, enter: Enter) -> list[Layer]:
    """The weight-bearing nodes of delegate `number`; every constant of its graph is noted with `enter`."""
    values = _values(graph)

    def note(index: int, kind: str, dtype: str) -> int:
        entry = graph["constant_data"][index]
        enter(entry["named_key"] or f"delegate {number}, {entry['offset']}", kind, dtype, entry["size"])
        return int(entry["size"])

    def note_value(value: Table, kind: str) -> int:
        size = note(value["constant_buffer_idx"], kind, _dtype(value))
        scales = value.get("quant_params", {})
        if scales.get("scale_buffer_idx"):  # float32 per channel, bfloat16 per group
            size += note(scales["scale_buffer_idx"], "scales", "bf16" if "group_size" in scales else "fp32")
        return size

    layers = []
    for node in graph["xnodes"]:
        kind, bytes_of = _LAYERS.get(node["xnode_union_type"], ("", ""))
        if not kind:
            continue
        ends = node["xnode_union"]
        weight, bias = values[ends["filter_id"]], values.get(ends["bias_id"])
        if not weight["constant_buffer_idx"]:
            continue  # a product of two activations
        size = note_value(weight, bytes_of)
        if bias is not None and bias["constant_buffer_idx"]:
            size += note_value(bias, "biases")
        group_size = weight.get("quant_params", {}).get("group_size", 0)
        layers.append(
            Layer(kind, tuple(weight["dims"]), _dtype(weight), _dtype(values[ends["input1_id"]]), group_size, size)
        )
    for value in values.values():
        if value["constant_buffer_idx"]:
            note_value(value, "other constants")
    return layers


def _values(graph: Table) -> dict[int, Table]:
    """The tensors of a delegate's graph by the number that nodes call them."""
    values: dict[int, Table] = {}
    for wrapped in graph["xvalues"]:
        value = wrapped["xvalue_union"]
        value = value.get("tensor_value", {}) | value  # a quantized value wraps a plain one
        values[value.get("id_out", len(values))] = value
    return values


def _stored(graph: Table, constant: Callable[[Table], bytes]) -> Iterator[StoredLayer]:
    """The layers of a delegate's graph; `constant` gives the bytes of an entry of its `constant_data`."""
    values = _values(graph)

    def decoded(value: Table) -> NDArray[np.float32]:
        shape, dtype = tuple(value["dims"]), _dtype(value)
        data = constant(graph["constant_data"][value["constant_buffer_idx"]])
        if dtype == "fp32":
            return np.frombuffer(data, "<f4").reshape(shape)
        if dtype in ("qcint4", "qbint4"):  # two to a byte, the first in the low half, 8 standing for zero
            halves = np.frombuffer(data, np.uint8)
            integers = np.stack((halves & 15, halves >> 4), -1).astype(np.float32) - 8
        else:
            integers = np.frombuffer(data, {"qint32": "<i4", "qcint32": "<i4"}.get(dtype, "i1")).astype(np.float32)
        scales = value["quant_params"]
        if "zero_point" in scales:
            whole = (integers - np.float32(scales["zero_point"])) * np.float32(scales["scale"])
            return whole.reshape(shape)
        if not scales["scale_buffer_idx"]:
            factors = np.array(scales["scale"], np.float32)
        elif group := scales.get("group_size"):
            bits = np.frombuffer(constant(graph["constant_data"][scales["scale_buffer_idx"]]), "<u2")
            factors = (bits.astype("<u4") << 16).view("<f4").repeat(group)
        else:
            factors = np.frombuffer(constant(graph["constant_data"][scales["scale_buffer_idx"]]), "<f4")
        if scales.get("group_size"):
            return (integers.reshape(-1) * factors).reshape(shape)
        axes = [1] * len(shape)
        axes[scales["channel_dim"]] = -1
        return integers.reshape(shape) * factors.reshape(axes)

    for node in graph["xnodes"]:
        if node["xnode_union_type"] not in _LAYERS:
            continue
        ends = node["xnode_union"]
        weight, bias = values[ends["filter_id"]], values.get(ends["bias_id"])
        if not weight["constant_buffer_idx"]:
            continue  # a product of two activations
        array = decoded(weight)
        if array.ndim == 4:  # (out, height, width, in); depthwise (1, height, width, channels)
            array = (
                array.transpose(3, 0, 1, 2) if "Depthwise" in node["xnode_union_type"] else array.transpose(0, 3, 1, 2)
            )
        yield StoredLayer(
            weight=array,
            bias=decoded(bias) if bias is not None and bias["constant_buffer_idx"] else None,
            given=_activation(values[ends["input1_id"]]),
            made=_activation(values[ends["output_id"]]),
        )


def _activation(value: Table) -> Activation:
    """How a tensor that is no constant is rounded."""
    dtype = _dtype(value)
    if dtype in ("qint8", "quint8"):
        scales, lowest = value["quant_params"], -128 if dtype == "qint8" else 0
        return Levels(float(scales["scale"]), int(scales["zero_point"]), lowest, lowest + 255)
    return "dynamic" if dtype in ("qdint8", "qpint8") else None


def _xnnpack_graph(payload: bytes, named: dict[str, int]) -> Table:
    """The XNNGraph table of a delegate's payload, each of its constants found in it or in `named` (name: bytes)."""
    magic, _, start, size, _, inline_bytes = struct.unpack_from("<4x4sHIIIQ", payload)
    if magic != b"XH00":
        raise ValueError(f"an XNNPACK payload starts with {magic!r}")
    graph = _tables("backends/xnnpack/serialization/schema.fbs", payload[start : start + size])
    for entry in graph["constant_data"]:
        name, size = entry["named_key"], entry["size"]
        if (named.get(name) != size) if name else (entry["offset"] + size > inline_bytes):
            raise ValueError(f"{size} bytes of weights are not in the file")
    return graph


def _tables(schema: str, binary: bytes) -> Table:
    """A flatbuffer as flatc reads it, with the schema at that path in the executorch package; floats may be None."""
    found = find_spec("executorch")
    if found is None or not found.submodule_search_locations:
        raise RequestError("reading a .pte file needs executorch, which is not installed here")
    package = Path(found.submodule_search_locations[0])
    with TemporaryDirectory() as folder:
        source = Path(folder, "table.bin")
        source.write_bytes(binary)
        command = (package / "data/bin/flatc", "--json", "--defaults-json", "--strict-json", "-o", folder)
        result = subprocess.run(
            [*map(str, (*command, package / schema, "--", source))], capture_output=True, timeout=60
        )
        if result.returncode:  # it answers with its usage, in thirty lines
            raise ValueError(f"flatc finds no sound table of {Path(schema).name} in it")
        text = source.with_suffix(".json").read_text()
    tables = json.loads(re.sub(r"(?<=[\s:\[])[-+]?(?:inf|nan)(?=[\s,\]}])", "null", text))  # flatc's are not JSON
    if not isinstance(tables, dict):
        raise ValueError("flatc wrote no table")
    return tables


def _dtype(value: Table) -> str:
    return str(value["datatype"]).removeprefix("xnn_datatype_")


def _tensor_type(value: Table) -> TensorType:
    if value["val_type"] != "Tensor":
        return TensorType((), value["val_type"])
    return TensorType(tuple(value["val"]["sizes"]), _SCALARS[value["val"]["scalar_type"]][0])
