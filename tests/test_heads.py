"""Models with one label or several independent ones, through the command: files, predictions, evaluation, refusals."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit

from tests.command import Ended, refusal, run
from tests.conftest import Converted
from tests.small import SMALL
from tests.weights import named_weights
from volo_edge import artifact
from volo_edge.artifact import Artifact
from volo_edge.calibration import DEMO_VALIDATION
from volo_edge.calibration.images import balanced_subset, find_images, stream
from volo_edge.converters.coreml import evaluator
from volo_edge.converters.targets import TARGETS
from volo_edge.model import VOLO

pytestmark = pytest.mark.slow

LABELS = {1: ("hot dog",), 3: ("sea", "sand", "dog")}
SCHEMES = {"executorch": "fp32", "coreml": "fp16"}
PHOTOGRAPH = DEMO_VALIDATION / "cat" / "0000.jpg"


def converting(folder: Path, outputs: int, target: str, *options: str) -> tuple[str | Path, ...]:
    """The command that converts a small model with so many outputs."""
    weights, labels = folder / f"{outputs}.pth", folder / f"{outputs}.txt"
    torch.save(named_weights(VOLO(replace(SMALL, num_classes=outputs))).state_dict(), weights)
    labels.write_text("".join(f"{label}\n" for label in LABELS[outputs]))
    named = ("convert", "--target", target, "--quantize", SCHEMES[target], "--weights", weights, "--labels", labels)
    return *named, "--output", folder / f"{target}-{outputs}", *options


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def heads(folder: Path) -> dict[tuple[str, int], Artifact]:
    """By target and outputs."""
    found = {}
    for target in SCHEMES:
        for outputs in LABELS:
            ended = run(*converting(folder, outputs, target, "--activation", "sigmoid"))
            assert ended.status == 0, ended.err
            assert "head     sigmoid: the labels are independent" in ended.out
            assert "activation sigmoid (--activation)" in ended.out and "labels agree on 100.0%" in ended.out
            found[target, outputs] = artifact.read(folder / f"{target}-{outputs}")
    return found


def answers(one: Artifact, count: int = 24) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Names of some photographs, and the logits of the saved file in its runtime."""
    images = balanced_subset(find_images(DEMO_VALIDATION), count, seed=0)
    (batch,) = stream(images, one.manifest.preprocessing, count)
    return images.files, TARGETS[one.manifest.target].module("run").load(one.model_path).run(batch.inputs)


def noise(one: Artifact) -> NDArray[np.float32]:
    """An image (1, 3, H, W) of the model's size."""
    size = one.manifest.preprocessing.crop
    return np.random.default_rng(0).integers(0, 256, (1, 3, *size)).astype(np.float32)


def copied(names: tuple[str, ...], to: Path) -> None:
    to.mkdir(parents=True)
    for name in names:
        shutil.copy(DEMO_VALIDATION / name, to / name.replace("/", "-"))


def report_of(ended: Ended, status: int = 0) -> dict[str, Any]:
    assert ended.status == status, ended.err
    found: dict[str, Any] = json.loads(ended.out)["report"]
    return found


@pytest.mark.parametrize("option", [(), ("--activation", "softmax")])
def test_one_output_needs_its_activation(folder: Path, option: tuple[str, ...]) -> None:
    command = converting(folder, 1, "executorch", *option)
    said = refusal(*command)
    assert "one output, and its softmax is always 100 %: say --activation sigmoid" in said


def test_the_manifest_says_the_activation(
    heads: dict[tuple[str, int], Artifact], executorch_artifact: Converted
) -> None:
    for (_, outputs), one in heads.items():
        model, (parity, *_) = one.manifest.model, one.manifest.parity
        assert (model.activation, model.num_classes, one.labels) == ("sigmoid", outputs, LABELS[outputs])
        assert model.assumed[-1] == type(model.assumed[-1])("activation", "sigmoid", "--activation")
        assert (parity.top1_agreement, parity.labels_agreement, parity.passed) == (None, 1, True)
    inspected = run("inspect", heads["coreml", 1].folder).out
    assert "a single label" in inspected and "sigmoid: the labels are independent" in inspected
    usual = artifact.read(executorch_artifact[0]).manifest
    assert usual.model.activation == "softmax" and usual.parity[0].labels_agreement is None
    assert ("activation", "softmax", "the usual one") in [(a.what, a.value, a.source) for a in usual.model.assumed]


def test_a_package_of_several_labels_is_a_classifier_of_independent_ones(
    heads: dict[tuple[str, int], Artifact],
) -> None:
    import coremltools as ct

    one = heads["coreml", 3]
    description = ct.utils.load_spec(str(one.model_path)).description
    assert description.predictedFeatureName == "classLabel"
    said = {output.name: output.shortDescription for output in description.output}
    assert "independent" in said["classLabel"] and "do not add up" in said["classLabel_probs"]
    assert description.metadata.userDefined["volo_edge.activation"] == "sigmoid"
    assert "3 independent labels" in description.metadata.shortDescription
    pixels = noise(one)
    answer = evaluator.load(one.model_path)(image=pixels)
    assert [*answer["classLabel_probs"].values()] == pytest.approx(expit(answer["logits"][0].astype(float)), abs=1e-6)
    assert abs(sum(answer["classLabel_probs"].values()) - 1) > 0.05
    assert answer["classLabel"] == LABELS[3][int(answer["logits"].argmax())]


def test_a_package_of_one_label_is_no_classifier(heads: dict[tuple[str, int], Artifact]) -> None:
    import coremltools as ct

    one = heads["coreml", 1]
    description = ct.utils.load_spec(str(one.model_path)).description
    assert description.predictedFeatureName == "" == description.predictedProbabilitiesName
    assert {output.name: list(output.type.multiArrayType.shape) for output in description.output} == {
        "logits": [1, 1],
        "probabilities": [1, 1],
    }
    assert all("'hot dog'" in output.shortDescription for output in description.output)
    pixels = noise(one)
    answer = evaluator.load(one.model_path)(image=pixels)
    assert answer["probabilities"][0] == pytest.approx(expit(answer["logits"][0].astype(float)), abs=1e-6)


def test_predict_gives_each_label_its_own_probability(heads: dict[tuple[str, int], Artifact]) -> None:
    for (target, outputs), one in heads.items():
        said = json.loads(run("predict", one.folder, PHOTOGRAPH, "--json").out)
        assert said["activation"] == "sigmoid"
        images = find_images(DEMO_VALIDATION)
        place = images.files.index("cat/0000.jpg")
        (batch,) = stream(
            replace(images, files=images.files[place : place + 1], labels=(0,)), one.manifest.preprocessing, 1
        )
        logits = TARGETS[target].module("run").load(one.model_path).run(batch.inputs)[0].astype(float)
        (prediction,) = said["predictions"]
        assert [guess["label"] for guess in prediction["classes"]] == [LABELS[outputs][i] for i in np.argsort(-logits)]
        found = [guess["probability"] for guess in prediction["classes"]]
        assert found == pytest.approx(sorted(expit(logits), reverse=True), abs=1e-6)
    plain = run("predict", one.folder, PHOTOGRAPH).out
    assert f"{found[0]:6.1%}  {prediction['classes'][0]['label']}" in plain
    assert plain.splitlines()[-1].startswith("sigmoid: the labels are independent")


def test_a_single_label_is_evaluated_in_two_class_folders(
    heads: dict[tuple[str, int], Artifact], folder: Path, tmp_path: Path
) -> None:
    names, logits = answers(heads["executorch", 1])
    middle = float(np.median(logits))
    says = logits[:, 0] > middle
    has = says.copy()
    has[[np.flatnonzero(says)[0], np.flatnonzero(~says)[0]]] ^= True  # a photograph of each is labelled otherwise
    for name, own in (("1", has), ("0", ~has)):
        copied(tuple(np.array(names)[own]), tmp_path / "data" / name)
    command = ("evaluate", heads["executorch", 1].folder, heads["coreml", 1].folder, "--data", tmp_path / "data",
               "--weights", folder / "1.pth", "--threshold", str(expit(middle)))  # fmt: skip
    ended = run(*command, "--max-drop", "30", "--json", "--output", tmp_path / "report")
    report = report_of(ended)
    assert (report["activation"], report["threshold"]) == ("sigmoid", pytest.approx(expit(middle)))
    assert "photographs in '1' were taken to have 'hot dog', those in '0' not to have it" in ended.err
    assert f"at least {expit(middle):g} (--threshold)" in ended.err
    assert {(one["folder"], one["label"]) for one in report["data"]["classes"]} == {("1", "hot dog"), ("0", "no label")}
    one = report["artifacts"][0]
    assert (one["top1"], one["top5"], one["by_class"], one["changed"]) == (None, None, [], [])
    labels = one["labels"]
    assert labels["accuracy"]["file"] == pytest.approx(100 * 22 / 24) == labels["exact"]["file"]
    (row,) = labels["by_label"]
    both = int((says & has).sum())
    assert row["photographs"] == has.sum()
    assert row["file"]["precision"] == pytest.approx(100 * both / says.sum())
    assert row["file"]["recall"] == pytest.approx(100 * both / has.sum())
    assert row["file"]["average_precision"] == labels["mean_average_precision"]
    assert (one["passed"] is True and "of label accuracy" in one["verdict"]) or "same label accuracy" in one["verdict"]
    text = run(*command, "--output", tmp_path / "plain").out
    assert "label accuracy %" in text and "mAP %" in text and "top-1" not in text
    page = (tmp_path / "report" / "report.html").read_text()
    assert "label accuracy" in page and "average precision %" in page and "top-1" not in page
    assert "top-1" not in (tmp_path / "report" / "report.md").read_text()


def test_several_labels_are_evaluated_by_a_class_map(
    heads: dict[tuple[str, int], Artifact], folder: Path, tmp_path: Path
) -> None:
    one = heads["executorch", 3]
    names, logits = answers(one, 40)
    copied(names, tmp_path / "data")
    has = logits > np.median(logits, 0)  # what the model ranks perfectly, wherever 0.5 is

    def mapped(path: Path, truth: NDArray[np.bool_]) -> Path:
        rows = [[name.replace("/", "-"), *map(int, own)] for name, own in zip(names, truth, strict=True)]
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["file", *LABELS[3]], *rows])
        return path

    command = ("evaluate", one.folder, "--data", tmp_path / "data", "--weights", folder / "3.pth", "--json")
    right = mapped(tmp_path / "right.csv", has)
    report = report_of(run(*command, "--class-map", right, "--max-drop", "20", "--output", tmp_path / "right"))
    assert report["float_model"]["mean_average_precision"] == pytest.approx(100)
    labels = report["artifacts"][0]["labels"]
    said = logits >= 0
    both, either = (said & has).sum(1), (said | has).sum(1)
    expected = np.where(either == 0, 1, both / np.maximum(either, 1))
    assert labels["accuracy"]["file"] == pytest.approx(100 * expected.mean())
    assert labels["exact"]["file"] == pytest.approx(100 * (said == has).all(1).mean())
    assert labels["mean_average_precision"] == pytest.approx(100)
    assert report["artifacts"][0]["passed"] is True and report["data"]["classes"] == []

    wrong = mapped(tmp_path / "wrong.csv", np.random.default_rng(0).permutation(~has))
    shuffled = run(*command, "--class-map", wrong, "--max-drop", "100", "--output", tmp_path / "wrong")
    assert report_of(shuffled, 3)["artifacts"][0]["passed"] is False
    assert "own answers cannot be right: it gives photographs that have a label no higher" in shuffled.err
    assert "answers cannot be right: what is said of 1 artifact(s)" in (tmp_path / "wrong" / "report.html").read_text()

    said_nothing = run(*command, "--output", tmp_path / "nothing")
    report = report_of(said_nothing)
    assert report["artifacts"][0]["labels"]["accuracy"] is None and report["artifacts"][0]["agreement"] == 100
    assert "says the float model's labels for 100.00 %" in report["artifacts"][0]["verdict"]
    assert "which --max-drop needs" in refusal(*command, "--max-drop", "1", "--output", tmp_path / "none")


def test_a_threshold_is_for_independent_labels(executorch_artifact: Converted, tmp_path: Path) -> None:
    command = ("evaluate", executorch_artifact[0], "--data", DEMO_VALIDATION, "--output", tmp_path / "out")
    assert "--threshold is for independent labels" in refusal(*command, "--threshold", "0.4")
    for bad in ("0", "1", "nan", "-0.5"):
        assert f"--threshold {bad}: give a probability between 0 and 1" in refusal(*command, "--threshold", bad)
