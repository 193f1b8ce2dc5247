"""Two artifacts side by side: what differs, field by field and layer by layer."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from tests.command import refusal, run
from tests.conftest import Converted
from tests.test_artifact import write
from volo_edge import artifact, files
from volo_edge.artifact import FileInfo, Manifest
from volo_edge.converters.program import Layer, StoredLayer
from volo_edge.difference import SECTIONS, Change, _layer, compare

LAYER = Layer("linear", (2, 3), "qcint8", "fp32", 0, 10)


def stored(weight: float, bias: float | None = None) -> StoredLayer:
    values = np.zeros((2, 3), np.float32)
    values[1, 2] = weight
    return StoredLayer(values, None if bias is None else np.full(2, bias, np.float32), None, None)


def changed(folder: Path, to: Path) -> Path:
    """A copy of an ExecuTorch artifact: one bit of a weight is another, and the manifest says another torch made it."""
    shutil.copytree(folder, to)
    found = artifact.read(to)
    data = bytearray(found.model_path.read_bytes())
    data[len(data) - 4099] ^= 64  # the exponent of a number near the end of the last segment
    found.model_path.write_bytes(data)
    model = FileInfo("model.pte", len(data), files.sha256(found.model_path))
    manifest = found.manifest
    artifact.write_manifest(
        to,
        replace(
            manifest, files=manifest.files | {"model": model}, tools=manifest.tools | {"torch": "1.0", "extra": "2"}
        ),
    )
    return to


def test_every_field_of_the_manifest_is_in_one_section() -> None:
    named = [name for section in SECTIONS.values() for name in section]
    assert sorted(named) == sorted([*(field.name for field in fields(Manifest)), "labels"])


@pytest.mark.parametrize(
    ("other", "weights", "biases"),
    [
        (stored(1.0, 0.5), 0.25, 0.0),
        (stored(0.75, -0.5), 0.0, 1.0),
        (stored(0.75), 0.0, 0.5),
        (stored(float("nan"), 0.5), None, 0.0),
    ],
    ids=["a weight", "a bias", "no bias", "no number"],
)
def test_a_layer_says_how_far_its_numbers_differ(other: StoredLayer, weights: float | None, biases: float) -> None:
    found = _layer(7, (LAYER, stored(0.75, 0.5)), (LAYER, other))
    assert found is not None
    assert (found.number, found.shape, found.weights, found.largest, found.biases) == (7, (2, 3), weights, 0.75, biases)


def test_a_layer_whose_numbers_are_only_stored_otherwise_is_told() -> None:
    groups = replace(LAYER, weight_dtype="qbint4", group_size=32)
    found = _layer(1, (LAYER, stored(1.0)), (groups, stored(1.0)))
    assert found is not None
    assert (found.here, found.there, found.weights) == ("qcint8", "qbint4 in groups of 32", 0.0)
    assert _layer(1, (LAYER, stored(1.0)), (LAYER, stored(1.0))) is None


def test_a_field_that_only_the_other_has_differs(tmp_path: Path) -> None:
    """Files of two backends, whose layers are not compared."""
    one = write(tmp_path / "one")
    write(tmp_path / "two", target="coreml", backend="coreml", minimum_ios=16, tools=one.tools | {"extra": "2"})
    found = compare(artifact.read(tmp_path / "one"), artifact.read(tmp_path / "two"))
    assert found.sections["tools"] == (Change("tools.extra", None, "2"),)
    assert Change("minimum_ios", None, 16) in found.sections["scheme"] and not found.same


@pytest.mark.slow
def test_an_artifact_and_its_copy_are_the_same(executorch_artifact: Converted, tmp_path: Path) -> None:
    copy = shutil.copytree(executorch_artifact[0], tmp_path / "copy")
    ended = run("inspect", executorch_artifact[0], "--against", copy)
    assert ended.status == 0, ended.err
    assert ended.out.splitlines()[0] == "same     yes: all 14 files and the manifest"
    assert "layers   0 of" in ended.out and len(ended.out.splitlines()) == 2


@pytest.mark.slow
def test_a_changed_weight_and_another_tool_are_found(executorch_artifact: Converted, tmp_path: Path) -> None:
    other = changed(executorch_artifact[0], tmp_path / "changed")
    ended = run("inspect", executorch_artifact[0], "--against", other)
    assert ended.status == 0, ended.err
    assert ended.out.startswith("same     no: the model's file is another; 13 of 14 files have the same bytes")
    assert "layers   1 of" in ended.out

    told = json.loads(run("inspect", "--json", executorch_artifact[0], "--against", other).out)["difference"]
    assert told["same"] is False
    torch = executorch_artifact[1]["manifest"]["tools"]["torch"]
    assert {"field": "tools.torch", "here": torch, "there": "1.0"} in told["sections"]["tools"]
    assert {"field": "tools.extra", "here": None, "there": "2"} in told["sections"]["tools"]
    assert [change["field"] for change in told["sections"]["files"]] == ["files.model.sha256"]
    assert not any(told["sections"][name] for name in ("model", "scheme", "graph", "parity"))
    (layer,) = told["layers"]
    assert layer["here"] == layer["there"] == "fp32"
    assert layer["weights"] > 0 or layer["biases"] > 0


@pytest.mark.slow
def test_files_of_two_backends_are_compared_as_far_as_it_makes_sense(
    executorch_artifact: Converted, coreml_artifact: Converted
) -> None:
    found = compare(*(artifact.read(one[0]) for one in (executorch_artifact, coreml_artifact)))
    assert {change.field for change in found.sections["scheme"]} >= {"target", "backend", "quantization.scheme"}
    assert {"graph.ops.XNNSoftmax", "graph.ops.softmax"} <= {change.field for change in found.sections["graph"]}
    assert not found.sections["model"]
    assert (found.layers, found.compared) == (None, 0)
    assert found.why_not == "xnnpack and coreml lay the model's layers out differently"


@pytest.mark.slow
@pytest.mark.parametrize("option", [("--profile",), ("--runtime", "native")])
def test_comparing_runs_no_file(executorch_artifact: Converted, option: tuple[str, ...]) -> None:
    folder = executorch_artifact[0]
    assert refusal("inspect", folder, "--against", folder, *option) == (
        f"--against compares two files and runs neither: leave {option[0]} out"
    )


@pytest.mark.slow
def test_the_other_must_be_an_artifact(executorch_artifact: Converted, tmp_path: Path) -> None:
    assert refusal("inspect", executorch_artifact[0], "--against", tmp_path / "none").startswith(
        f"{tmp_path / 'none'} is not there: give a folder"
    )
