"""The evaluation: each artifact's saved file, in its runtime, on every photograph, against the float model.

What is answered is kept next to where the report will be, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import platform
import shutil
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

from volo_edge import __version__, interrupts, machine, outputs
from volo_edge.calibration.images import balanced_subset, selected
from volo_edge.console import Steps
from volo_edge.errors import RequestError
from volo_edge.evaluate.outcome import data_of, facts_of, float_model, outcome
from volo_edge.evaluate.prepare import Work, require_same
from volo_edge.evaluate.running import runs
from volo_edge.reference import compute
from volo_edge.reference.file import Reference
from volo_edge.report import contents
from volo_edge.report.contents import Report
from volo_edge.report.write import write
from volo_edge.validate.answers import Answers


@dataclass(frozen=True)
class Result:
    """What an evaluation wrote, how many answers an earlier run had left, and how long it took."""

    folder: Path
    report: Report
    resumed: int
    seconds: float


def evaluate(work: Work, steps: Steps) -> Result:
    """Judge every artifact and write the report.

    Raises:
        RequestError: a photograph or the folder to write is bad.
        KeyboardInterrupt: with a sentence on how to go on.
    """
    with outputs.owned(work.wanted.output) as place:
        return _evaluate(work, place.state, steps)


def _evaluate(work: Work, state: Path, steps: Steps) -> Result:
    """`evaluate`; what is done is kept in the folder `state`."""
    start = time.monotonic()
    reference, float_answers, resumed = _float_answers(work, state, steps)
    require_same(reference.record, work.artifacts[0], "the float model's answers")
    if not float_answers.read.any():  # before hours of running files
        raise RequestError(f"none of the images in {work.images.root} can be read, {work.images.files[0]} for one")
    photographs = selected(work.images, np.flatnonzero(float_answers.read).tolist())
    some = balanced_subset(photographs, work.wanted.arm64_limit, seed=0)
    ran = [runs(one, work.images, some, work.wanted.runtime, work.processors, state, steps) for one in work.artifacts]
    read = np.logical_and.reduce([float_answers.read, *(here.answers.read for here, *_ in ran)])
    rows = np.flatnonzero(read)
    float_facts = facts_of(work, float_answers.logits, float_answers.logits, rows, rows)
    known = float_model(work, reference, float_answers.logits, float_facts, rows)
    report = Report(
        format_version=contents.FORMAT_VERSION,
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=work.wanted.command,
        model=work.artifacts[0].manifest.model.name,
        max_drop=work.wanted.max_drop,
        data=data_of(work, read),
        float_model=known,
        artifacts=tuple(
            outcome(work, *pair, float_answers, float_facts, known.doubt is not None, rows, steps)
            for pair in zip(work.artifacts, ran, strict=True)
        ),
        machine=machine.this(),
        versions=_versions(),
        activation=work.artifacts[0].manifest.model.activation,
        threshold=work.threshold,
    )
    with steps.step("writing"):
        write(report, work.images.root, work.wanted.output, work.wanted.force, work.wanted.inputs)
    with interrupts.held_back():  # half of it would be taken for work to go on with
        shutil.rmtree(state, ignore_errors=True)
    resumed += sum(one.resumed for each in ran for one in each)
    return Result(work.wanted.output, report, resumed, time.monotonic() - start)


def _float_answers(work: Work, state: Path, steps: Steps) -> tuple[Reference, Answers, int]:
    """The float reference, its answers for the photographs, and how many an earlier run had left."""
    if work.reference is not None:
        assert work.wanted.reference is not None
        return work.reference, work.reference.of(work.images, work.wanted.reference), 0
    assert work.loaded is not None
    reference, done = compute.of(work.loaded, work.images, work.wanted.reference_device, state, steps)
    return reference, Answers(reference.read, reference.logits), done


def _versions() -> dict[str, str]:
    packages = ("torch", "executorch", "torchao", "coremltools", "numpy", "pillow", "pillow-heif")
    return {"python": platform.python_version(), "volo_edge": __version__, **{name: version(name) for name in packages}}
