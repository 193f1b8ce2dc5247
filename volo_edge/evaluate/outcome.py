"""What the report says of the float model, of the data and of each artifact, from the answers of all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from volo_edge.artifact import Artifact
from volo_edge.calibration.images import ImageList, balanced_subset, list_hash, selected, stream
from volo_edge.console import Steps
from volo_edge.converters.targets import TARGETS
from volo_edge.decompose import LAYOUTS, decompose
from volo_edge.errors import RequestError
from volo_edge.evaluate import facts, growth, multilabel, plausible, statistics
from volo_edge.evaluate.facts import Facts, Labels
from volo_edge.evaluate.multilabel import LabelFacts
from volo_edge.evaluate.prepare import Work
from volo_edge.evaluate.running import Ran
from volo_edge.evaluate.verdict import passes, verdict
from volo_edge.preprocess import UnreadableImage, open_rgb
from volo_edge.quantize.schemes import SCHEMES
from volo_edge.quantize.transforms import ROBUST
from volo_edge.reference.file import Reference
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
    Unreadable,
)
from volo_edge.validate.answers import Answers
from volo_edge.validate.metrics import Logits, relative_error

GROWTH_IMAGES = 32


def outcome(
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
        found = facts_of(work, here.answers.logits, reference.logits, rows, rows)
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


def facts_of(work: Work, logits: Logits, reference: Logits, rows: Labels, photographs: Labels) -> Facts | LabelFacts:
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
    found, here_found, expected = (facts_of(work, given, floats, every, common) for given in (logits, ours, floats))
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


def data_of(work: Work, read: NDArray[np.bool_]) -> Data:
    """What is said of the photographs; `read` (N,) are those that every model was given."""
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


def float_model(
    work: Work, reference: Reference, logits: Logits, found: Facts | LabelFacts, rows: Labels
) -> FloatModel:
    """What is said of the float model, whose `logits` (N, classes) were made of the photographs `rows`."""
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
