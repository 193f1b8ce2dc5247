"""Ctrl-C, a polite kill, a closed terminal: heard even where a library swallows them, held back during a whole step."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_AGAIN = 1.0  # seconds


def _numbers() -> tuple[signal.Signals, ...]:
    """The signals to hear. A terminal that is closed is none where nohup has it ignored."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hangs_up else []))


@contextmanager
def heard() -> Iterator[None]:
    """Around a command: the signals raise KeyboardInterrupt. Afterwards they are what they were, or ignored after one.

    The converters' libraries lose an exception now and then: it comes up in a destructor, or under an `except:`. So it
    is raised again each second until the command ends; and not more often, for the first one is being answered and
    whoever presses Ctrl-C five times is not to stop that.
    """
    quiet_until = 0.0
    again: list[threading.Timer] = []

    def interrupt(*_: object) -> None:
        nonlocal quiet_until
        if time.monotonic() < quiet_until:
            return
        quiet_until = time.monotonic() + _AGAIN
        again[:] = [threading.Timer(1.1 * _AGAIN, _thread.interrupt_main)]
        again[0].daemon = True
        again[0].start()
        raise KeyboardInterrupt

    numbers = _numbers()
    before = {number: signal.signal(number, interrupt) for number in numbers}
    after: dict[signal.Signals, Any] = before
    try:
        yield
    except KeyboardInterrupt:
        after = dict.fromkeys(numbers, signal.SIG_IGN)  # the process is ending: nothing is left to interrupt
        raise
    finally:
        for timer in again:
            timer.cancel()
        for number, handler in after.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextmanager
def held_back() -> Iterator[None]:
    """Around a step that must be done wholly or not at all: a signal during it comes at its end."""
    if threading.current_thread() is not threading.main_thread():  # which alone gets signals
        yield
        return
    held: list[int] = []
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in _numbers()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        if held:
            signal.raise_signal(held[0])


@contextmanager
def resumable(state: Path, done: Callable[[], str] | None = None) -> Iterator[None]:
    """Around work that may be stopped and goes on later: an interrupt says what is kept, and how to go on.

    Args:
        state: the file or folder that keeps what is done. Where there is none, nothing is kept, and nothing is said.
        done: says how much that is, "3 of 8 photographs are done".

    Raises:
        KeyboardInterrupt: with that sentence; an inner `resumable` knows better than an outer one.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if interrupt.args or not state.exists():
            raise
        what = done() if done else f"what is done is kept in {state}"
        raise KeyboardInterrupt(f"interrupted; {what}: the same command goes on from there") from None
