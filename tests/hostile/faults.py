"""Every verb that writes, on a disk that fills up or breaks and in a process that is killed, at any of its calls.

Each fault is one run of the command in a folder of its own. It must end with exit status 0 and the right output, or
with status 2 and one line (or be killed, where the fault is that). What was there before is there still, whole; what is
there besides is the hidden folder beside the output at most. The same command, run again without a fault, then writes
what it would have written without one. `campaign.py` runs many, tests/test_campaign.py a few.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.command import COMMAND, contents
from volo_edge import calibration
from volo_edge.reference import file as reference_file

SOURCE = Path(__file__).with_name("faults.c")
KINDS = ("EIO", "ENOSPC", "short", "signal 2", "signal 15", "signal 9")
SECONDS = 300  # that a command may take on a machine with other work


@dataclass(frozen=True)
class Verb:
    """A command that writes.

    Args:
        name: for people.
        arguments: of the command, in a folder that holds `artifact`; it writes to `out`.
        result: what of the output is the same in every run, given its path.
        seconds: how long it takes, about.
    """

    name: str
    arguments: tuple[str, ...]
    result: Callable[[Path], Any]
    seconds: float


def _files(output: Path) -> Any:
    return contents(output)


def _json(name: str, *ignored: str) -> Callable[[Path], Any]:
    """A JSON object of the output without what differs from run to run, wherever in it that is."""

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(inner) for key, inner in value.items() if key not in ignored}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    return lambda output: without(json.loads((output / name).read_bytes()))


def _reference(output: Path) -> Any:
    found = reference_file.read(output)
    return found.files, found.labels.tolist(), found.read.tolist(), np.asarray(found.logits).tobytes()


_DATA = ("--data", str(calibration.DEMO_VALIDATION), "--limit", "20")
VERBS = (
    Verb("app", ("app", "android", "artifact", "--output", "out"), _files, 1),
    Verb("reference", ("reference", *_DATA, "--device", "cpu", "--output", "out.npz"), _reference, 5),
    Verb(
        "evaluate",
        ("evaluate", "artifact", *_DATA, "--output", "out"),
        _json("report.json", "made_at", "latency", "machine", "command"),
        10,
    ),
    Verb("convert", ("convert", "--target", "executorch", "--output", "out"), _files, 20),
    Verb("convert coreml", ("convert", "--target", "coreml", "--output", "out"), _files, 30),
    Verb(
        "sensitivity",
        ("sensitivity", "--target", "executorch", "--limit", "4", "--calibration-size", "4", "--output", "out"),
        _json("sensitivity.json"),
        30,
    ),
)


@dataclass(frozen=True)
class Ended:
    """One run: its exit status (negative: the signal), what it said, and the calls that it made."""

    status: int
    said: str
    calls: str


def build(folder: Path) -> Path:
    """The library that makes calls fail; RuntimeError where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        raise RuntimeError("needs Linux and a C compiler")
    library = folder / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


def run(library: Path, place: Path, arguments: tuple[str, ...], at: int = 0, kind: str = "") -> Ended:
    """Run a command in `place`, whose `at`-th call that writes there fails."""
    with tempfile.TemporaryDirectory() as elsewhere:
        log = Path(elsewhere) / "calls"
        environment = os.environ | {
            "LD_PRELOAD": str(library),
            "FAULT_UNDER": str(place),
            "FAULT_LOG": str(log),
            "FAULT_AT": str(at),
            "FAULT_KIND": kind,
            "TMPDIR": elsewhere,
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [COMMAND, *arguments], cwd=place, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
        return Ended(done.returncode, done.stderr, log.read_text() if log.exists() else "")


@contextmanager
def prepared(artifact: Path, verb: Verb) -> Iterator[Path]:
    """A folder with the artifact in it and a file of a person's."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        if "artifact" in verb.arguments:
            shutil.copytree(artifact, place / "artifact")
        (place / "mine.txt").write_text("years of work")
        yield place


def judge(verb: Verb, place: Path, before: dict[str, bytes | None], ended: Ended, kind: str, right: Any) -> str | None:
    """What is wrong with how a run with a fault ended; None where nothing is."""
    signal = int(kind.split()[1]) if kind.startswith("signal") else 0
    lines = [line for line in ended.said.splitlines() if line.startswith("volo-edge: ")]
    output = place / verb.arguments[-1]
    if "Traceback" in ended.said:
        return f"a traceback: {ended.said.splitlines()[-1]}"
    if ended.status == -signal and signal == 9:
        pass
    elif ended.status == 0:
        if not output.exists() or verb.result(output) != right:
            return "exit status 0 and another output than without the fault"
    elif ended.status != 2 or len(lines) != 1:
        return f"exit status {ended.status} and {len(lines)} lines: {ended.said[-300:]}"
    after = contents(place)
    hidden = f".{output.name}.volo-edge"
    own = {name for name in after if name.partition("/")[0] in (hidden, output.name)}
    if {name: value for name, value in after.items() if name not in own} != before:
        return f"other files changed: {sorted(after.keys() ^ before.keys())[:5]}"
    if ended.status == 2 and output.exists() and verb.name != "app" and verb.result(output) != right:
        return "exit status 2 and an output that is not whole"
    if signal != 9 and any(name.startswith((f"{hidden}/new", f"{hidden}/old")) for name in own):
        return "half-written output was left"
    return None


def one(verb: Verb, artifact: Path, library: Path, right: Any, at: int, kind: str) -> str | None:
    """What is wrong with a fault at a call, or with the run after it; None where nothing is."""
    with prepared(artifact, verb) as place:
        before = contents(place)
        ended = run(library, place, verb.arguments, at, kind)
        if wrong := judge(verb, place, before, ended, kind, right):
            return wrong
        output = place / verb.arguments[-1]
        if ended.status == 0 and verb.name != "app":
            return None
        again = run(library, place, (*verb.arguments, "--force") if output.exists() else verb.arguments)
        if again.status != 0 or verb.result(output) != right:
            return f"the run after it: exit status {again.status}, {again.said[-300:]}"
        if {name.partition("/")[0] for name in contents(place)} - {*before, "out", verb.arguments[-1]}:
            return "the run after it left something"
    return None


def without_fault(verb: Verb, artifact: Path, library: Path) -> tuple[Any, str]:
    """The output of a run without a fault, and the calls that it made."""
    with prepared(artifact, verb) as place:
        ended = run(library, place, verb.arguments)
        if ended.status != 0:
            raise RuntimeError(f"{verb.name} fails without a fault: {ended.said}")
        return verb.result(place / verb.arguments[-1]), ended.calls


def campaign(
    artifact: Path, verbs: tuple[Verb, ...], faults: int, seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run `faults` of them, spread over the verbs, the kinds and the calls: counts by verb, and what was wrong."""
    chance = random.Random(seed)
    found: dict[str, Any] = {"verbs": {}, "wrong": []}
    with tempfile.TemporaryDirectory() as name:
        library = build(Path(name))
        whole = sum(verb.seconds**-0.5 for verb in verbs)
        for verb in verbs:
            each = max(1, round(faults * verb.seconds**-0.5 / whole))  # more of those that take less
            right, calls = without_fault(verb, artifact, library)
            wrong = 0
            for number in range(each):
                kind, at = KINDS[number % len(KINDS)], chance.randint(1, len(calls))
                if bad := one(verb, artifact, library, right, at, kind):
                    wrong += 1
                    found["wrong"].append(f"{verb.name}: {kind} at call {at} of {len(calls)} ({calls[at - 1]}): {bad}")
                    say(found["wrong"][-1])
            found["verbs"][verb.name] = {"calls": len(calls), "faults": each, "wrong": wrong}
            say(f"{verb.name}: {found['verbs'][verb.name]}")
    return found
