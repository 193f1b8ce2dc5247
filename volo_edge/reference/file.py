"""The float reference on disk: an .npz of `files`, `labels`, `read`, `logits` and `record`, which is JSON.

It is written with numpy alone. Its logits are mapped, not read, so that a large one costs no memory.
"""

from __future__ import annotations

import json
import struct
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

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
        with np.load(path, allow_pickle=False) as arrays:
            names, labels, readable, text = (arrays[name] for name in ("files", "labels", "read", "record"))
        logits = _mapped(path, "logits.npy")
        count = len(names)
        if not (logits.dtype == np.float32 and len(labels) == len(readable) == len(logits) == count):
            raise ValueError("its arrays do not fit each other")
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror or error}") from None
    except Exception as error:  # zipfile and numpy each raise their own
        raise RequestError(f"{path} is no float reference, or damaged ({error}): {_REMEDY}") from None
    record = Format(Record, FORMAT_VERSION, "float reference", _REMEDY).parse(str(text), path)
    classes = record.architecture.num_classes
    if logits.shape[1] != classes:
        raise RequestError(f"{path} is damaged: {logits.shape[1]} logits for {classes} classes; {_REMEDY}")
    return Reference(record, tuple(names.tolist()), labels.astype(np.int64), readable.astype(bool), logits)


def _mapped(path: Path, member: str) -> NDArray[Any]:
    """An array of an .npz that is not compressed, mapped where it lies."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError("it was compressed")
        with archive.open(info) as stream:
            shape, fortran, dtype = _header(stream)
            header = stream.tell()
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)  # a zip's local header, then its name and its extra field
    start = info.header_offset + 30 + sum(struct.unpack("<HH", local[26:30])) + header
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)
