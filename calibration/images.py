"""Image folders -> batches: what calibration, parity, prediction over a folder and evaluation read photographs with.

A folder holds class folders, as ImageNet's validation set does, or photographs without classes.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from volo_edge import files, inputs, machine
from volo_edge.errors import RequestError, few
from volo_edge.preprocess import (
    NOT_READ,
    Preprocessing,
    UnreadableImage,
    open_rgb,
    pixels_of,
    prepare,
    to_input,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")
_HEIF = (".heic", ".heif", ".hif", ".avif")
EXTENSIONS = frozenset((*_JPEG, *_HEIF, ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"))

# Pixels that threads decode at once: of 4 to 16 bytes, as the format is.
_DECODED_AT_ONCE = 2**27

# Pixels of a photograph whose memory is given back, or each thread would keep as much for later.
_LARGE = 2**24

# What systems leave among photographs, hidden elsewhere or not; compared in lower case.
_SYSTEM = frozenset(
    (
        "__macosx",
        "@eadir",
        "$recycle.bin",
        "#recycle",
        "#snapshot",
        "system volume information",
        "lost+found",
        "thumbs.db",
        "desktop.ini",
    )
)
_SPLITS = ("val", "valid", "validation", "test", "testing", "eval", "dev", "train", "training")  # the first to take


@dataclass(frozen=True)
class ImageList:
    """The photographs of a folder, or some of them.

    Args:
        root: the folder.
        files: names relative to `root`, with forward slashes, sorted.
        classes: names of the class folders, sorted; () where there are none.
        labels: index into `classes` of each file's class; None where there are no classes.
        skipped: names of the other files found: no image's extension, or lying beside the class folders.
    """

    root: Path
    files: tuple[str, ...]
    classes: tuple[str, ...] = ()
    labels: tuple[int, ...] | None = None
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> Path:
        """Where the `index`-th photograph is."""
        return self.root / self.files[index]


@dataclass(frozen=True)
class Batch:
    """Some photographs of an `ImageList`: `indices` into it, and `inputs`, float32 (B, C, H, W) in 0..255."""

    indices: tuple[int, ...]
    inputs: NDArray[np.float32]


def find_images(folder: Path, need_classes: bool = False, any_folders: bool = False) -> ImageList:
    """The photographs under `folder`, by their extension, at any depth.

    Its subfolders are classes, numbered in sorted order, those that have a photograph. Hidden files and folders, and
    what systems leave (`__MACOSX`, `@eaDir`), are left alone.

    Args:
        folder: where to look.
        need_classes: whether there must be class folders.
        any_folders: whether its subfolders may stand for anything, as nobody asks for classes.

    Raises:
        RequestError: no such folder, no photograph in it, no class folders where `need_classes`, or splits (`train`,
            `val`) where classes should be.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RequestError(f"'{root}' is {'a file' if root.exists() else 'not there'}: give a folder of images")
    try:
        names = _walk(root)
    except OSError as error:
        raise RequestError(f"cannot list '{error.filename}': {error.strerror}") from error

    found = [name for name in names if _suffix(name) in EXTENSIONS and (root / name).is_file()]
    if not found:
        others = f"only {len(names)} other files, '{names[0]}' the first" if names else "no files"
        raise RequestError(f"no image in '{root}', {others}: put {', '.join(sorted(EXTENSIONS))} files there")
    in_folders = [name for name in found if "/" in name]
    if need_classes and not in_folders:
        raise RequestError(
            f"'{root}' has {len(found)} images and no class folders: put the images of each class into a folder "
            "named after it"
        )
    if not any_folders:
        _require_no_splits(root, in_folders)
    chosen = in_folders or found
    classes = sorted({name.partition("/")[0] for name in in_folders})
    number = {name: index for index, name in enumerate(classes)}
    return ImageList(
        root=root,
        files=tuple(chosen),
        classes=tuple(classes),
        labels=tuple(number[name.partition("/")[0]] for name in chosen) if in_folders else None,
        skipped=tuple(sorted(set(names) - set(chosen))),
    )


def _require_no_splits(root: Path, names: Sequence[str]) -> None:
    """RequestError where the folders of a data set's splits are where those of classes should be.

    A folder `train` alone, with photographs and no folders in it, may be a class: of vehicles.
    """
    tops = {name.partition("/")[0] for name in names}
    splits = sorted(tops, key=lambda top: _SPLITS.index(top.lower()) if top.lower() in _SPLITS else len(_SPLITS))
    deep = len(tops) > 1 or any(name.count("/") > 1 for name in names)
    if tops and deep and all(top.lower() in _SPLITS for top in tops):
        raise RequestError(
            f"'{root}' holds the splits of a data set and no class folders ({', '.join(sorted(tops))}): give one of "
            f"them, '{root / splits[0]}'"
        )


def left_out(images: ImageList) -> list[str]:
    """What of the folder is not among the photographs and why, a sentence each; [] where nothing is."""
    loose = [name for name in images.skipped if _suffix(name) in EXTENSIONS and "/" not in name and images.classes]
    unread, others = unread_formats([name for name in images.skipped if name not in set(loose)])
    said = []
    if loose:
        said.append(
            f"{len(loose)} photograph(s) beside the class folders are left out ({few(loose)}): they have no class"
        )
    if unread:
        said.append(f"{len(unread)} file(s) in formats that are not read are left out ({few(unread)}): {SAVE}")
    if others:
        said.append(f"{len(others)} file(s) that are no photographs are left out ({few(others)})")
    return said


SAVE = "save them as JPEG or PNG"


def unread_formats(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the files' names that end as photographs, videos and drawings do that are not read, and the others."""
    unread = [name for name in names if _suffix(name) in NOT_READ]
    return unread, [name for name in names if _suffix(name) not in NOT_READ]


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _walk(root: Path) -> list[str]:
    """Sorted names of all files under `root`; links are followed, never in a circle."""
    names: list[str] = []
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while pending:
        prefix, above = pending.pop()
        for entry in os.scandir(above[-1]):
            if entry.name.startswith(".") or entry.name.lower() in _SYSTEM:
                continue
            if not entry.is_dir():
                names.append(prefix + entry.name)
                continue
            target = os.path.realpath(entry.path)
            if target not in above:
                pending.append((f"{prefix}{entry.name}/", (*above, target)))
    return sorted(names)


def balanced_subset(images: ImageList, count: int, seed: int) -> ImageList:
    """`count` of the `images` (all where there are no more), as many of each class as of any other, or one more.

    Which ones depends on `seed` and on the names alone: each class is put in the order of its names' hashes, and the
    classes take turns. So a larger subset contains a smaller one, and no machine or version picks differently.
    """
    if count < 1:
        raise RequestError(f"a subset of {count} images: take at least 1")

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:".encode() + _encoded(name)).digest()

    labels = images.labels or (0,) * len(images)
    taken: dict[int, int] = {}
    turns: list[tuple[int, bytes, int]] = []  # which turn of its class, which class within the turn, which file
    for index in sorted(range(len(images)), key=lambda index: rank(images.files[index])):
        label = labels[index]
        turns.append((taken.get(label, 0), rank(images.classes[label]) if images.classes else b"", index))
        taken[label] = taken.get(label, 0) + 1
    chosen = sorted(index for _, _, index in sorted(turns)[:count])
    return selected(images, chosen)


def without(images: ImageList, taken: ImageList) -> ImageList:
    """The `images` that are not in `taken`, a subset of them."""
    gone = set(taken.files)
    left = [index for index, name in enumerate(images.files) if name not in gone]
    return selected(images, left)


def selected(images: ImageList, indices: Sequence[int]) -> ImageList:
    """Those of the `images` at `indices`."""
    return replace(
        images,
        files=tuple(images.files[index] for index in indices),
        labels=tuple(images.labels[index] for index in indices) if images.labels is not None else None,
    )


def list_hash(images: ImageList) -> str:
    """SHA-256 in hexadecimal over the files' names and contents: whether two results speak of the same photographs."""
    digest = hashlib.sha256()
    for index, name in enumerate(images.files):
        path = images.path(index)
        try:
            inputs.require_regular(path)  # the names may be from a file: a reference's
            found = path.stat()
        except OSError as error:
            raise UnreadableImage(path, error.strerror or str(error)) from error
        except RequestError as error:
            raise UnreadableImage(path, str(error)) from None
        contents = _content_hash(path, found.st_size, found.st_mtime_ns, found.st_ino)
        digest.update(_encoded(name) + f"\0{contents}\0".encode())
    return digest.hexdigest()


@cache
def _content_hash(path: Path, size: int, modified: int, inode: int) -> str:
    """SHA-256 of a file's bytes, "" where it may not be read; once a run, unless the other arguments changed."""
    try:
        return files.sha256(path)
    except OSError:
        return ""  # the photograph will be told as one that cannot be read


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")  # a name of a file system that is not UTF-8 has lone surrogates


def stream(
    images: ImageList,
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int | None = None,
    on_skip: Callable[[str, str], None] | None = None,
) -> Iterator[Batch]:
    """The `images` in order, `batch_size` at a time (the last batch may be smaller), decoded by `workers` threads.

    The threads run ahead of the reader by a batch and a few photographs, so memory does not grow with the folder. What
    they decode at once has 134 million pixels together, or is one photograph, so it does not grow with the photographs
    and cores either.
    Whoever stops early, or is interrupted, leaves no thread behind once the generator is closed.

    Args:
        workers: threads; None for one a core.
        on_skip: called in the reader's thread with the name and the reason for each photograph that cannot be read,
            which is then left out of its batch. None: the first one ends the stream with its UnreadableImage.
    """
    workers = workers or os.cpu_count() or 1
    if batch_size < 1 or workers < 1:  # here and not in the generator, which would raise at its first batch only
        raise ValueError(f"batch_size {batch_size} and workers {workers} must be positive")
    return _batches(images, preprocessing, batch_size, workers, on_skip)


def _batches(
    images: ImageList,
    preprocessing: Preprocessing,
    batch_size: int,
    workers: int,
    on_skip: Callable[[str, str], None] | None,
) -> Iterator[Batch]:
    room = _Room(_DECODED_AT_ONCE)

    def load(index: int) -> NDArray[np.uint8]:
        size = pixels_of(images.path(index))
        with room.taken(size):
            pixels = prepare(open_rgb(images.path(index)), preprocessing)
            if size > _LARGE:
                machine.trim()
            return pixels

    waiting = iter(range(len(images)))
    ahead: deque[tuple[int, Future[NDArray[np.uint8]]]] = deque()
    indices: list[int] = []
    pixels: list[NDArray[np.uint8]] = []
    pool = ThreadPoolExecutor(workers, thread_name_prefix="volo-edge-images")
    try:
        while True:
            while len(ahead) < batch_size + 2 * workers and (following := next(waiting, None)) is not None:
                ahead.append((following, pool.submit(load, following)))
            if not ahead:
                break
            index, future = ahead.popleft()
            try:
                pixels.append(future.result())
                indices.append(index)
            except UnreadableImage as error:
                if on_skip is None:
                    raise
                on_skip(images.files[index], error.reason)
            if len(indices) == batch_size:
                yield Batch(tuple(indices), to_input(pixels))
                indices, pixels = [], []
        if indices:
            yield Batch(tuple(indices), to_input(pixels))
    finally:
        pool.shutdown(cancel_futures=True)  # waits for the few that are being decoded


class _Room:
    """Lets threads have as many pixels at once as there is room for; who wants more than all of it gets all of it."""

    def __init__(self, pixels: int) -> None:
        self._all = self._free = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Around what takes so many; waits until they are free."""
        pixels = min(pixels, self._all)
        with self._changed:
            self._changed.wait_for(lambda: pixels <= self._free)
            self._free -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._free += pixels
                self._changed.notify_all()
