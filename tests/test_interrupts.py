"""Ctrl-C is heard though a library swallows it, and never leaves files between two names."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.command import contents, signals_are_heard
from volo_edge.errors import INTERRUPTED, RequestError
from volo_edge.files import MANIFEST
from volo_edge.interrupts import heard, held_back, resumable
from volo_edge.outputs import ARTIFACT, new_folder

NUMBERS = (signal.SIGINT, signal.SIGTERM)
MARK = {
    name: json.dumps({"format_version": 3, "target": name, "quantization": {}, "files": {}}) for name in ("old", "new")
}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_swallowed_interrupt_comes_again(number: signal.Signals) -> None:
    def command() -> None:
        with heard():
            with suppress(KeyboardInterrupt):
                signal.raise_signal(number)
            end = time.monotonic() + 10
            while time.monotonic() < end:
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt):
        command()
    assert [signal.getsignal(number) for number in NUMBERS] == [signal.SIG_IGN] * 2


def test_an_interrupt_that_was_swallowed_to_the_end_is_over() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with heard(), suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in NUMBERS] == before
    time.sleep(1.5)  # longer than it takes to come again


def test_impatience_does_not_stop_the_answer() -> None:
    answered = False

    def command() -> None:
        nonlocal answered
        with heard():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                for _ in range(5):
                    signal.raise_signal(signal.SIGINT)
                answered = True

    with pytest.raises(KeyboardInterrupt):
        command()
    assert answered


def test_held_back() -> None:
    done = []

    def command() -> None:
        with heard():
            with held_back():
                signal.raise_signal(signal.SIGTERM)
                done.append("step")
            done.append("more")

    with pytest.raises(KeyboardInterrupt):
        command()
    assert done == ["step"]


def test_other_threads_have_nothing_to_hold_back() -> None:
    done = []

    def work() -> None:
        with held_back():
            done.append("step")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["step"]


@pytest.mark.parametrize("nth", range(5))
def test_a_folder_is_replaced_wholly_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """An interrupt in the middle of any call that changes the names in a folder."""
    with new_folder(tmp_path / "made", ARTIFACT) as folder:
        (folder.working / MANIFEST).write_text(MARK["old"])
    calls = 0

    def interrupting(original: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any, **options: Any) -> None:
            nonlocal calls
            calls += 1
            try:
                return original(*arguments, **options)
            finally:
                if calls == nth + 1:
                    signal.raise_signal(signal.SIGINT)

        return call

    for name in ("mkdir", "rename", "rmdir"):
        monkeypatch.setattr(os, name, interrupting(getattr(os, name)))
    with pytest.raises(KeyboardInterrupt), heard(), new_folder(tmp_path / "made", ARTIFACT, force=True) as folder:
        (folder.working / MANIFEST).write_text(MARK["new"])
    monkeypatch.undo()
    assert calls > nth
    assert contents(tmp_path) in ({"made": None, f"made/{MANIFEST}": text.encode()} for text in MARK.values())


def test_a_folder_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_folder(tmp_path / "made", ARTIFACT) as folder:
        (folder.working / MANIFEST).write_text(MARK["old"])
    rename = os.rename

    def refuse(source: Path, target: Path) -> None:
        if str(source).endswith("/new"):
            raise PermissionError(13, "Permission denied", str(source), None, str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with (
        pytest.raises(RequestError, match=f"^cannot write {tmp_path / 'made'}: Permission denied"),
        new_folder(tmp_path / "made", ARTIFACT, force=True) as folder,
    ):
        (folder.working / MANIFEST).write_text(MARK["new"])
    monkeypatch.undo()
    assert contents(tmp_path) == {"made": None, f"made/{MANIFEST}": MARK["old"].encode()}


# tells when the command's own first import begins
STARTED = """
import sys
from volo_edge.entry import main

class Watch:
    def find_spec(self, name, *_):
        if name == "signal":
            sys.stderr.write("started\\n")
            sys.stderr.flush()

sys.modules.pop("signal", None)
sys.meta_path.insert(0, Watch())
sys.exit(main())
"""


def _interrupted(delay: float, *arguments: str) -> tuple[int, str, str]:
    """How a command ended that was interrupted `delay` seconds after Python had begun; (status, out, err)."""
    process = subprocess.Popen(
        [sys.executable, "-c", STARTED, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=signals_are_heard,
    )
    assert process.stderr is not None and process.stderr.readline() == "started\n"
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, out, err


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_interrupted_at_any_moment_is_a_line(tmp_path: Path) -> None:
    """From the first import of ours on, of which most moments are within imports."""
    soon = (0.0, 0.003, 0.01, 0.02, 0.04, 0.07, 0.1)
    convert = ("convert", "--target", "executorch", "--output", str(tmp_path / "new"), "--json")
    verbs = {
        ("--version",): soon,
        ("predict", str(tmp_path), str(tmp_path)): soon,
        ("models", "--json"): soon,
        convert: (0.0, 0.01, 0.05, 0.15, 0.6, 1.2),
    }
    ended = 0
    for verb, moments in verbs.items():
        for delay in moments:
            status, out, err = _interrupted(delay, *verb)
            lines = [line for line in err.splitlines() if not line.startswith("step: ")]
            assert "Traceback" not in err and len(lines) <= 1, (verb, delay, err)
            if lines == [f"volo-edge: {INTERRUPTED}"]:
                ended += 1
                assert status == 2
                if "--json" in verb:
                    assert json.loads(out) == {"error": {"message": INTERRUPTED, "status": 2, "kind": "interrupted"}}
                else:
                    assert out in ("", out.rstrip() + "\n")
            else:  # it was done before
                assert verb[0] != "convert" and status in (0, 2), (verb, delay, status, out, err)
    assert ended >= 10  # of 27
    assert contents(tmp_path) == {}


def test_what_is_kept_is_said_once_by_who_knows_most(tmp_path: Path) -> None:
    state = tmp_path / "state"

    def stopped(*done: Callable[[], str]) -> str:
        with ExitStack() as around:
            caught = around.enter_context(pytest.raises(KeyboardInterrupt))
            around.enter_context(resumable(state))
            for one in done:
                around.enter_context(resumable(state, one))
            raise KeyboardInterrupt
        return str(caught.value)

    assert stopped() == stopped(lambda: "nothing") == ""
    state.write_text("some")
    assert stopped() == f"interrupted; what is done is kept in {state}: the same command goes on from there"
    assert stopped(lambda: "3 of 8 are done") == "interrupted; 3 of 8 are done: the same command goes on from there"
