"""Image folders -> batches: what calibration, parity, prediction over a folder and evaluation read photographs with.

A folder holds class folders, as ImageNet's validation set does, or photographs without classes.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from volo_edge.errors import RequestError
from volo_edge.preprocess import Preprocessing, UnreadableImage, open_rgb, prepare, to_input

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"))


@dataclass(frozen=True)
class ImageList:
    """The photographs of a folder, or some of them.

    Args:
        root: the folder.
        files: names relative to `root`, with forward slashes, sorted.
        classes: names of the class folders, sorted, those without a photograph too; () where there are none.
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
    """Some photographs of an `ImageList`: `indices` into it, and `inputs`, float32 (B, 3, H, W) in 0..255."""

    indices: tuple[int, ...]
    inputs: NDArray[np.float32]


def find_images(folder: Path, need_classes: bool = False) -> ImageList:
    """The photographs under `folder`, by their extension, at any depth; hidden files and folders are left alone.

    Its subfolders are classes, numbered in sorted order, when there is a photograph in one of them.

    Raises:
        RequestError: no such folder, no photograph in it, or no class folders where `need_classes`.
    """
    root = Path(folder)
    if not root.is_dir():
        raise RequestError(f"'{root}' is {'a file' if root.exists() else 'not there'}: give a folder of images")
    try:
        names, subfolders = _walk(root)
    except OSError as error:
        raise RequestError(f"cannot list '{error.filename}': {error.strerror}") from error

    found = [name for name in names if PurePosixPath(name).suffix.lower() in EXTENSIONS and (root / name).is_file()]
    if not found:
        others = f"only {len(names)} other files, '{names[0]}' the first" if names else "no files"
        raise RequestError(f"no image in '{root}', {others}: put {', '.join(sorted(EXTENSIONS))} files there")
    in_folders = [name for name in found if "/" in name]
    if need_classes and not in_folders:
        raise RequestError(
            f"'{root}' has {len(found)} images and no class folders: put the images of each class into a folder "
            "named after it"
        )
    files = in_folders or found
    number = {name: index for index, name in enumerate(subfolders)}
    return ImageList(
        root=root,
        files=tuple(files),
        classes=tuple(subfolders) if in_folders else (),
        labels=tuple(number[name.partition("/")[0]] for name in files) if in_folders else None,
        skipped=tuple(sorted(set(names) - set(files))),
    )


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Sorted names of all files under `root` and of its own subfolders; links are followed, never in a circle."""
    names: list[str] = []
    subfolders: list[str] = []
    pending: list[tuple[str, tuple[str, ...]]] = [("", (os.path.realpath(root),))]
    while pending:
        prefix, above = pending.pop()
        for entry in os.scandir(above[-1]):
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                names.append(prefix + entry.name)
                continue
            if not prefix:
                subfolders.append(entry.name)
            target = os.path.realpath(entry.path)
            if target not in above:
                pending.append((f"{prefix}{entry.name}/", (*above, target)))
    return sorted(names), sorted(subfolders)


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
    """SHA-256 in hexadecimal over the files' names and sizes: whether two results speak of the same photographs."""
    digest = hashlib.sha256()
    for index, name in enumerate(images.files):
        try:
            size = images.path(index).stat().st_size
        except OSError as error:
            raise UnreadableImage(images.path(index), error.strerror or str(error)) from error
        digest.update(_encoded(name) + f"\0{size}\0".encode())
    return digest.hexdigest()


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

    The threads run ahead of the reader by a batch and a few photographs, so memory does not grow with the folder.
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
    def load(index: int) -> NDArray[np.uint8]:
        return prepare(open_rgb(images.path(index)), preprocessing)

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
