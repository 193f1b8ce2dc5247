"""Runs the artifacts' saved files on the photographs: here, and on the ARM64 processors that are asked for.

What is answered is kept, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volo_edge import files
from volo_edge.artifact import Artifact
from volo_edge.calibration.images import ImageList, list_hash
from volo_edge.console import Steps
from volo_edge.converters.process import Process
from volo_edge.converters.targets import RUNTIMES
from volo_edge.predict import load
from volo_edge.preprocess import Preprocessing
from volo_edge.report.contents import Latency
from volo_edge.request import check_runtime
from volo_edge.validate.answers import Answers, collect

_TOGETHER = 8  # photographs between two writes of what is done; the runtimes take them one by one
_LATENCY_RUNS = 50
_LATENCY_SECONDS = 5.0  # for a file that takes long, fewer runs


def emulated(
    artifacts: list[Artifact], runtime: str | None, processors: tuple[str, ...], steps: Steps
) -> tuple[str, ...]:
    """The ARM64 processors asked for, ready, () for none; RequestError where no artifact has code for them."""
    if runtime != "arm64":
        return ()
    if not any(one.manifest.backend in RUNTIMES["arm64"].backends for one in artifacts):
        check_runtime("arm64", artifacts[0].manifest.backend)
    from volo_edge.converters.executorch import arm64

    return arm64.prepare(processors, steps)


@dataclass(frozen=True, eq=False)
class Ran:
    """A file's answers for some photographs, what ran it, and how many an earlier run had left.

    Args:
        images: the photographs.
        answers: for them.
        runtime, processor, instructions: see `Process` and `Process.finish`.
        latency: None where the processor is emulated.
        resumed: how many answers were there.
    """

    images: ImageList
    answers: Answers
    runtime: str
    processor: str
    instructions: tuple[str, ...]
    latency: Latency | None
    resumed: int


def runs(
    one: Artifact,
    images: ImageList,
    some: ImageList,
    runtime: str | None,
    processors: tuple[str, ...],
    state: Path,
    steps: Steps,
) -> tuple[Ran, ...]:
    """Run an artifact's file: here on every one of the `images`, then on each ARM64 processor on `some`.

    Args:
        one: the artifact.
        images, some: the photographs.
        runtime: what runs it here, where it takes such files; see `evaluate.request.Request`.
        processors: what `emulated` gave; they run XNNPACK's files only.
        state: the folder that keeps what is done.
    """
    backend = one.manifest.backend
    arm64 = processors if backend in RUNTIMES["arm64"].backends else ()
    takes = runtime is not None and runtime != "arm64" and backend in RUNTIMES[runtime].backends
    here = _run(one, images, runtime if takes else None, None, state, steps)
    return here, *(_run(one, some, "arm64", processor, state, steps) for processor in arm64)


def _run(
    one: Artifact, images: ImageList, runtime: str | None, processor: str | None, state: Path, steps: Steps
) -> Ran:
    """Run the artifact's file on the `images`; see `predict.load`. It is let go of before the next one is loaded."""
    name = f"{one.name} on {processor}" if processor else one.name
    with steps.step(f"loading {name}"):
        runner = load(one, runtime, processor)
    with runner:
        answers, resumed = _answers(one, images, runner, name, state, steps)
        latency = None
        if processor is not None and resumed == len(images):  # nothing ran that shows which kernels it has
            runner.run(np.zeros(one.manifest.preprocessing.shape, np.float32))
        if processor is None:
            with steps.step(f"timing {name}"):
                latency = _latency(runner, one.manifest.preprocessing)
        ran = runner.runtime, runner.processor, runner.finish()
        return Ran(images, answers, *ran, latency, resumed)


def _answers(
    one: Artifact, images: ImageList, runner: Process, name: str, state: Path, steps: Steps
) -> tuple[Answers, int]:
    """What the file says of the `images`, and of how many an earlier run had kept the answers."""
    m = one.manifest
    key = files.key(m.files["model"].sha256, list_hash(images), m.preprocessing, runner.runtime, runner.processor)
    done: list[int] = []
    with steps.step(f"running {name}", len(images)) as advance:

        def progress(count: int) -> None:
            done.append(count)
            advance(count)

        answers = collect(
            images,
            m.preprocessing,
            lambda: runner.run,
            _TOGETHER,
            m.model.num_classes,
            state / f"{one.name}-{key}.f32",
            progress,
        )
    return answers, done[0]


def _latency(runner: Process, preprocessing: Preprocessing) -> Latency:
    """Of one photograph of noise, after one run that sets up memory."""
    pixels = np.random.default_rng(0).integers(0, 256, preprocessing.shape).astype(np.float32)
    runner.run(pixels)
    times: list[float] = []
    until = time.monotonic() + _LATENCY_SECONDS
    while len(times) < 3 or (len(times) < _LATENCY_RUNS and time.monotonic() < until):
        runner.run(pixels)
        times.append(1000 * runner.seconds)
    median, p90 = np.percentile(times, [50, 90])
    return Latency(len(times), float(median), float(p90))
