"""The folder that a conversion writes: the model's file, its manifest, its labels and a self-test.

`Manifest` is what `manifest.json` holds, field for field, and the JSON Schema in `docs/manifest.schema.json` is made
from it. An app needs nothing but the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from volo_edge import files, inputs, plain
from volo_edge.activation import Activation
from volo_edge.converters.program import HalfPrecision
from volo_edge.converters.targets import choose
from volo_edge.errors import RequestError
from volo_edge.formats import Format
from volo_edge.preprocess import Preprocessing
from volo_edge.trained import Assumed
from volo_edge.validate.parity import Parity
from volo_edge.variants import Architecture

FORMAT_VERSION = 3
LABELS = "labels.txt"
SELFTEST = "selftest"
SHIPPED = "CIFAR-10 thumbnails that ship with volo-edge"


@dataclass(frozen=True)
class ModelInfo:
    """The float model.

    Args:
        name: of the variant.
        parameters: how many numbers it has.
        image_size: (height, width) in pixels.
        num_classes: logits it gives.
        activation: what makes probabilities of the logits: "softmax" over the classes, which exclude each other, or
            "sigmoid" of each, which are independent.
        weights: name of the file, or of the hub's repository, that the weights came from.
        weights_sha256: of that file.
        entry: where in the file they were, "model.state_dict" for one; "" at its top.
        prefix: what was left out in front of the tensors' names.
        trained_size: (height, width) of the position embedding in the file.
        architecture: what was built, field for field.
        assumed: what the tensors did not say.
    """

    name: str
    parameters: int
    image_size: tuple[int, int]
    num_classes: int
    activation: Activation
    weights: str
    weights_sha256: str
    entry: str
    prefix: str
    trained_size: tuple[int, int]
    architecture: Architecture
    assumed: tuple[Assumed, ...]


@dataclass(frozen=True)
class Calibration:
    """The photographs that a scheme was fitted to.

    Args:
        images: how many.
        seed: of the choice among those in the folder.
        list_sha256: of their names and contents (`calibration.images.list_hash`).
        doubts: what speaks against them, a sentence each.
    """

    images: int
    seed: int
    list_sha256: str
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Quantization:
    """How the numbers are stored and computed.

    Args:
        scheme: its name.
        calibration: null where the scheme needs none.
    """

    scheme: str
    calibration: Calibration | None


@dataclass(frozen=True)
class FileInfo:
    """A file of the artifact.

    Args:
        path: within the artifact, with forward slashes; of the model in Core ML, a folder.
        bytes: its size; of a folder, of the files in it.
        sha256: of its bytes; of a folder, of the lines "<sha256> <path>" of the files in it, sorted by path.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class UndelegatedOp:
    """An operator of an ExecuTorch program that its backend does not compute, how often it runs, and why."""

    operator: str
    count: int
    reason: str


@dataclass(frozen=True)
class Graph:
    """What the saved file computes, read from it.

    Args:
        delegate_calls: of an ExecuTorch program, how often it calls its backend: one is the aim. null elsewhere.
        undelegated_ops: of an ExecuTorch program, what its backend does not compute: none is the aim.
        macs: multiplications and additions of one image, in pairs, in linears, convolutions and matrix products.
        ops: kinds of operator in the file and how many of each.
    """

    delegate_calls: int | None
    undelegated_ops: tuple[UndelegatedOp, ...]
    macs: int
    ops: dict[str, int]


@dataclass(frozen=True)
class SelftestCase:
    """One photograph and what it must give on any device; paths are within the artifact.

    Args:
        photo: PNG, 8-bit RGB, upright.
        tensor: what preprocessing must make of it: float32, little-endian, in the preprocessing's layout.
        logits: what the file must answer: float32, little-endian, one for each class.
        label: the class of the largest logit.
    """

    photo: str
    tensor: str
    logits: str
    label: str


@dataclass(frozen=True)
class Selftest:
    """Photographs with known answers.

    Args:
        cases: the photographs.
        logits_from: what gave the logits: the runtime that ran the file, or "float reference" where none did.
        tolerance: largest relative error, |device - logits| / |logits| in the 2-norm over all cases, that passes.
    """

    cases: tuple[SelftestCase, ...]
    logits_from: str
    tolerance: float


@dataclass(frozen=True)
class Manifest:
    """What an artifact is: `manifest.json`, field for field.

    Args:
        format_version: 3; an app refuses a version it does not know.
        model: the float model.
        target: "executorch", "coreml" or "coreai".
        backend: what computes it: "xnnpack", "coreml" or "coreai".
        minimum_ios: the first iOS that runs it, where Core ML or Core AI computes it; null elsewhere.
        quantization: how the numbers are stored and computed.
        preprocessing: how a photograph becomes the input.
        files: the artifact's files by role: "model", "labels", "selftest/0/photo" and so on.
        graph: what the saved file computes.
        parity: the saved file against the float model: on this machine, then on ARM64 processors where they ran it.
        selftest: photographs with known answers.
        tools: versions of what made it.
        half_precision: of a Core ML package that computes in half precision, how near its values come to the limits of
            that; null elsewhere.
        photographs: where those of `parity` and of the self-test are from: the name of the folder given, or `SHIPPED`.
    """

    model: ModelInfo
    target: str
    backend: str
    minimum_ios: int | None
    quantization: Quantization
    preprocessing: Preprocessing
    files: dict[str, FileInfo]
    graph: Graph
    parity: tuple[Parity, ...]
    selftest: Selftest
    tools: dict[str, str]
    half_precision: HalfPrecision | None = None
    photographs: str = SHIPPED
    format_version: Literal[3] = 3


FORMAT = Format(Manifest, FORMAT_VERSION, "manifest", "convert the model again")


def as_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as JSON has it; a number that is not finite is null."""
    return FORMAT.as_json(manifest)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of `manifest.json`."""
    return FORMAT.schema()


@dataclass(frozen=True)
class Artifact:
    """An artifact on disk."""

    folder: Path
    manifest: Manifest
    labels: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of its folder, by which reports know it."""
        return self.folder.resolve().name

    @property
    def model_path(self) -> Path:
        """The .pte file or the .mlpackage folder."""
        return self.folder / self.manifest.files["model"].path


def read(folder: str | Path) -> Artifact:
    """The artifact in `folder`.

    Raises:
        RequestError: it is none, its manifest is damaged or of a later format, or a file is missing or was changed.
    """
    folder = Path(folder)
    path = folder / files.MANIFEST
    if not path.is_file():
        what = "not there" if not folder.exists() else f"no artifact (it holds no {files.MANIFEST})"
        raise RequestError(f"{folder} is {what}: give a folder that 'volo-edge convert' wrote")
    manifest = FORMAT.read(path)
    try:
        _require_sense(manifest)
    except RequestError as error:
        raise RequestError(f"{path}: {error}; convert the model again") from None
    for role, info in manifest.files.items():
        file = files.within(folder, info.path, f"{path}: the path of {role!r}")
        _require_files(file, folder)
        if files.size(file) != info.bytes or files.sha256(file) != info.sha256:
            raise RequestError(f"{file} is not the file the manifest names: copy or convert it again")
    labels = _read_labels(folder / manifest.files["labels"].path, manifest.model.num_classes)
    return Artifact(folder, manifest, labels)


def require_signature(found: Artifact, image: tuple[int, ...], logits: int) -> None:
    """RequestError where the file takes another image, (1, C, H, W), or gives other logits than the manifest says."""
    m = found.manifest
    said, takes = ("x".join(map(str, shape[1:])) for shape in (m.preprocessing.shape, image))
    if said != takes:
        raise RequestError(
            f"{found.folder / files.MANIFEST} says images of {said}, and {found.model_path} takes {takes}: convert the "
            "model again"
        )
    if logits != m.model.num_classes:
        raise RequestError(
            f"{found.folder / files.MANIFEST} says {m.model.num_classes} classes, and {found.model_path} gives "
            f"{logits} logits: convert the model again"
        )


def _require_sense(manifest: Manifest) -> None:
    """RequestError where a manifest says what no conversion writes, or two things of one."""
    model, scheme = manifest.model, manifest.quantization.scheme
    choose(manifest.target, manifest.backend, scheme, manifest.minimum_ios)
    for role in ("model", "labels"):
        if role not in manifest.files:
            raise RequestError(f"it names no file for '{role}'")
    if manifest.preprocessing.crop != model.image_size:
        raise RequestError("preprocessing.crop is not the model's image_size")
    _require_selftest(manifest)


def _require_selftest(manifest: Manifest) -> None:
    """RequestError where the self-test is of other files than the artifact's, or these are no tensors of its model."""
    test, model = manifest.selftest, manifest.model
    if not 0 < test.tolerance < 1:
        raise RequestError(f"its self-test's tolerance is {test.tolerance}, a relative error between 0 and 1")
    sizes = {info.path: info.bytes for info in manifest.files.values()}
    wanted = {"photo": None, "tensor": 4 * prod(manifest.preprocessing.shape), "logits": 4 * model.num_classes}
    for case in test.cases:
        for part, size in wanted.items():
            file = getattr(case, part)
            if file not in sizes:
                raise RequestError(f"its self-test names {file!r}, which is none of its files")
            if size is not None and sizes[file] != size:
                raise RequestError(f"its self-test's {part} {file!r} has {sizes[file]} bytes, and the model's {size}")


def _require_files(path: Path, folder: Path) -> None:
    """RequestError where nothing is at `path` in the artifact `folder`, or anything but files and folders of it."""
    if not path.exists():
        raise RequestError(f"{folder} has no {path.relative_to(folder)}: it is incomplete, copy or convert it again")
    for inner in path.rglob("*") if path.is_dir() else (path,):
        files.within(folder, str(inner.relative_to(folder)), f"{path}: a link in it")
        if inner.is_dir() and not inner.is_symlink():  # what lies behind a link to a folder has no hash
            continue
        try:
            inputs.require_regular(inner)
        except RequestError as error:
            raise RequestError(f"{inner} {error}; copy or convert the artifact again") from None


def _read_labels(path: Path, num_classes: int) -> tuple[str, ...]:
    try:
        text = inputs.read_bytes(path).decode()
    except RequestError as error:
        raise RequestError(f"{path} {error}") from None
    except (ValueError, OSError) as error:
        raise RequestError(f"{path} is damaged ({error}): convert the model again") from None
    labels = text.removesuffix("\n").split("\n")  # and not at the other characters that splitlines takes for an end
    if len(labels) != num_classes:
        raise RequestError(f"{path} has {len(labels)} names for {num_classes} classes: convert the model again")
    return tuple(labels)


def write_selftest(
    folder: Path,
    photos: list[Any],
    inputs: NDArray[np.float32],
    logits: NDArray[np.float32],
    labels: tuple[str, ...],
) -> tuple[SelftestCase, ...]:
    """Write the photographs (PIL images), their inputs (N, C, H, W) and logits (N, num_classes) into `folder`."""
    (folder / SELFTEST).mkdir()
    cases = []
    for number, (photo, pixels, answer) in enumerate(zip(photos, inputs, logits, strict=True)):
        name = f"{SELFTEST}/{number}"
        photo.save(folder / f"{name}.png")
        (folder / f"{name}.tensor.f32").write_bytes(pixels.astype("<f4").tobytes())
        (folder / f"{name}.logits.f32").write_bytes(answer.astype("<f4").tobytes())
        label = labels[int(answer.argmax())]
        cases.append(SelftestCase(f"{name}.png", f"{name}.tensor.f32", f"{name}.logits.f32", label))
    return tuple(cases)


def describe_files(folder: Path, model: str, cases: tuple[SelftestCase, ...]) -> dict[str, FileInfo]:
    """The manifest's `files` of an artifact being written."""
    roles = {"model": model, "labels": LABELS}
    for number, case in enumerate(cases):
        roles |= {f"{SELFTEST}/{number}/{part}": getattr(case, part) for part in ("photo", "tensor", "logits")}
    return {
        role: FileInfo(path, files.size(folder / path), files.sha256(folder / path)) for role, path in roles.items()
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, the last file of an artifact."""
    files.write_text(folder / files.MANIFEST, plain.as_json(as_json(manifest)) + "\n")


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))
