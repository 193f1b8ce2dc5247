"""The float reference on disk: an .npz of `files`, `labels`, `read`, `logits` and `record`, which is JSON.

It is written with numpy alone. Its logits are mapped, not read, so that a large one costs no memory.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path, PurePath
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from volo_edge import inputs
from volo_edge.calibration.images import ImageList, list_hash
from volo_edge.errors import RequestError
from volo_edge.formats import Format
from volo_edge.preprocess import Preprocessing
from volo_edge.validate.answers import Answers
from volo_edge.validate.metrics import Logits
from volo_edge.variants import Architecture

FORMAT_VERSION: Literal[2] = 2
_REMEDY = "compute it again with 'volo-edge reference'"


@dataclass(frozen=True)
class Record:
    """How a float reference was made.

    Args:
        format_version: 2.
        made_at: UTC, ISO 8601.
        model: name of the variant.
        weights, weights_sha256: the file's name and hash.
        entry, prefix: where in that file they were, see `volo_edge.checkpoint.LoadedModel`.
        architecture: of the model, field for field.
        preprocessing: how a photograph became the input.
        device: "cpu", "cuda" or "mps".
        device_name: what it is, as a person knows it.
        arithmetic: what it computed in.
        list_sha256: of the photographs' names and contents (`calibration.images.list_hash`).
        classes: names of the class folders, sorted; () where there are none.
        versions: of what computed it.
    """

    format_version: Literal[2]
    made_at: str
    model: str
    weights: str
    weights_sha256: str
    entry: str
    prefix: str
    architecture: Architecture
    preprocessing: Preprocessing
    device: Literal["cpu", "cuda", "mps"]
    device_name: str
    arithmetic: str
    list_sha256: str
    classes: tuple[str, ...]
    versions: dict[str, str]

    @property
    def identity(self) -> tuple[object, ...]:
        """All that the answers for a photograph depend on, but for the machine."""
        return self.weights_sha256, self.entry, self.prefix, self.architecture, self.preprocessing


@dataclass(frozen=True, eq=False)
class Reference:
    """The float model's answers.

    Args:
        record: how they were made.
        files: names of the N photographs, relative to their folder.
        labels: (N,) index of each one's class folder; -1 where there are none.
        read: (N,) whether it could be read.
        logits: (N, classes); zeros where it could not.
    """

    record: Record
    files: tuple[str, ...]
    labels: NDArray[np.int64]
    read: NDArray[np.bool_]
    logits: Logits

    def of(self, images: ImageList, path: Path) -> Answers:
        """The answers for `images`, some or all of the photographs that these are of, in their order.

        RequestError where they are others; `path` is where this was read from.
        """
        try:
            same = list_hash(ImageList(images.root, self.files)) == self.record.list_sha256
        except RequestError:
            same = False
        place = {name: index for index, name in enumerate(self.files)}
        if not same or not place.keys() >= set(images.files):
            raise RequestError(
                f"{path} is of other photographs than those in {images.root} (their names or contents differ): "
                f"{_REMEDY}"
            )
        if images.files == self.files:
            return Answers(self.read, self.logits)
        rows = np.array([place[name] for name in images.files])
        return Answers(self.read[rows], self.logits[rows])


def write(path: Path, reference: Reference) -> None:
    """Write the .npz."""
    with path.open("wb") as file:
        np.savez(
            file,
            files=np.array(reference.files),
            labels=reference.labels,
            read=reference.read,
            logits=reference.logits,
            record=np.array(json.dumps(asdict(reference.record))),
        )


def read(path: Path) -> Reference:
    """The float reference at `path`; RequestError where it is missing, something else, damaged or of a later format."""
    try:
        inputs.require_regular(path)
        with zipfile.ZipFile(path) as archive:
            arrays = {name: _mapped(path, archive, name) for name in _KINDS}
        _require_fit(arrays)
        text = str(arrays["record"].item())
    except RequestError as error:
        raise RequestError(f"{path} {error}: {_REMEDY}") from None
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # zipfile and numpy each raise their own
        raise RequestError(f"{path} is no float reference, or damaged ({error}): {_REMEDY}") from None
    record = Format(Record, FORMAT_VERSION, "float reference", _REMEDY).parse(text, path)
    names, labels, read_, logits = (arrays[name] for name in ("files", "labels", "read", "logits"))
    classes, folders = record.architecture.num_classes, len(record.classes)
    if logits.shape[1] != classes:
        raise RequestError(f"{path} is damaged: {logits.shape[1]} logits for {classes} classes; {_REMEDY}")
    if len(labels) and not -1 <= labels.min() <= labels.max() < max(folders, 0):
        raise RequestError(
            f"{path} is damaged: labels {labels.min()} to {labels.max()} of {folders} folders; {_REMEDY}"
        )
    return Reference(record, tuple(names.tolist()), labels.astype(np.int64), np.array(read_), logits)


# Of each array: the kinds of its numbers (numpy's letters), and how many axes it has.
_KINDS = {"files": ("U", 1), "labels": ("i", 1), "read": ("b", 1), "logits": ("f", 2), "record": ("U", 0)}
_ROWS = 4096  # of logits that are looked at together


def _mapped(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array of an .npz, mapped where it lies; an error where it is compressed, of another kind, cut or changed."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"its {name} are compressed, and volo-edge writes none so")
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream)
        header = stream.tell()
        while stream.read(1 << 20):  # to its end, where zipfile holds it against its checksum
            pass
    kind, axes = _KINDS[name]
    if dtype.hasobject or dtype.kind != kind or len(shape) != axes:
        raise ValueError(f"its {name} are {dtype} of {len(shape)} axes")
    if prod(shape) * dtype.itemsize != info.file_size - header:
        raise ValueError(f"its {name} are {'x'.join(map(str, shape))}, and their bytes are not")
    if 0 in shape or dtype.itemsize == 0:
        return np.zeros(shape, dtype)  # of which there is nothing to map
    with path.open("rb") as file:
        start = inputs.stored_at(file, info) + header
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _require_fit(arrays: Mapping[str, NDArray[Any]]) -> None:
    """ValueError where arrays are not of the same photographs, or lead out of the folder, or have no answers."""
    names, readable, logits = arrays["files"], arrays["read"], arrays["logits"]
    if logits.dtype != np.float32 or not len(names) == len(arrays["labels"]) == len(readable) == len(logits):
        raise ValueError("its arrays do not fit each other")
    for name in names.tolist():
        if not name or "\0" in name or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ValueError(f"{name!r} is no photograph in a folder")
    for start in range(0, len(logits), _ROWS):
        rows = slice(start, start + _ROWS)
        if not np.isfinite(logits[rows]).all(1)[readable[rows]].all():
            raise ValueError("its logits have NaN or infinity")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)
