"""What quantizing costs, layer by layer: the emulation against the graph, the command, its resumption, its picture."""

from __future__ import annotations

import copy
import json
import signal
import time
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.command import contents, end, refusal, run, start
from tests.small import SMALL, edge_model, pixels
from volo_edge.calibration import DEMO_CALIBRATION, DEMO_WEIGHTS
from volo_edge.decompose import LAYOUTS, EdgeVOLO
from volo_edge.quantize import SCHEMES
from volo_edge.quantize.layers import precisions
from volo_edge.quantize.statistics import Inputs, gather
from volo_edge.quantize.weights import quantize_weights
from volo_edge.sensitivity import measure
from volo_edge.sensitivity.kept import Kept, Layer, Measured
from volo_edge.sensitivity.rounding import Switched, find_ranges, switch_all, switched
from volo_edge.validate.metrics import snr_db

COMMAND = ("sensitivity", "--target", "executorch")
# Two computations round alike but for ties, after which they differ as two draws of the same noise;
# over 64 images that noise is known to half a decibel, whichever way a processor decides the ties.
BATCHES = [torch.from_numpy(pixels(SMALL, 64))]


def statistics(edge: EdgeVOLO, scheme: str) -> dict[str, Inputs]:
    fitted = [name for name, which in precisions(edge, SCHEMES[scheme]).items() if which.weights.compensated]
    return gather(edge, fitted, BATCHES, True, lambda count: None) if fitted else {}


def emulated(edge: EdgeVOLO, scheme: str, backend: str) -> dict[str, Switched]:
    layers = switched(edge, precisions(edge, SCHEMES[scheme]), statistics(edge, scheme))
    find_ranges(edge, layers, backend == "coreml", BATCHES, lambda count: None)
    return layers


def answers(edge: Any) -> Any:
    with torch.inference_mode():
        return np.concatenate([edge(image).numpy() for image in BATCHES[0].split(1)])


# The emulation


@pytest.mark.parametrize(
    ("scheme", "backend"), [("int8-dynamic", "xnnpack"), ("int4-dynamic", "xnnpack"), ("palette4", "coreml")]
)
def test_rounding_is_that_of_the_tensors(scheme: str, backend: str) -> None:
    edge = edge_model(SMALL, LAYOUTS[backend])
    original = answers(edge)
    stored = copy.deepcopy(edge)
    quantize_weights(stored, precisions(edge, SCHEMES[scheme]), statistics(edge, scheme))
    layers = emulated(edge, scheme, backend)
    assert np.array_equal(answers(edge), original)
    switch_all(layers.values(), True)
    assert snr_db(answers(edge), answers(stored)) > 80
    assert snr_db(answers(edge), original) < 60
    switch_all(layers.values(), False)
    assert np.array_equal(answers(edge), original)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "backend"), [("int8-static", "xnnpack"), ("int8-hybrid", "xnnpack"), ("int8-static", "coreml")]
)
def test_static_activations_are_those_of_pt2e(scheme: str, backend: str) -> None:
    from volo_edge.quantize.static import static

    edge = edge_model(SMALL, LAYOUTS[backend])
    original, stored = answers(edge), copy.deepcopy(edge)
    scales = quantize_weights(stored, precisions(edge, SCHEMES[scheme]), statistics(edge, scheme))
    program = torch.export.export(stored, (BATCHES[0][:1],), strict=False)
    real = answers(static(program, scales, backend, [(batch,) for batch in BATCHES], lambda count: None).module())
    layers = emulated(edge, scheme, backend)
    assert np.array_equal(answers(edge), original)
    switch_all(layers.values(), True)
    assert snr_db(answers(edge), original) == pytest.approx(snr_db(real, original), abs=1.5)
    if scheme == "int8-static":  # of which the activations are what is felt
        assert snr_db(answers(stored), original) > snr_db(real, original) + 1.5


@pytest.mark.parametrize("backend", ["xnnpack", "coreml"])
def test_kept_features_change_nothing(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = {"xnnpack": "int8-dynamic", "coreml": "int8-weight"}[backend]
    found = []
    for kept in (0, 2**30):
        monkeypatch.setattr(measure, "_KEPT_BYTES", kept)
        edge = edge_model(SMALL, LAYOUTS[backend])
        layers = emulated(edge, scheme, backend)
        network = measure._Network(edge, layers, [batch.byte() for batch in BATCHES])
        logits = []
        for name in layers:
            with network.changed(name):
                logits.append(network.logits())
            with network.quantized(), network.changed(name):
                logits.append(network.logits())
        assert bool(network._kept) == bool(kept)
        assert np.array_equal(network.logits(), np.asarray(edge(BATCHES[0])))
        found.append(np.stack(logits))
    assert np.array_equal(*found)
    assert len({row.tobytes() for row in found[0]}) == len(found[0])


def test_kinds() -> None:
    edge = edge_model(SMALL, LAYOUTS["coreml"])
    kinds = {name: measure.kind(name) for name in precisions(edge, SCHEMES["int8-static"])}
    assert kinds["patch_embed.conv.3"] == "stem"
    assert [name for name, kind in kinds.items() if kind == "patch"] == ["patch_embed.proj", "network.1.proj"]
    assert [name for name, kind in kinds.items() if kind == "head"] == ["head", "aux_head"]
    assert set(kinds.values()) == {"stem", "patch", "v", "q", "k", "attn", "proj", "fc1", "fc2", "head"}


def test_by_token() -> None:
    from volo_edge.sensitivity.rounding import by_token

    x = torch.tensor([[[0.0, 255.0, 100.4]], [[-1.0, 1.55, 0.0]], [[0.0, 0.0, 0.0]]])
    rounded: Tensor = by_token(x)
    assert torch.allclose(rounded, torch.tensor([[[0.0, 255.0, 100.0]], [[-1.0, 1.55, 0.0]], [[0.0, 0.0, 0.0]]]))


# The command


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A run that nothing stopped: the folder, and what `--json` said."""
    output = tmp_path_factory.mktemp("sensitivity") / "whole"
    ended = run(*COMMAND, "--limit", "20", "--json", "--output", output)
    assert (ended.status, ended.err) == (0, "")
    return output, json.loads(ended.out)


@pytest.mark.slow
def test_the_report(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, said = whole
    report = json.loads((folder / "sensitivity.json").read_text())
    assert said["sensitivity"] == report
    assert contents(folder.parent).keys() == {"whole", "whole/sensitivity.json", "whole/sensitivity.svg"}
    assert "not a file" in report["measured_on"]
    assert report["photographs"] == 20
    from volo_edge import checkpoint
    from volo_edge.decompose import decompose
    from volo_edge.preprocess import Preprocessing

    model = checkpoint.load().model
    edge = decompose(model, Preprocessing.from_crop(model.architecture.image_size, 1.0), LAYOUTS["xnnpack"])
    names = [layer["name"] for layer in report["layers"]]
    assert names == list(precisions(edge, SCHEMES["int8-dynamic"]))
    baseline = report["quantized"]["snr_db"]
    for layer in report["layers"]:
        assert layer["only"]["snr_db"] > baseline
        assert layer["gain_db"] == pytest.approx(layer["without"]["snr_db"] - baseline)
        assert -100 <= layer["only"]["top1_drop"] <= 100
    best = max(report["layers"], key=lambda layer: layer["gain_db"])
    assert best["without"]["snr_db"] > baseline


@pytest.mark.slow
def test_the_picture(whole: tuple[Path, dict[str, Any]]) -> None:
    root = xml.etree.ElementTree.parse(whole[0] / "sensitivity.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    comments = (whole[0] / "sensitivity.svg").read_text()
    for layer in whole[1]["sensitivity"]["layers"]:
        assert f"<!-- {layer['name']} -->" in comments


@pytest.mark.slow
def test_a_stopped_run_goes_on(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    command = (*COMMAND, "--limit", "20", "--output", tmp_path / "new")
    state = tmp_path / ".new.volo-edge" / "state" / "layers.json"
    process = start(*command)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not (state.exists() and len(json.loads(state.read_text())["layers"]) >= 5):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    ended = end(process)
    assert ended.status == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".new.volo-edge", "layers.json", "state"]
    kept = json.loads(state.read_text())
    count = len(kept["layers"])
    assert f"interrupted; {count} of 56 layers are measured: the same command goes on" in ended.err
    kept["layers"][0]["only"]["snr_db"] = 12.5  # would be overwritten if it were measured again
    real = whole[1]["sensitivity"]["layers"][0]["only"]["snr_db"]
    state.write_text(json.dumps(kept))

    other = run(*COMMAND, "--limit", "1", "--data", DEMO_CALIBRATION / "cat", "--output", tmp_path / "new", "--json")
    assert other.status == 0
    assert "starting afresh" in other.err and json.loads(other.out)["resumed"] == 0
    state.parent.mkdir(parents=True)
    state.write_text(json.dumps(kept))
    ended = run(*command, "--json", "--force")
    assert ended.status == 0 and f"{count} layer(s) were measured by an earlier run" in ended.err
    said = json.loads(ended.out)
    assert said["resumed"] == count
    assert said["sensitivity"]["layers"][0]["only"]["snr_db"] == 12.5
    said["sensitivity"]["layers"][0]["only"]["snr_db"] = real
    assert said["sensitivity"] == whole[1]["sensitivity"]
    assert not state.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quantize", "fp32"), "scheme fp32 quantizes no layer"),
        (("--quantize", "palette4"), "does not take the scheme palette4"),
        (("--limit", "0"), "--limit 0: take at least 1"),
        (("--weights", str(DEMO_WEIGHTS)), "give a folder of photographs that the model knows with --data DIR"),
        (("--weights", str(DEMO_WEIGHTS), "--quantize", "int4-dynamic"), "--calibration DIR"),
        (("--data", "absent"), "there is no folder of images at absent"),
        (("--calibration", "absent"), "there is no folder of images at absent"),
    ],
)
def test_refusals(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in refusal(*COMMAND, *arguments, "--output", tmp_path / "new")
    assert not any(tmp_path.iterdir())


def test_an_earlier_result_stays(tmp_path: Path) -> None:
    (tmp_path / "sensitivity.json").write_text('{"request": {}, "measured_on": "", "layers": []}')
    assert "pass --force" in refusal(*COMMAND, "--output", tmp_path)
    (tmp_path / "sensitivity.json").rename(tmp_path / "other")
    assert "is no sensitivity" in refusal(*COMMAND, "--force", "--output", tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 10_000, '{"request": {}}', '{"format_version": 1, "request": {}, "layers": [1]}']
)
def test_a_state_of_anything_else_is_no_measurement(tmp_path: Path, text: str) -> None:
    path = tmp_path / "layers.json"
    path.write_text(text)
    kept = Kept(path, {"model": "a"})
    assert not kept.found and kept.of_another


def test_what_was_measured_is_kept_for_the_same_request_only(tmp_path: Path) -> None:
    path = tmp_path / "state" / "layers.json"
    kept = Kept(path, {"model": "a"})
    some = Measured(12.5, 1.0, None)
    kept.found["x"] = Layer("x", "fc1", 10, "int8", "int8", some, some, 0.5)
    kept.write()
    assert Kept(path, {"model": "a"}).found == kept.found
    assert not Kept(path, {"model": "b"}).found and Kept(path, {"model": "b"}).of_another
    values = json.loads(path.read_text())
    for key, value in (("parameters", "many"), ("only", 3), ("gain_db", "high"), ("colour", "red")):
        path.write_text(json.dumps(values | {"layers": [values["layers"][0] | {key: value}]}))
        assert not Kept(path, {"model": "a"}).found
