"""What a file says of itself, where its format has a place for it: a Core ML package, which Xcode shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A model as an app's engineer sees it.

    Args:
        labels: names of the classes, in the order of the logits; all different.
        summary: what it is, in a sentence.
        author, license, version: as a person reads them; "" where nothing is known.
        facts: the manifest's essentials, by name.
    """

    labels: tuple[str, ...]
    summary: str
    author: str
    license: str
    version: str
    facts: dict[str, str]
