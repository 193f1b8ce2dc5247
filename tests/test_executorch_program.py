"""A .pte file read back from its bytes, and the partitioner's reasons, on models of a few thousand parameters."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from volo_edge.converters.executorch import program
from volo_edge.converters.executorch.program import read_program, read_weights
from volo_edge.converters.executorch.reasons import xnnpack_reasons
from volo_edge.converters.program import Layer, Levels, Program, TensorType
from volo_edge.errors import RequestError

IMAGE = torch.zeros(1, 3, 8, 8)


class Small(nn.Module):
    """(1, 3, 8, 8) to (1, 8, 64): an attention, with a cumulative sum in it that XNNPACK cannot take if asked."""

    def __init__(self, cumsum: bool) -> None:
        super().__init__()
        self.cumsum = cumsum
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.first = nn.Linear(8, 64)
        self.second = nn.Linear(64, 64)
        self.third = nn.Linear(64, 64)
        self.position = nn.Parameter(torch.randn(1, 16, 64))

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.conv(x).relu()).flatten(2).transpose(1, 2)
        x = self.second(self.first(x) + self.position)
        weights = torch.bmm(x, x.transpose(1, 2)).softmax(-1)
        if self.cumsum:
            weights = weights.cumsum(-1)
        return self.third(self.second(torch.bmm(weights, x)))[:, 1:9]  # the second linear on both sides of the sum


class Static(nn.Module):
    """(1, 3, 8, 8) to (1, 8, 8, 4): a convolution and a linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.conv(x).permute(0, 2, 3, 1))


def lower(model: nn.Module, path: Path) -> Path:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(model, (IMAGE,))
    to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()]).to_executorch().save(str(path))
    return path


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The float model with a cumulative sum between two delegates, and the reasons given while it was lowered."""
    with xnnpack_reasons() as reasons:
        path = lower(Small(cumsum=True).eval(), tmp_path_factory.mktemp("split") / "model.pte")
    return path, reasons


Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def quantized_from(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Weights]:
    """One delegate: a float linear, an int8 one and an int4 one, the last two quantizing what reaches them.

    With it, what its layers' weights stand for.
    """
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_
    from torchao.quantization.granularity import PerAxis, PerGroup

    model = Small(cumsum=False).eval()
    for layer, dtype, granularity in (("second", torch.int8, PerAxis(0)), ("third", torch.int4, PerGroup(32))):
        config = Int8DynamicActivationIntxWeightConfig(weight_dtype=dtype, weight_granularity=granularity)
        quantize_(model, config, filter_fn=lambda module, name, layer=layer: name == layer)
    stored: Any = model.third.weight
    stored.scale = stored.scale.bfloat16().float()  # what XNNPACK has of groups
    layers = {name: module for name, module in model.named_children() if isinstance(module, nn.Linear | nn.Conv2d)}
    weights = {
        name: layer.weight.dequantize() if name in ("second", "third") else layer.weight.data.clone()
        for name, layer in layers.items()
    }
    return lower(model, tmp_path_factory.mktemp("quantized") / "model.pte"), weights


@pytest.fixture
def quantized(quantized_from: tuple[Path, Weights]) -> Path:
    return quantized_from[0]


def damaged(source: Path, tmp_path: Path, change: Callable[[bytearray], object]) -> Path:
    data = bytearray(source.read_bytes())
    change(data)
    (tmp_path / "damaged.pte").write_bytes(data)
    return tmp_path / "damaged.pte"


def layers_of(program: Program, kind: str) -> list[Layer]:
    return [layer for layer in program.layers if layer.kind == kind]


def test_split_program(split: tuple[Path, dict[str, str]]) -> None:
    program = read_program(split[0])
    assert program.file_bytes == split[0].stat().st_size
    assert program.delegates == ("XnnpackBackend", "XnnpackBackend")
    assert program.undelegated == {"aten::cumsum.out": 1}
    assert program.inputs == (TensorType((1, 3, 8, 8), "fp32"),)
    assert program.outputs == (TensorType((1, 8, 64), "fp32"),)
    assert program.arena_bytes >= 4 * (3 * 8 * 8 + 16 * 16)
    for operator, count in (("XNNBatchMatrixMultiply", 2), ("XNNSoftmax", 1), ("XNNStaticSlice", 1), ("XNNAdd", 1)):
        assert program.operators[operator] == count
    assert program.operators["XNNFullyConnected"] == 4


def test_float_weights(split: tuple[Path, dict[str, str]]) -> None:
    program = read_program(split[0])
    assert program.layers[:3] == (
        Layer("convolution", (8, 3, 3, 3), "fp32", "fp32", 0, 4 * (8 * 27 + 8)),
        Layer("depthwise convolution", (1, 3, 3, 8), "fp32", "fp32", 0, 4 * 72),
        Layer("linear", (64, 8), "fp32", "fp32", 0, 4 * (64 * 8 + 64)),
    )
    assert [layer.bytes for layer in layers_of(program, "linear")[1:]] == [4 * (64 * 64 + 64)] * 3
    assert program.bytes_by_kind == {  # the linear that two delegates share is stored, and counted, once
        "linear weights": 4 * (64 * 8 + 2 * 64 * 64),
        "other constants": 4 * 16 * 64,
        "convolution weights": 4 * (8 * 27 + 72),
        "biases": 4 * (8 + 3 * 64),
    }
    assert program.bytes_by_dtype == {"fp32": sum(program.bytes_by_kind.values())}
    assert program.file_bytes > sum(program.bytes_by_kind.values()) > program.file_bytes / 2


def test_dynamically_quantized_weights(quantized: Path) -> None:
    program = read_program(quantized)
    assert program.delegates == ("XnnpackBackend",)
    assert program.undelegated == {}
    first, second, again, third = layers_of(program, "linear")
    assert (first.weight_dtype, first.activation_dtype) == ("fp32", "fp32")
    assert second == again == Layer("linear", (64, 64), "qcint8", "qdint8", 0, 64 * 64 + 4 * 64 + 4 * 64)
    assert third == Layer("linear", (64, 64), "qbint4", "qdint8", 32, 64 * 64 // 2 + 2 * 128 + 4 * 64)
    assert program.bytes_by_kind["scales"] == 4 * 64 + 2 * 128
    assert program.bytes_by_dtype["qcint8"] == 64 * 64
    assert program.bytes_by_dtype["qbint4"] == 64 * 64 // 2
    assert program.bytes_by_dtype["bf16"] == 2 * 128


def test_statically_quantized_weights(tmp_path: Path) -> None:
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    config = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    model = torch.export.export(Static().eval(), (IMAGE,)).module()
    model = prepare_pt2e(model, xnnpack_quantizer.XNNPACKQuantizer().set_global(config))
    model(torch.randn_like(IMAGE))
    program = read_program(lower(convert_pt2e(model), tmp_path / "model.pte"))
    assert [layer.kind for layer in program.layers] == ["convolution", "linear"]
    assert {(layer.weight_dtype, layer.activation_dtype) for layer in program.layers} == {("qcint8", "qint8")}
    assert program.bytes_by_dtype["qcint8"] == 8 * 27 + 8 * 4
    assert program.bytes_by_dtype["qcint32"] == program.bytes_by_kind["biases"] == 4 * (8 + 4)


def test_weights_are_read_back_as_the_model_has_them(quantized_from: tuple[Path, Weights]) -> None:
    path, weights = quantized_from
    found = read_weights(path)
    order = ("conv", "depthwise", "first", "second", "second", "third")
    assert [one.given for one in found] == [None, None, None, "dynamic", "dynamic", "dynamic"]
    for name, one in zip(order, found, strict=True):
        np.testing.assert_allclose(one.weight, weights[name], rtol=1e-6, err_msg=name)
        assert (one.bias is None) == (name == "depthwise") and one.made is None


def test_static_levels_are_read_back_as_they_were_chosen(tmp_path: Path) -> None:
    """Scales that are powers of two, and a range of which a third is below zero; one scale for each row."""
    torch.manual_seed(0)
    weight, bias = torch.randint(-127, 128, (8, 3, 3, 3), dtype=torch.int8), torch.randn(8)
    scales = 2.0 ** -torch.arange(4, 12)

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", weight)
            self.register_buffer("scales", scales)
            self.register_buffer("zeros", torch.zeros(8, dtype=torch.int64))
            self.register_buffer("bias", bias)

        def forward(self, x: Tensor) -> Tensor:
            ops = torch.ops.quantized_decomposed
            rows = ops.dequantize_per_channel(self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8)
            for levels, layer in (((2**-6, -40), True), ((2**-3, 7), False)):
                arguments = (*levels, -128, 127, torch.int8)
                x = ops.dequantize_per_tensor(ops.quantize_per_tensor(x, *arguments), *arguments)
                x = nn.functional.conv2d(x, rows, self.bias, padding=1) if layer else x
            return x

    (found,) = read_weights(lower(Chosen().eval(), tmp_path / "model.pte"))
    assert (found.given, found.made) == (Levels(2**-6, -40, -128, 127), Levels(2**-3, 7, -128, 127))
    np.testing.assert_array_equal(found.weight, weight * scales[:, None, None, None])
    assert found.bias is not None
    np.testing.assert_allclose(found.bias, bias, atol=float(2**-6 * scales.max()))


def test_another_backend_is_its_payload(quantized: Path, tmp_path: Path) -> None:
    def rename(data: bytearray) -> None:
        data[:] = data.replace(b"XnnpackBackend", b"UnknownBackend")

    program = read_program(damaged(quantized, tmp_path, rename))
    assert program.delegates == ("UnknownBackend",)
    assert (program.operators, program.layers) == ({}, ())
    assert set(program.bytes_by_kind) == {"UnknownBackend payload", "other constants"}
    assert program.bytes_by_dtype == {"fp32": 4 * 16 * 64}


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read"), (b"", "is empty"), (b"ET", "not an ExecuTorch"), (b"PK\3\4" + bytes(100), "not an Exec")],
)
def test_other_files(content: bytes | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "other.pte"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=says):
        read_program(path)
    with pytest.raises(RequestError, match="cannot read"):
        read_program(tmp_path)


def test_cut_short(quantized: Path, tmp_path: Path) -> None:
    size = quantized.stat().st_size
    for keep in (20, 64, 1000, size // 2, size - 1):
        (tmp_path / "cut.pte").write_bytes(quantized.read_bytes()[:keep])
        with pytest.raises(RequestError, match=rf"cut short: {keep} of \d+ bytes"):
            read_program(tmp_path / "cut.pte")


def test_weights_that_are_not_in_the_file(quantized: Path, tmp_path: Path) -> None:
    def rename_scales(data: bytearray) -> None:
        data[data.index(b"scale_") : data.index(b"scale_") + 6] = b"Scale_"

    with pytest.raises(RequestError, match="of weights are not in the file"):
        read_program(damaged(quantized, tmp_path, rename_scales))


def test_weights_of_another_size_than_their_segment_are_not_in_the_file(quantized: Path) -> None:
    forward = program.read_forward(quantized)
    segments = forward.tables["segments"]
    named = {item["key"]: segments[item["segment_index"]]["size"] for item in forward.tables["named_data"]}
    payload = forward.payload(0)
    graph = program._xnnpack_graph(payload, named)
    (name, *_) = (entry["named_key"] for entry in graph["constant_data"] if entry["named_key"])
    for other in (named | {name: named[name] + 1}, {key: size for key, size in named.items() if key != name}):
        with pytest.raises(ValueError, match=f"{named[name]} bytes of weights are not in the file"):
            program._xnnpack_graph(payload, other)


def test_weights_in_a_delegate_lie_within_it(quantized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = program.read_forward(quantized)
    payload = bytearray(forward.payload(0))
    inline = struct.unpack_from("<4x4sHIIIQ", payload)[5]

    def entry(offset: int, size: int) -> dict[str, Any]:
        return {"constant_data": [{"named_key": "", "offset": offset, "size": size}]}

    for offset, size, sound in ((0, inline, True), (1, inline, False), (inline, 1, False)):
        monkeypatch.setattr(program, "_tables", lambda *_, at=(offset, size): entry(*at))
        if sound:
            program._xnnpack_graph(bytes(payload), {})
        else:
            with pytest.raises(ValueError, match=f"{size} bytes of weights are not in the file"):
                program._xnnpack_graph(bytes(payload), {})


def test_a_segment_lies_within_the_file(quantized: Path) -> None:
    forward = program.read_forward(quantized)
    number = len(forward.tables["segments"]) - 1
    whole = forward.tables["segments"][number]
    assert len(forward.segment(number)) == whole["size"]
    whole["size"] = len(forward.data) - forward.base - whole["offset"] + 1
    with pytest.raises(ValueError, match=f"segment {number} ends outside the file"):
        forward.segment(number)


def test_damage_is_one_line_or_harmless(quantized: Path, tmp_path: Path) -> None:
    chance = random.Random(0)
    tables = struct.unpack_from("<4sIQQQ", quantized.read_bytes(), 8)[2]

    def scratch(data: bytearray) -> None:
        for _ in range(chance.choice((1, 20))):
            data[chance.randrange(2 * tables)] = chance.randrange(256)

    lines = []
    for _ in range(60):
        try:
            read_program(damaged(quantized, tmp_path, scratch))
        except RequestError as error:
            lines.append(str(error))
    assert len(lines) > 20
    assert "\n" not in "".join(lines)
    assert max(map(len, lines)) < len(str(tmp_path)) + 250


def test_reasons(split: tuple[Path, dict[str, str]]) -> None:
    assert split[1] == {"aten.cumsum.default": "XNNPACK has no such operator"}


def test_reasons_of_the_partitioner(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Refused(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.add(x, x.softmax(1), alpha=2) + x.softmax(-1)
            return x.double() + x.reshape(1, 3, 2, 4, 8).softmax(1).sum()

    with xnnpack_reasons() as reasons:
        lower(Refused(), tmp_path / "model.pte")
    assert reasons["aten._softmax.default"] == (
        "dim must be the last dim, got dim = 1 for tensor of rank 4; "
        "dim must be the last dim, got dim = 1 for tensor of rank 5"
    )
    assert reasons["aten.add.Tensor"].split("; ")[0] == "Add node doesn't support alpha != 1"
    assert "WhyNoPartition" not in "".join(capfd.readouterr())
    reasons.clear()
    lower(Refused(), tmp_path / "model.pte")
    assert reasons == {}  # nothing is left behind


def test_importing_is_light() -> None:
    code = (
        "import sys, volo_edge.converters.executorch.program, volo_edge.converters.executorch.reasons; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'executorch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0
