"""The ways a command can end other than well, and the exit status each one has."""

from __future__ import annotations

from collections.abc import Sequence


class RequestError(Exception):
    """The request or one of its inputs is bad: one line that says what, where and what to do. Exit status 2."""


class GateError(Exception):
    """The work was done and its result is not good enough (parity, accuracy). Exit status 3."""


def did_you_mean(word: str, known: list[str]) -> str:
    """The end of an error line about an unknown `word`: the closest of the `known` ones, and all of them.

    >>> did_you_mean("volo_d1_244", ["volo_d1_224", "volo_cifar10"])
    "did you mean 'volo_d1_224'? (known: volo_d1_224, volo_cifar10)"
    """
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=1)
    suggestion = f"did you mean '{close[0]}'? " if close else ""
    return f"{suggestion}(known: {', '.join(known)})"


def few(names: Sequence[str], shown: int = 3) -> str:
    """The first of the `names`, quoted, and how many more there are."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(map(repr, names[:shown])) + more
