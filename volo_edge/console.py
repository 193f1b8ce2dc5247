"""What a person sees of a command: results on standard output, progress and problems on standard error.

All that is printed goes through here, and what names and files hold is shown as `plain.line` has it: no text of others
reaches a terminal as a command to it.

The libraries that convert a model print to both, from Python and from C++; while a command runs, what they print is
kept aside. With VOLO_EDGE_VERBOSE=1 it is shown.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from volo_edge import plain
from volo_edge.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress


STEP = "step: "  # how a line of progress begins, by which a program that reads a log tells it from others
SECONDS_BETWEEN = 10.0  # two lines of one step


class Console:
    """The two streams as they were before anything was kept aside.

    Args:
        out, err: where results and messages go.
        json: whether results are wanted as JSON.

    Attributes:
        told: the command's result for programs, as far as it is known.
        finished: whether it was printed.
    """

    def __init__(self, out: TextIO, err: TextIO, json: bool) -> None:
        self.out, self.err, self.json = out, err, json
        self.told: dict[str, Any] = {}
        self.finished = False

    def result(self, values: dict[str, Any]) -> None:
        """The command's result for programs. It is printed at the end: one object, whatever comes after this."""
        self.told |= values

    def finish(self) -> None:
        """Print the result for programs, where it is wanted."""
        if self.json:
            self.finished = True
            print(plain.as_json(self.told), file=self.out)

    def say(self, text: str = "") -> None:
        """A line of the result for people; nothing where JSON is wanted."""
        if not self.json:
            print(plain.line(text), file=self.out)

    def note(self, text: str) -> None:
        """A line that is worth knowing and is not the result."""
        print(f"note: {plain.line(text)}", file=self.err, flush=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str] = ()) -> None:
        """A table for people; the columns named in `numbers` are set flush right."""
        if self.json:
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            table.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in numbers)
        for row in rows:
            table.add_row(*map(plain.line, row))
        self._rich(self.out).print(table)

    @contextmanager
    def progress(self) -> Iterator[Steps]:
        """Shows the steps of a long command: as bars on a terminal, elsewhere in lines, with `--json` too."""
        if not self.err.isatty():
            yield Steps(_Lines(self.err), self)
            return
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        shown = Progress(
            *columns,
            console=self._rich(self.err),
            transient=True,
            redirect_stdout=False,  # to rich's console, which is the real terminal: not for what libraries print
            redirect_stderr=False,
        )
        with shown as progress:
            yield Steps(_Bars(progress), self)

    @staticmethod
    def _rich(stream: TextIO) -> RichConsole:
        from rich.console import Console as RichConsole

        width = None if stream.isatty() else 160  # a pipe has no width, and a folded table cannot be read by a program
        return RichConsole(file=stream, width=width, highlight=False, markup=False, emoji=False)


class Steps:
    """The steps of a command, one at a time.

    Args:
        shown: shows one; None for nobody to see them.
        console: gets the notes; None for nobody to hear them.
    """

    def __init__(self, shown: _Bars | _Lines | None, console: Console | None = None) -> None:
        self._shown, self._console = shown, console

    def note(self, text: str) -> None:
        """A line that is worth knowing while the work goes on."""
        if isinstance(self._shown, _Bars):
            self._shown.note(plain.line(text))
        elif self._console is not None:
            self._console.note(text)

    @contextmanager
    def step(self, what: str, total: int | None = None) -> Iterator[Any]:
        """Around one step; yields a function to call with how many of `total` are done since the last call."""
        if self._shown is None:
            yield lambda count=1: None
            return
        with self._shown.step(plain.line(what), total) as advance:
            yield advance


class _Bars:
    """A step is a bar that is gone when it ends."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def note(self, text: str) -> None:
        """A line above the bars."""
        self._progress.console.print(f"note: {text}")

    @contextmanager
    def step(self, what: str, total: int | None) -> Iterator[Callable[..., None]]:
        task = self._progress.add_task(what, total=total)
        try:
            yield lambda count=1: self._progress.advance(task, count)
        finally:
            self._progress.remove_task(task)


class _Lines:
    """A step is a line when it begins, and where it has a total another now and then: a log shows what takes long."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def step(self, what: str, total: int | None) -> Iterator[Callable[..., None]]:
        self._say(what)
        done, last = 0, time.monotonic()

        def advance(count: int = 1) -> None:
            nonlocal done, last
            done += count
            if total and done < total and time.monotonic() - last >= SECONDS_BETWEEN:
                last = time.monotonic()
                self._say(f"{what}, {done} of {total}")

        yield advance

    def _say(self, text: str) -> None:
        print(f"{STEP}{text}", file=self._stream, flush=True)


@contextmanager
def captured(json: bool) -> Iterator[Console]:
    """A console on the real streams, while whatever else is printed goes to a file."""
    if sys.stdout is None or sys.stderr is None:  # whoever started us closed it
        raise RequestError("standard output or standard error is closed: send what is not wanted to /dev/null")
    if os.environ.get("VOLO_EDGE_VERBOSE"):
        yield Console(sys.stdout, sys.stderr, json)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")
    err = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as noise:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        try:
            yield Console(out, err, json)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, original in zip((1, 2), saved, strict=True):
                os.dup2(original, number)
                os.close(original)
            out.close()
            err.close()
