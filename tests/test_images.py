"""Image folders: what is found, which subset is drawn, and batches that keep order, bounds and threads in hand."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from volo_edge import calibration
from volo_edge.calibration import images as module
from volo_edge.calibration.images import ImageList, balanced_subset, find_images, list_hash, stream
from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing, UnreadableImage, open_rgb, pixels_of, prepare, to_input
from volo_edge.variants import CIFAR10_CLASSES

SMALL = Preprocessing.from_crop((16, 16), 1.0)


def put(root: Path, *names: str) -> Path:
    """Photographs under `root`, or text where the name is no image's."""
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in module.EXTENSIONS:
            pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), np.uint8)
            Image.fromarray(pixels).save(path, format="PNG")
        else:
            path.write_text(name)
    return root


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("volo-edge-images")]


# --- find_images


def test_class_folders(tmp_path: Path) -> None:
    root = put(tmp_path, "dog/b.JPG", "dog/a.png", "cat/deep/c.Jpeg", "cat/notes.txt", "loose.png", ".git/d.png")
    put(root, "dog/.hidden.png")
    (root / "cow").mkdir()
    found = find_images(root)
    assert found.files == ("cat/deep/c.Jpeg", "dog/a.png", "dog/b.JPG")
    assert found.classes == ("cat", "dog")  # the empty folder is no class
    assert found.labels == (0, 1, 1)
    assert found.skipped == ("cat/notes.txt", "loose.png")
    assert len(found) == 3 and found.path(1) == root / "dog" / "a.png"
    assert find_images(root, need_classes=True) == found


def test_flat_folder(tmp_path: Path) -> None:
    root = put(tmp_path, "b.webp", "a.tiff", "c.TIF", "d.ppm", "e.gif", "f.bmp", "readme.md")
    (root / "empty").mkdir()
    found = find_images(root)
    assert found.files == ("a.tiff", "b.webp", "c.TIF", "d.ppm", "e.gif", "f.bmp")
    assert found.classes == () and found.labels is None and found.skipped == ("readme.md",)
    with pytest.raises(RequestError, match="6 images and no class folders: put"):
        find_images(root, need_classes=True)


@pytest.mark.parametrize("need_classes", [False, True])
def test_folders_that_are_refused(tmp_path: Path, need_classes: bool) -> None:
    root = put(tmp_path / "root", "a.txt", "b/c.txt", "b/.d.png")
    (tmp_path / "empty").mkdir()
    for folder, said in (
        (tmp_path / "missing", "is not there: give a folder"),
        (root / "a.txt", "is a file: give a folder"),
        (tmp_path / "empty", "no image in .*, no files: put"),
        (root, "no image in .*, only 2 other files, 'a.txt' the first: put"),
    ):
        with pytest.raises(RequestError, match=said) as caught:
            find_images(folder, need_classes)
        assert "\n" not in str(caught.value)


def test_what_systems_leave_is_no_class(tmp_path: Path) -> None:
    root = put(tmp_path, "cat/a.png", "cat/@eaDir/b.png", "__MACOSX/cat/a.png", "$RECYCLE.BIN/c.jpg", ".Trashes/d.png")
    put(root, "cat/Thumbs.db", "desktop.ini", "System Volume Information/e.png", "dog/notes.txt")
    found = find_images(root)
    assert (found.files, found.classes, found.labels) == (("cat/a.png",), ("cat",), (0,))
    assert found.skipped == ("dog/notes.txt",)


@pytest.mark.parametrize(
    ("names", "take"),
    [
        (("train/cat/a.png", "val/cat/b.png"), "val"),
        (("Train/a.png", "Test/b.png"), "Test"),
        (("training/cat/a.png", "validation/dog/b.png", "test/c.png"), "validation"),
        (("train/cat/a.png", "annotations/a.xml"), "train"),
        (("train/cat/a.png", "__MACOSX/b.png", "empty/.c.png"), "train"),
    ],
)
def test_splits_are_refused_with_the_folder_to_give(tmp_path: Path, names: tuple[str, ...], take: str) -> None:
    root = put(tmp_path, *names)
    with pytest.raises(RequestError, match="holds the splits of a data set and no class folders") as refused:
        find_images(root)
    assert str(refused.value).endswith(f"give one of them, '{root / take}'")
    assert len(find_images(root, any_folders=True)) >= 1  # as predict does
    find_images(root / take)


@pytest.mark.parametrize("names", [("train/a.png", "car/b.png"), ("train/a.png",), ("val/deep/a.png", "cat/b.png")])
def test_a_class_may_be_called_train(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert set(find_images(put(tmp_path, *names)).classes) == {name.partition("/")[0] for name in names}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
def test_links(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere", "x.png")
    root = put(tmp_path / "root", "cat/a.png")
    (root / "dog").symlink_to(elsewhere)
    (root / "cat" / "circle").symlink_to(root)
    (root / "cat" / "broken.png").symlink_to(root / "nothing")
    os.mkfifo(root / "cat" / "pipe.png")
    found = find_images(root)
    assert found.files == ("cat/a.png", "dog/x.png")
    assert found.skipped == ("cat/broken.png", "cat/pipe.png")


def test_the_demo_photographs() -> None:
    assert calibration.DEMO_WEIGHTS.is_file()
    for folder, each in ((calibration.DEMO_CALIBRATION, 20), (calibration.DEMO_VALIDATION, 50)):
        found = find_images(folder, need_classes=True)
        assert found.classes == CIFAR10_CLASSES and found.skipped == ()
        assert found.labels is not None and set(Counter(found.labels).values()) == {each}


# --- balanced_subset and list_hash


def listed(*counts: int) -> ImageList:
    classes = tuple(f"class{number}" for number in range(len(counts)))
    pairs = sorted((f"{name}/{i}.png", label) for label, name in enumerate(classes) for i in range(counts[label]))
    return ImageList(Path("nowhere"), tuple(n for n, _ in pairs), classes, tuple(label for _, label in pairs))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 40), st.integers(0, 5), st.randoms())
def test_subsets_are_balanced(counts: list[int], count: int, seed: int, order: random.Random) -> None:
    images = listed(*counts)
    subset = balanced_subset(images, count, seed)
    assert len(subset) == min(count, len(images))
    assert list(subset.files) == sorted(set(subset.files))
    assert subset.labels is not None and subset.classes == images.classes
    for name, label in zip(subset.files, subset.labels, strict=True):
        assert name.startswith(f"{images.classes[label]}/")
    taken = Counter(subset.labels)
    most = max(taken.values(), default=0)
    assert all(taken[label] >= min(have, most - 1) for label, have in enumerate(counts))

    assert set(subset.files) <= set(balanced_subset(images, count + 1, seed).files)
    shuffled = list(zip(images.files, images.labels or (), strict=True))
    order.shuffle(shuffled)
    names, labels = tuple(name for name, _ in shuffled), tuple(label for _, label in shuffled)
    again = balanced_subset(replace(images, files=names, labels=labels), count, seed)
    assert set(again.files) == set(subset.files)


def test_subset_of_a_flat_list() -> None:
    images = ImageList(Path("nowhere"), tuple(f"{i:03}.png" for i in range(100)))
    subset = balanced_subset(images, 10, seed=0)
    assert len(subset) == 10 and subset.labels is None and list(subset.files) == sorted(subset.files)
    assert subset.files != images.files[:10]
    assert subset == balanced_subset(images, 10, seed=0) != balanced_subset(images, 10, seed=1)


def test_subset_never_changes() -> None:
    """What a recorded figure was measured on can be drawn again: these names are part of the format."""
    assert balanced_subset(listed(5, 5, 5), 4, seed=0).files == PINNED


PINNED = ("class0/4.png", "class1/0.png", "class1/4.png", "class2/3.png")


@pytest.mark.parametrize("count", [0, -1])
def test_a_subset_of_nothing_is_refused(count: int) -> None:
    with pytest.raises(RequestError, match="at least 1"):
        balanced_subset(listed(3), count, seed=0)


def test_list_hash(tmp_path: Path) -> None:
    here, there = (put(tmp_path / name, "a/1.png", "b/2.png") for name in ("here", "there"))
    assert list_hash(find_images(here)) == list_hash(find_images(there))
    first = list_hash(find_images(there))
    content = bytearray((there / "a/1.png").read_bytes())
    content[-1] ^= 1
    written = (there / "a/1.png").stat()
    (there / "a/new.png").write_bytes(content)
    (there / "a/new.png").replace(there / "a/1.png")  # another photograph of the same name, size and date
    os.utime(there / "a/1.png", ns=(written.st_atime_ns, written.st_mtime_ns))
    assert list_hash(find_images(there)) != first
    (here / "a/1.png").rename(here / "a/3.png")
    assert list_hash(find_images(here)) != first
    gone = find_images(here)
    (here / "a/3.png").unlink()
    with pytest.raises(RequestError, match=r"3\.png"):
        list_hash(gone)


def test_a_list_hash_reads_each_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = find_images(put(tmp_path, "a.png", "b.png"))
    read: list[Path] = []

    def counting(path: Path) -> str:
        read.append(path)
        return sha256(path)

    sha256 = module.files.sha256
    monkeypatch.setattr(module.files, "sha256", counting)
    first = list_hash(images)
    assert list_hash(replace(images)) == first and len(read) == 2
    (tmp_path / "a.png").write_bytes(b"other")
    assert list_hash(images) != first and len(read) == 3


# --- stream


@pytest.mark.parametrize("workers", [1, 3, None])
def test_stream_gives_all_in_order(tmp_path: Path, workers: int | None) -> None:
    images = find_images(put(tmp_path, *(f"{i:02}.png" for i in range(11))))
    batches = list(stream(images, SMALL, 4, workers))
    assert [batch.indices for batch in batches] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10)]
    for batch in batches:
        assert batch.inputs.dtype == np.float32 and batch.inputs.shape == (len(batch.indices), 3, 16, 16)
        for index, found in zip(batch.indices, batch.inputs, strict=True):
            np.testing.assert_array_equal(found[None], to_input(prepare(open_rgb(images.path(index)), SMALL)))
    assert threads() == []


def test_stream_skips_and_says_so(tmp_path: Path) -> None:
    images = find_images(put(tmp_path, *(f"{i}.png" for i in range(6))))
    images.path(1).write_text("no image")
    images.path(5).unlink()
    skipped: list[tuple[str, str]] = []
    batches = list(stream(images, SMALL, 2, on_skip=lambda name, reason: skipped.append((name, reason))))
    assert [batch.indices for batch in batches] == [(0, 2), (3, 4)]
    assert [name for name, _ in skipped] == ["1.png", "5.png"]
    assert "not an image" in skipped[0][1] and skipped[1][1] == "no such file"
    with pytest.raises(UnreadableImage, match=r"1\.png"):
        list(stream(images, SMALL, 2))
    assert threads() == []


def test_stream_of_nothing_readable(tmp_path: Path) -> None:
    images = find_images(put(tmp_path, "0.png"))
    images.path(0).write_text("no image")
    assert list(stream(images, SMALL, 2, on_skip=lambda name, reason: None)) == []


def test_stream_looks_ahead_a_little_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = find_images(put(tmp_path, "0.png"))
    images = replace(images, files=images.files * 500)
    opened = []

    def counting(path: Path) -> Image.Image:
        opened.append(path)
        return open_rgb(path)

    monkeypatch.setattr(module, "open_rgb", counting)
    batches = stream(images, SMALL, batch_size=4, workers=2)
    assert opened == []
    next(batches)
    assert len(opened) <= 4 + 4 + 2 * 2
    batches.close()  # type: ignore[attr-defined]
    assert threads() == [] and len(opened) <= 4 + 4 + 2 * 2


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_stream_interrupted(tmp_path: Path, error: type[BaseException]) -> None:
    images = find_images(put(tmp_path, *(f"{i}.png" for i in range(9))))
    batches = stream(images, SMALL, 2)
    next(batches)
    with pytest.raises(error):
        batches.throw(error)  # type: ignore[attr-defined]
    assert threads() == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_program_interrupted_ends() -> None:
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs are born ignoring it
        "from calibration import DEMO_VALIDATION\n"
        "from volo_edge.calibration.images import find_images, stream\n"
        "from volo_edge.preprocess import Preprocessing\n"
        "for batch in stream(find_images(DEMO_VALIDATION), Preprocessing.from_crop((64, 64), 1.0), 8):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
    )
    root = Path(calibration.__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=30)
    assert done.returncode == -signal.SIGINT and "KeyboardInterrupt" in done.stderr


def test_an_error_of_ours_is_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = find_images(put(tmp_path, "0.png"))
    monkeypatch.setattr(module, "prepare", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(stream(images, SMALL, 2, on_skip=lambda name, reason: None))
    assert threads() == []


@pytest.mark.parametrize(("batch_size", "workers"), [(0, 1), (1, -1)])
def test_stream_refuses_at_once(batch_size: int, workers: int) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        stream(listed(1), SMALL, batch_size, workers)


def test_large_photographs_are_not_decoded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for 1,000 pixels: photographs of 400 go two by two, one of 2,000 alone, and all come in their order."""
    images = find_images(put(tmp_path, *(f"{i:02}.png" for i in range(8))))
    Image.new("RGB", (50, 40), "red").save(images.path(4))
    unlimited = list(stream(images, SMALL, 3, workers=1))
    changed = threading.Condition()
    now: list[int] = []
    most: list[tuple[int, ...]] = []
    asked: list[int] = []

    def asking(path: Path) -> int:
        with changed:
            asked.append(pixels_of(path))
            changed.notify_all()
            return asked[-1]

    def watching(path: Path) -> Image.Image:
        """Small ones wait until two have been in together, and all until six threads have asked for room."""
        image = open_rgb(path)
        with changed:
            now.append(image.width * image.height)
            most.append(tuple(now))
            changed.notify_all()
            assert changed.wait_for(lambda: len(asked) >= 6 and (now == [2000] or (400, 400) in most), timeout=60)
            now.remove(image.width * image.height)
        return image

    monkeypatch.setattr(module, "_DECODED_AT_ONCE", 1000)
    monkeypatch.setattr(module, "pixels_of", asking)
    monkeypatch.setattr(module, "open_rgb", watching)
    batches = list(stream(images, SMALL, 3, workers=6))
    assert [batch.indices for batch in batches] == [batch.indices for batch in unlimited]
    for one, other in zip(batches, unlimited, strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
    assert max(len(together) for together in most) == 2  # and they do not wait for each other needlessly
    assert len(most) == 8 and all(sum(together) <= 1000 or together == (2000,) for together in most)
    assert threads() == []


def test_what_fails_to_decode_leaves_its_room_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = find_images(put(tmp_path, *(f"{i}.png" for i in range(6))))
    for index in range(3):
        content = images.path(index).read_bytes()
        images.path(index).write_bytes(content[: len(content) // 2])  # its header says 400 pixels
    monkeypatch.setattr(module, "_DECODED_AT_ONCE", 400)
    batches = stream(images, SMALL, 9, workers=3, on_skip=lambda name, reason: None)
    assert [batch.indices for batch in batches] == [(3, 4, 5)]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of memory in /proc")
def test_memory_holds_one_photograph_of_200_million_pixels_however_many_threads(tmp_path: Path) -> None:
    Image.new("1", (16320, 12240)).save(tmp_path / "0.png")
    with (tmp_path / "0.png").open("ab") as file:  # as long as one of a photograph is at least
        file.write(bytes(2_200_000))
    for number in range(1, 4):
        shutil.copy(tmp_path / "0.png", tmp_path / f"{number}.png")
    program = (
        "from pathlib import Path\n"
        "from volo_edge.calibration.images import find_images, stream\n"
        "from volo_edge.machine import peak_memory\n"
        "from volo_edge.preprocess import Preprocessing\n"
        f"images = find_images(Path({str(tmp_path)!r}))\n"
        "small = Preprocessing.from_crop((32, 32), 1.0)\n"
        "assert sum(len(batch.indices) for batch in stream(images, small, 4, 4)) == 4\n"
        "print(peak_memory())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    one = 16320 * 12240 * 4  # bytes of one as Pillow holds it
    assert int(ended.stdout) < 2 * one
