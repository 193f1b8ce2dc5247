"""Runs a phone maker's tool; and which of the connected phones is meant."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from volo_edge.errors import RequestError


@dataclass(frozen=True)
class Phone:
    """A phone that can be used; `problem` is why it cannot, and what to do, where it cannot."""

    serial: str
    name: str
    problem: str | None = None


@dataclass(frozen=True)
class Answer:
    """How a tool ended: its exit status and what it printed."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The last thing it said, for an error line."""
        lines = [line.strip() for line in (self.out + "\n" + self.err).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}"


def run(command: Sequence[str], remedy: str, timeout: float) -> Answer:
    """Run a tool to its end.

    Args:
        remedy: how to get the tool.
        timeout: seconds after which it is stopped.

    Raises:
        RequestError: it is not there, or did not end.
    """
    try:
        ended = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, encoding="utf-8", errors="replace", timeout=timeout
        )
    except FileNotFoundError:
        raise RequestError(f"there is no '{command[0]}' here: {remedy}") from None
    except subprocess.TimeoutExpired:
        name = " ".join(command[:2])
        raise RequestError(f"'{name} ...' did not end in {timeout:.0f} s: unlock the phone and try again") from None
    return Answer(ended.returncode, ended.stdout, ended.stderr)


def choose(phones: Sequence[Phone], serial: str | None, none: str) -> Phone:
    """The phone that is meant: the one of that serial, or the only one that can be used.

    Args:
        none: what to do where no phone is connected.
    """
    listed = ", ".join(f"{phone.serial} ({phone.name})" for phone in phones)
    if not phones:
        raise RequestError(f"no phone is connected: {none}")
    if serial is not None:
        meant = [phone for phone in phones if phone.serial == serial]
        if not meant:
            raise RequestError(f"no phone has the serial '{serial}' (connected: {listed})")
    else:
        meant = [phone for phone in phones if phone.problem is None] or list(phones)
    if len(meant) > 1:
        raise RequestError(f"several phones are connected: pass --serial with one of {listed}")
    if meant[0].problem is not None:
        raise RequestError(f"{meant[0].serial} cannot be used: {meant[0].problem}")
    return meant[0]
