"""What quantizing a layer costs, and the file that keeps it of a measurement that may be stopped and goes on later."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from volo_edge import files, interrupts
from volo_edge.errors import RequestError
from volo_edge.formats import Format


@dataclass(frozen=True)
class Measured:
    """How far a model's logits are from the float edge model's.

    Args:
        snr_db: signal to noise ratio in decibels; None where they are the same.
        disagreement: points (0..100) of the photographs that are put in another class than the float model's.
        top1_drop: points of top-1 accuracy lost, negative where some were gained; None without classes.
    """

    snr_db: float | None
    disagreement: float
    top1_drop: float | None


@dataclass(frozen=True)
class Layer:
    """What quantizing one layer costs.

    Args:
        name: as in the checkpoint.
        kind: stem, patch, v, q, k, attn, proj, fc1, fc2 or head.
        parameters: how many weights it has, without biases.
        weights, activations: its precision, see `volo_edge.quantize.schemes`.
        only: with nothing but this layer quantized.
        without: with everything but this layer quantized.
        gain_db: by how much the SNR of everything quantized rises when this layer is left out; None if to no noise.
    """

    name: str
    kind: str
    parameters: int
    weights: str
    activations: str
    only: Measured
    without: Measured
    gain_db: float | None


@dataclass(frozen=True)
class State:
    """The file, field for field: what was measured, and of which request, see `measure.Sensitivity`."""

    request: dict[str, Any]
    layers: tuple[Layer, ...]
    format_version: Literal[1] = 1


_FORMAT = Format(State, 1, "state of a measurement", "remove it")


class Kept:
    """What an earlier run has measured, and where this one writes down what it measures.

    Args:
        path: the file; none where nothing was measured.
        request: all that determines the numbers; those of another request are not taken.

    Attributes:
        found: what is measured, by the layer's name.
        of_another: whether the file was there and held something else.
    """

    def __init__(self, path: Path, request: dict[str, Any]) -> None:
        self.path, self._request = path, request
        self.found: dict[str, Layer] = {}
        self.of_another = False
        if os.path.lexists(path):
            try:
                state = _FORMAT.read(path)
            except RequestError:  # a version before this one's, or a disk that lost power
                state = State({}, ())
            self.of_another = state.request != request
            if not self.of_another:
                self.found = {layer.name: layer for layer in state.layers}

    def write(self) -> None:
        """Write down what is measured; the file is replaced whole."""
        state = State(self._request, tuple(self.found.values()))
        beside = self.path.with_suffix(".new")
        with interrupts.held_back():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            files.write_text(beside, json.dumps(asdict(state)))
            os.replace(beside, self.path)
