"""Every scheme, from the command line and on the saved file: one delegate call, stored as it says, still right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.command import refusal, run
from tests.readback import assert_stored
from tests.small import SMALL, edge_model, pixels, reference_logits
from tests.targets import needs
from tests.test_coreai import saved, stored
from tests.twin import make_twin
from volo_edge import artifact, calibration, checkpoint
from volo_edge.calibration.images import balanced_subset, find_images, list_hash, stream, without
from volo_edge.console import Steps
from volo_edge.converters.targets import DEFAULT_SCHEMES, TARGETS, choose
from volo_edge.decompose import LAYOUTS, decompose
from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import STEM, precisions
from volo_edge.quantize.schemes import SCHEMES, Weights
from volo_edge.quantize.statistics import gather
from volo_edge.quantize.transforms import ROBUST
from volo_edge.quantize.weights import quantize_weights
from volo_edge.validate.metrics import relative_error, snr_db, top1_agreement
from volo_edge.validate.reference import float_logits

COMBINATIONS = [
    (target, backend, scheme.name)
    for target in TARGETS.values()
    for backend in target.backends
    for scheme in SCHEMES.values()
    if scheme.quantizes and backend in scheme.backends
]
STORED = {  # by Core ML's name and by XNNPACK's
    Weights("integer", 8): ("int8", "qcint8"),
    Weights("integer", 8, compensated=True): ("int8", "qcint8"),
    Weights("integer", 4, 32, compensated=True): ("int4", "qbint4"),
    **{Weights("palette", bits, compensated=True): (f"palette{bits}",) for bits in (4, 6, 8)},
}
ACTIVATIONS = {"float": {"fp16", "fp32"}, "dynamic": {"qdint8"}, "static": {"qint8", "int8", "uint8"}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "backend", "scheme"), [pytest.param(t.name, b, s, marks=needs(t.name)) for t, b, s in COMBINATIONS]
)
def test_a_saved_file_holds_what_its_scheme_says_and_computes_it(
    tmp_path: Path, target: str, backend: str, scheme: str
) -> None:
    choice = choose(target, backend, scheme, None)
    edge = edge_model(SMALL, LAYOUTS[backend])
    images = pixels(SMALL, 8)
    chosen = precisions(edge, choice.scheme)
    program = quantize(edge, chosen, backend, lambda: [torch.from_numpy(images)], 8, Steps(None))
    path = tmp_path / choice.target.file
    assert choice.target.module("lower").lower(program, choice, path) == {}

    if (target, backend) != ("executorch", "coreml"):  # whose package is the same lowering's, and tested with it
        assert_stored(choice.target, path, edge)
    if target == "coreai" and scheme != "int8-static":  # whose integers PT2E makes: see test_coreai
        expected = stored(edge)
        assert expected.total() > 10
        assert saved(path) == expected  # bit for bit
    contents = choice.target.module("program").read_program(path)
    if target == "executorch":
        assert contents.delegates is not None and len(contents.delegates) == 1
        assert contents.undelegated == {}
    weights = choice.scheme.projections.weights
    quantized = [layer for layer in contents.layers if layer.weight_dtype in STORED[weights]]
    assert len(quantized) >= sum(precision.weights == weights for precision in chosen.values())
    # a projection too narrow for a group of 32 has one scale a row
    assert {layer.group_size for layer in quantized} <= {weights.group or 0, 0}
    kinds = {choice.scheme.projections.activations, choice.scheme.stem.activations}
    assert {layer.activation_dtype for layer in quantized} <= set().union(*(ACTIVATIONS[kind] for kind in kinds))
    kernels = ((7, 7), (3, 3))  # rows and columns come first in XNNPACK's weights, last in Core ML's
    stem = [
        layer
        for layer in contents.layers
        if layer.kind == "convolution" and (layer.shape[1:3] in kernels or layer.shape[2:4] in kernels)
    ]
    assert len(stem) == 3
    floats = sum(layer.weight_dtype in ("fp16", "fp32") for layer in stem)
    assert floats == (3 if choice.scheme.stem.weights.kind == "float" else 1)

    logits = choice.target.module("run").load(path).run(images)
    assert relative_error(logits, reference_logits(SMALL, images)) < choice.scheme.tolerance


@pytest.mark.slow
@pytest.mark.parametrize("twin", [False, True], ids=["demo", "twin"])
@pytest.mark.parametrize("name", [name for name, s in SCHEMES.items() if s.quantizes and "static" not in name])
def test_a_scheme_keeps_the_answers_of_the_demo_and_of_its_twin(name: str, twin: bool) -> None:
    """In torch, as it is lowered; `benchmarks/schemes.py` measures the files on many more photographs."""
    scheme = SCHEMES[name]
    loaded = checkpoint.load()
    if twin:
        make_twin(loaded.model)
    preprocessing = Preprocessing.from_crop(loaded.model.architecture.image_size, loaded.variant.crop_pct)
    inputs = _inputs(calibration.DEMO_VALIDATION, preprocessing)
    reference = float_logits(loaded.model, inputs.numpy(), preprocessing)
    edge = decompose(loaded.model, preprocessing, LAYOUTS[scheme.backends[0]], ROBUST)
    chosen = {name: one for name, one in precisions(edge, scheme).items() if one.activations != "static"}
    fitted = [name for name, precision in chosen.items() if precision.weights.compensated]
    photographs = _inputs(calibration.DEMO_CALIBRATION, preprocessing)
    quantize_weights(edge, chosen, gather(edge, fitted, photographs.split(50), True, lambda images: None))
    with torch.inference_mode():
        logits = torch.cat([edge(images) for images in inputs.split(50)]).numpy()
    # measured: 8 bits 44 dB or more and 99.6 %, 6 bits 47 dB, 4 bits 33 dB and 98.6 %
    bits = scheme.projections.weights.bits
    assert snr_db(logits, reference) > (42 if bits > 4 else 31)
    assert top1_agreement(logits, reference) >= (0.992 if bits > 4 else 0.98)


def _inputs(folder: Path, preprocessing: Preprocessing) -> torch.Tensor:
    images = find_images(folder)
    return torch.cat([torch.from_numpy(batch.inputs) for batch in stream(images, preprocessing, 100)])


@pytest.mark.slow
@pytest.mark.parametrize("target", ["executorch", "coreml"])
def test_the_default_scheme_from_the_command_line(tmp_path: Path, target: str) -> None:
    ended = run("convert", "--target", target, "--json", "--output", tmp_path / "artifact")
    assert ended.status == 0, ended.err
    found = artifact.read(tmp_path / "artifact")
    assert found.manifest.quantization.scheme == DEFAULT_SCHEMES[TARGETS[target].backends[0]]
    assert found.manifest.quantization.calibration is None
    assert found.manifest.parity[0].passed
    runner = TARGETS[target].module("run").load(found.model_path)
    images = find_images(calibration.DEMO_VALIDATION)
    right = 0
    for batch in stream(images, found.manifest.preprocessing, 50):
        right += int((runner.run(batch.inputs).argmax(1) == [images.labels[index] for index in batch.indices]).sum())
    assert abs(right - 404) <= 2  # of 500: what the float model has right
    listed = run("inspect", tmp_path / "artifact")
    assert listed.status == 0 and "int8" in listed.out


@pytest.mark.slow
def test_a_calibrated_scheme_says_what_it_was_fitted_to(tmp_path: Path) -> None:
    said = run(
        *("convert", "--target", "coreml", "--quantize", "palette4", "--calibration-size", "20", "--json"),
        *("--output", tmp_path / "artifact"),
    )
    assert said.status == 0, said.err
    calibrated = json.loads(said.out)["manifest"]["quantization"]["calibration"]
    photographs = find_images(calibration.DEMO_CALIBRATION)
    others = without(photographs, balanced_subset(photographs, 32, seed=0))
    assert calibrated["images"] == 20
    assert calibrated["list_sha256"] == list_hash(balanced_subset(others, 20, seed=0))
    assert len(calibrated["doubts"]) == 1 and "20" in calibrated["doubts"][0]
    assert f"note: calibration: {calibrated['doubts'][0]}" in said.err


def test_a_scheme_is_not_fitted_to_photographs_of_another_model(tmp_path: Path) -> None:
    weights = ("--weights", str(calibration.DEMO_WEIGHTS))
    asked = ("convert", "--target", "coreml", "--quantize", "palette4", *weights)
    assert "--calibration DIR" in refusal(*asked, cwd=tmp_path)


@pytest.mark.slow
def test_a_scheme_with_a_warning_says_it(tmp_path: Path) -> None:
    said = run(
        *("convert", "--target", "coreml", "--quantize", "int4-weight", "--calibration-size", "40"),
        *("--output", tmp_path / "artifact"),
    )
    assert said.status == 0
    assert said.err == f"note: int4-weight: {SCHEMES['int4-weight'].warning}\n"


def test_every_scheme_names_a_backend_and_a_default_exists() -> None:
    backends = {backend for target in TARGETS.values() for backend in target.backends}
    for scheme in SCHEMES.values():
        assert set(scheme.backends) <= backends and scheme.backends
    for backend in backends:
        assert backend in SCHEMES[DEFAULT_SCHEMES[backend]].backends
        assert not SCHEMES[DEFAULT_SCHEMES[backend]].calibrates  # a user's first command needs no photographs


def test_the_stem_is_told_from_the_projections() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    hybrid = precisions(edge, SCHEMES["int8-hybrid"])
    static = {name for name, precision in hybrid.items() if precision.activations == "static"}
    assert static == {name for name in hybrid if name.startswith(STEM)} and len(static) == 2  # not what reads pixels
    assert np.all([precision.weights.bits == 8 for precision in hybrid.values()])


def test_what_an_artifact_is_called() -> None:
    assert choose("executorch", None, None, None).name("volo_d1_224") == "volo_d1_224-executorch-int8-dynamic"
    assert choose("executorch", "coreml", "fp16", None).name("volo_d1_224") == "volo_d1_224-executorch-coreml-fp16"
    assert choose("coreml", None, "palette6", None).name("volo_d1_224") == "volo_d1_224-coreml-palette6"


def test_a_scheme_calibrates_where_any_part_of_it_is_fitted() -> None:
    names = {name for name, scheme in SCHEMES.items() if scheme.calibrates}
    assert names == {
        *("int8-hybrid", "int8-static", "int4-dynamic", "int4-weight"),
        *("palette4", "palette6", "palette8"),
    }


def test_weights_say_how_they_are_stored() -> None:
    said = {name: str(scheme.projections.weights) for name, scheme in SCHEMES.items()}
    assert (said["fp16"], said["int8-weight"], said["palette4"]) == ("float", "integer8", "palette4")
    assert said["int4-weight"] == "integer4 in groups of 32"


@pytest.mark.parametrize(
    ("target", "backend", "scheme", "name"),
    [
        ("executorch", None, "int8-dynamic", "volo_d1_224-executorch-int8-dynamic"),
        ("executorch", "coreml", "fp16", "volo_d1_224-executorch-coreml-fp16"),
        ("coreml", None, None, "volo_d1_224-coreml-int8-weight"),
    ],
)
def test_an_artifact_is_called_after_what_makes_it_another(
    target: str, backend: str | None, scheme: str | None, name: str
) -> None:
    assert choose(target, backend, scheme, None).name("volo_d1_224") == name


def test_a_scheme_that_an_ios_does_not_run_is_refused() -> None:
    with pytest.raises(RequestError, match="scheme int4-weight needs iOS 18: pass --minimum-ios 18"):
        choose("coreml", None, "int4-weight", 17)
    assert choose("coreml", None, "int4-weight", None).minimum_ios == 18
