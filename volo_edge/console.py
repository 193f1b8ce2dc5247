"""What a person sees of a command: results on standard output, progress and problems on standard error.

The libraries that convert a model print to both, from Python and from C++; while a command runs, what they print is
kept aside. With VOLO_EDGE_VERBOSE=1 it is shown.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from volo_edge.errors import RequestError

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.progress import Progress


class Console:
    """The two streams as they were before anything was kept aside.

    Args:
        out, err: where results and messages go.
        json: whether results are wanted as JSON.
    """

    def __init__(self, out: TextIO, err: TextIO, json: bool) -> None:
        self.out, self.err, self.json = out, err, json

    def result(self, values: dict[str, Any]) -> None:
        """The command's result for programs."""
        print(json.dumps(values, indent=2, ensure_ascii=False), file=self.out)

    def say(self, text: str = "") -> None:
        """A line of the result for people; nothing where JSON is wanted."""
        if not self.json:
            print(text, file=self.out)

    def note(self, text: str) -> None:
        """A line that is worth knowing and is not the result."""
        print(f"note: {text}", file=self.err, flush=True)

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
            table.add_row(*row)
        self._rich(self.out).print(table)

    @contextmanager
    def progress(self) -> Iterator[Steps]:
        """Shows the steps of a long command, where standard error is a terminal."""
        if not self.err.isatty():
            yield Steps(None, self.err)
            return
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        shown = Progress(
            *columns,
            console=self._rich(self.err),
            transient=True,
            redirect_stdout=False,  # to rich's console, which is the real terminal: not for what libraries print
            redirect_stderr=False,
        )
        with shown as progress:
            yield Steps(progress, self.err)

    @staticmethod
    def _rich(stream: TextIO) -> RichConsole:
        from rich.console import Console as RichConsole

        width = None if stream.isatty() else 160  # a pipe has no width, and a folded table cannot be read by a program
        return RichConsole(file=stream, width=width, highlight=False, markup=False)


class Steps:
    """The steps of a command, one at a time."""

    def __init__(self, progress: Progress | None, err: TextIO | None = None) -> None:
        self._progress, self._err = progress, err

    def note(self, text: str) -> None:
        """A line that is worth knowing while the work goes on."""
        if self._progress is not None:
            self._progress.console.print(f"note: {text}")
        else:
            print(f"note: {text}", file=self._err or sys.stderr, flush=True)

    @contextmanager
    def step(self, what: str, total: int | None = None) -> Iterator[Any]:
        """Around one step; yields a function to call with how many of `total` are done since the last call."""
        if self._progress is None:
            yield lambda count=1: None
            return
        progress, task = self._progress, self._progress.add_task(what, total=total)
        try:
            yield lambda count=1: progress.advance(task, count)
        finally:
            progress.remove_task(task)


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
