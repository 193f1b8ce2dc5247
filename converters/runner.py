"""A saved file, loaded and ready to run: what every target's `run.load` returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from volo_edge.errors import RequestError

Array = NDArray[np.float32]
_FOR_PROOF = ("volo-edge's evaluator", "Core AI, Apple's runtime for Linux")


class RuntimeMissing(RequestError):
    """This machine has no runtime for the file; the message says why and what has one."""


@dataclass(frozen=True)
class Runner:
    """A file in its runtime.

    Args:
        runtime: what runs it, with its version, as reports name it.
        image: shape of the image it takes, (1, C, H, W).
        logits: how many it gives.
        run: images float32 (B, C, H, W) in 0..255, to logits (B, num_classes).
    """

    runtime: str
    image: tuple[int, ...]
    logits: int
    run: Callable[[Array], Array]


def is_for_proof(runtime: str) -> bool:
    """Whether a runtime, by its name in reports, proves files and is on no phone: its time says nothing of one's."""
    return runtime.startswith(_FOR_PROOF)
