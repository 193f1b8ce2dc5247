"""One model's logits for a whole folder of photographs, written down as they come.

They go to a file of rows, one a photograph in the list's order: whether it could be read, its logits (zeros where it
could not), and a checksum of both and of the row's number. Memory does not grow with the folder, and a run that was
stopped goes on where it was: after the last whole batch, so that batches are made of the same photographs and the
numbers are the same. A row that a full disk or a power failure spoiled is known by its checksum and computed again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from volo_edge import interrupts
from volo_edge.calibration.images import ImageList, selected, stream
from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing
from volo_edge.validate.metrics import Logits

Run = Callable[[Logits], Logits]  # images (B, C, H, W) of 0..255 to logits (B, classes)


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits (N, classes) of the N photographs of a list, zeros where `read` (N,) says that one cannot be read."""

    read: NDArray[np.bool_]
    logits: Logits


def collect(
    images: ImageList,
    preprocessing: Preprocessing,
    start: Callable[[], Run],
    together: int,
    classes: int,
    state: Path,
    advance: Callable[[int], None],
) -> Answers:
    """What a model says of `images`.

    Args:
        start: makes the model ready; not called where all is there from an earlier run.
        together: photographs in a batch.
        classes: logits of one photograph.
        state: the file of rows.
        advance: called with how many photographs are done, those of an earlier run first.

    Raises:
        KeyboardInterrupt: with a sentence on how to go on.
        RequestError: the rows cannot be written; those that are stay.
    """
    count, kind = len(images), _row(classes)
    state.parent.mkdir(parents=True, exist_ok=True)
    done = first = _resumed(state, count, kind, together)
    advance(done)
    with interrupts.resumable(state, lambda: f"{done} of {count} photographs are done"):
        if done < count:
            run = start()
            rest = selected(images, range(first, count))
            with state.open("ab", buffering=0) as file:
                for batch in stream(rest, preprocessing, together, on_skip=lambda name, reason: None):
                    places = np.array(batch.indices) + first - done
                    rows = np.zeros(places[-1] + 1, kind)
                    rows["read"][places], rows["logits"][places] = 1, run(batch.inputs)
                    _append(file, rows, done, count)
                    advance(len(rows))
                    done += len(rows)
                _append(file, np.zeros(count - done, kind), done, count)  # none of the last can be read
    rows = _mapped(state, kind)
    if (good := _whole(rows)) < count:
        raise RequestError(f"{state} was changed while it was written: {good} of {count} rows are whole; try again")
    return Answers(rows["read"] == 1, rows["logits"])


def _row(classes: int) -> np.dtype[np.void]:
    """What is kept of a photograph."""
    return np.dtype([("read", "<u4"), ("logits", "<f4", (classes,)), ("checksum", "<u4")])


def _checksum(row: np.void, number: int) -> int:
    return zlib.crc32(row.tobytes()[:-4], number)


def _append(file: FileIO, rows: NDArray[np.void], done: int, count: int) -> None:
    """Write the `rows` that come after the `done` ones of `count`; RequestError where they cannot all be written."""
    rows["checksum"] = [_checksum(row, number) for number, row in enumerate(rows, done)]
    left = memoryview(rows.tobytes())
    try:
        while left:
            left = left[file.write(left) :]  # a disk that is nearly full takes a part
    except OSError as error:
        raise RequestError(
            f"cannot write {file.name}: {error.strerror or error}; {done} of {count} photographs are done: make room "
            "there, and the same command goes on from there"
        ) from error


def _mapped(state: Path, kind: np.dtype[np.void]) -> NDArray[np.void]:
    """The rows of a file, which may end within one."""
    size = state.stat().st_size // kind.itemsize if state.exists() else 0
    return np.memmap(state, kind, "r", shape=(size,)) if size else np.zeros(0, kind)


def _whole(rows: NDArray[np.void]) -> int:
    """How many rows are as they were written, up to the first that is not."""
    wrong = (number for number, row in enumerate(rows) if row["checksum"] != _checksum(row, number))
    return next(wrong, len(rows))


def _resumed(state: Path, count: int, kind: np.dtype[np.void], together: int) -> int:
    """How many photographs an earlier run did; the file is cut after them."""
    rows = _mapped(state, kind)[:count]
    rows = rows[: _whole(rows)]
    keep = len(rows)
    if keep < count:
        (read,) = np.nonzero(rows["read"])
        batches = len(read) // together
        keep = int(read[batches * together - 1]) + 1 if batches else 0
    with state.open("ab") as file:
        file.truncate(keep * kind.itemsize)
    return keep
