"""The saved .pte, loaded in ExecuTorch's own runtime, agrees with the float model and runs in one delegate call."""

from __future__ import annotations

import gc
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx.passes.infra.pass_base import PassBase
from torch.fx.traceback import NodeSource

from tests.command import run as command
from tests.conftest import Converted
from tests.small import SMALL, edge_model, exported, one_block_a_stage, pixels, reference_logits
from tests.test_artifact import SCHEMA
from volo_edge import artifact, calibration, checkpoint, machine
from volo_edge.calibration.images import find_images, stream
from volo_edge.console import Steps
from volo_edge.convert import _graph
from volo_edge.converters.executorch import lower as lowering
from volo_edge.converters.executorch import run
from volo_edge.converters.executorch.lean import IDLE, lean
from volo_edge.converters.executorch.lower import lower
from volo_edge.converters.executorch.program import read_program
from volo_edge.converters.targets import Choice, choose
from volo_edge.decompose import TOKENS_LAST, EdgeVOLO
from volo_edge.preprocess import open_rgb, prepare, to_input
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import precisions
from volo_edge.validate.metrics import relative_error
from volo_edge.validate.reference import float_logits
from volo_edge.variants import VARIANTS

pytestmark = pytest.mark.slow

FP32 = choose("executorch", None, "fp32", None)


def test_the_conversion_is_one_delegate_call_and_passes_parity(executorch_artifact: Converted) -> None:
    folder, said = executorch_artifact
    manifest = said["manifest"]
    assert manifest == json.loads((folder / "manifest.json").read_text())
    jsonschema.validate(manifest, json.loads(SCHEMA.read_text()))
    assert manifest["graph"]["delegate_calls"] == 1
    assert manifest["graph"]["undelegated_ops"] == []
    (parity,) = manifest["parity"]
    assert parity["passed"] is True
    assert parity["relative_error"] < 1e-5
    assert parity["images"] == 32
    assert parity["runtime"].startswith("ExecuTorch 1.5.1")
    assert parity["processor"] == machine.instruction_set()


def test_the_saved_file_classifies_the_validation_photographs_as_the_float_model(
    executorch_artifact: Converted,
) -> None:
    found = artifact.read(executorch_artifact[0])
    model = checkpoint.load().model
    runner = run.load(found.model_path)
    images = find_images(calibration.DEMO_VALIDATION)
    right, agree, squares, signal = 0, 0, 0.0, 0.0
    for batch in stream(images, found.manifest.preprocessing, batch_size=50):
        reference = float_logits(model, batch.inputs, found.manifest.preprocessing)
        logits = runner.run(batch.inputs)
        labels = np.array([images.labels[index] for index in batch.indices])
        right += int((logits.argmax(1) == labels).sum())
        agree += int((logits.argmax(1) == reference.argmax(1)).sum())
        squares += float(((logits - reference) ** 2).sum())
        signal += float((reference**2).sum())
    assert len(images) == agree == 500
    assert right == 404  # of these 500; of all 5,000 it is 3,940
    assert (squares / signal) ** 0.5 < 1e-5


def test_the_selftest_photographs_give_their_tensors_and_logits(executorch_artifact: Converted) -> None:
    found = artifact.read(executorch_artifact[0])
    m, runner = found.manifest, run.load(found.model_path)
    assert len(m.selftest.cases) == 4
    for case in m.selftest.cases:
        given = to_input(prepare(open_rgb(found.folder / case.photo), m.preprocessing))
        assert np.array_equal(given.ravel(), np.fromfile(found.folder / case.tensor, "<f4"))
        logits = np.fromfile(found.folder / case.logits, "<f4")
        assert relative_error(runner.run(given)[0], logits) <= m.selftest.tolerance
        assert found.labels[int(logits.argmax())] == case.label


def test_the_arena_outside_the_delegate_is_the_input_and_the_output(executorch_artifact: Converted) -> None:
    program = read_program(executorch_artifact[0] / "model.pte")
    assert [tensor.shape for tensor in (*program.inputs, *program.outputs)] == [(1, 3, 64, 64), (1, 10)]
    assert program.delegates == ("XnnpackBackend",)
    assert program.undelegated == {}


def test_predict_names_the_class_of_a_photograph(executorch_artifact: Converted) -> None:
    photo = calibration.DEMO_VALIDATION / "cat" / "0000.jpg"
    ended = command("predict", executorch_artifact[0], photo)
    assert ended.status == 0
    first, second = ended.out.splitlines()[:2]
    assert str(photo) in first
    assert second.split()[1] == "cat"


def test_predict_takes_a_folder_and_counts_what_is_no_image(executorch_artifact: Converted, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes((calibration.DEMO_VALIDATION / "ship" / "0000.jpg").read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no image")
    (tmp_path / "notes.txt").write_text("nor this")
    ended = command("predict", "--json", executorch_artifact[0], tmp_path)
    said = json.loads(ended.out)
    assert [Path(one["image"]).name for one in said["predictions"]] == ["a.jpg", "b.jpg"]
    assert sorted(Path(name).name for name in said["skipped"]) == ["broken.png", "notes.txt"]
    assert "skipped 2 file(s) that are no images" in ended.err
    for one in said["predictions"]:
        assert len(one["classes"]) == 5
        assert one["classes"] == said["predictions"][0]["classes"]
        assert sum(guess["probability"] for guess in one["classes"]) <= 1 + 1e-6


def test_inspect_tells_what_is_in_the_file(executorch_artifact: Converted) -> None:
    plain = command("inspect", executorch_artifact[0]).out
    for words in ("1 delegate call(s): XnnpackBackend", "linear weights", "XNNSoftmax", "passed in ExecuTorch"):
        assert words in plain
    said = json.loads(command("inspect", "--json", executorch_artifact[0]).out)
    assert said["program"]["delegates"] == ["XnnpackBackend"]
    kinds = said["program"]["bytes_by_kind"]
    weights = sum(p.numel() for p in checkpoint.load().model.parameters()) * 4
    assert 0.99 < sum(kinds.values()) / weights < 1.01


@pytest.mark.parametrize("name", ["volo_d2_224", "volo_d4_224", "volo_d5_224"])
def test_every_width_lowers_whole(name: str, tmp_path: Path) -> None:
    """D3 has D2's widths and heads. All blocks of each are converted by benchmarks/variants.py."""
    architecture = one_block_a_stage(VARIANTS[name].architecture)
    assert lower(exported(edge_model(architecture, TOKENS_LAST)), FP32, tmp_path / "model.pte") == {}
    program = read_program(tmp_path / "model.pte")
    assert (program.delegates, program.undelegated) == (("XnnpackBackend",), {})
    images = pixels(architecture, 1)
    assert relative_error(run.load(tmp_path / "model.pte").run(images), reference_logits(architecture, images)) < 1e-5


def test_volo_d1_lowers_whole_and_agrees(tmp_path: Path) -> None:
    architecture = VARIANTS["volo_d1_224"].architecture
    assert lower(exported(edge_model(architecture, TOKENS_LAST)), FP32, tmp_path / "model.pte") == {}
    program = read_program(tmp_path / "model.pte")
    assert (program.delegates, program.undelegated) == (("XnnpackBackend",), {})
    images = pixels(architecture, 1)
    assert relative_error(run.load(tmp_path / "model.pte").run(images), reference_logits(architecture, images)) < 1e-5


class Accumulating(EdgeVOLO):
    """An edge model with an operator that XNNPACK lacks."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cumsum(super().forward(images), 1)


def test_an_operator_left_outside_is_named_with_its_reason(tmp_path: Path) -> None:
    edge = edge_model(SMALL, TOKENS_LAST)
    edge.__class__ = Accumulating
    reasons = lower(exported(edge), FP32, tmp_path / "model.pte")
    (outside,) = _graph(read_program(tmp_path / "model.pte"), reasons, 0).undelegated_ops
    assert (outside.operator, outside.count) == ("aten::cumsum.out", 1)
    assert outside.reason == "XNNPACK has no such operator"
    images = pixels(SMALL)
    expected = reference_logits(SMALL, images).cumsum(1)
    assert relative_error(run.load(tmp_path / "model.pte").run(images), expected) < 1e-5


def quantized(scheme: str) -> tuple[ExportedProgram, Choice]:
    """The small model's program in a scheme, its static ranges those of two images."""
    choice, edge = choose("executorch", None, scheme, None), edge_model(SMALL, TOKENS_LAST)
    images = torch.from_numpy(pixels(SMALL))
    return quantize(
        edge, precisions(edge, choice.scheme), "xnnpack", lambda: [images], len(images), Steps(None)
    ), choice


@contextmanager
def counting() -> Iterator[Counter[Any]]:
    """What lowering does within: how often each pass, "decompositions" of the model, copies of "weights", "sources"."""
    done: Counter[Any] = Counter()
    call, decompose, copy = PassBase.__call__, ExportedProgram.run_decompositions, nn.Parameter.__deepcopy__

    def called(self: PassBase, module: Any) -> Any:
        done[type(self)] += 1
        return call(self, module)

    def decomposed(self: ExportedProgram, table: Any, **options: Any) -> ExportedProgram:
        done["decompositions"] += bool(self.state_dict)  # a pattern that a pass looks for has no weights
        return decompose(self, table, **options)

    def weights(self: nn.Parameter, memo: Any) -> Any:
        done["weights"] += 1
        return copy(self, memo)

    def sources(self: NodeSource, memo: Any) -> NodeSource:
        done["sources"] += 1
        return self

    assert not hasattr(NodeSource, "__deepcopy__")
    with (
        patch.object(PassBase, "__call__", called),
        patch.object(ExportedProgram, "run_decompositions", decomposed),
        patch.object(nn.Parameter, "__deepcopy__", weights),
        patch.object(NodeSource, "__deepcopy__", sources, create=True),
    ):
        yield done


@pytest.mark.parametrize("scheme", ["fp32", "int8-static", "int4-dynamic"])  # float, fixed ranges, ranges at run time
def test_a_lean_lowering_writes_the_same_file(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails where ExecuTorch no longer does what is left out, or a pass that is left out has become of use.

    `benchmarks/lowering.py` shows the same of larger models.
    """
    saved, done = [], []
    for name, context in (("lean", lean), ("plain", nullcontext)):
        monkeypatch.setattr(lowering, "lean", context)
        program, choice = quantized(scheme)
        with counting() as counts:
            lower(program, choice, tmp_path / name)
        saved.append((tmp_path / name).read_bytes())
        done.append(counts)
    assert saved[0] == saved[1]
    leaner, plain = done
    idle = {resolve_name(path) for path in IDLE}
    assert idle - plain.keys() == set()  # nobody runs it any more: it need not be on the list
    assert idle & leaner.keys() == set()
    assert (plain["decompositions"], leaner["decompositions"]) == (3, 1)
    assert plain["weights"] > leaner["weights"]
    assert plain["sources"] > 0 == leaner["sources"]


def test_lean_leaves_the_collector_as_it_was() -> None:
    thresholds = gc.get_threshold()
    with lean():
        assert gc.get_threshold() > thresholds and gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count()) == (thresholds, 0)


def test_a_lowered_program_is_forgotten(tmp_path: Path) -> None:
    lower(*quantized("fp32"), tmp_path / "model.pte")
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing).__name__ == "LoweredBackendModule"]


@pytest.mark.parametrize(
    ("without", "instead", "operator", "fewer"),
    [
        # tokens are rounded once, not three times in the transformer's block, and once, not twice, in a class block
        ("without_repetitions", lambda program: program, "XNNConvert", 2 + 2),
        ("without_detours", nullcontext, "XNNStaticTranspose", 2),  # there and back
    ],
)
def test_what_is_simplified_away_changes_no_bit(
    without: str, instead: Any, operator: str, fewer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower(*quantized("int8-hybrid"), tmp_path / "simple.pte")
    monkeypatch.setattr(lowering, without, instead)
    lower(*quantized("int8-hybrid"), tmp_path / "as_it_is.pte")
    simple, as_it_is = (read_program(tmp_path / name).operators[operator] for name in ("simple.pte", "as_it_is.pte"))
    assert as_it_is - simple == fewer
    images = pixels(SMALL)
    answers = [run.load(tmp_path / name).run(images) for name in ("simple.pte", "as_it_is.pte")]
    np.testing.assert_array_equal(*answers)
