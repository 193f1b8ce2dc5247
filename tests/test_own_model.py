"""The model that somebody trained, from its checkpoint to answers, through the installed command."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.command import refusal, run
from tests.small import SMALL
from tests.weights import named_weights
from volo_edge import artifact
from volo_edge.calibration import DEMO_CALIBRATION
from volo_edge.calibration.images import find_images
from volo_edge.model import VOLO
from volo_edge.variants import Architecture

GREY = replace(SMALL, in_chans=1, image_size=(64, 48))
ARGUMENTS = argparse.Namespace(
    mean=[0.45], std=[0.23], crop_mode="squash", interpolation="bilinear", gp="avg", num_heads=[1, 2]
)
MADE = (("executorch", "int8-dynamic"), ("executorch", "int8-static"), ("coreml", "fp16"), ("coreml", "palette4"))


def checkpoint(path: Path, architecture: Architecture, **beside: Any) -> Path:
    tensors = {f"model.{name}": tensor for name, tensor in named_weights(VOLO(architecture)).state_dict().items()}
    torch.save({"state_dict": tensors, **beside}, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("target", "scheme"), MADE)
def test_a_grey_model_that_reads_the_mean_of_its_tokens(tmp_path: Path, target: str, scheme: str) -> None:
    weights = checkpoint(tmp_path / "epoch=3.ckpt", GREY, args=ARGUMENTS)
    made = tmp_path / "made"
    options = ("--target", target, "--quantize", scheme, "--calibration", DEMO_CALIBRATION, "--calibration-size", "8")
    ended = run("convert", *options, "--weights", weights, "--output", made)
    assert ended.status == 0, ended.err
    assert "model    volo, 5 classes, 64x48 pixels, from state_dict without 'model.'" in ended.out
    assert "mean 0.45, std 0.23, interpolation bilinear, crop-mode squash (args in the checkpoint)" in ended.out
    assert "crop-pct 0.96 (the published VOLOs)" in ended.out
    manifest = artifact.read(made).manifest
    assert (manifest.model.entry, manifest.model.prefix) == ("state_dict", "model.")
    assert manifest.model.architecture == replace(GREY, pool="avg")
    assert (manifest.preprocessing.color, manifest.preprocessing.resize_to) == ("L", (66, 50))
    assert manifest.photographs == DEMO_CALIBRATION.name
    if target == "executorch":
        assert manifest.graph.delegate_calls == 1 and not manifest.graph.undelegated_ops
    else:
        import coremltools as ct

        (image,) = ct.utils.load_spec(str(artifact.read(made).model_path)).description.input
        seen = image.type.imageType
        assert (seen.ColorSpace.Name(seen.colorSpace), seen.height, seen.width) == ("GRAYSCALE", 64, 48)

    photos = find_images(DEMO_CALIBRATION)
    ended = run("predict", "--json", made, photos.path(0), photos.path(1))
    assert ended.status == 0, ended.err
    probabilities = [one["classes"][0]["probability"] for one in json.loads(ended.out)["predictions"]]
    assert np.all(np.array(probabilities) >= 0.2)


@pytest.mark.slow
def test_photographs_of_another_kind_are_told(tmp_path: Path) -> None:
    weights = checkpoint(tmp_path / "weights.pth", SMALL)
    made = tmp_path / "made"
    ended = run("convert", "--target", "executorch", "--quantize", "fp32", "--weights", weights, "--output", made)
    assert ended.status == 0
    assert "parity and the self-test are on CIFAR-10 thumbnails that ship with volo-edge" in ended.err
    assert artifact.read(made).manifest.photographs == artifact.SHIPPED


@pytest.mark.slow
def test_evaluate_reads_the_model_as_convert_did(tmp_path: Path) -> None:
    """The entry, the pool and the photographs' preparation are the manifest's, and not found anew."""
    tensors = named_weights(VOLO(GREY)).state_dict()
    average = {name: tensor + 0.01 for name, tensor in tensors.items() if tensor.is_floating_point()}
    weights = checkpoint(tmp_path / "weights.pth", GREY, ema=average, args=ARGUMENTS)
    made = tmp_path / "made"
    options = ("--target", "executorch", "--quantize", "fp32", "--calibration", DEMO_CALIBRATION)
    said = ("--entry", "state_dict", "--pool", "mean", "--mean", "0.4", "--crop-pct", "0.9")
    ended = run("convert", *options, "--weights", weights, *said, "--output", made)
    assert ended.status == 0, ended.err
    assert "took the weights in state_dict.model; --entry takes 'ema' instead" in ended.err
    ended = run(
        *("evaluate", "--json", made, "--data", DEMO_CALIBRATION, "--limit", "8", "--weights", weights),
        *("--class-map", class_map(tmp_path), "--output", tmp_path / "report"),
    )
    assert ended.status == 0, ended.err
    (judged,) = json.loads(ended.out)["report"]["artifacts"]
    assert judged["snr_db"] > 80

    reference = tmp_path / "reference.npz"
    for entry in ("ema", "state_dict"):
        ended = run(
            *(
                "reference",
                "--data",
                DEMO_CALIBRATION,
                "--limit",
                "8",
                "--weights",
                weights,
                "--entry",
                entry,
                "--force",
            ),
            *("--pool", "mean", "--mean", "0.4", "--crop-pct", "0.9", "--output", reference),
        )
        assert ended.status == 0, ended.err
        again = ("evaluate", made, "--data", DEMO_CALIBRATION, "--limit", "8", "--reference", reference)
        again += ("--class-map", class_map(tmp_path), "--output", tmp_path / "again")
        if entry == "ema":
            assert "entry or architecture" in refusal(*again)
        else:
            assert run(*again).status == 0


def class_map(folder: Path) -> Path:
    path = folder / "map.json"
    path.write_text(json.dumps({name: index % 5 for index, name in enumerate(find_images(DEMO_CALIBRATION).classes)}))
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mean", "0.5,0.5"), "--mean (0.5, 0.5): give one number, or one for each"),
        (("--mean", "red"), "--mean"),
        (("--std", "0"), "--std (0.0,): pixels are in 0..1 here"),
        (("--crop-pct", "0"), "--crop-pct 0.0: give the crop's side"),
        (("--crop-pct", "1", "--resize", "70"), "say the same thing: give one of them"),
        (("--mean", "123.675,116.28,103.53"), "divide what is of 0..255 by 255"),
        (("--interpolation", "bicubik"), "--interpolation 'bicubik': did you mean 'bicubic'"),
        (("--crop-mode", "border"), "--crop-mode 'border'"),
        (("--pool", "max"), "--pool 'max'"),
        (("--architecture", "no.json"), "no.json"),
        (("--entry", "nowhere"), "has no VOLO in 'nowhere': `--entry` takes ."),
    ],
)
@pytest.mark.parametrize("verb", ["convert", "reference"])
def test_bad_settings(tmp_path: Path, verb: str, options: tuple[str, ...], said: str) -> None:
    output = {"convert": ("--target", "coreml", "--output", tmp_path / "made")}.get(
        verb, ("--data", DEMO_CALIBRATION, "--output", tmp_path / "made.npz")
    )
    assert said in refusal(verb, *output, *options)
    assert not list(tmp_path.iterdir())
