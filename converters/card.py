"""What a file says of itself, where its format has a place for it: a Core ML package, which Xcode shows."""

from __future__ import annotations

from dataclasses import dataclass

from volo_edge.activation import Activation


@dataclass(frozen=True)
class Card:
    """A model as an app's engineer sees it.

    Args:
        labels: names of the classes, in the order of the logits; all different.
        activation: what makes their probabilities of the logits.
        summary: what it is, in a sentence.
        author, license, version: as a person reads them; "" where nothing is known.
        facts: the manifest's essentials, by name.
    """

    labels: tuple[str, ...]
    activation: Activation
    summary: str
    author: str
    license: str
    version: str
    facts: dict[str, str]
