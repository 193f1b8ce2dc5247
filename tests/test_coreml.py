"""The saved .mlpackage, read back from disk: its operators, ranks, types and weights, and what it computes."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.command import refusal
from tests.command import run as command
from tests.conftest import Converted
from tests.readback import assert_stored
from tests.small import SMALL, edge_model, exported, one_block_a_stage, pixels, reference_logits
from tests.test_artifact import SCHEMA
from volo_edge import artifact, calibration, checkpoint
from volo_edge.calibration.images import find_images, stream
from volo_edge.converters.card import Card
from volo_edge.converters.coreml import evaluator, run
from volo_edge.converters.coreml.lower import lower
from volo_edge.converters.coreml.program import read_program
from volo_edge.converters.runner import RuntimeMissing
from volo_edge.converters.targets import choose
from volo_edge.decompose import CHANNELS_FIRST, EdgeVOLO, decompose
from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing
from volo_edge.validate.metrics import relative_error
from volo_edge.validate.reference import float_logits
from volo_edge.variants import VARIANTS

pytestmark = pytest.mark.slow

MAC = platform.system() == "Darwin"


def saved_weights(package: Path) -> list[NDArray[Any]]:
    """Every weight of the convolutions in a saved package, in the order they run, read from its weight file."""
    import coremltools as ct
    from coremltools.converters.mil.frontend.milproto.load import load

    model = ct.models.MLModel(str(package), skip_model_load=True)
    specification = model.get_spec()
    program = load(specification, specification.specificationVersion, model.weights_dir)
    operators = program.functions["main"].operations
    return [operator.weight.val for operator in operators if operator.op_type in ("conv", "conv_transpose")]


def torch_weights(edge: EdgeVOLO) -> list[NDArray[Any]]:
    """The weights of every convolution of an edge model."""
    return [value.numpy() for name, value in edge.state_dict().items() if name.endswith("weight")]


def test_the_saved_file_passes_parity_and_says_what_ran_it(coreml_artifact: Converted) -> None:
    folder, said = coreml_artifact
    manifest = said["manifest"]
    jsonschema.validate(manifest, json.loads(SCHEMA.read_text()))
    assert manifest == json.loads((folder / "manifest.json").read_text())
    assert manifest["parity"][0]["passed"] is True
    assert manifest["parity"][0]["relative_error"] < 5e-3
    runtime = "Core ML, macOS" if MAC else "volo-edge's evaluator (not Core ML itself)"
    assert manifest["parity"][0]["runtime"].startswith(runtime)
    assert manifest["selftest"]["logits_from"] == manifest["parity"][0]["runtime"]


def test_the_saved_file_classifies_the_validation_photographs_as_the_float_model(coreml_artifact: Converted) -> None:
    found = artifact.read(coreml_artifact[0])
    model = checkpoint.load().model
    runner = run.load(found.model_path)
    agree, worst = 0, 0.0
    for batch in stream(find_images(calibration.DEMO_VALIDATION), found.manifest.preprocessing, batch_size=50):
        reference = float_logits(model, batch.inputs, found.manifest.preprocessing)
        logits = runner.run(batch.inputs)
        agree += int((logits.argmax(1) == reference.argmax(1)).sum())
        worst = max(worst, relative_error(logits, reference))
    assert agree >= 498  # of 500: half precision may flip a photograph between two classes as likely as each other
    assert worst < 5e-3


def test_the_package_is_an_ml_program_of_few_axes_with_an_image_input(coreml_artifact: Converted) -> None:
    program = read_program(coreml_artifact[0] / "VOLO.mlpackage")
    assert program.opset == "CoreML6"  # iOS 16's
    assert program.largest_rank is not None
    assert program.largest_rank <= 5
    assert [(tensor.shape, tensor.dtype) for tensor in program.inputs] == [((64, 64), "RGB image")]
    assert [(tensor.name, tensor.shape, tensor.dtype) for tensor in program.outputs] == [
        ("classLabel", (), "string"),
        ("classLabel_probs", (), "dictionaryType"),
        ("logits", (1, 10), "fp32"),
    ]
    assert "transpose" not in program.operators
    # one norm for each block's two and the last, twice; the first class block's of the class token is a constant
    assert program.operators["layer_norm"] == 2 * (2 + 1 + 3 + 1) + 2 * 2 - 1 + 2


def test_every_saved_weight_is_the_edge_models(coreml_artifact: Converted) -> None:
    model = checkpoint.load().model
    edge = decompose(model, Preprocessing.from_crop((64, 64), 1.0), CHANNELS_FIRST)
    expected = {value.astype(np.float16).tobytes() for value in torch_weights(edge)}
    found = {value.astype(np.float16).tobytes() for value in saved_weights(coreml_artifact[0] / "VOLO.mlpackage")}
    one_hot = {value.numpy().astype(np.float16).tobytes() for value in edge.buffers() if value.shape[1:] == (1, 3, 3)}
    assert found == expected | one_hot


def test_the_package_is_a_classifier_that_says_what_it_is(coreml_artifact: Converted) -> None:
    import coremltools as ct

    found = artifact.read(coreml_artifact[0])
    description = ct.utils.load_spec(str(found.model_path)).description
    assert (description.predictedFeatureName, description.predictedProbabilitiesName) == (
        "classLabel",
        "classLabel_probs",
    )
    (image,) = description.input
    assert (image.name, image.type.WhichOneof("Type")) == ("image", "imageType")
    assert {output.name: output.type.WhichOneof("Type") for output in description.output} == {
        "classLabel": "stringType",
        "classLabel_probs": "dictionaryType",
        "logits": "multiArrayType",
    }
    assert all(feature.shortDescription for feature in (*description.input, *description.output))
    said = description.metadata
    assert (said.author, said.license) == ("A. Person", "CC0")
    assert said.versionString == found.manifest.model.weights_sha256[:12]
    assert "volo_cifar10" in said.shortDescription and "10 classes" in said.shortDescription
    assert said.userDefined["volo_edge.weights_sha256"] == found.manifest.model.weights_sha256
    assert said.userDefined["volo_edge.scheme"] == "fp16"
    preprocessing = json.loads(said.userDefined["volo_edge.preprocessing"])
    assert preprocessing == json.loads((found.folder / "manifest.json").read_text())["preprocessing"]


def test_the_classes_are_those_of_the_logits(coreml_artifact: Converted) -> None:
    found = artifact.read(coreml_artifact[0])
    program = evaluator.load(found.model_path)
    classes = set()
    for batch in stream(find_images(calibration.DEMO_CALIBRATION), found.manifest.preprocessing, batch_size=1):
        if len(classes) == 3:
            break
        answer = program(image=batch.inputs)
        scores = np.exp(answer["logits"][0] - answer["logits"].max())
        assert answer["classLabel"] == found.labels[int(answer["logits"].argmax())]
        assert list(answer["classLabel_probs"]) == list(found.labels)
        assert np.allclose([*answer["classLabel_probs"].values()], scores / scores.sum(), atol=1e-6)
        classes.add(answer["classLabel"])
    assert len(classes) == 3


@pytest.mark.parametrize(("minimum_ios", "opset"), [(15, "CoreML5"), (16, "CoreML6"), (17, "CoreML7"), (18, "CoreML8")])
@pytest.mark.parametrize("scheme", ["fp32", "fp16"])
def test_each_lowest_ios_has_its_operator_set(tmp_path: Path, minimum_ios: int, opset: str, scheme: str) -> None:
    path = tmp_path / "VOLO.mlpackage"
    card = Card(tuple("abcde"), "softmax", "five letters", "", "", "1", {})
    edge, choice = edge_model(SMALL, CHANNELS_FIRST), choose("coreml", None, scheme, minimum_ios)
    lower(exported(edge), choice, path, card)
    assert_stored(choice.target, path, edge)
    program = read_program(path)
    assert program.opset == opset
    assert program.largest_rank is not None
    assert program.largest_rank <= 5
    assert {layer.weight_dtype for layer in program.layers} == {scheme}
    assert {layer.activation_dtype for layer in program.layers} == {scheme}
    images = pixels(SMALL)
    error = relative_error(run.load(path).run(images), reference_logits(SMALL, images))
    assert error < (1e-5 if scheme == "fp32" and not MAC else 2e-2)  # Core ML itself may compute in half precision


@pytest.mark.parametrize("name", ["volo_d1_224", "volo_d4_448", "volo_d5_224"])
def test_the_published_widths_convert(tmp_path: Path, name: str) -> None:
    """With one block a stage; benchmarks/variants.py converts all of them whole."""
    path = tmp_path / "VOLO.mlpackage"
    architecture = one_block_a_stage(VARIANTS[name].architecture)
    edge, choice = edge_model(architecture, CHANNELS_FIRST), choose("coreml", None, "fp16", None)
    lower(exported(edge), choice, path)
    assert_stored(choice.target, path, edge)
    program = read_program(path)
    assert program.largest_rank is not None
    assert program.largest_rank <= 5
    assert program.inputs[0].shape == architecture.image_size
    images = pixels(architecture, 1)
    assert relative_error(run.load(path).run(images), reference_logits(architecture, images)) < 2e-2


def test_inspect_shows_operators_and_sizes(coreml_artifact: Converted) -> None:
    plain = command("inspect", coreml_artifact[0]).out
    for words in ("iOS 16 or later", "RGB image", "convolution weights", "layer_norm", "4 axes at most"):
        assert words in plain


def test_predict_names_the_class_of_a_photograph(coreml_artifact: Converted) -> None:
    ended = command("predict", coreml_artifact[0], calibration.DEMO_VALIDATION / "cat" / "0000.jpg")
    assert ended.status == 0
    assert ended.out.splitlines()[1].split()[1] == "cat"


def test_the_runtime_can_be_chosen(coreml_artifact: Converted) -> None:
    photograph = calibration.DEMO_VALIDATION / "cat" / "0000.jpg"
    said = json.loads(command("predict", coreml_artifact[0], photograph, "--json", "--runtime", "evaluator").out)
    assert said["runtime"].startswith("volo-edge's evaluator")
    assert (said["compared"] is not None) == MAC
    if not MAC:
        refused = refusal("predict", coreml_artifact[0], photograph, "--runtime", "native")
        assert "Core ML runs on macOS only" in refused


@pytest.mark.skipif(MAC, reason="macOS has Core ML, which knows every operator")
def test_an_operator_that_the_evaluator_lacks_leaves_parity_not_run_and_says_why(
    coreml_artifact: Converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(evaluator.OPERATORS, "gelu")
    with pytest.raises(RuntimeMissing, match=r"Core ML runs on macOS only, .* operator 'gelu' is not one"):
        run.load(coreml_artifact[0] / "VOLO.mlpackage")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("no folder", "is not a Core ML package"),
        ("no manifest", "is damaged, or no Core ML package"),
        ("no specification", "is damaged, or no Core ML package"),
        ("damaged specification", "is damaged, or no Core ML package"),
    ],
)
def test_a_damaged_package_is_refused_in_one_line(
    coreml_artifact: Converted, tmp_path: Path, harm: str, said: str
) -> None:
    import shutil

    path = tmp_path / "VOLO.mlpackage"
    if harm != "no folder":
        shutil.copytree(coreml_artifact[0] / "VOLO.mlpackage", path)
    specification = path / "Data/com.apple.CoreML/model.mlmodel"
    if harm == "no manifest":
        (path / "Manifest.json").unlink()
    elif harm == "no specification":
        specification.unlink()
    elif harm == "damaged specification":
        specification.write_bytes(specification.read_bytes()[:1000])
    with pytest.raises(RequestError, match=said) as caught:
        read_program(path)
    assert "\n" not in str(caught.value)
