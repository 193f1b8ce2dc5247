"""The saved .aimodel, read back from disk and run in Apple's own runtime."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.command import refusal, run
from tests.conftest import Converted
from tests.small import SMALL, edge_model, exported, pixels, reference_logits
from tests.targets import needs
from volo_edge import artifact, calibration, checkpoint
from volo_edge.calibration.images import balanced_subset, find_images, stream
from volo_edge.console import Steps
from volo_edge.convert import convert
from volo_edge.converters import process, targets
from volo_edge.converters.card import Card
from volo_edge.converters.coreai.devices import Use, reasons
from volo_edge.converters.targets import TARGETS, choose
from volo_edge.decompose import CHANNELS_FIRST, EdgeVOLO
from volo_edge.errors import RequestError
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import precisions, quantizable
from volo_edge.request import Request
from volo_edge.validate.metrics import relative_error
from volo_edge.validate.reference import float_logits
from volo_edge.variants import Architecture

CARD = Card(
    labels=("a", "b", "c", "d", "e"),
    activation="softmax",
    summary="a small VOLO",
    author="somebody",
    license="MIT",
    version="0123456789ab",
    facts={"volo_edge.scheme": "fp16"},
)


def lowered(path: Path, scheme: str, architecture: Architecture = SMALL, card: Card | None = None) -> EdgeVOLO:
    """Write a small model; the edge model it was made from, quantized."""
    choice = choose("coreai", None, scheme, None)
    edge = edge_model(architecture, CHANNELS_FIRST)
    images = torch.from_numpy(pixels(architecture, 8))
    program = quantize(edge, precisions(edge, choice.scheme), "coreai", lambda: [images], 8, Steps(None))
    TARGETS["coreai"].module("lower").lower(program, choice, path, card)
    return edge


def stored(edge: EdgeVOLO) -> Counter[tuple[bytes, bytes]]:
    """Integers and scales, or indices and table, of every quantized layer, as bytes: int8 or uint8, and half."""
    found: Counter[tuple[bytes, bytes]] = Counter()
    for layer in quantizable(edge).values():
        weight: Any = layer.weight
        if hasattr(weight, "qdata"):
            parts = weight.qdata.to(torch.int8), weight.scale
        elif hasattr(weight, "codes"):
            parts = weight.codes.to(torch.uint8), weight.codebook
        else:
            continue
        found[parts[0].numpy().tobytes(), parts[1].half().numpy().tobytes()] += 1
    return found


def saved(path: Path) -> Counter[tuple[bytes, bytes]]:
    """The same, of a saved file."""
    from volo_edge.converters.coreai.program import Reader

    reader, found = Reader(path), Counter[tuple[bytes, bytes]]()
    for operator in reader.layers():
        weight = operator.operands[1].owner
        if weight.name in ("coreai.blockwise_shift_scale", "coreai.lut_to_dense"):
            parts = [reader.constant(operand) for operand in list(weight.operands)[:2]]
            found[parts[0].tobytes(), parts[1].tobytes()] += 1
    return found


@needs("coreai")
@pytest.mark.slow
def test_static_integers_are_pt2es_bit_for_bit_with_their_ranges(tmp_path: Path) -> None:
    choice = choose("coreai", None, "int8-static", None)
    edge = edge_model(SMALL, CHANNELS_FIRST)
    images = torch.from_numpy(pixels(SMALL, 8))
    program = quantize(edge, precisions(edge, choice.scheme), "coreai", lambda: [images], 8, Steps(None))
    path = tmp_path / "a.aimodel"
    TARGETS["coreai"].module("lower").lower(program, choice, path)
    expected, levels = Counter[tuple[bytes, bytes]](), Counter[tuple[float, int]]()
    for node in program.graph.nodes:
        if "dequantize_per_channel" in str(node.target):
            integers, scale = (_constant(program, argument) for argument in node.args[:2])
            expected[integers.numpy().tobytes(), scale.half().numpy().tobytes()] += 1
        if "dequantize_per_tensor" in str(node.target):
            levels[float(np.float16(node.args[1])), node.args[3]] += 1
    assert expected.total() > 10
    assert saved(path) == expected
    given = [layer.given for layer in TARGETS["coreai"].module("program").read_weights(path)]
    found = Counter((one.scale, one.lowest) for one in given if one is not None)
    assert found == levels


def _constant(program: Any, node: Any) -> torch.Tensor:
    name = next(spec.target for spec in program.graph_signature.input_specs if spec.arg.name == node.name)
    value: torch.Tensor = {**program.state_dict, **program.constants}[name]
    return value.detach()


@needs("coreai")
@pytest.mark.slow
def test_the_converter_alone_would_store_floats() -> None:
    """Why `operators` is there: once upstream keeps torchao's integers itself, it can go."""
    from coreai_torch import TorchConverter, get_decomp_table

    choice = choose("coreai", None, "int8-weight", None)
    edge = edge_model(SMALL, CHANNELS_FIRST)
    program = quantize(edge, precisions(edge, choice.scheme), "coreai", lambda: [], 0, Steps(None))
    converter = TorchConverter()
    converter.add_exported_program(program.run_decompositions(get_decomp_table()))
    text = str(converter.to_coreai())
    assert "xsi8>" not in text
    assert "blockwise_shift_scale" not in text


@needs("coreai")
@pytest.mark.slow
def test_weights_that_become_anything_else_do_not_convert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from volo_edge.converters.coreai import lower, operators

    def floats(program: Any, half: bool) -> Any:
        return operators.rewritten(exported(edge_model(SMALL, CHANNELS_FIRST)), half)

    monkeypatch.setattr(lower, "rewritten", floats)
    monkeypatch.setattr(lower, "stored_types", lambda program: Counter({"int8": 3}))
    with pytest.raises(RuntimeError, match=r"weights of \{'int8': 3\} and wrote \{\}"):
        lowered(tmp_path / "a.aimodel", "int8-weight")


@needs("coreai")
@pytest.mark.slow
@pytest.mark.parametrize("size", [(72, 48), (256, 192)], ids=["odd", "oblong"])
def test_single_precision_is_the_float_models_at_any_size(tmp_path: Path, size: tuple[int, int]) -> None:
    architecture = replace(SMALL, image_size=size)
    lowered(tmp_path / "a.aimodel", "fp32", architecture)
    images = pixels(architecture)
    with process.load("coreai", tmp_path / "a.aimodel") as runner:
        assert runner.image == (1, 3, *size)
        assert relative_error(runner.run(images), reference_logits(architecture, images)) < 1e-5


@needs("coreai")
@pytest.mark.slow
def test_half_precision_holds_squares_that_half_precision_does_not(tmp_path: Path) -> None:
    """Values of a norm's input far over 255, whose squares are more than 65504."""
    edge = edge_model(SMALL, CHANNELS_FIRST)
    with torch.no_grad():
        for parameter in edge.patch_embed.proj.parameters():
            parameter *= 400
    images = torch.from_numpy(pixels(SMALL))
    with torch.inference_mode():
        assert edge.patch_embed(images).abs().max() > 300
        expected = edge(images).numpy()
    choice = choose("coreai", None, "fp16", None)
    TARGETS["coreai"].module("lower").lower(exported(edge), choice, tmp_path / "a.aimodel")
    with process.load("coreai", tmp_path / "a.aimodel") as runner:
        found = runner.run(images.numpy())
    assert np.isfinite(found).all()
    assert relative_error(found, expected) < 2e-2


@needs("coreai")
@pytest.mark.slow
def test_the_same_program_has_the_same_bytes_and_says_nothing_of_the_machine(tmp_path: Path) -> None:
    lowered(tmp_path / "a.aimodel", "palette4", card=CARD)
    script = (
        "import sys; from pathlib import Path; from tests.test_coreai import CARD, lowered; "
        "lowered(Path(sys.argv[1]), 'palette4', card=CARD)"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", script, tmp_path / "b.aimodel"], check=True, cwd=root, capture_output=True)
    ours, theirs = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("a.aimodel", "b.aimodel")
    )
    assert ours.keys() == {"main.mlirb", "main.hash", "metadata.json"}
    assert ours == theirs
    everything = b"".join(ours.values())
    for part in (str(root), str(tmp_path), sys.prefix, "site-packages"):
        assert part.encode() not in everything


@needs("coreai")
@pytest.mark.slow
def test_the_metadata_say_what_an_app_must_know(tmp_path: Path) -> None:
    from coreai.authoring import AIModelAsset

    lowered(tmp_path / "a.aimodel", "fp16", card=CARD)
    found = json.loads((tmp_path / "a.aimodel" / "metadata.json").read_text())
    assert found.pop("producer").startswith("coreai-core ")
    assert found == {
        "assetVersion": "2.0",
        "author": "somebody",
        "license": "MIT",
        "description": "a small VOLO",
        "creatorDefinedMetadata": {
            "volo_edge.scheme": "fp16",
            "volo_edge.version": "0123456789ab",
            "volo_edge.labels": list(CARD.labels),
        },
    }
    assert AIModelAsset.load(tmp_path / "a.aimodel").metadata.author == "somebody"
    summary = AIModelAsset.load(tmp_path / "a.aimodel").summary(include_statistics=False)
    assert summary is not None
    assert [name for name, _ in summary.function_inputs("main")] == ["image"]


@needs("coreai")
@pytest.mark.slow
@pytest.mark.parametrize("harm", ["cut", "gone", "program", "other"])
def test_a_damaged_asset_is_refused_in_one_line(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "a.aimodel"
    lowered(path, "fp16")
    main = path / "main.mlirb"
    data = main.read_bytes()
    if harm == "gone":
        main.unlink()
    elif harm == "cut":
        main.write_bytes(data[: len(data) // 2])
    elif harm == "program":
        main.write_bytes(data[:40] + bytes(80) + data[120:])
    else:
        main.write_bytes(data.replace(b"logits\0", b"digits\0"))
    if harm in ("program", "other"):  # whose hash is right, as what does harm on purpose has it
        (path / "main.hash").write_bytes(hashlib.sha256(main.read_bytes()).digest())
    with pytest.raises(RequestError, match="convert the model again") as told:
        process.load("coreai", path)
    assert "\n" not in str(told.value)
    if harm != "other":
        with pytest.raises(RequestError, match="convert the model again"):
            TARGETS["coreai"].module("program").read_program(path)


@pytest.mark.parametrize(
    ("python", "machine", "installed", "told"),
    [
        ((3, 10, 9), ("linux", "x86_64"), True, "needs Python 3.11 or later on Linux x86-64 or on a Mac"),
        ((3, 12, 0), ("linux", "aarch64"), True, "on linux aarch64"),
        ((3, 12, 0), ("win32", "AMD64"), True, "on win32 AMD64"),
        ((3, 12, 0), ("linux", "x86_64"), False, r"coreai-torch and coreai-core: pip install 'volo-edge\[coreai\]'"),
        ((3, 12, 0), ("darwin", "arm64"), True, None),
    ],
)
def test_what_the_target_needs_is_said_before_any_work(
    monkeypatch: pytest.MonkeyPatch, python: Any, machine: tuple[str, str], installed: bool, told: str | None
) -> None:
    monkeypatch.setattr(sys, "version_info", python)
    monkeypatch.setattr(sys, "platform", machine[0])
    monkeypatch.setattr(platform, "machine", lambda: machine[1])
    monkeypatch.setattr(targets, "_version", lambda name: "1.0" if installed else None)
    if told is None:
        TARGETS["coreai"].require()
        return
    with pytest.raises(RequestError, match=told):
        TARGETS["coreai"].require()
    with pytest.raises(RequestError, match=told):
        TARGETS["coreai"].module("lower")
    TARGETS["coreml"].require()  # which needs nothing


def test_what_is_reported_of_devices_is_told_of_the_operator() -> None:
    half = ((1, 192, 1, 16), "fp16")

    def told(kind: str, *given: Any, made: Any = half, at_edge: bool = False) -> tuple[str, ...]:
        return reasons(Use(kind, given, made, at_edge))

    assert told("conv2d", half, ((192, 192, 1, 1), "fp16"), made=((1, 192, 8, 32), "fp16")) == ()
    assert told("cast", half) == ("a change of type within the network splits it [R]",)
    assert told("cast", half, at_edge=True) == ()
    assert told("rsqrt", made=((1, 1, 1, 16), "fp32")) == ("single precision is not computed there [R]",)
    blocks = ((96, 512, 1, 1), "int4"), ((96, 16, 1, 1), "fp16")
    assert told("blockwise_shift_scale", *blocks)[0].endswith("reported to be computed wrongly [M]")
    assert told("blockwise_shift_scale", blocks[0], ((96, 1, 1, 1), "fp16")) == ()
    assert told("argmax", half, made=((1,), "int32"))[0].endswith("[A]")
    assert told("broadcasting_batch_matmul", made=((16, 16), "fp16"))[0].endswith("[H]")
    assert told("reshape", made=((2, 3, 4, 5, 6, 7), "fp16"))[0].startswith("6 axes")
    assert told("gelu", made=((1, 576, 1, 16), "fp16"))[0].startswith("a last axis of 16 is padded to 2.0 times")


@needs("coreai")
@pytest.mark.slow
def test_the_saved_demo_is_the_float_model_on_the_validation_photographs(coreai_artifact: Converted) -> None:
    found = artifact.read(coreai_artifact[0])
    model = checkpoint.load().model
    some = balanced_subset(find_images(calibration.DEMO_VALIDATION), 100, seed=0)
    (batch,) = stream(some, found.manifest.preprocessing, batch_size=100)
    reference = float_logits(model, batch.inputs, found.manifest.preprocessing)
    with process.load("coreai", found.model_path) as runner:
        logits = runner.run(batch.inputs)
    assert (logits.argmax(1) == reference.argmax(1)).all()
    assert relative_error(logits, reference) < 1e-6


@needs("coreai")
@pytest.mark.slow
def test_every_verb_takes_it(coreai_artifact: Converted, tmp_path: Path) -> None:
    folder, said = coreai_artifact
    parity = said["manifest"]["parity"]
    assert [(one["passed"], one["images"], one["twin"]) for one in parity] == [(True, 32, False)]
    assert parity[0]["runtime"].startswith("Core AI, ")
    assert said["manifest"]["minimum_ios"] == 27
    photographs = find_images(calibration.DEMO_VALIDATION)
    photograph = photographs.path(0)
    ended = run("predict", folder, photograph, "--json")
    assert ended.status == 0
    assert json.loads(ended.out)["predictions"][0]["classes"][0]["label"] == photograph.parent.name
    shown = run("inspect", folder).out
    for part in ("conv2d", "iOS 27", "image", "logits: [1, 10] fp32", "convolution weights"):
        assert part in shown
    ended = run(
        "evaluate", folder, "--data", calibration.DEMO_VALIDATION, "--limit", "30", "--output", tmp_path / "report"
    )
    assert ended.status == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["artifacts"][0]["agreement"] == 100
    assert report["artifacts"][0]["growth"]["worst"] is None  # the file holds the float model's weights


@needs("coreai")
@pytest.mark.slow
def test_where_time_runs_out_fewer_photographs_are_proved_and_a_twin_in_single_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, "coreai", replace(TARGETS["coreai"], proof_seconds=0.0))
    manifest = convert(Request("coreai", scheme="fp16", output=tmp_path / "a"), Steps(None)).manifest
    itself, twin = manifest.parity
    assert (itself.images, itself.twin, twin.images, twin.twin) == (1, False, 1, True)
    assert itself.relative_error is not None and twin.relative_error is not None
    assert twin.relative_error < 1e-5 < itself.relative_error
    assert len(manifest.selftest.cases) == 1
    assert artifact.read(tmp_path / "a").manifest == manifest
    assert "its twin in single precision, which does not ship, passed" in run("inspect", tmp_path / "a").out


@needs("coreai")
@pytest.mark.slow
def test_an_asset_that_was_changed_is_refused(coreai_artifact: Converted, tmp_path: Path) -> None:
    """Apple's runtime does not look at the hash beside the program."""
    folder = tmp_path / "artifact"
    shutil.copytree(coreai_artifact[0], folder)
    main = folder / "VOLO.aimodel" / "main.mlirb"
    data = bytearray(main.read_bytes())
    data[len(data) // 2] ^= 1
    main.write_bytes(data)
    assert "is not the file the manifest names" in refusal("predict", folder, folder / "selftest" / "0.png")
