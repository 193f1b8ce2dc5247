"""The float reference: what it says, on what it depends, that it goes on where it stopped, and how it can be bad."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.command import end, refusal, run, start, untouched
from tests.test_artifact import LABELS, write
from volo_edge import artifact, checkpoint
from volo_edge.calibration import DEMO_VALIDATION
from volo_edge.calibration.images import ImageList, find_images, stream
from volo_edge.errors import RequestError
from volo_edge.evaluate.prepare import require_same
from volo_edge.preprocess import Preprocessing
from volo_edge.reference import compute, file
from volo_edge.validate.answers import collect
from volo_edge.validate.metrics import Logits
from volo_edge.validate.reference import float_logits

PREPROCESSING = Preprocessing.from_crop((8, 8), 1.0)


def folder(root: Path, count: int = 10, unreadable: tuple[int, ...] = ()) -> ImageList:
    """Photographs of one colour, each another, and some files that are none."""
    root.mkdir(parents=True)
    for index in range(count):
        path = root / f"{index:02}.png"
        path.write_bytes(b"no image") if index in unreadable else Image.new("RGB", (8, 8), (index, 0, 0)).save(path)
    return find_images(root)


def red(images: Logits) -> Logits:
    """What a model of one class says: the photograph's colour."""
    return images[:, :1, 0, 0]


@pytest.mark.parametrize("unreadable", [(), (0, 4), (8, 9), (0, 1, 2, 3, 4, 5, 6, 7, 8)])
def test_answers_are_in_order_and_those_of_unreadable_files_are_left_out(
    tmp_path: Path, unreadable: tuple[int, ...]
) -> None:
    images = folder(tmp_path / "data", 10, unreadable)
    done: list[int] = []
    answers = collect(images, PREPROCESSING, lambda: red, 3, 1, tmp_path / "state" / "rows", done.append)
    assert np.flatnonzero(~answers.read).tolist() == list(unreadable)
    readable = [index for index in range(10) if index not in unreadable]
    assert answers.logits[answers.read, 0].tolist() == readable
    assert sum(done) <= 10


@pytest.mark.parametrize("unreadable", [(), (0, 4), (8, 9)])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_stopped_run_goes_on_with_the_same_batches(tmp_path: Path, stop: int, unreadable: tuple[int, ...]) -> None:
    images, state = folder(tmp_path / "data", 10, unreadable), tmp_path / "rows"
    whole: list[list[float]] = []

    def model(seen: list[list[float]], limit: int = 99) -> Logits:
        def answer(batch: Logits) -> Logits:
            if len(seen) == limit:
                raise KeyboardInterrupt
            seen.append(red(batch)[:, 0].tolist())
            return red(batch)

        return answer

    collect(images, PREPROCESSING, lambda: model(whole), 3, 1, tmp_path / "other", lambda count: None)
    first: list[list[float]] = []
    if stop < len(whole):
        with pytest.raises(KeyboardInterrupt, match="of 10 photographs are done: the same command goes on"):
            collect(images, PREPROCESSING, lambda: model(first, stop), 3, 1, state, lambda count: None)
        with state.open("ab") as file:
            file.write(bytes(5))  # killed while it wrote
        second: list[list[float]] = []
        collect(images, PREPROCESSING, lambda: model(second), 3, 1, state, lambda count: None)
        assert first + second == whole
        assert state.read_bytes() == (tmp_path / "other").read_bytes()


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    images, state = folder(tmp_path / "data"), tmp_path / "rows"
    collect(images, PREPROCESSING, lambda: red, 3, 1, state, lambda count: None)
    done: list[int] = []
    again = collect(images, PREPROCESSING, lambda: pytest.fail("it ran"), 3, 1, state, done.append)
    assert done == [10] and again.read.all()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("reference") / "float.npz"
    ended = run(
        "reference", "--data", DEMO_VALIDATION, "--limit", "40", "--device", "cpu", "--output", output, "--json"
    )
    assert ended.status == 0, ended.err
    said = json.loads(ended.out)
    assert (said["photographs"], said["unreadable"], said["resumed"]) == (40, 0, 0)
    assert [path.name for path in output.parent.iterdir()] == ["float.npz"]  # no state is left
    return output


def test_it_is_the_float_model(reference: Path) -> None:
    found = file.read(reference)
    loaded = checkpoint.load()
    assert found.record.weights_sha256 == loaded.weights_sha256
    images = ImageList(DEMO_VALIDATION, found.files)
    (batch,) = stream(images, found.record.preprocessing, 40)
    assert np.allclose(found.logits, float_logits(loaded.model, batch.inputs, found.record.preprocessing), atol=1e-4)
    names = [found.record.classes[label] for label in found.labels]
    assert names == [name.partition("/")[0] for name in found.files]
    assert set(names) == set(found.record.classes) and len(names) == 40


def test_it_belongs_to_its_photographs_only(reference: Path, tmp_path: Path) -> None:
    found = file.read(reference)
    some = ImageList(DEMO_VALIDATION, found.files[3:5])
    answers = found.of(some, reference)
    assert np.array_equal(answers.logits, found.logits[3:5]) and answers.read.all()
    for other in (ImageList(DEMO_VALIDATION, ("cat/none.jpg",)), ImageList(tmp_path, found.files)):
        with pytest.raises(RequestError, match="is of other photographs than those in"):
            found.of(other, reference)


def test_a_reference_that_is_none(tmp_path: Path, reference: Path) -> None:
    whole, bad = reference.read_bytes(), tmp_path / "bad.npz"
    arrays = dict(np.load(reference))
    for content in (b"", b"text", whole[: len(whole) // 2]):
        bad.write_bytes(content)
        with pytest.raises(RequestError, match=r"bad\.npz"):
            file.read(bad)
    np.savez_compressed(bad, **arrays)
    with pytest.raises(RequestError, match="compressed"):
        file.read(bad)
    np.savez(bad, **{**arrays, "labels": arrays["labels"][:-1]})
    with pytest.raises(RequestError, match="do not fit each other"):
        file.read(bad)
    for changed, said in (
        ({"format_version": 1}, "of format 1"),
        ({"format_version": 3}, "of format 3"),
        ({"device": "abacus"}, "device"),
    ):
        record = json.dumps(json.loads(str(arrays["record"])) | changed)
        np.savez(bad, **{**arrays, "record": np.array(record)})
        with pytest.raises(RequestError, match=said):
            file.read(bad)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_numbers(tmp_path: Path) -> None:
    command = ("reference", "--data", DEMO_VALIDATION, "--device", "cpu", "--output")
    whole, output = tmp_path / "whole.npz", tmp_path / "stopped.npz"
    assert run(*command, whole).status == 0
    state = tmp_path / ".stopped.npz.volo-edge" / "state"
    process = start(*command, output)
    deadline = time.monotonic() + 100
    while not any(path.stat().st_size for path in state.glob("*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    end(process)
    assert not output.exists()
    ended = run(*command, output, "--json")
    assert 0 < json.loads(ended.out)["resumed"] < 500, ended.err
    assert np.array_equal(file.read(whole).logits, file.read(output).logits)
    assert not state.exists()


@pytest.mark.slow
def test_it_needs_only_torch_numpy_pillow_and_safetensors(tmp_path: Path) -> None:
    others = [
        "executorch",
        "coremltools",
        "torchao",
        "matplotlib",
        "pydantic",
        "huggingface_hub",
        "packaging",
        "jinja2",
    ]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({others}))\n"
        "from volo_edge.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["reference", "--data", DEMO_VALIDATION, "--limit", "10", "--output", tmp_path / "float.npz"]
    ended = subprocess.run([sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "next     volo-edge evaluate" in ended.stdout


def test_the_float_model_leaves_torch_as_it_was() -> None:
    loaded = checkpoint.load()
    model = compute._runner(loaded, loaded.preprocessing, torch.device("cpu"))
    before = torch.are_deterministic_algorithms_enabled()
    assert model(np.zeros((1, *loaded.preprocessing.shape[1:]), np.float32)).shape == (1, 10)
    assert torch.are_deterministic_algorithms_enabled() is before is False


def test_it_belongs_to_its_model_and_preprocessing_only(reference: Path, tmp_path: Path) -> None:
    record = file.read(reference).record
    found = artifact.Artifact(tmp_path, write(tmp_path / "a"), LABELS)
    model = replace(
        found.manifest.model,
        weights_sha256=record.weights_sha256,
        entry=record.entry,
        prefix=record.prefix,
        architecture=record.architecture,
    )
    same = replace(found, manifest=replace(found.manifest, model=model, preprocessing=record.preprocessing))
    require_same(record, same, "the reference")
    for changes, said in (
        ({"weights_sha256": "0" * 64}, "the reference: of other weights"),
        ({"entry": "ema"}, "of another preprocessing, image size, entry or architecture"),
        ({"architecture": replace(record.architecture, num_classes=7)}, "of another preprocessing, image size, entry"),
    ):
        with pytest.raises(RequestError, match=said):
            require_same(replace(record, **changes), same, "the reference")


def test_bad_requests(tmp_path: Path) -> None:
    output = tmp_path / "float.npz"
    data = ("--data", DEMO_VALIDATION)
    assert "there is no folder of images at" in refusal("reference", "--data", tmp_path / "none", "--output", output)
    assert "no device is called 'cud': did you mean 'cuda'?" in refusal(
        "reference", *data, "--device", "cud", "--output", output
    )
    assert "ends in .npz" in refusal("reference", *data, "--output", tmp_path / "float")
    assert "at least 1" in refusal("reference", *data, "--limit", "0", "--output", output)
    output.write_text("mine")
    with untouched(tmp_path):
        assert "is no float reference" in refusal("reference", *data, "--output", output, "--force")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="needs torch without a GPU")
def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    import torch

    if torch.backends.mps.is_available():
        pytest.skip("this machine has an MPS device")
    said = refusal("reference", "--data", DEMO_VALIDATION, "--device", "mps", "--output", tmp_path / "float.npz")
    assert said.startswith("this machine has no mps that torch")
