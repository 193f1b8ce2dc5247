"""A saved file in a process of its own: a file that makes its runtime abort ends that process and not the command.

The process writes a line of JSON when the file is loaded, `{"runtime": NAME, "image": [1, C, H, W], "logits": N}`, or
`{"error": KIND, "message": TEXT}`. Then it reads images, float32 of `image`'s shape, and answers each with a float64,
the seconds it took, and N float32; all little-endian. It ends with its input. What goes wrong meanwhile is a line on
its standard error.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from volo_edge import machine
from volo_edge.converters.runner import Array, RuntimeMissing
from volo_edge.errors import RequestError

_PATIENCE = 5.0  # seconds that a process has to end with its input
_SIGNALS = {number.value: number.name for number in signal.Signals}


class Process:
    """A file that runs in another process, ready.

    Args:
        command: starts it.
        path: the file, for messages.
        processor: see below; None for this machine's.

    Attributes:
        runtime: what runs the file, with its version, as reports name it.
        processor: whose code it runs: "x86-64", "arm64 armv8.2-dotprod".
        image: shape of the image it takes, (1, C, H, W).
        logits: how many it gives.
        seconds: that the last image took the runtime, without its way there and back.

    Raises:
        RequestError: the file cannot be loaded, or takes its runtime down.
        RuntimeMissing: this machine has no runtime for it.
    """

    def __init__(
        self,
        command: Sequence[str],
        path: Path,
        processor: str | None = None,
    ) -> None:
        self.processor = processor or machine.instruction_set()
        self._path, self._said = path, tempfile.TemporaryFile()  # noqa: SIM115 closed with the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=_kept(self._said),
            start_new_session=True,  # Ctrl-C is for the command, which ends this one
        )
        self.close = weakref.finalize(self, _end, self._process, self._said)
        header = self._header()
        self.runtime: str = header["runtime"]
        self.logits = int(header["logits"])
        self.image: tuple[int, ...] = tuple(header["image"])
        self.seconds = 0.0

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:  # whoever interrupts does not wait for an image
            self._process.kill()
        self.close()

    def run(self, images: Array) -> Array:
        """Images float32 (B, C, H, W) in 0..255, to logits (B, num_classes).

        Raises:
            RequestError: the file takes images of another size, or takes its runtime down.
        """
        if images.shape[1:] != self.image[1:]:
            sizes = ("x".join(map(str, shape)) for shape in (self.image[1:], images.shape[1:]))
            raise RequestError("{} takes images of {}, not of {}: convert it again".format(self._path, *sizes))
        return np.stack([self._answer(image) for image in images])

    def finish(self) -> tuple[str, ...]:
        """End the process; the instructions for products of numbers that it was seen to execute, () if none watched."""
        self.close()
        return ()

    def _answer(self, image: Array) -> Array:
        given, made = self._pipes()
        try:
            given.write(image.astype("<f4").tobytes())
            given.flush()
        except BrokenPipeError:
            raise self._ended("runs") from None
        answer = made.read(8 + 4 * self.logits)
        if len(answer) < 8 + 4 * self.logits:
            raise self._ended("runs")
        (self.seconds,) = struct.unpack_from("<d", answer)
        return np.frombuffer(answer, "<f4", offset=8).astype(np.float32)

    def _header(self) -> dict[str, Any]:
        line = self._pipes()[1].readline()
        if not line.endswith(b"\n"):
            raise self._ended("is loaded")
        try:
            header: dict[str, Any] = json.loads(line)
        except ValueError:
            self._process.kill()
            raise RequestError(f"what runs {self._path} says {line[:80]!r}: see 'volo-edge doctor'") from None
        if "error" in header:
            kind = RuntimeMissing if header["error"] == RuntimeMissing.__name__ else RequestError
            raise kind(header["message"])
        return header

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def _ended(self, when: str) -> RequestError:
        return _ended(self._process, self._said, self._path, when)


def python(module: str, *arguments: str) -> list[str]:
    """A command that runs `module` in this Python; it finds what this process finds, and nothing in its own folder."""
    start = f"import sys; sys.path[:] = {sys.path!r}; sys.argv[0] = {module!r}; import runpy; "
    return [sys.executable, "-c", f"{start}runpy.run_module({module!r}, run_name='__main__')", *arguments]


def lines(command: Sequence[str], path: Path) -> Iterator[str]:
    """What a process writes, line by line; RequestError where it ends badly, which the file at `path` is blamed for."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=_kept(said), text=True, start_new_session=True
        )
        try:
            assert process.stdout is not None
            yield from process.stdout
            if process.wait():
                raise _ended(process, said, path, "runs")
        finally:
            process.kill()  # which does nothing to one that has ended
            process.wait()


def load(target: str, path: Path, runtime: str | None = None, processor: str | None = None) -> Process:
    """The file at `path` of a `target`, ready to run.

    Args:
        target: a key of `converters.targets.TARGETS`.
        path: the .pte file or the .mlpackage folder.
        runtime: a key of `converters.targets.RUNTIMES`; None for the first that takes the file here.
        processor: of runtime "arm64", a key of `converters.executorch.arm64.processors.PROCESSORS`.

    Raises:
        RequestError: the file is damaged, or the runtime does not take it.
        RuntimeMissing: this machine has no such runtime.
    """
    if runtime == "arm64":
        from volo_edge.converters.executorch import arm64

        return arm64.load(path, processor)
    return Process(python("volo_edge.converters.worker", target, str(path), runtime or ""), path)


def _kept(said: IO[bytes]) -> IO[bytes] | None:
    """Where a process's standard error goes: to a file, or on to whoever wants to see what libraries print."""
    return None if os.environ.get("VOLO_EDGE_VERBOSE") else said


def _ended(process: subprocess.Popen[Any], said: IO[bytes], path: Path, when: str) -> RequestError:
    """What to say of a process that ended when the file at `path` was loaded, or ran."""
    status = process.wait()
    if status == -signal.SIGKILL:
        return RequestError(f"the system ended the runtime when {path} {when}, mostly for want of memory: free some")
    how = _SIGNALS.get(-status, f"signal {-status}") if status < 0 else f"status {status}"
    said.seek(0)
    words = said.read().decode(errors="replace").split("\n")
    last = next((f" ({line.strip()[:200]})" for line in reversed(words) if line.strip()), "")
    return RequestError(f"the runtime ends with {how} when {path} {when}{last}: convert the model again")


def _end(process: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    try:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(BrokenPipeError):  # it ended before it read all
                pipe.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
    finally:  # also where the wait is interrupted
        process.kill()  # which does nothing to one that has ended
        process.wait()
        said.close()
