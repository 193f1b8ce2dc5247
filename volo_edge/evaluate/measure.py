"""The evaluation: each artifact's saved file, in its runtime, on every photograph, against the float model.

What is answered is kept next to where the report will be, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import math
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

import calibration
from calibration.images import ImageList, balanced_subset, find_images, list_hash, selected, stream
from converters.targets import TARGETS
from volo_edge import __version__, artifact, checkpoint, device_results, files, machine
from volo_edge.artifact import Artifact
from volo_edge.checkpoint import LoadedModel
from volo_edge.console import Steps
from volo_edge.convert import divided
from volo_edge.decompose import LAYOUTS, decompose
from volo_edge.device_results import DeviceResults
from volo_edge.errors import RequestError
from volo_edge.evaluate import data, facts, growth, multilabel, plausible, statistics, truth
from volo_edge.evaluate.data import Classes
from volo_edge.evaluate.facts import Facts, Labels
from volo_edge.evaluate.multilabel import LabelFacts
from volo_edge.evaluate.request import THRESHOLD, Request, check
from volo_edge.evaluate.running import Ran, emulated, runs
from volo_edge.evaluate.truth import Truth
from volo_edge.evaluate.verdict import passes, verdict
from volo_edge.preprocess import UnreadableImage, open_rgb
from volo_edge.quantize.schemes import SCHEMES
from volo_edge.quantize.transforms import ROBUST
from volo_edge.reference import compute, file
from volo_edge.reference.file import Record, Reference
from volo_edge.report import contents
from volo_edge.report.contents import (
    Answer,
    Changed,
    ClassFolder,
    Comparison,
    Data,
    ErrorGrowth,
    FloatModel,
    OnProcessor,
    Outcome,
    Report,
    Unreadable,
)
from volo_edge.report.write import write
from volo_edge.validate.answers import Answers
from volo_edge.validate.metrics import Logits, relative_error

GROWTH_IMAGES = 32


@dataclass(frozen=True)
class Work:
    """An evaluation about to be made.

    Args:
        wanted: what is asked for.
        artifacts: all of one float model, preprocessing and labels.
        images: the photographs to judge on.
        available: how many the folder holds.
        labels: (N,) the class of each photograph among the model's labels; None where none is known, and where labels
            are independent.
        folders: what each class folder stands for, an index among the model's labels; () where none was looked at.
        truth: what independent labels the photographs have; None where nothing says, or classes exclude each other.
        threshold: the probability from which on an independent label is said; None where classes exclude each other.
        problems: what speaks against the data.
        reference: the float model's answers, read from a file; None where they are computed here.
        loaded: the float model; None where its weights are not at hand.
        devices: what apps measured, by the hash of the model file.
        state: the folder that keeps what is done.
        processors: of ARM64, ready to run files on; () where none is asked for.
    """

    wanted: Request
    artifacts: tuple[Artifact, ...]
    images: ImageList
    available: int
    labels: Labels | None
    folders: tuple[int, ...]
    truth: Truth | None
    threshold: float | None
    problems: tuple[str, ...]
    reference: Reference | None
    loaded: LoadedModel | None
    devices: dict[str, list[DeviceResults]]
    state: Path
    processors: tuple[str, ...]


@dataclass(frozen=True)
class Result:
    """What an evaluation wrote, how many answers an earlier run had left, and how long it took."""

    folder: Path
    report: Report
    resumed: int
    seconds: float


def prepare(wanted: Request, steps: Steps) -> Work:
    """Read the artifacts, list the photographs, and see that all of it fits together."""
    check(wanted)
    with steps.step("reading artifacts", len(wanted.artifacts)) as advance:
        artifacts = []
        for folder in wanted.artifacts:
            artifacts.append(artifact.read(folder))
            advance()
    first = artifacts[0]
    _require_one_model(artifacts)
    processors = emulated(artifacts, wanted.runtime, wanted.processors, steps)
    everything = find_images(wanted.data)
    images = everything if wanted.limit is None else balanced_subset(everything, wanted.limit, seed=0)
    threshold = _threshold(wanted, first)
    labels, folders, known, problems = _truth(wanted, images, everything, first.labels, threshold)
    with steps.step("looking at the photographs"):
        problems += data.altered(images)
    with steps.step("looking for calibration photographs", None):
        problems += _shared(wanted, artifacts, images)
    reference = _reference(wanted, first, images) if wanted.reference is not None else None
    with steps.step("reading weights"):
        loaded = _weights(wanted, first, needed=reference is None)
    return Work(
        wanted=wanted,
        artifacts=tuple(artifacts),
        images=images,
        available=len(everything),
        labels=labels,
        folders=folders,
        truth=known,
        threshold=threshold,
        problems=tuple(problems),
        reference=reference,
        loaded=loaded,
        devices=_devices(wanted, artifacts),
        state=files.state_folder(wanted.output),
        processors=processors,
    )


def evaluate(work: Work, steps: Steps) -> Result:
    """Judge every artifact and write the report.

    Raises:
        RequestError: a photograph or the folder to write is bad.
        KeyboardInterrupt: with a sentence on how to go on.
    """
    start = time.monotonic()
    reference, float_answers, resumed = _float_answers(work, steps)
    _require_same(reference.record, work.artifacts[0], "the float model's answers")
    if not float_answers.read.any():  # before hours of running files
        raise RequestError(f"none of the images in {work.images.root} can be read, {work.images.files[0]} for one")
    photographs = selected(work.images, np.flatnonzero(float_answers.read).tolist())
    some = balanced_subset(photographs, work.wanted.arm64_limit, seed=0)
    ran = [
        runs(one, work.images, some, work.wanted.runtime, work.processors, work.state, steps) for one in work.artifacts
    ]
    read = np.logical_and.reduce([float_answers.read, *(here.answers.read for here, *_ in ran)])
    rows = np.flatnonzero(read)
    float_facts = _facts(work, float_answers.logits, float_answers.logits, rows, rows)
    float_model = _float_model(work, reference, float_answers.logits, float_facts, rows)
    report = Report(
        format_version=contents.FORMAT_VERSION,
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        command=work.wanted.command,
        model=work.artifacts[0].manifest.model.name,
        max_drop=work.wanted.max_drop,
        data=_data(work, read),
        float_model=float_model,
        artifacts=tuple(
            _outcome(work, *pair, float_answers, float_facts, float_model.doubt is not None, rows, steps)
            for pair in zip(work.artifacts, ran, strict=True)
        ),
        machine=machine.this(),
        versions=_versions(),
        activation=work.artifacts[0].manifest.model.activation,
        threshold=work.threshold,
    )
    with steps.step("writing"):
        write(report, work.images.root, work.wanted.output, work.wanted.force)
    shutil.rmtree(work.state, ignore_errors=True)
    resumed += sum(one.resumed for each in ran for one in each)
    return Result(work.wanted.output, report, resumed, time.monotonic() - start)


def _require_one_model(artifacts: list[Artifact]) -> None:
    """RequestError where two artifacts are of different float models, which one report cannot hold against each."""
    first = artifacts[0]
    parts: tuple[tuple[str, Callable[[Artifact], object]], ...] = (
        ("weights", lambda a: a.manifest.model.weights_sha256),
        ("image size", lambda a: a.manifest.model.image_size),
        ("architecture", lambda a: a.manifest.model.architecture),
        ("entry", lambda a: (a.manifest.model.entry, a.manifest.model.prefix)),
        ("preprocessing", lambda a: a.manifest.preprocessing),
        ("labels", lambda a: a.labels),
        ("activation", lambda a: a.manifest.model.activation),
    )
    for one in artifacts[1:]:
        for what, of in parts:
            if of(one) != of(first):
                raise RequestError(
                    f"{one.folder} and {first.folder} differ in their {what}: evaluate artifacts of one model together"
                )


def _require_classes(wanted: Request, classes: Classes) -> None:
    """RequestError where what is asked for cannot be told without the photographs' classes."""
    for option, value in (("--max-drop", wanted.max_drop), ("--expected-top1", wanted.expected_top1)):
        if value is not None and classes.numbers is None:
            raise RequestError(
                f"{option} needs classes, and '{wanted.data}' has no class folders: put the photographs of each class "
                "into a folder named after it, or say which class each is of with --class-map FILE"
            )


def _threshold(wanted: Request, one: Artifact) -> float | None:
    """The probability from which on an independent label is said; None where classes exclude each other."""
    if one.manifest.model.activation == "sigmoid":
        return THRESHOLD if wanted.threshold is None else wanted.threshold
    if wanted.threshold is not None:
        raise RequestError(
            f"--threshold is for independent labels, and the classes of {one.folder} exclude each other: leave it out"
        )
    return None


def _truth(
    wanted: Request, images: ImageList, everything: ImageList, labels: tuple[str, ...], threshold: float | None
) -> tuple[Labels | None, tuple[int, ...], Truth | None, list[str]]:
    """The photographs' classes and what their folders stand for, or their labels; and what speaks against them."""
    if threshold is None:
        classes = data.classes_of(images, labels, wanted.class_map, gate=wanted.max_drop is not None)
        _require_classes(wanted, classes)
        numbers = None if classes.numbers is None else np.array(classes.numbers)
        return numbers, classes.folders, None, data.problems(images, classes, labels)
    if wanted.expected_top1 is not None:
        raise RequestError("--expected-top1 is of classes that exclude each other, and the model's labels do not")
    known = truth.of(images, everything, labels, wanted.class_map)
    said = f"a label is said where its probability is at least {threshold:g} (--threshold)"
    if known is not None:
        return None, (), known, [*known.problems, said]
    nothing = "nothing says which labels the photographs have"
    if wanted.max_drop is not None:
        raise RequestError(f"{nothing}, which --max-drop needs: say it with --class-map, or with class folders")
    return None, (), None, [f"{nothing}: no accuracy is known, only how far the answers are apart", said]


def _shared(wanted: Request, artifacts: list[Artifact], images: ImageList) -> list[str]:
    """What of the data the artifacts were calibrated on, as far as their calibration photographs are at hand."""
    found = []
    fitted = {one.manifest.quantization.calibration: one for one in artifacts}
    seen: set[Path] = set()
    for calibrated, one in fitted.items():
        if calibrated is None:
            continue
        folder = wanted.calibration or calibration.DEMO_CALIBRATION
        photographs = find_images(folder)
        if list_hash(divided(photographs, calibrated.images)[1]) != calibrated.list_sha256:
            why = (
                "is not what it was calibrated on"
                if wanted.calibration
                else "is not at hand, name it with --calibration"
            )
            where = f"'{folder}'" if wanted.calibration else "its calibration folder"
            found.append(f"{one.name}: {where} {why}: whether the data shares photographs with it is not known")
        elif folder not in seen:
            seen.add(folder)
            if names := data.shared(images, photographs):
                found.append(
                    f"{len(names)} photograph(s) are also in the calibration folder, {names[0]!r} for one: accuracy on "
                    "what a scheme was fitted to says too much"
                )
    return found


def _reference(wanted: Request, one: Artifact, images: ImageList) -> Reference:
    """The float reference asked for; RequestError where it is of another model, preprocessing or other photographs."""
    path = wanted.reference
    assert path is not None
    reference = file.read(path)
    _require_same(reference.record, one, str(path))
    reference.of(images, path)
    return reference


def _require_same(record: Record, one: Artifact, what: str) -> None:
    """RequestError where a float reference is of another model or preprocessing than an artifact."""
    model = one.manifest.model
    remedy = "compute it again with 'volo-edge reference'"
    if record.weights_sha256 != model.weights_sha256:
        raise RequestError(
            f"{what}: of other weights ({record.weights_sha256[:16]}) than {one.folder} "
            f"({model.weights_sha256[:16]}): {remedy}"
        )
    made = (model.weights_sha256, model.entry, model.prefix, model.architecture, one.manifest.preprocessing)
    if record.identity != made:
        raise RequestError(
            f"{what}: of another preprocessing, image size, entry or architecture than {one.folder}: {remedy}"
        )


def _weights(wanted: Request, one: Artifact, needed: bool) -> LoadedModel | None:
    """The float model that the artifacts were made from; None where it is not at hand and not `needed`."""
    model = one.manifest.model
    if wanted.weights is None and model.weights_sha256 != files.sha256(calibration.DEMO_WEIGHTS):
        if needed:
            raise RequestError(
                f"the float model that {one.folder} was made from is not at hand: pass its weights ({model.weights}) "
                "with --weights FILE, or its answers with --reference FILE"
            )
        return None
    return checkpoint.again(wanted.weights, one.manifest)


def _devices(wanted: Request, artifacts: list[Artifact]) -> dict[str, list[DeviceResults]]:
    found: dict[str, list[DeviceResults]] = {one.manifest.files["model"].sha256: [] for one in artifacts}
    for path in wanted.device_results:
        result = device_results.FORMAT.read(path)
        if result.artifact.model_sha256 not in found:
            raise RequestError(
                f"{path} is of another file ({result.artifact.model}, {result.artifact.target}, "
                f"{result.artifact.scheme}, sha256 {result.artifact.model_sha256[:16]}) than any of the artifacts: "
                "evaluate that one too, or leave it out"
            )
        found[result.artifact.model_sha256].append(result)
    return found


def _float_answers(work: Work, steps: Steps) -> tuple[Reference, Answers, int]:
    """The float reference, its answers for the photographs, and how many an earlier run had left."""
    if work.reference is not None:
        assert work.wanted.reference is not None
        return work.reference, work.reference.of(work.images, work.wanted.reference), 0
    assert work.loaded is not None
    reference, done = compute.of(work.loaded, work.images, work.wanted.reference_device, work.state, steps)
    return reference, Answers(reference.read, reference.logits), done


def _outcome(
    work: Work,
    one: Artifact,
    ran: tuple[Ran, ...],
    reference: Answers,
    float_facts: Facts | LabelFacts,
    doubted: bool,
    rows: Labels,
    steps: Steps,
) -> Outcome:
    """All that is said of one artifact.

    Args:
        doubted: whether the float model's own answers cannot be right.
        rows: the photographs that every model was given.
    """
    here, *others = ran
    assert here.latency is not None
    m, model = one.manifest, one.manifest.files["model"]
    with steps.step(f"comparing {one.name}"):
        found = _facts(work, here.answers.logits, reference.logits, rows, rows)
        of_classes, of_labels = OfClasses(), None
        if isinstance(found, LabelFacts) and isinstance(float_facts, LabelFacts):
            has = None if work.truth is None else work.truth.has[rows]
            names = tuple(work.images.files[row] for row in rows.tolist())
            both = here.answers.logits, reference.logits
            of_labels = multilabel.judged(found, float_facts, *both, rows, has, one.labels, names)
        elif isinstance(found, Facts) and isinstance(float_facts, Facts):
            of_classes = _of_classes(work, one.labels, found, float_facts, rows)
    judged = of_classes.top1 if of_labels is None else of_labels.accuracy
    grown, note = _growth(work, one, rows, steps)
    processors = tuple(_on_processor(work, other, here, reference, rows) for other in others)
    passed, gate = None, work.wanted.max_drop
    if gate is not None and judged is not None:
        passed = not doubted and passes(judged, processors, len(rows), gate)
    agreement = _agreement(found, float_facts)
    divergence = float(found.divergence.mean())
    return Outcome(
        name=one.name,
        target=m.target,
        backend=m.backend,
        scheme=m.quantization.scheme,
        runtime=here.runtime,
        processor=here.processor,
        model_sha256=model.sha256,
        bytes=model.bytes,
        delegate_calls=m.graph.delegate_calls,
        undelegated=None if m.graph.delegate_calls is None else sum(op.count for op in m.graph.undelegated_ops),
        verdict=verdict(judged, agreement, processors, len(rows), gate, m.model.activation, doubted),
        passed=passed,
        top1=of_classes.top1,
        top5=of_classes.top5,
        agreement=agreement,
        kl_divergence=divergence if math.isfinite(divergence) else None,
        snr_db=found.snr_db if math.isfinite(found.snr_db) else None,
        not_finite=int(found.not_finite.sum()),
        calibration_error=_calibration_error(work, found),
        by_class=of_classes.by_class,
        changed=of_classes.changed,
        growth=grown,
        growth_note=note,
        latency=here.latency,
        devices=tuple(work.devices[model.sha256]),
        processors=processors,
        labels=of_labels,
    )


@dataclass(frozen=True)
class OfClasses:
    """What the report says of classes that exclude each other; see `Outcome`."""

    top1: Comparison | None = None
    top5: Comparison | None = None
    by_class: tuple[contents.ClassDrop, ...] = ()
    changed: tuple[Changed, ...] = ()


def _of_classes(work: Work, names: tuple[str, ...], found: Facts, float_facts: Facts, rows: Labels) -> OfClasses:
    labels = None if work.labels is None else work.labels[rows]
    changed = _changed(work.images, names, found, float_facts, rows, labels)
    if labels is None:
        return OfClasses(changed=changed)
    return OfClasses(
        top1=facts.compare(found.top1, float_facts.top1),
        top5=facts.compare(found.top5, float_facts.top5),
        by_class=facts.by_class(found, float_facts, labels, names),
        changed=changed,
    )


def _facts(work: Work, logits: Logits, reference: Logits, rows: Labels, photographs: Labels) -> Facts | LabelFacts:
    """The facts of `rows` (N,) of both arrays, which are of the `photographs` (N,), places among the work's."""
    if work.threshold is None:
        return facts.gather(logits, reference, rows, None if work.labels is None else work.labels[photographs])
    has = None if work.truth is None else work.truth.has[photographs]
    return multilabel.gather(logits, reference, rows, has, work.threshold)


def _agreement(one: Facts | LabelFacts, other: Facts | LabelFacts) -> float:
    """Points of photographs of which both say the same class, or the same labels."""
    same = (one.said == other.said).reshape(len(one.said), -1).all(1) & (one.not_finite == other.not_finite)
    return 100 * float(same.mean())


def _judged(work: Work, found: Facts | LabelFacts, float_facts: Facts | LabelFacts) -> Comparison | None:
    """What the gate looks at; None where no truth is known."""
    ours, theirs = (_right(work, one) for one in (found, float_facts))
    return None if ours is None or theirs is None else facts.compare(ours, theirs)


def _right(work: Work, found: Facts | LabelFacts) -> facts.Right | None:
    """(N,) which photographs are right, or how much of each; None where no truth is known."""
    if isinstance(found, LabelFacts):
        return found.accuracy
    return None if work.labels is None else found.top1


def _calibration_error(work: Work, found: Facts | LabelFacts) -> float | None:
    """Points; None where no truth is known."""
    if isinstance(found, LabelFacts):
        return found.calibration_error
    return None if work.labels is None else statistics.calibration_error(found.confidence, found.top1)


def _on_processor(work: Work, there: Ran, here: Ran, reference: Answers, rows: Labels) -> OnProcessor:
    """What a processor's own rounding does to the answers, on the photographs that it was given."""
    place = {work.images.files[row]: row for row in rows.tolist()}
    pairs = [(number, place[name]) for number, name in enumerate(there.images.files) if name in place]
    own, common = np.array(pairs).T
    logits = np.asarray(there.answers.logits[own])
    ours, floats = (np.asarray(of.logits[common]) for of in (here.answers, reference))
    every = np.arange(len(common))
    found, here_found, expected = (_facts(work, given, floats, every, common) for given in (logits, ours, floats))
    judged = _judged(work, found, expected)
    error = relative_error(logits, ours)
    return OnProcessor(
        processor=there.processor,
        runtime=there.runtime,
        instructions=there.instructions,
        photographs=len(common),
        top1=None if isinstance(found, LabelFacts) else judged,
        agreement=_agreement(found, expected),
        here_agreement=_agreement(found, here_found),
        here_error=error if math.isfinite(error) else None,
        not_finite=int(found.not_finite.sum()),
        label_accuracy=judged if isinstance(found, LabelFacts) else None,
    )


def _growth(work: Work, one: Artifact, rows: Labels, steps: Steps) -> tuple[ErrorGrowth | None, str]:
    """Where its error comes from; or None, and why."""
    if work.loaded is None:
        return None, "the float model's weights are not at hand: name them with --weights"
    m = one.manifest
    also = ROBUST if SCHEMES[m.quantization.scheme].quantizes else ()
    some = balanced_subset(selected(work.images, rows.tolist()), GROWTH_IMAGES, seed=0)
    with steps.step(f"error by block of {one.name}", len(some)) as advance:
        edge = decompose(work.loaded.model.cpu(), m.preprocessing, LAYOUTS[m.backend], also)
        stored = TARGETS[m.target].module("program").read_weights(one.model_path)
        batches = (torch.from_numpy(batch.inputs) for batch in stream(some, m.preprocessing, 4))
        try:
            return growth.measure(edge, stored, batches, advance), ""
        except RequestError as error:
            return None, str(error)


def _changed(
    images: ImageList, names: tuple[str, ...], found: Facts, float_facts: Facts, rows: Labels, labels: Labels | None
) -> tuple[Changed, ...]:
    """The photographs whose class changed: for the worse, other, for the better; the surest float answers first."""

    def answer(of: Facts, index: int) -> Answer:
        said = int(of.said[index])
        return Answer(names[said], float(of.confidence[index])) if said >= 0 else Answer(None, None)

    changes = []
    for index in np.flatnonzero(found.said != float_facts.said).tolist():
        truth = None if labels is None else names[labels[index]]
        effect: Literal["better", "worse", "other"] = "other"
        if found.top1[index] or float_facts.top1[index]:
            effect = "better" if found.top1[index] else "worse"
        both = answer(float_facts, index), answer(found, index)
        changes.append(Changed(images.files[rows[index]], truth, *both, effect))
    order = ("worse", "other", "better")
    return tuple(
        sorted(changes, key=lambda c: (order.index(c.effect), -(c.float_model.probability or 0), c.photograph))
    )


def _data(work: Work, read: NDArray[np.bool_]) -> Data:
    unreadable = []
    for index in np.flatnonzero(~read).tolist():
        try:
            open_rgb(work.images.path(index))
            reason = "could not be read by whoever computed the float reference"
        except UnreadableImage as error:
            reason = error.reason
        unreadable.append(Unreadable(work.images.files[index], reason))
    return Data(
        folder=str(work.wanted.data),
        photographs=int(read.sum()),
        available=work.available,
        list_sha256=list_hash(work.images),
        classes=_class_folders(work, read),
        unreadable=tuple(unreadable),
        skipped=work.images.skipped,
        problems=work.problems,
    )


def _class_folders(work: Work, read: NDArray[np.bool_]) -> tuple[ClassFolder, ...]:
    """The class folders and how many photographs were judged of each, or the classes where those were not looked at."""
    names = work.artifacts[0].labels
    meant = tuple(names[label] for label in work.folders) if work.truth is None else work.truth.folders
    if meant:
        counts = np.bincount(np.array(work.images.labels)[read], minlength=len(meant))
        folders = zip(work.images.classes, meant, counts, strict=True)
        return tuple(ClassFolder(folder, label, int(count)) for folder, label, count in folders)
    if work.labels is None:
        return ()
    counts = np.bincount(work.labels[read], minlength=len(names))
    return tuple(ClassFolder(None, names[label], int(counts[label])) for label in np.flatnonzero(counts))


def _float_model(
    work: Work, reference: Reference, logits: Logits, found: Facts | LabelFacts, rows: Labels
) -> FloatModel:
    path = None if work.wanted.reference is None else str(work.wanted.reference)
    made = FloatModel(reference.record, path, None, None, _calibration_error(work, found))
    names = work.artifacts[0].labels
    if isinstance(found, LabelFacts):
        if found.accuracy is None or work.truth is None:
            return made
        has = work.truth.has[rows]
        return replace(
            made,
            label_accuracy=100 * float(found.accuracy.mean()),
            mean_average_precision=multilabel.mean_average_precision(multilabel.every_label(found, logits, rows, has)),
            doubt=multilabel.doubt(logits, rows, has, names),
        )
    if work.labels is None:
        return made
    labels = work.labels[rows]
    known = plausible.known(work.artifacts[0].manifest.model, names, labels, work.wanted.expected_top1)
    return replace(
        made,
        top1=100 * float(found.top1.mean()),
        top5=100 * float(found.top5.mean()),
        known_top1=None if known is None else known.top1,
        known_from=None if known is None else known.source,
        doubt=plausible.doubt(found, labels, len(names), known),
    )


def _versions() -> dict[str, str]:
    packages = ("torch", "executorch", "torchao", "coremltools", "numpy", "pillow")
    return {"python": platform.python_version(), "volo_edge": __version__, **{name: version(name) for name in packages}}
