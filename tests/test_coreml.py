"""The saved .mlpackage, read back from disk: its operators, ranks, types and weights. Only macOS can run it."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

import calibration
from converters.coreml import run
from converters.coreml.lower import lower
from converters.coreml.program import read_program
from converters.runner import RuntimeMissing
from converters.targets import choose
from tests.command import run as command
from tests.conftest import Converted
from tests.small import SMALL, edge_model, one_block_a_stage
from tests.test_artifact import SCHEMA
from volo_edge import checkpoint
from volo_edge.decompose import CHANNELS_FIRST, EdgeVOLO, decompose
from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing
from volo_edge.variants import VARIANTS

pytestmark = pytest.mark.slow

NEEDS_MAC = pytest.mark.skipif(platform.system() != "Darwin", reason="Core ML runs on macOS only")


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


def test_the_conversion_says_that_it_was_not_run_and_why(coreml_artifact: Converted) -> None:
    folder, said = coreml_artifact
    manifest = said["manifest"]
    jsonschema.validate(manifest, json.loads(SCHEMA.read_text()))
    assert manifest == json.loads((folder / "manifest.json").read_text())
    if platform.system() == "Darwin":
        assert manifest["parity"]["passed"] is True
    else:
        assert manifest["parity"]["passed"] is None
        assert "Core ML runs on macOS only" in manifest["parity"]["note"]
        assert manifest["selftest"]["logits_from"] == "float reference"


def test_the_package_is_an_ml_program_of_few_axes_with_an_image_input(coreml_artifact: Converted) -> None:
    program = read_program(coreml_artifact[0] / "VOLO.mlpackage")
    assert program.opset == "CoreML6"  # iOS 16's
    assert program.largest_rank is not None
    assert program.largest_rank <= 5
    assert [(tensor.shape, tensor.dtype) for tensor in program.inputs] == [((64, 64), "RGB image")]
    assert [(tensor.shape, tensor.dtype) for tensor in program.outputs] == [((1, 10), "fp32")]
    assert "transpose" not in program.operators
    # one norm for each block's two and the last, twice; the first class block's of the class token is a constant
    assert program.operators["layer_norm"] == 2 * (2 + 1 + 3 + 1) + 2 * 2 - 1 + 2


def test_every_saved_weight_is_the_edge_models(coreml_artifact: Converted) -> None:
    model = checkpoint.load(None).model
    edge = decompose(model, Preprocessing.from_crop((64, 64), 1.0), CHANNELS_FIRST)
    expected = {value.astype(np.float16).tobytes() for value in torch_weights(edge)}
    found = {value.astype(np.float16).tobytes() for value in saved_weights(coreml_artifact[0] / "VOLO.mlpackage")}
    one_hot = {value.numpy().astype(np.float16).tobytes() for value in edge.buffers() if value.shape[1:] == (1, 3, 3)}
    assert found == expected | one_hot


@pytest.mark.parametrize(("minimum_ios", "opset"), [(16, "CoreML6"), (17, "CoreML7"), (18, "CoreML8")])
@pytest.mark.parametrize("scheme", ["fp32", "fp16"])
def test_each_lowest_ios_has_its_operator_set(tmp_path: Path, minimum_ios: int, opset: str, scheme: str) -> None:
    path = tmp_path / "VOLO.mlpackage"
    lower(edge_model(SMALL, CHANNELS_FIRST), choose("coreml", None, scheme, minimum_ios), path)
    program = read_program(path)
    assert program.opset == opset
    assert program.largest_rank is not None
    assert program.largest_rank <= 5
    assert {layer.weight_dtype for layer in program.layers} == {scheme}
    assert {layer.activation_dtype for layer in program.layers} == {scheme}


@pytest.mark.parametrize("name", ["volo_d1_224", "volo_d4_448", "volo_d5_224"])
def test_the_published_widths_convert(tmp_path: Path, name: str) -> None:
    """With one block a stage; benchmarks/variants.py converts all of them whole."""
    path = tmp_path / "VOLO.mlpackage"
    architecture = one_block_a_stage(VARIANTS[name].architecture)
    lower(edge_model(architecture, CHANNELS_FIRST), choose("coreml", None, "fp16", None), path)
    program = read_program(path)
    assert program.largest_rank is not None
    assert program.largest_rank <= 5
    assert program.inputs[0].shape == architecture.image_size


def test_inspect_shows_operators_and_sizes(coreml_artifact: Converted) -> None:
    plain = command("inspect", coreml_artifact[0]).out
    for words in ("iOS 16 or later", "RGB image", "convolution weights", "layer_norm", "4 axes at most"):
        assert words in plain


@pytest.mark.skipif(platform.system() == "Darwin", reason="Core ML is here")
def test_predict_says_that_core_ml_needs_a_mac(coreml_artifact: Converted) -> None:
    ended = command("predict", coreml_artifact[0], calibration.DEMO_VALIDATION / "cat" / "0000.jpg")
    assert (ended.status, ended.out) == (2, "")
    assert "Core ML runs on macOS only" in ended.err
    with pytest.raises(RuntimeMissing):
        run.load(coreml_artifact[0] / "VOLO.mlpackage")


@NEEDS_MAC
def test_core_ml_agrees_with_the_float_model(coreml_artifact: Converted) -> None:
    assert coreml_artifact[1]["manifest"]["parity"]["top1_agreement"] == 1


@pytest.mark.parametrize("harm", ["no folder", "no manifest", "no specification", "damaged specification"])
def test_a_damaged_package_is_refused_in_one_line(coreml_artifact: Converted, tmp_path: Path, harm: str) -> None:
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
    with pytest.raises(RequestError) as caught:
        read_program(path)
    assert "\n" not in str(caught.value)
