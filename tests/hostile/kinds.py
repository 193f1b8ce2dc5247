"""What the campaign tries: for each kind of file, how a harmful one is made of a sound one, and what reads it.

A kind is set up once in a process, in a folder of its own, and then tried again and again with other seeds.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import pickletools
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image

from tests.hostile import mutate
from tests.small import SMALL
from tests.targets import why_not
from tests.test_artifact import write as write_artifact
from tests.weights import named_weights
from volo_edge import app, artifact, checkpoint, cli, files, label_files, outputs, request
from volo_edge.calibration import DEMO_VALIDATION
from volo_edge.calibration.images import find_images
from volo_edge.converters.coreml import evaluator
from volo_edge.converters.coreml import program as coreml_program
from volo_edge.converters.executorch import program as executorch_program
from volo_edge.converters.targets import TARGETS
from volo_edge.device_results import FORMAT as DEVICE_RESULTS
from volo_edge.errors import RequestError
from volo_edge.evaluate import class_map, truth
from volo_edge.model import VOLO
from volo_edge.preprocess import Preprocessing, open_rgb
from volo_edge.reference import file as reference_file
from volo_edge.sensitivity.kept import Kept, Layer, Measured
from volo_edge.trained import UNTOLD, ModelRequest
from volo_edge.validate import answers

ANYTHING = object()  # a value that no other can be wrong for: no checksum says what it was


@dataclass(frozen=True)
class Kind:
    """A kind of case.

    Args:
        name: of the kind.
        make: writes a harmful file, given chance; returns what is read.
        read: reads it as the product does; what it gives must be `right`, or an error that people are told.
        right: what the sound file gives; `ANYTHING` where a changed one cannot be known.
        same: whether what was read is `right`.
        peers: other programs' readers of such a file, by name.
    """

    name: str
    make: Callable[[Random], Any]
    read: Callable[[Any], Any]
    right: Any = ANYTHING
    same: Callable[[Any, Any], bool] = lambda one, other: one == other
    peers: tuple[tuple[str, Callable[[Any], Any]], ...] = ()


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _weights() -> dict[str, Any]:
    model = named_weights(VOLO(SMALL))
    return {name: tensor.half() for name, tensor in model.state_dict().items()}


def _heads(folder: Path) -> Path:
    path = folder / "heads.json"
    path.write_text(json.dumps({"format_version": 1, "num_heads": list(SMALL.num_heads)}))
    return path


def _load(path: Path) -> Any:
    loaded = checkpoint.load(ModelRequest(weights=str(path), architecture=path.parent / "heads.json"))
    return loaded.model.architecture.num_classes


def _torch_peer(path: Path) -> Any:
    return len(torch.load(path, weights_only=True, map_location="cpu"))


def _safetensors_peer(path: Path) -> Any:
    from safetensors.torch import load_file

    return len(load_file(path))


def _numpy_peer(path: Path) -> Any:
    with np.load(path) as arrays:
        return [arrays[name].shape for name in arrays]


def torch_zip(folder: Path) -> Kind:
    """What torch.save writes: its pickle, its records."""
    _heads(folder)
    stream = io.BytesIO()
    torch.save({"state_dict": _weights(), "epoch": 3, "args": {"lr": 0.1}}, stream)

    def member(name: str, content: bytes, chance: Random) -> bytes:
        return mutate.pickled(content, chance) if name.endswith(".pkl") else mutate.data(content, chance)

    def make(chance: Random) -> Path:
        given = stream.getvalue()
        if chance.random() < 0.5:  # the pickle is one of two hundred members
            return _written(folder / "weights.pth", _pickle_changed(given, chance))
        return _written(folder / "weights.pth", mutate.archive(given, chance, member))

    return Kind("checkpoint, zip", make, _load, peers=(("torch", _torch_peer),))


def _pickle_changed(given: bytes, chance: Random) -> bytes:
    """The archive with another pickle in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(given)) as old, zipfile.ZipFile(stream, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            new.writestr(info, mutate.pickled(content, chance) if info.filename.endswith(".pkl") else content)
    return stream.getvalue()


def torch_old(folder: Path) -> Kind:
    """What torch before 1.6 wrote: pickles one behind the other, then numbers."""
    _heads(folder)
    stream = io.BytesIO()
    torch.save(_weights(), stream, _use_new_zipfile_serialization=False)
    given = stream.getvalue()
    ends, at = [], io.BytesIO(given)
    for _ in range(4):
        list(pickletools.genops(at))
        ends.append(at.tell())

    def make(chance: Random) -> Path:
        if chance.random() < 0.3:
            return _written(folder / "weights.pth", mutate.data(given, chance))
        which = chance.randrange(4)
        start = ends[which - 1] if which else 0
        changed = mutate.pickled(given[start : ends[which]], chance)
        return _written(folder / "weights.pth", given[:start] + changed + given[ends[which] :])

    return Kind("checkpoint, before torch 1.6", make, _load, peers=(("torch", _torch_peer),))


def plain_pickle(folder: Path) -> Kind:
    """A pickle that torch did not write."""
    _heads(folder)
    values = {"state_dict": {f"layer.{n}": [1.0, "x", (n,)] for n in range(20)}, "epoch": 3}
    given = pickle.dumps(values, protocol=2)
    make = lambda chance: _written(folder / "weights.pth", mutate.pickled(given, chance))  # noqa: E731
    return Kind("checkpoint, a bare pickle", make, _load, peers=(("torch", _torch_peer),))


def safetensors_file(folder: Path) -> Kind:
    """A header in JSON, then numbers."""
    from safetensors.torch import save

    _heads(folder)
    given = save(_weights())
    make = lambda chance: _written(folder / "weights.safetensors", mutate.safetensors(given, chance))  # noqa: E731
    return Kind("checkpoint, safetensors", make, _load, peers=(("safetensors", _safetensors_peer),))


def reference(folder: Path) -> Kind:
    """An .npz of a float model's answers."""
    record = reference_file.Record(
        format_version=2,
        made_at="2026-01-31T12:00:00Z",
        model="volo_small",
        weights="small.safetensors",
        weights_sha256="1" * 64,
        entry="",
        prefix="",
        architecture=SMALL,
        preprocessing=Preprocessing.from_crop(SMALL.image_size, 1.0),
        device="cpu",
        device_name="a processor",
        arithmetic="float32",
        list_sha256="2" * 64,
        classes=("cat", "dog"),
        versions={"torch": "2.13.0"},
    )
    rows = np.arange(6 * SMALL.num_classes, dtype=np.float32).reshape(6, -1)
    names = tuple(f"cat/{n}.jpg" for n in range(6))
    path = folder / "sound.npz"
    reference_file.write(path, reference_file.Reference(record, names, np.zeros(6, np.int64), np.ones(6, bool), rows))
    content = path.read_bytes()

    def read(path: Path) -> Any:
        found = reference_file.read(path)
        return found.record, found.files, found.labels.tolist(), found.read.tolist(), np.asarray(found.logits).tolist()

    def make(chance: Random) -> Path:
        if chance.random() < 0.4:
            return _written(folder / "float.npz", mutate.data(content, chance))
        return _written(folder / "float.npz", mutate.archive(content, chance, mutate.array))

    return Kind("float reference", make, read, peers=(("numpy", _numpy_peer),))


def _json_kind(name: str, path: Path, sound: Any, read: Callable[[Path], Any]) -> Kind:
    def make(chance: Random) -> Path:
        return _written(path, mutate.json_text(sound, chance).encode("utf-8", "surrogatepass"))

    return Kind(name, make, read)


def device_results(folder: Path) -> Kind:
    """What an app wrote."""
    from tests.test_device_results import RESULTS

    return _json_kind("device results", folder / "results.json", RESULTS, DEVICE_RESULTS.read)


def architecture(folder: Path) -> Kind:
    """What `--architecture` names."""
    sound = {"format_version": 1, "num_heads": [2, 4], "outlook_kernel": 3, "outlook_padding": 1, "outlook_stride": 2}
    return _json_kind("architecture", folder / "architecture.json", sound, UNTOLD.read)


def hub_config(folder: Path) -> Kind:
    """A `config.json` beside weights, as the hub has it."""
    torch.save(_weights(), folder / "pytorch_model.bin")
    _heads(folder)
    sound = {
        "architecture": "volo_d1_224",
        "num_classes": SMALL.num_classes,
        "global_pool": "token",
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5] * 3, "crop_pct": 0.96, "interpolation": "bicubic"},
        "label_names": ["a", "b"],
    }
    return _json_kind(
        "config.json", folder / "config.json", sound, lambda path: _load(path.parent / "pytorch_model.bin")
    )


def class_maps(folder: Path) -> Kind:
    """Classes of folders and photographs: JSON, CSV, val.txt; one label or several."""
    texts = ("cat,0\ndog,1\n", "file,label\na.jpg,cat\nb.jpg,dog\n", "a.jpg 0\nb.jpg 1\n", "file,cat,dog\na.jpg,0,1\n")
    objects = ({"n01": "cat", "n02": 1}, {"a.jpg": ["cat", "dog"], "b.jpg": []})

    def make(chance: Random) -> Path:
        if chance.random() < 0.5:
            text = mutate.json_text(chance.choice(objects), chance)
            return _written(folder / "map.json", text.encode("utf-8", "surrogatepass"))
        return _written(folder / "map.csv", mutate.lines(chance.choice(texts), chance))

    def read(path: Path) -> Any:
        told = []
        for reader in (class_map.read, truth._read):
            try:
                reader(path)
            except RequestError as error:
                told.append(error)
        if len(told) == 2:
            raise told[0]

    return Kind("class map", make, read)


def labels(folder: Path) -> Kind:
    """Names of classes in all forms."""
    texts = (
        "cat\ndog\nship\n",
        "{0: 'cat',\n 1: 'dog',\n 2: 'ship'}\n",
        "0,cat\n1,dog\n2,ship\n",
        "0: cat\n1: dog\n2: ship\n",
    )
    objects = (["cat", "dog", "ship"], {"id2label": {"0": "cat", "1": "dog", "2": "ship"}})

    def make(chance: Random) -> Path:
        if chance.random() < 0.4:
            text = mutate.json_text(chance.choice(objects), chance)
            return _written(folder / "labels.json", text.encode("utf-8", "surrogatepass"))
        return _written(folder / "labels.txt", mutate.lines(chance.choice(texts), chance))

    return Kind("labels", make, lambda path: label_files.read(path, 3))


def manifest(folder: Path) -> Kind:
    """An artifact whose manifest says other things; its self-test is read too."""
    write_artifact(folder / "a")
    (folder / "mine").write_text("mine")
    path = folder / "a" / files.MANIFEST
    sound = json.loads(path.read_text())

    def make(chance: Random) -> Path:
        return _written(path, mutate.json_text(sound, chance).encode("utf-8", "surrogatepass"))

    def read(path: Path) -> Any:
        found = artifact.read(path.parent)
        for case in found.manifest.selftest.cases:
            open_rgb(found.folder / case.photo)

    return Kind("manifest", make, read)


def artifact_files(folder: Path) -> Kind:
    """An artifact one of whose files is not what the manifest names."""
    write_artifact(folder / "a")
    sound = {path: path.read_bytes() for path in (folder / "a").rglob("*") if path.is_file()}

    def make(chance: Random) -> Path:
        for path, content in sound.items():
            path.write_bytes(content)
        path = chance.choice([path for path in sound if path.name != files.MANIFEST])
        path.write_bytes(mutate.data(sound[path], chance))
        return folder / "a"

    def read(path: Path) -> Any:
        whole = all(inner.read_bytes() == content for inner, content in sound.items())
        artifact.read(path)
        return whole  # or it was to be refused

    return Kind("artifact's files", make, read, right=True)


def app_record(folder: Path) -> Kind:
    """An app that says which of its files are volo-edge's."""
    write_artifact(folder / "artifact")
    app.make("android", folder / "artifact", folder / "app", force=False)
    path = folder / "app" / app.RECORD
    sound, before = json.loads(path.read_text()), sorted(folder.rglob("*"))
    sound["files"] = dict(list(sound["files"].items())[:6])  # the others count as a person's, of the same contents
    (folder / "mine").write_text("mine")

    def make(chance: Random) -> Path:
        return _written(path, mutate.json_text(sound, chance).encode("utf-8", "surrogatepass"))

    def read(path: Path) -> Any:
        try:
            app.make("android", folder / "artifact", path.parent, force=False)
        finally:
            if (folder / "mine").read_text() != "mine" or not set(before) <= {*folder.rglob("*")}:
                raise AssertionError("a file outside, or of a person, was touched")

    return Kind("app's record", make, read)


def replaced(folder: Path) -> Kind:
    """A folder that `--force` may replace or not: what is a person's stays."""
    sound = {"format_version": 3, "target": "coreml", "quantization": {}, "files": {"model": {"path": "model.pte"}}}
    place = folder / "out"

    def make(chance: Random) -> Path:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        (place / files.MANIFEST).write_bytes(mutate.json_text(sound, chance).encode("utf-8", "surrogatepass"))
        (place / "mine").write_text("mine")
        return place

    def read(path: Path) -> Any:
        with outputs.new_folder(path, outputs.ARTIFACT, force=True):
            named = b'"mine"' in (path / files.MANIFEST).read_bytes()
        if not named:
            raise AssertionError("a person's file is gone")

    return Kind("output to replace", make, read)


_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "AVIF", "HEIF")


def photographs(folder: Path) -> Kind:
    """Photographs of every format that is read."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    picture = Image.open(DEMO_VALIDATION / "cat" / "0000.jpg").convert("RGB").resize((48, 40))
    sound = {}
    for name in _FORMATS:
        stream = io.BytesIO()
        picture.save(stream, name)
        sound[name] = stream.getvalue()

    def make(chance: Random) -> Path:
        name = chance.choice(_FORMATS)
        change = mutate.png if name == "PNG" and chance.random() < 0.7 else mutate.data
        return _written(folder / f"photo.{name.lower()}", change(sound[name], chance))

    def pillow(path: Path) -> Any:
        with Image.open(path) as image:
            image.load()

    return Kind("photographs", make, lambda path: open_rgb(path).size and None, peers=(("Pillow", pillow),))


def kept_answers(folder: Path) -> Kind:
    """Rows that an earlier run left of its work: what is wrong is computed again."""
    shutil.copytree(DEMO_VALIDATION / "cat", folder / "photographs", dirs_exist_ok=True)
    images = find_images(folder / "photographs")
    images = type(images)(images.root, images.files[:6])
    preprocessing, state = Preprocessing.from_crop((8, 8), 1.0), folder / "rows"

    def collected(path: Path) -> Any:
        run = lambda x: x.reshape(len(x), 3, -1).mean(2)  # noqa: E731
        found = answers.collect(images, preprocessing, lambda: run, 2, 3, path, lambda _: None)
        return np.asarray(found.logits).tolist()

    right = collected(state)
    sound = state.read_bytes()
    return Kind("answers that were kept", lambda chance: _written(state, mutate.data(sound, chance)), collected, right)


def kept_layers(folder: Path) -> Kind:
    """Layers that an earlier run has measured."""
    some = Measured(12.5, 1.0, None)
    kept = Kept(folder / "layers.json", {"model": "a"})
    kept.found["x"] = Layer("x", "fc1", 10, "int8", "int8", some, some, 0.5)
    kept.write()
    sound = json.loads(kept.path.read_text())
    return _json_kind("layers that were measured", kept.path, sound, lambda path: Kept(path, {"model": "a"}).found)


def programs(folder: Path) -> Kind:
    """A .pte with other bytes, read as `inspect` does; nothing runs it here."""
    sound = Path(os.environ["HOSTILE_ARTIFACTS"]) / "executorch" / "model.pte"
    content = sound.read_bytes()
    return Kind(
        ".pte, read",
        lambda chance: _written(folder / "model.pte", mutate.data(content, chance)),
        lambda path: len(executorch_program.read_program(path).layers),
    )


def packages(folder: Path) -> Kind:
    """A Core ML package with other bytes in its program, read and loaded by the evaluator."""
    shutil.copytree(Path(os.environ["HOSTILE_ARTIFACTS"]) / "coreml" / "VOLO.mlpackage", folder / "VOLO.mlpackage")
    spec = next((folder / "VOLO.mlpackage").rglob("*.mlmodel"))
    inner = [path for path in (folder / "VOLO.mlpackage").rglob("*") if path.is_file()]
    sound = {path: path.read_bytes() for path in inner}

    def make(chance: Random) -> Path:
        for path, content in sound.items():
            if path.stat().st_size != len(content) or path.name != "weight.bin":
                path.write_bytes(content)
        path = spec if chance.random() < 0.8 else chance.choice(inner)
        path.write_bytes(mutate.data(sound[path], chance))
        return folder / "VOLO.mlpackage"

    def read(path: Path) -> Any:
        coreml_program.read_program(path)
        evaluator.load(path)

    def coremltools(path: Path) -> Any:
        import coremltools

        coremltools.models.MLModel(str(path), skip_model_load=True)

    return Kind(".mlpackage, loaded", make, read, peers=(("coremltools", coremltools),))


def assets(folder: Path) -> Kind:
    """A Core AI asset with other bytes in its program and the hash of these, as what does harm on purpose has it."""
    path = folder / "VOLO.aimodel"
    shutil.copytree(Path(os.environ["HOSTILE_ARTIFACTS"]) / "coreai" / "VOLO.aimodel", path)
    sound = (path / "main.mlirb").read_bytes()

    def make(chance: Random) -> Path:
        data = mutate.data(sound, chance)
        if chance.random() < 0.5:  # what is not weights is a small part of it, at its ends
            start = chance.choice((0, len(sound) - 60_000)) + chance.randrange(60_000)
            data = sound[:start] + chance.randbytes(chance.randrange(1, 9)) + sound[start + 8 :]
        (path / "main.mlirb").write_bytes(data)
        (path / "main.hash").write_bytes(hashlib.sha256(data).digest())
        return path

    return Kind(".aimodel, read", make, TARGETS["coreai"].module("program").read_program)


_OPTIONS = (
    "--image-size",
    "--mean",
    "--std",
    "--crop-pct",
    "--resize",
    "--pool",
    "--interpolation",
    "--crop-mode",
    "--entry",
    "--calibration-size",
)
_WORDS = (
    *(
        "0",
        "-1",
        "1e400",
        "nan",
        "inf",
        "",
        " ",
        "9" * 400,
        "224x",
        "x",
        "1x1",
        "224x224x3",
        "\uff10",
        "0.5,0.5,0.5,0.5",
    ),
    *("0.5,", ",", "\x1b[2J", "\udcff", "a" * 5000, "--", "-", "@", "224", "0.5"),
)


def command_line(folder: Path) -> Kind:
    """Options of `convert` with other words; all that is checked before torch is imported."""

    def make(chance: Random) -> Any:
        words = ["convert", "--target", chance.choice(("executorch", "coreml"))]
        for option in chance.sample(_OPTIONS, chance.choice((1, 2))):
            words += [option, chance.choice(_WORDS)]
        return words

    def read(words: list[str]) -> Any:
        args = cli.parser().parse_args(words)
        request.check(
            request.Request(target=args.target, model=cli._model(args), calibration_size=args.calibration_size)
        )

    return Kind("command line", make, read)


KINDS: tuple[Callable[[Path], Kind], ...] = (
    *(torch_zip, torch_old, plain_pickle, safetensors_file, reference, device_results, architecture, hub_config),
    *(class_maps, labels, manifest, artifact_files, app_record, replaced, photographs, kept_answers, kept_layers),
    *(programs, packages, command_line, *(() if why_not("coreai") else (assets,))),
)
