"""The measurement: every contender in a process of its own, their turns interleaved, their answers checked first.

A machine's speed drifts by more than runtimes differ, for minutes at a time. So each round gives every contender a
short turn, and two contenders are compared turn by turn: a ratio is the median over the rounds of the ratio of their
turns of that round. Times alone, of which a contender's is the median of its turns' medians, say less.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from volo_edge import __version__, artifact, calibration, checkpoint, files, interrupts, machine, outputs, plain
from volo_edge.artifact import Artifact
from volo_edge.benchmark.request import KIND, PEERS, PLOT, REPORT, Request, check
from volo_edge.benchmark.runners import PRODUCTS, ROOFLINE
from volo_edge.calibration.images import balanced_subset, find_images, stream
from volo_edge.console import Steps
from volo_edge.converters.process import python
from volo_edge.converters.runner import Array
from volo_edge.errors import RequestError
from volo_edge.machine import Machine
from volo_edge.validate.metrics import relative_error, top1_agreement
from volo_edge.validate.reference import float_logits

IMAGES = 8
WARM = 3
ROOFS = ("fp32", "int8")
_VERSIONS = (
    *("torch", "executorch", "torchao", "onnxruntime", "openvino", "nncf"),
    *("ai-edge-litert", "litert-torch", "ai-edge-quantizer", "MNN", "ncnn", "pnnx"),
)


@dataclass(frozen=True)
class Timed:
    """A contender that ran.

    Args:
        name: of the artifact's folder, or of the peer.
        what: the file's scheme, or what the peer runs.
        milliseconds: for one image, the median of the turns.
        turns: milliseconds for one image, the median of each turn, in the order of the rounds.
        ratio: to the first artifact, the median over the rounds; above 1 is slower.
        gops: 10^9 multiplications and additions a second, counted singly.
        relative_error: of its logits against the float model's, in the 2-norm; None where that is not at hand.
        top1_agreement: share, 0..1, of the photographs that both put in the same class; None where that is not at hand,
            or labels are independent.
        memory: bytes that loading and running a file added to the peak of its process; None of a peer.
    """

    name: str
    what: str
    milliseconds: float
    turns: tuple[float, ...]
    ratio: float
    gops: float
    relative_error: float | None
    top1_agreement: float | None
    memory: int | None


@dataclass(frozen=True)
class Ready:
    """A contender that could be made ready: its logits (photographs, classes), and `Timed.memory`."""

    logits: Array
    memory: int | None


@dataclass(frozen=True)
class Roof:
    """Matrix products of `ROOFLINE` a side through XNNPACK: 10^9 operations a second."""

    name: str
    gops: float


@dataclass(frozen=True)
class Benchmark:
    """What `benchmark.json` holds, field for field.

    Args:
        model: its name.
        image_size: (height, width).
        threads: of every contender.
        rounds, runs: turns of each, and runs in a turn.
        timed: artifacts, then peers, as asked for.
        refused: what could not run, and the runtime's own words.
        roofs: the machine's large matrix products.
        machine: this one.
        versions: of the runtimes.
    """

    model: str
    image_size: tuple[int, int]
    threads: int
    rounds: int
    runs: int
    timed: tuple[Timed, ...]
    refused: dict[str, str]
    roofs: tuple[Roof, ...]
    machine: Machine
    versions: dict[str, str]


class _Worker:
    """A contender's process.

    Args:
        asked: see `worker`.
        threads: of its libraries.
        work: an empty folder for all that it writes, its libraries' temporary files too; whoever made it removes it.
    """

    def __init__(self, asked: dict[str, Any], threads: int, work: Path) -> None:
        variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
        variables |= dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115 closed in stop
        self._work = work
        self._process = subprocess.Popen(
            python("volo_edge.benchmark.worker", json.dumps(asked | {"work": str(work)})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            encoding="utf-8",
            env=os.environ | variables,
            start_new_session=True,  # Ctrl-C is for the command, which ends this one
        )

    def hear(self) -> dict[str, Any]:
        """Its next answer."""
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            if "error" in answer:  # nobody has that folder when this is read
                answer["error"] = answer["error"].replace(f"{self._work}{os.sep}", "")
            return answer
        status = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().strip().splitlines()
        return {"error": f"its process ended with {status}" + (f": {lines[-1]}" if lines else "")}

    def turn(self, runs: int) -> float:
        """Median milliseconds of `runs`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{WARM} {runs}\n")
        self._process.stdin.flush()
        answer = self.hear()
        if "error" in answer:
            raise RequestError(f"a runtime died while it was timed: {answer['error']}")
        return float(median(answer["milliseconds"]))

    def stop(self) -> None:
        """End the process, and those that it started."""
        if os.name == "posix":
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()
        self._said.close()


@contextmanager
def _working(asked: dict[str, Any], threads: int, place: Path) -> Iterator[_Worker]:
    """A contender's process, with a folder of its own in `place`."""
    worker = _Worker(asked, threads, Path(tempfile.mkdtemp(dir=place)))
    try:
        yield worker
    finally:
        with interrupts.held_back():
            worker.stop()


@contextmanager
def _scratch() -> Iterator[Path]:
    """A temporary folder for all contenders together, gone at the end however that comes."""
    with interrupts.held_back():  # or a folder could be there that nobody knows of
        place = Path(tempfile.mkdtemp(prefix="volo-edge-benchmark-"))
    try:
        yield place
    finally:
        with interrupts.held_back():
            shutil.rmtree(place, ignore_errors=True)


def benchmark(request: Request, steps: Steps) -> Benchmark:
    """Time every artifact and peer, and write the result and its plot.

    Raises:
        RequestError: an artifact or the folder to write is bad, or an artifact cannot run here.
    """
    check(request)
    artifacts = [artifact.read(folder) for folder in request.artifacts]
    first = artifacts[0].manifest
    if any(one.manifest.model != first.model for one in artifacts):
        raise RequestError("the artifacts are of different models: compare those of one")
    threads = request.threads or machine.this().cores
    images = _images(artifacts[0])
    with _scratch() as place:
        np.save(place / "images.npy", images)
        common = {"threads": threads, "images": str(place / "images.npy"), "weights": request.weights}
        asked: dict[str, dict[str, Any]] = {
            one.folder.resolve().name: {"kind": "artifact", "folder": str(one.folder)} for one in artifacts
        }
        for name in request.against:
            asked[name] = {"kind": "peer", "name": name, "folder": str(artifacts[0].folder)}
        asked = {name: one | common for name, one in asked.items()}
        times, ready, refused = race(asked, request.rounds, request.runs, threads, place, steps)
        roofs = _roofs(threads, request, place, steps)
    if missing := [one.folder for one in artifacts if one.folder.resolve().name in refused]:
        raise RequestError(f"{missing[0]} cannot run here: {refused[missing[0].resolve().name]}")
    with steps.step("float reference"):
        reference = _reference(request, artifacts[0], images)
    what = {one.folder.resolve().name: one.manifest.quantization.scheme for one in artifacts}
    what |= {name: PEERS[name].summary for name in request.against}
    base = next(iter(times.values()))
    result = Benchmark(
        model=first.model.name,
        image_size=first.model.image_size,
        threads=threads,
        rounds=request.rounds,
        runs=request.runs,
        timed=tuple(
            Timed(
                name=name,
                what=what[name],
                milliseconds=median(turns),
                turns=tuple(turns),
                ratio=paired(turns, base),
                gops=2e-6 * first.graph.macs / median(turns),
                relative_error=None if reference is None else relative_error(ready[name].logits, reference),
                top1_agreement=top1_agreement(ready[name].logits, reference)
                if reference is not None and first.model.activation == "softmax"
                else None,
                memory=ready[name].memory,
            )
            for name, turns in times.items()
        ),
        refused=refused,
        roofs=roofs,
        machine=machine.this(),
        versions=_versions(),
    )
    with steps.step("writing"):
        _write(result, request)
    return result


def paired(turns: Sequence[float], others: Sequence[float]) -> float:
    """How many times as long as the `others` of the same rounds: the median of the rounds' ratios."""
    return median(one / other for one, other in zip(turns, others, strict=True))


def _images(one: Artifact) -> Array:
    """Photographs (`IMAGES`, C, H, W), 0..255, prepared for the artifact."""
    some = balanced_subset(find_images(calibration.DEMO_CALIBRATION), IMAGES, seed=0)
    (batch,) = stream(some, one.manifest.preprocessing, IMAGES)
    return batch.inputs


def race(
    asked: dict[str, dict[str, Any]], rounds: int, runs: int, threads: int, place: Path, steps: Steps
) -> tuple[dict[str, list[float]], dict[str, Ready], dict[str, str]]:
    """Milliseconds of each turn and the first answers, by contender; and why some could not run.

    Args:
        asked: what each contender's process is told, see `worker`, by the contender's name.
        rounds, runs: turns of each, and runs in a turn.
        threads: of each.
        place: a folder for what they write.
    """
    times: dict[str, list[float]] = {}
    ready, refused = {}, {}
    with ExitStack() as running:
        workers = {}
        with steps.step("making ready", len(asked)) as advance:
            for name, one in asked.items():  # one after the other: together they would want all memory at once
                worker = running.enter_context(_working(one, threads, place))
                answer = worker.hear()
                if "error" in answer:
                    refused[name] = answer["error"]
                else:
                    workers[name], times[name] = worker, []
                    ready[name] = Ready(np.array(answer["logits"], np.float32), answer["memory"])
                advance()
        with steps.step("timing", rounds * len(workers)) as advance:
            for _ in range(rounds):
                for name, worker in workers.items():
                    times[name].append(worker.turn(runs))
                    advance()
    return times, ready, refused


def _roofs(threads: int, request: Request, place: Path, steps: Steps) -> tuple[Roof, ...]:
    """The machine's large matrix products."""
    found = []
    with steps.step("timing matrix products", len(ROOFS)) as advance:
        for name in ROOFS:
            with _working({"kind": "products", "name": name, "threads": threads}, threads, place) as worker:
                if "error" not in worker.hear():
                    milliseconds = min(worker.turn(request.runs) for _ in range(request.rounds))
                    found.append(Roof(name, 2e-6 * PRODUCTS * ROOFLINE**3 / milliseconds))
            advance()
    return tuple(found)


def _reference(request: Request, one: Artifact, images: Array) -> Array | None:
    """The float model's logits; None where it is not at hand."""
    model = one.manifest.model
    if request.weights is None and model.weights_sha256 != files.sha256(calibration.DEMO_WEIGHTS):
        if request.against:
            raise RequestError(f"peers need the float model of {one.folder}: pass its weights with --weights FILE")
        return None
    loaded = checkpoint.again(request.weights, one.manifest)
    return float_logits(loaded.model, images, loaded.preprocessing)


def _versions() -> dict[str, str]:
    found = {"volo_edge": __version__}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _write(result: Benchmark, request: Request) -> None:
    from volo_edge.benchmark.plot import draw

    with outputs.new_folder(request.output, KIND, request.force, request.inputs) as folder:
        files.write_text(folder.working / REPORT, plain.as_json(asdict(result)) + "\n")
        draw(result, folder.working / PLOT)
