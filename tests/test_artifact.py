"""The artifact's manifest: what it holds, its published schema, and the ways it can be bad."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

from tests.small import model_info
from volo_edge import artifact, files
from volo_edge.artifact import Manifest
from volo_edge.converters.program import HalfPrecision
from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing
from volo_edge.validate.parity import compare, not_run

SCHEMA = Path(__file__).parents[1] / "docs" / "manifest.schema.json"
LABELS = ("cat", "dog")


def write(folder: Path, **changes: Any) -> Manifest:
    """An artifact of a model of two classes; its file is no real one."""
    folder.mkdir(parents=True)
    (folder / "model.pte").write_bytes(b"weights")
    files.write_text(folder / artifact.LABELS, "cat\ndog\n")
    photo = Image.new("RGB", (9, 7), (1, 2, 3))
    pixels, logits = np.full((1, 3, 8, 8), 7, np.float32), np.array([[1.5, 2.5]], np.float32)
    cases = artifact.write_selftest(folder, [photo], pixels, logits, LABELS)
    manifest = Manifest(
        model=model_info("volo_small", (8, 8), 2, "small.safetensors"),
        target="executorch",
        backend="xnnpack",
        minimum_ios=None,
        quantization=artifact.Quantization("fp32", None),
        preprocessing=Preprocessing.from_crop((8, 8), 0.96),
        files=artifact.describe_files(folder, "model.pte", cases),
        graph=artifact.Graph(1, (artifact.UndelegatedOp("aten::cumsum.out", 2, "no such"),), 5, {"XNNSoftmax": 1}),
        half_precision=HalfPrecision(8, 12.5, "conv_1", ("conv_1",), ()),
        parity=(compare(logits, logits + 1e-6, 1e-4, "a runtime", "x86-64"),),
        selftest=artifact.Selftest(cases, "a runtime", 1e-4),
        tools={"torch": "2.13.0"},
    )
    manifest = replace(manifest, **changes)
    artifact.write_manifest(folder, manifest)
    return manifest


def change(folder: Path, *keys: str, value: object) -> None:
    """Set one value of a manifest on disk."""
    path = folder / files.MANIFEST
    values = json.loads(path.read_text())
    place = values
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(values))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = write(tmp_path / "a")
    found = artifact.read(tmp_path / "a")
    assert found.manifest == manifest
    assert found.labels == LABELS
    assert found.model_path.read_bytes() == b"weights"


def test_the_selftest_holds_the_photograph_its_tensor_and_its_logits(tmp_path: Path) -> None:
    (case,) = write(tmp_path / "a").selftest.cases
    with Image.open(tmp_path / "a" / case.photo) as photo:
        assert (photo.format, photo.mode, photo.size) == ("PNG", "RGB", (9, 7))
    assert np.array_equal(np.fromfile(tmp_path / "a" / case.tensor, "<f4"), np.full(3 * 64, 7))
    assert np.array_equal(np.fromfile(tmp_path / "a" / case.logits, "<f4"), [1.5, 2.5])
    assert case.label == "dog"


def test_the_published_schema_is_the_manifests() -> None:
    assert json.loads(SCHEMA.read_text()) == artifact.json_schema(), "run 'make schema'"


@pytest.mark.parametrize("parity", [not_run("no Core ML here", 2e-2), None])
def test_a_manifest_satisfies_the_published_schema(tmp_path: Path, parity: Any) -> None:
    write(tmp_path / "a", **({"parity": (parity,)} if parity else {}))
    jsonschema.validate(json.loads((tmp_path / "a" / files.MANIFEST).read_text()), json.loads(SCHEMA.read_text()))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("preprocessing", "interpolation"), "lanczos"),
        (("preprocessing", "antialias"), False),
        (("preprocessing", "layout"), "NHWC"),
        (("preprocessing", "mean"), [0.5, 0.5]),
        (("preprocessing", "resize_to"), [1.5, 2]),
        (("preprocessing", "resise_to"), [1, 2]),
        (("graph", "macs"), "many"),
        (("files", "model"), "model.pte"),
        (("colour",), "red"),
        (("format_version",), "one"),
    ],
)
def test_a_bad_value_is_refused_by_the_reader_and_by_the_schema(
    tmp_path: Path, keys: tuple[str, ...], value: object
) -> None:
    write(tmp_path / "a")
    change(tmp_path / "a", *keys, value=value)
    with pytest.raises(RequestError, match=keys[-1]):
        artifact.read(tmp_path / "a")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads((tmp_path / "a" / files.MANIFEST).read_text()), json.loads(SCHEMA.read_text()))


def test_a_later_format_says_to_update(tmp_path: Path) -> None:
    write(tmp_path / "a")
    change(tmp_path / "a", "format_version", value=4)
    with pytest.raises(RequestError, match="of format 4, and this volo-edge reads 3: update it"):
        artifact.read(tmp_path / "a")


def _third_label(folder: Path) -> None:
    """One more than classes, and the manifest has its hash."""
    labels = folder / artifact.LABELS
    labels.write_text("cat\ndog\nship\n")
    change(folder, "files", "labels", "sha256", value=files.sha256(labels))
    change(folder, "files", "labels", "bytes", value=files.size(labels))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: (folder / "model.pte").write_bytes(b"other"), "not the file the manifest names"),
        (lambda folder: (folder / "model.pte").unlink(), "has no model.pte"),
        (lambda folder: (folder / "labels.txt").write_text("dog\ncat\n"), "not the file the manifest names"),
        (lambda folder: change(folder, "files", "model", "path", value="../../x"), "leads out of"),
        (lambda folder: change(folder, "files", "model", "path", value="/etc/passwd"), "leads out of"),
        (_third_label, "has 3 names for 2 classes"),
        (lambda folder: change(folder, "preprocessing", "crop", value=[8, 9]), "crop is not the model's image_size"),
        (lambda folder: (folder / files.MANIFEST).write_text("{"), "is damaged|is no manifest"),
        (lambda folder: (folder / files.MANIFEST).write_bytes(b"\xff\xfe"), "is damaged|is no manifest"),
        (lambda folder: (folder / files.MANIFEST).write_text("[]"), "is damaged|is no manifest"),
        (lambda folder: (folder / files.MANIFEST).unlink(), "no artifact"),
    ],
)
def test_a_damaged_artifact_is_refused_in_one_line(tmp_path: Path, harm: Any, said: str) -> None:
    write(tmp_path / "a")
    harm(tmp_path / "a")
    with pytest.raises(RequestError, match=said) as caught:
        artifact.read(tmp_path / "a")
    assert "\n" not in str(caught.value)


def test_the_hash_of_a_folder_is_of_its_files_names_and_bytes(tmp_path: Path) -> None:
    for name, inner in (("a", "x/1"), ("b", "x/1"), ("c", "x/2")):
        path = tmp_path / name / inner
        path.parent.mkdir(parents=True)
        path.write_bytes(b"same")
    assert files.sha256(tmp_path / "a") == files.sha256(tmp_path / "b") != files.sha256(tmp_path / "c")
    (tmp_path / "b/x/1").write_bytes(b"else")
    assert files.sha256(tmp_path / "a") != files.sha256(tmp_path / "b")


def test_the_hash_of_a_folder_does_not_depend_on_the_order_of_its_files(tmp_path: Path) -> None:
    names = [f"{number:02}" for number in range(40)]
    for folder, order in (("a", names), ("b", names[::-1])):
        (tmp_path / folder).mkdir()
        for name in order:
            (tmp_path / folder / name).write_text(name)
    lines = "".join(f"{hashlib.sha256(name.encode()).hexdigest()} {name}\n" for name in names)
    expected = hashlib.sha256(lines.encode()).hexdigest()
    assert files.sha256(tmp_path / "a") == files.sha256(tmp_path / "b") == expected


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    broken = compare(np.full((1, 2), np.nan, np.float32), np.ones((1, 2), np.float32), 1e-4, "a runtime", "x86-64")
    assert broken.passed is False
    write(tmp_path / "a", parity=(broken,))
    assert json.loads((tmp_path / "a" / files.MANIFEST).read_text())["parity"][0]["relative_error"] is None
