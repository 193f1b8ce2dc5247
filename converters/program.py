"""What is in a saved file, in the terms that every target shares: what `program.read_program` of each returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from volo_edge.errors import RequestError

RESHAPES = frozenset({"reshape", "expand_dims", "squeeze", "flatten2d"})  # of Core ML's operators


@dataclass(frozen=True)
class TensorType:
    """An input or output: its shape, "fp32", "int8", "RGB image", ..., and its name if it has one; () of a scalar."""

    shape: tuple[int, ...]
    dtype: str
    name: str = ""


@dataclass(frozen=True)
class Layer:
    """An operator that carries weights.

    Args:
        kind: "linear", "convolution", "depthwise convolution" or "transposed convolution".
        shape: of the weights, as the file lays them out.
        weight_dtype: how the weights are stored: "fp32", "fp16", "qcint8" (int8, a scale per channel), "qbint4" (int4,
            a scale per group), ...
        activation_dtype: of its input: "fp32", "fp16", "qint8" (static), "qdint8" (quantized as it arrives), ...
        group_size: weights that share a scale where those are per group; 0 elsewhere.
        bytes: weights, scales and bias together.
    """

    kind: str
    shape: tuple[int, ...]
    weight_dtype: str
    activation_dtype: str
    group_size: int
    bytes: int


@dataclass(frozen=True)
class Operation:
    """An operator of a Core ML package or of a Core AI asset.

    Args:
        name, shape, dtype: of its first output.
        kind: its name in MIL, or in Core AI's dialect.
        bytes: that it reads and writes.
        copies: whether it only moves values, or changes their shape or type.
        reasons: why it may leave the Neural Engine or be slow on it, each with the letters of its sources
            (`converters.coreml.neural_engine`, `converters.coreai.devices`).
        unit: where Core ML plans to run it: "NeuralEngine", "GPU" or "CPU"; None where Core ML was not asked.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    copies: bool
    reasons: tuple[str, ...]
    unit: str | None = None


@dataclass(frozen=True)
class HalfPrecision:
    """How near a Core ML package's half precision values come to its limits, on photographs.

    Args:
        photographs: how many were looked at.
        largest: of all magnitudes; half precision ends at 65504.
        largest_in: name of the operator that makes it.
        near_maximum: operators that make values over half of that end.
        vanishing: operators that lose more than rounding does because their values are too small.
        kept_single: operators that compute in single precision, because parity failed without it.
    """

    photographs: int
    largest: float
    largest_in: str
    near_maximum: tuple[str, ...]
    vanishing: tuple[str, ...]
    kept_single: tuple[str, ...] = ()


@dataclass(frozen=True)
class Program:
    """A saved file.

    Args:
        file_bytes: its size, or its files' together.
        inputs, outputs: in the order of the call.
        operators: kinds of operator and how often each is there, most frequent first.
        layers: the operators that carry weights, in the order they run.
        bytes_by_kind: constants, as "linear weights", "convolution weights", "biases", "scales", "other constants";
            what two operators share counts once.
        bytes_by_dtype: the same bytes by type.
        delegates: of an ExecuTorch program, the backend of each delegate call in the order they run: one is the aim.
        undelegated: of an ExecuTorch program, operators outside delegates and how often each is called.
        arena_bytes: of an ExecuTorch program, memory planned for activations outside delegates; a delegate's own are
            not in the file.
        opset: of a Core ML package, the operator set of its program: "CoreML6" is iOS 16's; of a Core AI asset, the
            first system that it is for.
        largest_rank: of both, the most axes a tensor in it has: five are taken.
        operations: of both, its operators in the order they run.
    """

    file_bytes: int
    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    operators: dict[str, int]
    layers: tuple[Layer, ...]
    bytes_by_kind: dict[str, int]
    bytes_by_dtype: dict[str, int]
    delegates: tuple[str, ...] | None = None
    undelegated: dict[str, int] | None = None
    arena_bytes: int | None = None
    opset: str | None = None
    largest_rank: int | None = None
    operations: tuple[Operation, ...] | None = None

    @property
    def signature(self) -> tuple[tuple[int, ...], int]:
        """Shape of the image it takes, (1, C, H, W), () where it takes none, and how many logits it gives."""
        given = self.inputs[0] if len(self.inputs) == 1 else TensorType((), "")
        channels = {"RGB image": (1, 3), "GRAYSCALE image": (1, 1)}.get(given.dtype, ())
        made = next((one.shape for one in self.outputs if one.name in ("logits", "")), ())
        return (*channels, *given.shape), prod(made) if made else 0


@dataclass(frozen=True)
class Levels:
    """The levels that a static activation is rounded to: (integer - `zero_point`) * `scale`, `lowest`..`highest`."""

    scale: float
    zero_point: int
    lowest: int
    highest: int


Activation = Levels | Literal["dynamic"] | None  # "dynamic": 8 bits, each token within its own range; None: not rounded


@dataclass(frozen=True, eq=False)
class StoredLayer:
    """What an operator that carries weights computes with, read back from a file: what `read_weights` returns.

    Args:
        weight: (out, in) of a linear, (out, in / groups, height, width) of a convolution; what its integers stand for.
        bias: (out,); None where it has none.
        given, made: how its input and its output are rounded.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    given: Activation
    made: Activation


def by_frequency(counts: Counter[str]) -> dict[str, int]:
    """Most frequent first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def bytes_by(constants: Iterable[tuple[str, str, int]], part: int) -> dict[str, int]:
    """Bytes of constants (kind, type, bytes), by kind (`part` 0) or by type (1)."""
    counts: Counter[str] = Counter()
    for constant in constants:
        counts[str(constant[part])] += constant[2]
    return by_frequency(counts)


@contextmanager
def damage_is_told(said: str, *raised: type[Exception]) -> Iterator[None]:
    """Around what follows a file's program: what a sound one does not raise is a RequestError that begins with `said`.

    Besides what lookups raise, that is what is `raised` by the reader's own libraries.
    """
    damage: tuple[type[Exception], ...] = (LookupError, TypeError, ValueError, AttributeError, StopIteration, *raised)
    try:
        yield
    except RequestError:
        raise
    except damage as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise RequestError(f"{said} ({what})") from error
