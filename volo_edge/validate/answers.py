"""One model's logits for a whole folder of photographs, written down as they come.

They go to a file of float32 rows, one a photograph in the list's order: 1 and the logits, or zeros where the
photograph cannot be read. Memory does not grow with the folder, and a run that was stopped goes on where it was: after
the last whole batch, so that batches are made of the same photographs and the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from volo_edge import interrupts
from volo_edge.calibration.images import ImageList, selected, stream
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
    """
    count, width = len(images), 1 + classes
    state.parent.mkdir(parents=True, exist_ok=True)
    done = first = _resumed(state, count, width, together)
    advance(done)
    with interrupts.resumable(state, lambda: f"{done} of {count} photographs are done"):
        if done < count:
            run = start()
            rest = selected(images, range(first, count))
            with state.open("ab", buffering=0) as file:
                for batch in stream(rest, preprocessing, together, on_skip=lambda name, reason: None):
                    places = np.array(batch.indices) + first - done
                    rows = np.zeros((places[-1] + 1, width), np.float32)
                    rows[places, 0], rows[places, 1:] = 1, run(batch.inputs)
                    file.write(rows.tobytes())
                    advance(len(rows))
                    done += len(rows)
                file.write(np.zeros((count - done, width), np.float32).tobytes())  # none of the last can be read
    rows = np.memmap(state, np.float32, "r", shape=(count, width))
    return Answers(rows[:, 0] == 1, rows[:, 1:])


def _resumed(state: Path, count: int, width: int, together: int) -> int:
    """How many photographs an earlier run did; the file is cut after them."""
    size = state.stat().st_size // (4 * width) if state.exists() else 0
    if size == count:
        return count
    keep = 0
    if 0 < size < count:
        rows = np.memmap(state, np.float32, "r", shape=(size, width))
        (read,) = np.nonzero(rows[:, 0] == 1)
        batches = len(read) // together
        keep = int(read[batches * together - 1]) + 1 if batches else 0
    with state.open("ab") as file:
        file.truncate(keep * 4 * width)
    return keep
