"""What speaks against calibrating a model on a folder, so that its user is told instead of getting a poor model."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from volo_edge.calibration.images import ImageList, balanced_subset, stream
from volo_edge.preprocess import Preprocessing

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKED_AT = 64  # photographs decoded: a second or two, and a tenth of them is still several
FEW = 32  # fewer do not show what the thousands of values of a layer range over; 256 are usual
CLASSES_COVERED = 0.5  # of those that so many could cover: drawn by chance they cover 63 % on average, or more
STRAY = 0.1  # any folder may hold a few flat photographs or copies; a larger part is not an accident
NEARLY_ALL = 0.9  # grey photographs are no fault until there are hardly others: 11 of the demo's 700 are grey
FLAT_LEVELS = 2.0  # standard deviation, of 255, of the most varied channel; in the demo's 700 photographs 17 or more
GREY_LEVELS = 3.0  # red, green and blue a level apart in the file, resized; in the demo's colour photographs 6 or more
# Correlation of pixels a sixteenth of the width apart: in noise of 16 pixels a side or more, however it is resized,
# 0.2 or less (next neighbours': up to 0.99 once it is enlarged); in the demo's photographs 0.78, the median.
NOISE_STEPS = 16
NOISE_CORRELATION = 0.3


@dataclass(frozen=True)
class _Look:
    """What is seen of one photograph."""

    flat: bool
    grey: bool
    correlation: float
    digest: bytes


def doubts(images: ImageList, preprocessing: Preprocessing, num_classes: int) -> tuple[str, ...]:
    """What speaks against calibrating on these photographs, a sentence each; () where nothing does.

    Counts and class folders are those of all `images`; pixels are looked at in `LOOKED_AT` of them, as many of each
    class, and a photograph that cannot be read is left out.
    """
    some = balanced_subset(images, LOOKED_AT, seed=0)
    unreadable: list[str] = []
    # A crop larger than the resized photograph has a border of zeros, which is neither flat nor noise.
    (height, width), (crop_height, crop_width) = preprocessing.resize_to, preprocessing.crop
    inside = replace(preprocessing, crop=(min(height, crop_height), min(width, crop_width)))
    batches = stream(some, inside, batch_size=8, on_skip=lambda name, _: unreadable.append(name))
    looks = [_look(pixels) for batch in batches for pixels in batch.inputs]
    return (*_of_the_list(images, len(images) - len(unreadable), num_classes), *_of_the_pixels(looks))


def _of_the_list(images: ImageList, count: int, num_classes: int) -> list[str]:
    said = []
    if count < FEW:
        said.append(
            f"only {count} photograph{'s' * (count != 1)}: ranges and roundings fitted to so few do not hold for "
            "others; 256 are usual"
        )
    if len(images.classes) > max(2, num_classes):  # one logit tells photographs with its label from those without
        said.append(
            f"{len(images.classes)} class folders for a model of {num_classes} classes: calibrate on photographs of "
            "what the model was trained on"
        )
    covered = set(images.labels or ())
    possible = min(num_classes, len(images))
    if len(covered) == 1 < possible:
        said.append(
            f"all photographs are in one class folder, {images.classes[min(covered)]!r}, and the model has "
            f"{num_classes} classes: give photographs of all of them"
        )
    elif covered and len(covered) < CLASSES_COVERED * possible:
        said.append(
            f"{len(images)} photographs of only {len(covered)} classes for a model of {num_classes}: give photographs "
            "of more of them"
        )
    return said


def _of_the_pixels(looks: list[_Look]) -> list[str]:
    said = []
    seen = f"of the {len(looks)} photographs looked at"
    flat = sum(look.flat for look in looks)
    if flat > STRAY * len(looks):
        said.append(f"one colour and nothing else in {flat} {seen}: leave such files out, or see what made them so")

    others = [look for look in looks if not look.flat]  # a flat one is also grey, and a copy of the next
    times = Counter(look.digest for look in others)
    copies = sum(count for count in times.values() if count > 1)
    if copies > STRAY * len(looks):
        said.append(f"the same pixels as in another one in {copies} {seen}: give different photographs")
    grey = sum(look.grey for look in others)
    if grey > NEARLY_ALL * len(others):
        said.append(f"grey without colour in {grey} {seen}: give colour photographs if the model was trained on them")
    if others and (middle := float(np.median([look.correlation for look in others]))) < NOISE_CORRELATION:
        said.append(
            f"noise rather than photographs: pixels near each other correlate by {middle:.2f}, in photographs by more "
            f"than {NOISE_CORRELATION}; give photographs"
        )
    return said


def _look(pixels: NDArray[np.float32]) -> _Look:
    """At one photograph, (C, H, W) in 0..255: 3 channels, or the one of a grey model, for which none is too grey."""
    centred = pixels - pixels.mean(axis=(1, 2), keepdims=True)
    flat = bool(pixels.std(axis=(1, 2)).max() < FLAT_LEVELS)
    step = max(1, pixels.shape[2] // NOISE_STEPS)
    together = float((centred[:, :, :-step] * centred[:, :, step:]).mean())
    return _Look(
        flat=flat,
        grey=len(pixels) == 3 and bool(np.ptp(pixels, axis=0).max() <= GREY_LEVELS),
        correlation=0.0 if flat else together / float((centred**2).mean()),
        digest=hashlib.sha256(pixels.tobytes()).digest(),
    )
