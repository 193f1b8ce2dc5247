"""Answers that are kept are those that were given, whatever happens to the disk between two runs."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volo_edge.calibration import DEMO_CALIBRATION
from volo_edge.calibration.images import ImageList, find_images
from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing
from volo_edge.validate.answers import Answers, Run, collect
from volo_edge.validate.metrics import Logits

CLASSES, TOGETHER = 3, 2
ROW = 4 * (CLASSES + 2)
PREPROCESSING = Preprocessing.from_crop((8, 8), 1.0)


def answer(images: Logits) -> Logits:
    """Logits (B, CLASSES) that differ from photograph to photograph."""
    return images.reshape(len(images), CLASSES, -1).mean(2)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageList:
    """Nine photographs, two of which cannot be read."""
    folder = tmp_path_factory.mktemp("photographs")
    for number, path in enumerate(sorted((DEMO_CALIBRATION / "cat").iterdir())[:7]):
        shutil.copy(path, folder / f"{number}.jpg")
    for name in ("2b.jpg", "9.jpg"):
        (folder / name).write_bytes(b"\xff\xd8 no photograph")
    return find_images(folder)


def of(images: ImageList, state: Path, run: Run = answer) -> tuple[Answers, int]:
    """The answers, and how many were there."""
    done: list[int] = []
    answers = collect(images, PREPROCESSING, lambda: run, TOGETHER, CLASSES, state, done.append)
    return answers, done[0]


@pytest.fixture(scope="module")
def whole(images: ImageList, tmp_path_factory: pytest.TempPathFactory) -> tuple[Answers, bytes]:
    state = tmp_path_factory.mktemp("state") / "rows"
    answers, done = of(images, state)
    assert done == 0 and answers.read.tolist() == [True, True, True, False, True, True, True, True, False]
    assert len(np.unique(answers.logits[answers.read])) == 7 * CLASSES and not answers.logits[~answers.read].any()
    return Answers(np.array(answers.read), np.array(answers.logits)), state.read_bytes()


def same(one: Answers, other: Answers) -> bool:
    return np.array_equal(one.read, other.read) and np.array_equal(one.logits, other.logits)


def test_all_is_there(images: ImageList, whole: tuple[Answers, bytes], tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(whole[1])

    def run(_: Logits) -> Logits:
        raise AssertionError("nothing is left to do")

    answers, done = of(images, tmp_path / "rows", run)
    assert done == len(images) and same(answers, whole[0])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_computed_again(
    images: ImageList, whole: tuple[Answers, bytes], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """A torn tail, a changed bit, a hole, rows in the wrong place, rows too many."""
    kept = bytearray(whole[1])
    cut = data.draw(st.integers(0, len(kept)))
    kind = data.draw(st.sampled_from(["torn", "bit", "zeros", "missing", "swapped", "more"]))
    if kind == "torn":
        del kept[cut:]
    elif kind == "bit":
        kept[min(cut, len(kept) - 1)] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "zeros":
        kept[cut:] = bytes(len(kept) - cut)
    elif kind == "missing":  # the second part of a write that was cut short, and went on later
        del kept[cut : cut + data.draw(st.integers(1, 2 * ROW))]
    elif kind == "swapped":
        kept[:ROW], kept[ROW : 2 * ROW] = kept[ROW : 2 * ROW], kept[:ROW]
    else:
        kept += kept[:cut]
    state = tmp_path_factory.mktemp("state") / "rows"
    state.write_bytes(kept)
    answers, done = of(images, state)
    assert same(answers, whole[0]) and state.read_bytes() == whole[1]
    assert done in (0, 2, 5, 7, len(images))  # whole batches of two that can be read, or all


def test_rows_of_another_number_of_classes_are_none(images: ImageList, tmp_path: Path) -> None:
    state = tmp_path / "rows"
    collect(images, PREPROCESSING, lambda: lambda x: np.ones((len(x), 5), np.float32), 2, 5, state, lambda _: None)
    assert of(images, state)[1] == 0


def test_rows_that_another_program_changes_meanwhile_are_noticed(images: ImageList, tmp_path: Path) -> None:
    state = tmp_path / "rows"

    def run(given: Logits) -> Logits:
        if state.stat().st_size:
            with state.open("r+b") as file:
                file.write(b"?")
        return answer(given)

    with pytest.raises(RequestError, match="was changed while it was written: 0 of 9 rows are whole"):
        of(images, state, run)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes: what a write has beyond is not written, and the next one fails."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [1, ROW - 1, ROW, 3 * ROW + 7, 9 * ROW - 1])
def test_a_disk_that_fills_up_stops_it_in_one_line_and_it_goes_on_when_there_is_room(
    images: ImageList, whole: tuple[Answers, bytes], tmp_path: Path, size: int
) -> None:
    state = tmp_path / "rows"
    said = r"cannot write .*rows: File too large; \d of 9 photographs are done: make room there, and the same command"
    with full_disk(size), pytest.raises(RequestError, match=said):
        of(images, state)
    assert state.stat().st_size == size
    answers, done = of(images, state)
    assert done <= size // ROW and same(answers, whole[0])


@pytest.mark.slow
def test_two_commands_with_one_output_do_not_mix_their_work(tmp_path: Path) -> None:
    """The first one's numbers were another model's, with exit status 0."""
    command = [Path(sys.executable).with_name("volo-edge"), "reference", "--data", DEMO_CALIBRATION / "cat"]
    command += ["--limit", "20", "--output", tmp_path / "float.npz"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    ended = [(process.communicate()[1], process.returncode) for process in processes]
    assert sorted(status for _, status in ended) == [0, 2], ended
    (refused,) = (err for err, status in ended if status == 2)
    assert "is working for" in refused or "exists already" in refused
    assert [path.name for path in tmp_path.iterdir()] == ["float.npz"]
