"""The ways a command can end other than well, and the exit status each one has.

Imports nothing: it is there before the handler of interrupts is (`entry`).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = "interrupted; no half-written output was left"


class RequestError(Exception):
    """The request or one of its inputs is bad: one line that says what, where and what to do. Exit status 2."""


class GateError(Exception):
    """The work was done and its result is not good enough (parity, accuracy). Exit status 3."""


class Ending:
    """How a command ends that does not end well.

    Args:
        kind: "request", what was asked for or given is bad; "gate", the result is not good enough; "interrupted";
            "bug", a fault of volo-edge.
        status: the exit status.
        message: what is wrong, where, and what to do.
    """

    def __init__(self, kind: str, status: int, message: str) -> None:
        self.kind, self.status = kind, status
        self.message = " ".join(part.strip() for part in message.splitlines() if part.strip())

    def as_json(self) -> dict[str, dict[str, str | int]]:
        """What `--json` has of it."""
        return {"error": {"message": self.message, "status": self.status, "kind": self.kind}}


def ending(error: BaseException) -> Ending:
    """The ending that an exception makes."""
    if isinstance(error, RequestError):
        return Ending("request", 2, str(error))
    if isinstance(error, GateError):
        return Ending("gate", 3, str(error))
    if isinstance(error, KeyboardInterrupt):
        return Ending("interrupted", 2, str(error) or INTERRUPTED)
    if isinstance(error, OSError):
        place = f" {error.filename}" if error.filename else ""
        return Ending("request", 2, f"cannot read or write{place}: {error.strerror or error}")
    if isinstance(error, ModuleNotFoundError):
        missing = f"{error.name} is not installed"
        return Ending("request", 2, f"{missing}: 'volo-edge doctor' tells what is missing and how to get it")
    if isinstance(error, MemoryError):
        return Ending("request", 2, "there is not enough memory: end other programs, or take a smaller model or image")
    return Ending(
        "bug",
        1,
        f"this is a bug in volo-edge ({type(error).__name__}: {error}); VOLO_EDGE_VERBOSE=1 shows what its libraries "
        "said",
    )


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
