"""The installed command, run as a user runs it, and what a refusal by it must look like."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volo_edge.console import STEP

COMMAND = Path(sys.executable).with_name("volo-edge")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, what it wrote, and the lines of progress among what it wrote to `err`."""

    status: int
    out: str
    err: str
    steps: tuple[str, ...] = ()


def start(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    """The command, running; `options` are Popen's."""
    return subprocess.Popen(
        [COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", **options
    )


def end(process: subprocess.Popen[str], timeout: float = 300) -> Ended:
    """How `process` ended; it is killed after `timeout` seconds, so that no test leaves one behind."""
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    lines = err.splitlines(keepends=True)
    rest = "".join(line for line in lines if not line.startswith(STEP))
    return Ended(process.returncode, out, rest, tuple(line.rstrip() for line in lines if line.startswith(STEP)))


def run(*arguments: str | Path, **options: Any) -> Ended:
    """Run the command to its end."""
    return end(start(*arguments, **options))


def one_line(ended: Ended, status: int = 2) -> str:
    """The one line of a command that was refused or stopped, which must have said nothing else."""
    lines = ended.err.splitlines()
    assert ended.status == status, ended
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("volo-edge: ") and "Traceback" not in lines[0]
    assert ended.out == "" or json.loads(ended.out)["error"]["message"] == lines[0].removeprefix("volo-edge: ")
    return lines[0].removeprefix("volo-edge: ")


def refusal(*arguments: str | Path, **options: Any) -> str:
    """What the command says of a request that it must refuse."""
    return one_line(run(*arguments, **options))


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything under `folder`, hidden or not: the bytes of each file, None for a folder."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}


@contextmanager
def untouched(folder: Path) -> Iterator[None]:
    """Around a command that must leave `folder` exactly as it was."""
    before = contents(folder)
    yield
    after = contents(folder)
    assert after.keys() == before.keys()
    assert after == before


def signals_are_heard() -> None:
    """In a process to be started: whoever runs the tests may do so under nohup or in a shell's background."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def temporary(folder: Path) -> dict[str, str]:
    """An environment whose temporary files go into `folder`."""
    return {**os.environ, "TMPDIR": str(folder)}
