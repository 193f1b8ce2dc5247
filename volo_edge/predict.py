"""Classifies photographs with an artifact: its own preprocessing, its file in its runtime, its labels."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from volo_edge.activation import Activation, probabilities
from volo_edge.artifact import Artifact, require_signature
from volo_edge.calibration.images import find_images
from volo_edge.console import Steps
from volo_edge.converters import process
from volo_edge.converters.process import Process
from volo_edge.converters.runner import Array
from volo_edge.errors import RequestError
from volo_edge.preprocess import UnreadableImage, open_rgb, prepare, to_input
from volo_edge.validate.metrics import relative_error

TOP = 5


@dataclass(frozen=True)
class Guess:
    """A class, or an independent label, and its probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a file says of one photograph.

    Args:
        image: where the photograph is.
        classes: the `TOP` most likely classes, or independent labels, the first the likeliest.
        milliseconds: the model's own time, without reading and preparing the photograph.
    """

    image: str
    classes: tuple[Guess, ...]
    milliseconds: float


@dataclass(frozen=True)
class Comparison:
    """Another runtime or processor, and the relative error of its logits, |other - this| / |this| in the 2-norm."""

    runtime: str
    processor: str
    relative_error: float


@dataclass(frozen=True)
class Predictions:
    """What a file says of some photographs.

    Args:
        predictions: one a photograph.
        runtime: what ran the file.
        processor: whose code it ran.
        skipped: names of files in folders that are no images.
        compared: where the evaluator or ARM64 code was asked for, how far this machine's usual runtime is from it;
            None elsewhere, and where that is the same.
        activation: what made the probabilities of the logits.
    """

    predictions: tuple[Prediction, ...]
    runtime: str
    processor: str
    skipped: tuple[str, ...]
    compared: Comparison | None
    activation: Activation


def load(found: Artifact, runtime: str | None = None, processor: str | None = None) -> Process:
    """The artifact's file, ready to run; see `converters.process.load`.

    Raises:
        RequestError: it takes other images, or gives another number of logits, than the manifest says.
    """
    loaded = process.load(found.manifest.target, found.model_path, runtime, processor)
    try:
        require_signature(found, loaded.image, loaded.logits)
    except RequestError:
        loaded.close()
        raise
    return loaded


def predict(
    artifact: Artifact,
    images: Sequence[Path],
    steps: Steps,
    runtime: str | None = None,
    processor: str | None = None,
) -> Predictions:
    """Classify photographs and folders of photographs in the `runtime` and on the `processor`, see `load`.

    Raises:
        RequestError: a photograph that was named cannot be read (one found in a folder is skipped), or nothing is left.
    """
    paths: list[tuple[Path, bool]] = []  # and whether it was named
    skipped: list[str] = []
    for given in images:
        if given.is_dir():
            found = find_images(given, any_folders=True)
            paths += [(found.path(index), False) for index in range(len(found))]
            skipped += [str(given / name) for name in found.skipped]
        else:
            paths.append((given, True))

    with ExitStack() as loaded:
        with steps.step("loading"):
            runner = loaded.enter_context(load(artifact, runtime, processor))
            other = runner if _is_usual(runtime) else loaded.enter_context(load(artifact))
        return _classified(artifact, runner, other, paths, skipped, steps)


def _is_usual(runtime: str | None) -> bool:
    """Whether a runtime is what this machine runs the file in unasked; the evaluator is, where there is no Core ML."""
    return runtime in (None, "native") or (runtime == "evaluator" and platform.system() != "Darwin")


def _classified(
    artifact: Artifact,
    runner: Process,
    other: Process,
    paths: list[tuple[Path, bool]],
    skipped: list[str],
    steps: Steps,
) -> Predictions:
    """See `predict`; `other` is what `runner` is compared with, itself for nothing."""
    with steps.step("warming up"):
        shape = artifact.manifest.preprocessing.shape
        runner.run(np.zeros(shape, np.float32))  # the first run sets up memory and is not to be timed
    predictions, answers, others = [], [], []
    with steps.step("classifying", len(paths)) as advance:
        for path, named in paths:
            try:
                image = to_input(prepare(open_rgb(path), artifact.manifest.preprocessing))
                prediction, logits = _classify(runner, path, image, artifact)
            except UnreadableImage:
                if named:
                    raise
                skipped.append(str(path))
            else:
                predictions.append(prediction)
                answers.append(logits)
                if (other.runtime, other.processor) != (runner.runtime, runner.processor):
                    others.append(other.run(image)[0])
            advance()
    if not predictions:
        raise RequestError(f"none of the {len(skipped)} files can be read as an image, {skipped[0]} for one")
    compared = None
    if others:
        compared = Comparison(other.runtime, other.processor, relative_error(np.stack(others), np.stack(answers)))
    ran = runner.runtime, runner.processor
    return Predictions(tuple(predictions), *ran, tuple(skipped), compared, artifact.manifest.model.activation)


def _classify(runner: Process, path: Path, image: Array, artifact: Artifact) -> tuple[Prediction, Array]:
    logits = runner.run(image)[0]
    milliseconds = 1000 * runner.seconds
    found = probabilities(logits, artifact.manifest.model.activation)
    best = np.argsort(-logits, kind="stable")[:TOP]  # large logits differ where their sigmoids are both 1
    classes = tuple(Guess(artifact.labels[i], float(found[i])) for i in best)
    return Prediction(str(path), classes, milliseconds), logits
