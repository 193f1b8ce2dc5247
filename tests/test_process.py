"""A saved file in a process of its own: its protocol, and what becomes of one that takes its runtime down."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from volo_edge.converters import process, worker
from volo_edge.converters.process import Process, python
from volo_edge.converters.runner import Runner, RuntimeMissing
from volo_edge.errors import RequestError

FILE = Path("a/model.pte")
HEADER = {"runtime": "A runtime", "image": [1, 3, 2, 2], "logits": 2}
START = "import os, struct, sys, time; said, heard = sys.stdout.buffer, sys.stdin.buffer\n"


def started(program: str, header: dict[str, object] | None = None) -> Process:
    """A process that says `header`, then runs a Python `program`."""
    line = json.dumps(HEADER if header is None else header) + "\n"
    say = f"said.write({line.encode()!r}); said.flush()\n"
    return Process([sys.executable, "-c", START + say + program], FILE)


ECHO = """
while len(image := heard.read(48)) == 48:
    said.write(struct.pack("<d", 0.25) + image[:8]); said.flush()
"""


def test_images_are_answered_one_by_one_with_the_seconds_they_took() -> None:
    images = np.arange(36, dtype=np.float32).reshape(3, 3, 2, 2)
    with started(ECHO) as running:
        assert running.runtime == "A runtime"
        np.testing.assert_array_equal(running.run(images), images.reshape(3, -1)[:, :2])
        np.testing.assert_array_equal(running.run(images[1:2]), [[12, 13]])
        assert running.seconds == 0.25


def test_another_image_size_is_refused() -> None:
    with started(ECHO) as running, pytest.raises(RequestError, match="takes images of 3x2x2, not of 3x4x4"):
        running.run(np.zeros((1, 3, 4, 4), np.float32))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("os.abort()", "the runtime ends with SIGABRT when a/model.pte runs: convert the model again"),
        ("heard.read(48); os.kill(os.getpid(), 11)", "ends with SIGSEGV when a/model.pte runs"),
        ("heard.read(48); said.write(b'short')", "ends with status 0 when a/model.pte runs"),
        ("sys.exit('first\\nno room for it')", r"ends with status 1 when a/model.pte runs \(no room for it\)"),
    ],
)
def test_a_process_that_ends_is_one_line(program: str, said: str) -> None:
    with started(program) as running, pytest.raises(RequestError, match=said):
        running.run(np.zeros((1, 3, 2, 2), np.float32))


def test_a_process_that_ends_while_it_loads_is_one_line() -> None:
    with pytest.raises(RequestError, match=r"ends with SIGABRT when a/model\.pte is loaded"):
        Process([sys.executable, "-c", "import os; os.abort()"], FILE)


def test_a_process_that_the_system_ends_is_no_fault_of_the_file() -> None:
    with started("heard.read(48); os.kill(os.getpid(), 9)") as running, pytest.raises(RequestError, match="of memory"):
        running.run(np.zeros((1, 3, 2, 2), np.float32))


def test_a_process_that_says_something_else_is_one_line() -> None:
    with pytest.raises(RequestError, match=r"what runs a/model\.pte says b'hello"):
        Process([sys.executable, "-c", "print('hello')"], FILE)


def test_an_interrupted_process_is_ended_at_once() -> None:
    """It may be in the middle of an image that takes minutes."""
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), started("time.sleep(600)") as running:  # noqa: PT012
        number = running._process.pid
        raise KeyboardInterrupt
    assert time.monotonic() - start < process._PATIENCE
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_file_that_gives_other_logits_than_it_says_is_refused() -> None:
    runner = Runner("A runtime", (1, 3, 2, 2), 3, lambda images: np.zeros((1, 2), np.float32))
    answers = io.BytesIO()
    with pytest.raises(SystemExit, match="gives 2 logits where it says 3"):
        worker._serve(runner, io.BytesIO(bytes(48)), answers)
    assert answers.getvalue() == b""


@pytest.mark.parametrize("kind", [RequestError, RuntimeMissing])
def test_what_it_refuses_keeps_its_kind(kind: type[Exception]) -> None:
    with pytest.raises(kind, match="no such thing") as refused:
        started("", {"error": kind.__name__, "message": "no such thing"})
    assert type(refused.value) is kind


def test_a_process_ends_when_nothing_refers_to_it() -> None:
    running = started(ECHO)
    number = running._process.pid
    del running
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


def test_a_process_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_PATIENCE", 0.1)
    with started("time.sleep(600)"):
        start = time.monotonic()
    assert time.monotonic() - start < 60


def test_a_folder_full_of_look_alikes_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the command in a folder that a stranger filled."""
    for name in ("json", "runpy", "this"):
        (tmp_path / f"{name}.py").write_text("print('a stranger ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    said = subprocess.run(python("this"), capture_output=True, text=True, check=True).stdout
    assert said.startswith("The Zen of Python")
