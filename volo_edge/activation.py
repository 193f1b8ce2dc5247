"""What makes probabilities of a model's logits: softmax where classes exclude each other, sigmoid where they do not.

A checkpoint does not say which it was trained with, so a person does, and the manifest keeps it.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from volo_edge.errors import RequestError, did_you_mean
from volo_edge.validate.metrics import Logits, sigmoid, softmax

Activation = Literal["softmax", "sigmoid"]
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
MEANING = {
    "softmax": "the classes exclude each other, their probabilities add up to 1",
    "sigmoid": "the labels are independent, each has a probability of its own",
}


def check(activation: str | None) -> None:
    """RequestError where no activation is called so; None is none."""
    if activation is not None and activation not in ACTIVATIONS:
        raise RequestError(f"no activation is called '{activation}': {did_you_mean(activation, [*ACTIVATIONS])}")


def chosen(wanted: str | None, outputs: int) -> Activation:
    """The activation of a model with so many `outputs`: what is `wanted`, softmax where nothing is.

    Raises:
        RequestError: nothing, or softmax, is wanted of one output.
    """
    check(wanted)
    if outputs == 1 and wanted != "sigmoid":
        raise RequestError(
            f"{'--activation softmax: ' if wanted else ''}the model has one output, and its softmax is always 100 %: "
            "say --activation sigmoid"
        )
    return "sigmoid" if wanted == "sigmoid" else "softmax"


def counted(outputs: int, activation: Activation) -> str:
    """What a model tells apart: "10 classes", "3 independent labels"."""
    if activation == "softmax":
        return f"{outputs} classes"
    return "a single label" if outputs == 1 else f"{outputs} independent labels"


def probabilities(logits: Logits, activation: Activation) -> NDArray[np.float64]:
    """Of each class or label, 0..1, over the last axis of `logits` (..., classes)."""
    return softmax(logits) if activation == "softmax" else sigmoid(logits)
