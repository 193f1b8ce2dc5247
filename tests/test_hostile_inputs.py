"""Files that mean harm: each is refused in one line, at once, and takes no more memory than it has bytes for."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from tests.command import refusal
from tests.hostile import crafted
from tests.test_artifact import change, write
from tests.test_cli import _artifact
from volo_edge import artifact, checkpoint, files, inputs, label_files, preprocess
from volo_edge.calibration import DEMO_WEIGHTS
from volo_edge.calibration.images import ImageList, list_hash
from volo_edge.checkpoint import storage
from volo_edge.converters.coreml.evaluator.package import read_package
from volo_edge.device_results import FORMAT
from volo_edge.errors import RequestError
from volo_edge.evaluate import class_map, truth
from volo_edge.preprocess import UnreadableImage, open_rgb
from volo_edge.reference import file as reference_file
from volo_edge.trained import UNTOLD, ModelRequest
from volo_edge.variants import VARIANTS, Architecture

State = dict[str, torch.Tensor]


def within(seconds: float, megabytes: int, code: str, *arguments: Path) -> str:
    """What Python prints that runs `code` in so much time, with so much memory to ask for."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes * 2**20, megabytes * 2**20))

    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=seconds,
        preexec_fn=limit,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


# --- regular files


NOT_FILES = [crafted.fifo, crafted.endless, crafted.large_text, lambda path: path.mkdir() or path]
READERS: dict[str, Callable[[Path], object]] = {
    "labels": lambda path: label_files.read(path, 3),
    "class map": class_map.read,
    "truth": truth._read,
    "device results": FORMAT.read,
    "architecture": UNTOLD.read,
    "manifest": artifact.FORMAT.read,
}


@pytest.mark.parametrize("make", NOT_FILES, ids=["pipe", "device", "large", "folder"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file_of_sensible_size_is_refused(
    tmp_path: Path, reader: str, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path / "given.json")
    with pytest.raises(RequestError, match=r"not a regular file|larger than 64 MB") as caught:
        READERS[reader](path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("make", [crafted.fifo, crafted.endless], ids=["pipe", "device"])
def test_checkpoints_references_and_photographs_are_regular_files(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "given")
    for read in (
        lambda: checkpoint.load(ModelRequest(weights=str(path))),
        lambda: reference_file.read(path),
        lambda: open_rgb(path),
        lambda: list_hash(ImageList(tmp_path, ("given",))),
    ):
        with pytest.raises(RequestError, match="regular file"):
            read()


def test_a_config_beside_the_weights_that_is_a_pipe(tmp_path: Path) -> None:
    shutil.copy(DEMO_WEIGHTS, tmp_path / "model.safetensors")
    crafted.fifo(tmp_path / "config.json")
    with pytest.raises(RequestError, match=r"config\.json beside it cannot be read \(is a pipe"):
        checkpoint.load(ModelRequest(weights=str(tmp_path / "model.safetensors")))


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    pipe = crafted.fifo(tmp_path / "pipe")
    output = tmp_path / "out"
    assert "is a pipe" in refusal("convert", "--target", "executorch", "--weights", pipe, "--output", output)
    assert not output.exists()


# --- JSON


@pytest.mark.parametrize("text", crafted.HOSTILE_JSON.values(), ids=crafted.HOSTILE_JSON)
@pytest.mark.parametrize("reader", [name for name in READERS if name != "truth"])  # which reads the text only
def test_json_that_is_none(tmp_path: Path, reader: str, text: str) -> None:
    path = tmp_path / "given.json"
    for content in (f'{{"format_version": 1, "a": {text}}}', f'{{"0": {text}}}'):
        path.write_text(content)
        with pytest.raises(RequestError) as caught:
            READERS[reader](path)
        assert len(str(caught.value)) < 600


_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False)


@given(st.recursive(_VALUES | _TEXT, lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner)), st.booleans())
def test_json_that_is_sound_is_read_as_python_reads_it(value: object, ascii_only: bool) -> None:
    assert inputs.parse_json(json.dumps(value, ensure_ascii=ascii_only)) == value


def test_the_least_of_64_bits_is_a_number() -> None:
    assert inputs.parse_json(f"[{-(2**63)}, {2**63 - 1}]") == [-(2**63), 2**63 - 1]


def test_a_number_in_quotes_is_no_number(tmp_path: Path) -> None:
    write(tmp_path / "a")
    change(tmp_path / "a", "model", "num_classes", value="2")
    with pytest.raises(RequestError, match=r"model\.num_classes: Input should be a valid integer"):
        artifact.read(tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '{"' + "9" * 400 + '": "cat"}'),
        ("a.json", "{" + "9" * 5000 + ": 'cat'}"),
        ("a.json", '["cat", "\\ud800"]'),
        ("a.txt", "9" * 5000 + ": cat\n" + "8" * 5000 + ": dog\n"),
        ("a.csv", "index,name\n" + "9" * 5000 + ",cat\n"),
    ],
)
def test_labels_with_numbers_and_names_that_are_none(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=f"labels .*{name}") as caught:
        label_files.read(tmp_path / name, 2 if name == "a.json" else 1)
    assert len(str(caught.value)) < 500


# --- manifests


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("backend",), "xnpack", "has no backend 'xnpack': did you mean 'xnnpack'"),
        (("backend",), "coreml", "does not take the scheme|minimum"),
        (("quantization", "scheme"), "int9", "no quantization scheme is called 'int9'"),
        (("minimum_ios",), 99, "minimum-ios"),
        (("preprocessing", "crop"), [1_000_000, 1_000_000], "crop must be 1 to 65535 pixels"),
        (("model", "architecture", "image_size"), [1_000_000, 1_000_000], "4096 pixels at most"),
        (("model", "architecture", "layers"), [1_000_000, 1], "layers is 1000000, and must be 1 to 1000"),
        (("model", "architecture", "num_heads"), [0, 1], "num_heads is 0"),
        (("model", "architecture", "embed_dims"), [1], "a number for every stage"),
        (("selftest", "tolerance"), 1e9, "tolerance"),
    ],
)
def test_a_manifest_of_what_no_conversion_writes(tmp_path: Path, keys: Any, value: object, said: str) -> None:
    manifest = write(tmp_path / "a")
    if keys == ("backend",) and value == "coreml":
        change(tmp_path / "a", "quantization", "scheme", value="int8-dynamic")
    if keys[:2] == ("model", "architecture"):
        stages = len(manifest.model.architecture.layers)
        value = value if keys[2] in ("image_size", "embed_dims") else [value[0]] * stages  # type: ignore[index]
    change(tmp_path / "a", *keys, value=value)
    with pytest.raises(RequestError, match=said) as caught:
        artifact.read(tmp_path / "a")
    assert "manifest.json" in str(caught.value)


@pytest.mark.parametrize("part", ["photo", "tensor", "logits"])
def test_a_self_test_is_of_the_artifacts_own_files(tmp_path: Path, part: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    write(tmp_path / "a")
    values = json.loads((tmp_path / "a" / files.MANIFEST).read_text())
    cases = [case | {part: "../secret"} for case in values["selftest"]["cases"]]
    change(tmp_path / "a", "selftest", "cases", value=cases)
    with pytest.raises(RequestError, match=r"names '\.\./secret', which is none of its files"):
        artifact.read(tmp_path / "a")


def test_a_self_test_has_tensors_of_its_model(tmp_path: Path) -> None:
    write(tmp_path / "a")
    path = tmp_path / "a" / artifact.SELFTEST / "0.logits.f32"
    path.write_bytes(bytes(12))
    change(tmp_path / "a", "files", "selftest/0/logits", "bytes", value=12)
    change(tmp_path / "a", "files", "selftest/0/logits", "sha256", value=files.sha256(path))
    with pytest.raises(RequestError, match=r"logits .* has 12 bytes, and the model's 8"):
        artifact.read(tmp_path / "a")


def _pipe_in(model: Path) -> None:
    crafted.fifo(model / "pipe")


def _folder_link_in(model: Path) -> None:
    (model / "other").mkdir()
    (model / "linked").symlink_to("other")


def _link_out(model: Path) -> None:
    (model.parent.parent / "secret").write_bytes(b"a person's own")
    (model / "linked").symlink_to("../../secret")


@pytest.mark.parametrize(
    ("harm", "said"),
    [(_pipe_in, "is a pipe"), (_folder_link_in, "is a folder"), (_link_out, "leads out of")],
)
def test_what_lies_in_an_artifacts_folder_is_its_own_files(
    tmp_path: Path, harm: Callable[[Path], None], said: str
) -> None:
    folder = _artifact(tmp_path / "artifact", "coreml")
    artifact.read(folder)
    harm(folder / "VOLO.mlpackage")
    with pytest.raises(RequestError, match=said):
        artifact.read(folder)


def test_a_packages_own_manifest_leads_nowhere_else(tmp_path: Path) -> None:
    package = tmp_path / "VOLO.mlpackage"
    package.mkdir()
    entry = {"itemInfoEntries": {"a": {"path": "../../secret/model.mlmodel"}}, "rootModelIdentifier": "a"}
    (package / "Manifest.json").write_text(json.dumps(entry))
    with pytest.raises(RequestError, match="its model lies outside the package"):
        read_package(package)


def test_an_artifact_whose_model_is_a_pipe(tmp_path: Path) -> None:
    folder = _artifact(tmp_path / "artifact")
    (folder / "model.pte").unlink()
    crafted.fifo(folder / "model.pte")
    with pytest.raises(RequestError, match="is a pipe"):
        artifact.read(folder)


def test_a_manifest_is_held_against_what_the_file_takes(tmp_path: Path) -> None:
    write(tmp_path / "a")
    found = artifact.read(tmp_path / "a")
    artifact.require_signature(found, (1, 3, 8, 8), 2)
    with pytest.raises(RequestError, match=r"says images of 3x8x8, and .*model\.pte takes 1x8x8"):
        artifact.require_signature(found, (1, 1, 8, 8), 2)
    with pytest.raises(RequestError, match=r"says 2 classes, and .*model\.pte gives 10 logits"):
        artifact.require_signature(found, (1, 3, 8, 8), 10)


@pytest.mark.parametrize("sides", [(4104, 4104), (10**6, 10**6)])
def test_an_image_that_no_model_takes(sides: tuple[int, int]) -> None:
    kept = asdict(VARIANTS["volo_d1_224"].architecture)
    with pytest.raises(RequestError, match="4096 pixels at most"):
        Architecture(**{**kept, "image_size": sides})


# --- checkpoints


PICKLES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a key of 2**60 steps": (crafted.deep_tuple_pickle, "more memory or time"),
    "a tower": (crafted.tower_pickle, "nested 201 deep"),
    "a bytearray": (crafted.bytearray_pickle, r"makes a builtins\.bytearray of a size that it names"),
    "a bytearray in an old file": (crafted.bytearray_of_old_torch, r"makes a builtins\.bytearray"),
    "a tensor by its size": (crafted.tensor_by_size_pickle, r"makes a torch\.FloatTensor of a size"),
    "copies": (crafted.copies_pickle, "more memory or time"),
    "a storage that grows": (crafted.grown_storage_pickle, "tensors? of .* the file holds|bytes and holds"),
    "a storage that lies": (crafted.overstated_storage_pickle, "has tensors of 8000000000 bytes and holds 4: it is"),
    "a tensor of one number": (crafted.dense_quantized_pickle, "a tensor of 2000000000 that is more than the file"),
    "an encoding": (crafted.encoded_pickle, "holds text in the encoding 'idna' and was refused"),
    "two of one name": (crafted.twofold_checkpoint, "is truncated, damaged or no checkpoint"),
    "compressed": (crafted.compressed_checkpoint, "is a compressed zip file"),
    "an entry that hides a method": (crafted.shadowed_pickle, "holds no weights"),
}


@pytest.mark.parametrize(("make", "said"), PICKLES.values(), ids=PICKLES)
def test_pickles_that_do_harm(tmp_path: Path, make: Callable[[Path], Path], said: str) -> None:
    path = make(tmp_path / "bad.pth")
    with pytest.raises(RequestError, match=said) as caught:
        checkpoint.load(ModelRequest(weights=str(path)))
    assert "\n" not in str(caught.value)


def test_a_scan_finds_the_scanned(tmp_path: Path) -> None:
    """The limits are not those of sound files: lists, tuples and bytearrays as Python writes them."""
    deep: Any = ()
    for _ in range(50):
        deep = (deep,)
    kept = {"a": [deep], (1, (2, 3)): 5, "b": bytearray(b"abc" * 1000), "c": b"\xff" * 1000, "d": {1, 2}, "e": 2**200}
    for old in (False, True):
        torch.save(kept, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
        assert storage.read(tmp_path / "a.pth")[0] == kept


@pytest.mark.parametrize("old", [False, True])
def test_numbers_that_tensors_share_count_once(tmp_path: Path, old: bool) -> None:
    numbers = torch.arange(100_000.0)
    kept = {"all": numbers, "some": numbers[5:9], "again": numbers[::2]}
    torch.save(kept, tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    found = storage.read(tmp_path / "a.pth")[0]
    assert found.keys() == kept.keys()
    for name, tensor in kept.items():
        assert torch.equal(found[name], tensor)


@pytest.fixture(scope="module")
def state() -> State:
    return checkpoint.load().model.state_dict()


def test_a_head_of_ten_million_classes_that_are_one_row(tmp_path: Path, state: State) -> None:
    path = crafted.stride_zero_checkpoint(tmp_path / "a.pth", state)
    said = within(
        60,
        6000,
        "import sys\n"
        "from volo_edge import checkpoint, errors, machine, trained\n"
        "try: checkpoint.load(trained.ModelRequest(weights=sys.argv[1]))\n"
        "except errors.RequestError as error: print(error)\n"
        "assert machine.peak_memory() < 1e9\n",
        path,
    )
    assert "repeat a few numbers ('head.weight' is 10000000x192" in said


def test_weights_that_share_their_numbers(tmp_path: Path, state: State) -> None:
    path = crafted.shared_checkpoint(tmp_path / "a.pth", state)
    with pytest.raises(RequestError, match="share their numbers"):
        checkpoint.load(ModelRequest(weights=str(path)))


@pytest.mark.parametrize("kind", ["nested", "meta", "sparse", "complex", "quantized"])
def test_tensors_of_other_kinds_are_named(tmp_path: Path, state: State, kind: str) -> None:
    path = crafted.odd_checkpoint(tmp_path / "a.pth", state, kind)
    with pytest.raises(RequestError, match=r"not plain floating point: 'head\.weight'|refused"):
        checkpoint.load(ModelRequest(weights=str(path)))


@pytest.mark.parametrize("offset", [10**12, 2**63])
def test_safetensors_that_lie(tmp_path: Path, offset: int) -> None:
    header = json.dumps({"head.weight": {"dtype": "F32", "shape": [offset // 4], "data_offsets": [0, offset]}}).encode()
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(RequestError, match="truncated or damaged"):
        checkpoint.load(ModelRequest(weights=str(tmp_path / "a.safetensors")))


# --- references


def _arrays(**changes: Any) -> dict[str, Any]:
    architecture = VARIANTS["volo_cifar10"].architecture
    record = {
        "format_version": 2, "made_at": "", "model": "volo_cifar10", "weights": "", "weights_sha256": "", "entry": "",
        "prefix": "", "architecture": asdict(architecture),
        "preprocessing": asdict(preprocess.Preprocessing.from_crop(architecture.image_size, 1.0)),
        "device": "cpu", "device_name": "", "arithmetic": "", "list_sha256": "", "classes": ["cat", "dog"],
        "versions": {},
    }  # fmt: skip
    sound = {
        "files": np.array(["cat/a.png", "dog/b.png"]),
        "labels": np.array([0, 1]),
        "read": np.array([True, False]),
        "logits": np.array([[1.0] * 10, [np.nan] * 10], np.float32),
        "record": np.array(json.dumps(record)),
    }
    return sound | changes


def test_a_sound_reference_is_read(tmp_path: Path) -> None:
    found = reference_file.read(crafted.reference(tmp_path / "a.npz", _arrays()))
    assert found.files == ("cat/a.png", "dog/b.png") and found.read.tolist() == [True, False]
    assert found.logits.shape == (2, 10) and found.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"logits": np.zeros(2, np.float32)}, "logits are float32 of 1 axes"),
        ({"logits": np.zeros((2, 10))}, "do not fit"),
        ({"logits": np.zeros((2, 9), np.float32)}, "9 logits for 10 classes"),
        ({"logits": np.full((2, 10), np.nan, np.float32)}, "NaN or infinity"),
        ({"labels": np.array(["cat", "dog"])}, "its labels are <U3"),
        ({"labels": np.array([-2, 0])}, "labels -2 to 0 of 2 folders"),
        ({"labels": np.array([0, 2**40])}, "labels 0 to 1099511627776 of 2 folders"),
        ({"files": np.array([1, 2])}, "its files are int64"),
        ({"files": np.array([["a", "b"]])}, "its files are <U1 of 2 axes"),
        ({"files": np.array(["a", "../../etc/passwd"])}, "is no photograph in a folder"),
        ({"files": np.array(["a", "/dev/zero"])}, "is no photograph in a folder"),
        ({"files": np.array(["a", "b"], object)}, "its files are object"),
        ({"read": np.array([1.0, 0.0])}, "its read are float64"),
        ({"read": np.array([True])}, "do not fit"),
        ({"record": np.array("[" * 10_000)}, "is damaged"),
    ],
)
def test_references_that_lie(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = crafted.reference(tmp_path / "a.npz", _arrays(**changes))
    with pytest.raises(RequestError, match=said):
        reference_file.read(path)


def test_no_member_of_a_reference_is_unpacked(tmp_path: Path) -> None:
    path = crafted.reference(tmp_path / "a.npz", _arrays(files=np.zeros(2, "U50000000")), compressed=True)
    assert path.stat().st_size < 2e6
    said = within(
        60,
        3000,
        "import sys; from pathlib import Path\n"
        "from volo_edge import errors, machine\nfrom volo_edge.reference import file\n"
        "before = machine.peak_memory()\n"
        "try: file.read(Path(sys.argv[1]))\n"
        "except errors.RequestError as error: print(error)\n"
        "assert machine.peak_memory() - before < 1e8\n",
        path,
    )
    assert "files are compressed" in said
    with pytest.raises(RequestError, match="their bytes are not"):
        reference_file.read(crafted.overstated_reference(tmp_path / "b.npz", _arrays()))


# --- photographs


@pytest.mark.parametrize(
    ("make", "said"),
    [(crafted.tall_png, "1 x 170000000 pixels, in "), (crafted.wide_webp, "16383 x 16383 pixels, in ")],
)
def test_photographs_of_more_pixels_than_their_bytes_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path], said: str
) -> None:
    path = make(tmp_path / "a")
    with pytest.raises(UnreadableImage, match=f"{said}.* set VOLO_EDGE_MAX_PIXELS"):
        open_rgb(path)
    assert preprocess.pixels_of(path) == 0
    monkeypatch.setenv(preprocess.LIMIT, "1000")
    with pytest.raises(UnreadableImage, match="and 1000 are read at most"):
        open_rgb(path)
    monkeypatch.setenv(preprocess.LIMIT, str(2**30))
    assert preprocess.pixels_of(path) > 10**8
    monkeypatch.setenv(preprocess.LIMIT, "many")
    with pytest.raises(RequestError, match="VOLO_EDGE_MAX_PIXELS='many' is no number"):
        open_rgb(path)


def test_a_side_that_no_camera_has(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="a side of 65535 is read at most"):
        open_rgb(crafted.tall_png(tmp_path / "a.png", 65_536))


def test_the_command_passes_over_such_a_photograph_in_little_memory(tmp_path: Path) -> None:
    path = crafted.tall_png(tmp_path / "a.png")
    within(
        30,
        2500,
        "import sys; from pathlib import Path\n"
        "from volo_edge import preprocess, machine\n"
        "try: preprocess.open_rgb(Path(sys.argv[1]))\n"
        "except preprocess.UnreadableImage: pass\n"
        "else: raise SystemExit('it was read')\n"
        "assert machine.peak_memory() < 3e8\n",
        path,
    )


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"quality": 30}], ids=["baseline", "progressive", "low"]
)
def test_a_jpeg_that_was_cut_and_closed(tmp_path: Path, options: dict[str, Any]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    photograph = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
    with pytest.raises(UnreadableImage, match="some of its pixels are missing"):
        open_rgb(crafted.closed_jpeg(tmp_path / "cut.jpg", photograph, **options))
    photograph.save(tmp_path / "whole.jpg", **options)
    assert open_rgb(tmp_path / "whole.jpg").size == (320, 240)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_grey_jpeg_is_whole(tmp_path: Path, mode: str, progressive: bool) -> None:
    grey = {"RGB": (128, 128, 128), "L": 128, "CMYK": (127, 127, 127, 127)}[mode]
    Image.new(mode, (50, 40), grey).save(tmp_path / "a.jpg", progressive=progressive, restart_marker_rows=1)
    assert open_rgb(tmp_path / "a.jpg").size == (50, 40)


def test_a_jpeg_may_have_bytes_that_fill(tmp_path: Path) -> None:
    """Any number of 0xff in front of a marker; its last pixel is grey, so that its scan is looked at."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    photograph = Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC)
    photograph.paste((128, 128, 128), (300, 220, 320, 240))

    def filled(data: bytes) -> bytes:
        place = data.index(b"\xff\xda")
        return data[:place] + b"\xff" * 5 + data[place:]

    whole, cut = tmp_path / "whole.jpg", crafted.closed_jpeg(tmp_path / "cut.jpg", photograph)
    photograph.save(whole)
    for path in (whole, cut):
        path.write_bytes(filled(path.read_bytes()))
    assert open_rgb(whole).size == (320, 240)
    with pytest.raises(UnreadableImage, match="some of its pixels are missing"):
        open_rgb(cut)


def test_pixels_are_missed_though_a_library_lets_them_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(cut)
    cut.write_bytes(cut.read_bytes()[:3000])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UnreadableImage, match=r"truncated"):
        open_rgb(cut)


def test_transparency_is_laid_over_white_in_parts_as_at_once(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 7, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "a.png")
    at_once = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    assert np.array_equal(np.asarray(open_rgb(tmp_path / "a.png")), np.asarray(at_once))


def test_a_reference_whose_numbers_were_changed(tmp_path: Path) -> None:
    """One bit of the last logit, of so many that a look at their header does not read them all."""
    count = 5000
    logits = np.ones((count, 10), np.float32)
    logits[-1, -1] = 0.75
    names = np.array([f"{number}.png" for number in range(count)])
    of_all = {"files": names, "labels": np.zeros(count, int), "read": np.ones(count, bool), "logits": logits}
    path = crafted.reference(tmp_path / "a.npz", _arrays(**of_all))
    assert len(reference_file.read(path).files) == count
    data = bytearray(path.read_bytes())
    data[data.index(np.float32([1, 0.75]).tobytes()) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(RequestError, match="is no float reference, or damaged"):
        reference_file.read(path)
