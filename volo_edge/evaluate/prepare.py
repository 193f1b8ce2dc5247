"""What an evaluation needs, and whether it fits together: artifacts, photographs, their truth, the float model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volo_edge import artifact, calibration, checkpoint, device_results, files
from volo_edge.artifact import Artifact
from volo_edge.calibration.images import ImageList, balanced_subset, find_images, list_hash
from volo_edge.checkpoint import LoadedModel
from volo_edge.console import Steps
from volo_edge.convert import divided
from volo_edge.converters.targets import TARGETS
from volo_edge.device_results import DeviceResults
from volo_edge.errors import RequestError
from volo_edge.evaluate import data, truth
from volo_edge.evaluate.data import Classes
from volo_edge.evaluate.facts import Labels
from volo_edge.evaluate.request import THRESHOLD, Request, check
from volo_edge.evaluate.running import emulated
from volo_edge.evaluate.truth import Truth
from volo_edge.reference import file
from volo_edge.reference.file import Record, Reference


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
    processors: tuple[str, ...]


def prepare(wanted: Request, steps: Steps) -> Work:
    """Read the artifacts, list the photographs, and see that all of it fits together."""
    check(wanted)
    with steps.step("reading artifacts", len(wanted.artifacts)) as advance:
        artifacts = []
        for folder in wanted.artifacts:
            artifacts.append(artifact.read(folder))
            TARGETS[artifacts[-1].manifest.target].require()
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
        processors=processors,
    )


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
    require_same(reference.record, one, str(path))
    reference.of(images, path)
    return reference


def require_same(record: Record, one: Artifact, what: str) -> None:
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
