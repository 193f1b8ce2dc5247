"""A .pte that delegates to Core ML: one call, a package inside it that is read and run, damage told in one line."""

from __future__ import annotations

import json
import platform
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.command import contents
from tests.small import SMALL, edge_model, exported, pixels, reference_logits
from volo_edge.converters.coreml import program as package_program
from volo_edge.converters.coreml.evaluator.operators import OPERATORS
from volo_edge.converters.executorch import run
from volo_edge.converters.executorch.coreml_package import unpacked
from volo_edge.converters.executorch.lower import lower
from volo_edge.converters.executorch.program import read_forward, read_program
from volo_edge.converters.program import TensorType
from volo_edge.converters.runner import RuntimeMissing
from volo_edge.converters.targets import choose
from volo_edge.decompose import CHANNELS_FIRST, TOKENS_LAST
from volo_edge.errors import RequestError
from volo_edge.validate.metrics import relative_error

pytestmark = pytest.mark.slow

without_core_ml = pytest.mark.skipif(platform.system() == "Darwin", reason="ExecuTorch has Core ML here")


class Split(nn.Module):
    """(1, 3, 8, 8) to itself: an operator that Core ML is not given between two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.asinh(self.first(x)))


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small edge model in half precision."""
    path = tmp_path_factory.mktemp("half") / "model.pte"
    assert lower(exported(edge_model(SMALL, CHANNELS_FIRST)), choose("executorch", "coreml", "fp16", None), path) == {}
    return path


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A program of two delegates, and the reasons given while it was lowered."""
    path = tmp_path_factory.mktemp("split") / "model.pte"
    program = torch.export.export(Split().eval(), (torch.zeros(1, 3, 8, 8),))
    return path, lower(program, choose("executorch", "coreml", "fp32", None), path)


def damaged(source: Path, tmp_path: Path, change: Callable[[bytearray], object]) -> Path:
    """A copy of the program at `source` with its delegate's payload changed; its length must stay."""
    data, payload = source.read_bytes(), read_forward(source).payload(0)
    changed = bytearray(payload)
    change(changed)
    assert len(changed) == len(payload)
    (tmp_path / "damaged.pte").write_bytes(data.replace(payload, changed))
    return tmp_path / "damaged.pte"


def assert_whole_and_agrees(path: Path, dtype: str, tolerance: float) -> None:
    program = read_program(path)
    assert (program.delegates, program.undelegated) == (("CoreMLBackend",), {})
    assert program.inputs == (TensorType((1, 3, *SMALL.image_size), "fp32"),)
    assert program.outputs == (TensorType((1, SMALL.num_classes), "fp32"),)
    assert {layer.weight_dtype for layer in program.layers} == {dtype}
    images = pixels(SMALL)
    runner = run.load(path)
    assert relative_error(runner.run(images), reference_logits(SMALL, images)) < tolerance
    if platform.system() == "Darwin":
        assert runner.runtime.startswith("ExecuTorch") and runner.runtime.endswith("Core ML")
    else:
        assert runner.runtime.startswith("volo-edge's evaluator (not Core ML itself)")


def test_half_precision_is_one_call_and_agrees(half: Path) -> None:
    assert_whole_and_agrees(half, "fp16", 1e-2)


def test_single_precision_is_one_call_and_agrees(tmp_path: Path) -> None:
    path, choice = tmp_path / "model.pte", choose("executorch", "coreml", "fp32", None)
    assert lower(exported(edge_model(SMALL, CHANNELS_FIRST)), choice, path) == {}
    assert_whole_and_agrees(path, "fp32", 1e-5)


def test_the_minimum_ios_is_the_packages(tmp_path: Path) -> None:
    program = torch.export.export(nn.Conv2d(3, 4, 3).eval(), (torch.zeros(1, 3, 8, 8),))
    lower(program, choose("executorch", "coreml", "fp16", 18), tmp_path / "model.pte")
    assert read_program(tmp_path / "model.pte").opset == "CoreML8"


def test_the_package_is_what_executorch_unpacks(half: Path, tmp_path: Path) -> None:
    from executorch.backends.apple.coreml import executorchcoreml

    payload = read_forward(half).payload(0)
    assert executorchcoreml.unflatten_directory_contents(payload, str(tmp_path))
    (theirs,) = tmp_path.rglob("model.mlpackage")
    with unpacked(payload, half) as ours:
        names = sorted(file.relative_to(theirs) for file in theirs.rglob("*") if file.is_file())
        assert names == sorted(file.relative_to(ours) for file in ours.rglob("*") if file.is_file())
        assert all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in names)
    assert len(names) > 2
    assert not ours.exists()


def test_what_is_read_is_the_packages(half: Path) -> None:
    program = read_program(half)
    with unpacked(read_forward(half).payload(0), half) as package:
        inside = package_program.read_program(package)
    for name in ("operators", "layers", "bytes_by_kind", "bytes_by_dtype", "opset", "largest_rank"):
        assert getattr(program, name) == getattr(inside, name), name
    assert (program.opset, program.largest_rank) == ("CoreML6", 4)
    assert program.operators["layer_norm"] == 9
    assert program.layers[0].shape == (8, 3, 7, 7)
    assert program.file_bytes == half.stat().st_size > sum(program.bytes_by_kind.values())


def test_an_operator_left_outside_is_named_with_its_reason(split: tuple[Path, dict[str, str]]) -> None:
    program = read_program(split[0])
    assert program.delegates == ("CoreMLBackend", "CoreMLBackend")
    assert program.undelegated == {"aten::asinh.out": 1}
    assert [layer.shape for layer in program.layers] == [(4, 3, 3, 3), (3, 4, 1, 1)]
    assert program.bytes_by_kind["convolution weights"] == 4 * (4 * 27 + 3 * 4)
    assert program.operators["conv"] == 2
    assert set(split[1]) == {"aten.asinh.default"}
    assert "coremltools" in split[1]["aten.asinh.default"]


@without_core_ml
def test_a_program_that_is_not_one_call_has_no_runtime_here(split: tuple[Path, dict[str, str]]) -> None:
    with pytest.raises(RuntimeMissing, match=r"is 2 delegate call\(s\) and 1 operator\(s\) outside them"):
        run.load(split[0])


@without_core_ml
def test_an_operator_that_is_not_evaluated_has_no_runtime_here(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(OPERATORS, "gelu")
    with pytest.raises(RuntimeMissing, match=f"the Core ML package in {half}: operator 'gelu' is not one"):
        run.load(half)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (b'"sedon"', b'"sedoN"', "KeyError"),
        (b'"nosj.atadatem"', b'"nosj.atada/.."', "names '../adata.json'"),
        (b'"egakcaplm.ledom"', b'"egakcaplm.ledoM"', "holds no model.mlpackage"),
        (b'0:"nosj.ofni_gubed"', b'1:"nosj.ofni_gubed"', "in no folder"),
        (b'[:"sedon"{', b'[:"sedon"[', "delimiter"),
    ],
)
def test_a_damaged_index_is_one_line(half: Path, tmp_path: Path, before: bytes, after: bytes, says: str) -> None:
    def change(payload: bytearray) -> None:
        assert before in payload
        payload[:] = payload.replace(before, after)

    path = damaged(half, tmp_path, change)
    for read in (read_program, run.load):
        with pytest.raises(RequestError, match=r"^[^\n]*$") as caught:
            read(path)
        assert f"the Core ML delegate of {path} is damaged" in str(caught.value)
        assert says in str(caught.value)
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_delegate_is_what_executorch_unpacks(half: Path, tmp_path: Path) -> None:
    from executorch.backends.apple.coreml import executorchcoreml

    payload = read_forward(half).payload(0)
    assert executorchcoreml.unflatten_directory_contents(payload, str(tmp_path))
    with unpacked(payload, half) as package:
        assert contents(package.parent) == contents(tmp_path / "lowered_module")


def test_what_a_phone_compiles_of_a_package_is_kept_under_a_name_of_its_contents(
    half: Path, split: tuple[Path, dict[str, str]]
) -> None:
    names = []
    for path, number in ((half, 0), (split[0], 0), (split[0], 1)):
        with unpacked(read_forward(path).payload(number), path) as package:
            names.append(json.loads((package.parent / "metadata.json").read_text())["identifier"])
    assert len(set(names)) == 3 and all(name.startswith("executorch_") for name in names)


def test_a_damaged_package_is_one_line_about_the_program(half: Path, tmp_path: Path) -> None:
    def change(payload: bytearray) -> None:
        payload[payload.index(b"\xef\xbe\xad\xde")] = 0

    path = damaged(half, tmp_path, change)
    for read in (read_program, run.load):
        with pytest.raises(RequestError, match=f"^the Core ML package in {path}: .* for constant [^\n]*$"):
            read(path)


def test_damage_is_one_line_or_harmless(half: Path, tmp_path: Path) -> None:
    chance = random.Random(0)

    def scratch(payload: bytearray) -> None:
        for _ in range(chance.choice((1, 5))):
            payload[-chance.randrange(1, 1200)] = chance.randrange(256)

    lines = []
    for _ in range(100):
        try:
            read_program(damaged(half, tmp_path, scratch))
        except RequestError as error:
            lines.append(str(error))
    assert len(lines) > 50
    assert "\n" not in "".join(lines)
    assert max(map(len, lines)) < len(str(tmp_path)) + 250


def test_a_program_on_xnnpack_runs_in_executorch(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    assert lower(exported(edge_model(SMALL, TOKENS_LAST)), choose("executorch", "xnnpack", "fp32", None), path) == {}
    program = read_program(path)
    assert (program.delegates, program.undelegated) == (("XnnpackBackend",), {})
    assert (program.opset, program.largest_rank) == (None, None)
    images, runner = pixels(SMALL), run.load(path)
    assert runner.runtime.startswith("ExecuTorch") and runner.runtime.endswith("XNNPACK")
    assert relative_error(runner.run(images), reference_logits(SMALL, images)) < 1e-5
