"""What reaches a person's terminal while a command works: its progress, and nothing that libraries print."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from volo_edge.console import Console

PROGRAM = """
import os, sys, time
from volo_edge.console import captured
with captured(json=False) as console:
    with console.progress() as steps, steps.step("working hard", 2) as advance:
        print("python noise")
        print("python noise", file=sys.stderr)
        os.write(2, b"native noise")
        advance()
        time.sleep(0.3)
    console.say("the result")
"""


@pytest.mark.skipif(os.name == "nt", reason="needs pseudo terminals")
def test_a_terminal_shows_progress_and_no_noise() -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            block = os.read(ours, 4096)
        except OSError:  # Linux's way of saying that the other end is closed
            break
        if not block:
            break
        shown += block
    assert process.wait() == 0
    assert b"working hard" in shown
    assert b"the result" in shown
    assert b"noise" not in shown


def test_a_pipe_gets_the_result_alone() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("the result\n", "step: working hard\n")


def test_a_log_shows_how_far_a_long_step_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    log = io.StringIO()
    with Console(io.StringIO(), log, json=True).progress() as steps, steps.step("lowering", 100) as advance:
        for _ in range(100):
            now += 0.5
            advance()
    assert log.getvalue().splitlines() == ["step: lowering", *(f"step: lowering, {n} of 100" for n in (20, 40, 60, 80))]


def test_a_terminal_shows_a_step_as_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setenv("TERM", "xterm")
    with Console(io.StringIO(), screen, json=False).progress() as steps, steps.step("loading [/b] \x1b]0;mine\x07"):
        pass
    assert "loading [/b] \\x1b]0;mine\\x07" in screen.getvalue()
