"""Classifies photographs with an artifact: its own preprocessing, its file in its runtime, its labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.images import find_images
from converters.runner import Array, Runner
from converters.targets import TARGETS
from volo_edge.artifact import Artifact
from volo_edge.console import Steps
from volo_edge.errors import RequestError
from volo_edge.preprocess import UnreadableImage, open_rgb, prepare, to_input
from volo_edge.validate.metrics import relative_error, softmax

TOP = 5


@dataclass(frozen=True)
class Guess:
    """A class and its probability, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a file says of one photograph.

    Args:
        image: where the photograph is.
        classes: the `TOP` most likely, the first the likeliest.
        milliseconds: the model's own time, without reading and preparing the photograph.
    """

    image: str
    classes: tuple[Guess, ...]
    milliseconds: float


@dataclass(frozen=True)
class Comparison:
    """Another runtime, and the relative error of its logits, |other - this| / |this| in the 2-norm."""

    runtime: str
    relative_error: float


@dataclass(frozen=True)
class Predictions:
    """What a file says of some photographs.

    Args:
        predictions: one a photograph.
        runtime: what ran the file.
        skipped: names of files in folders that are no images.
        compared: where the evaluator was asked for and the machine has the phone's runtime too, how far that is from
            it; None elsewhere.
    """

    predictions: tuple[Prediction, ...]
    runtime: str
    skipped: tuple[str, ...]
    compared: Comparison | None


def load_runner(artifact: Artifact, runtime: str | None = None) -> Runner:
    """The artifact's file in the `runtime`, a key of `converters.targets.RUNTIMES`; None for what the machine has."""
    runner: Runner = TARGETS[artifact.manifest.target].module("run").load(artifact.model_path, runtime)
    return runner


def predict(artifact: Artifact, images: Sequence[Path], steps: Steps, runtime: str | None = None) -> Predictions:
    """Classify photographs and folders of photographs in the `runtime`, see `load_runner`.

    Raises:
        RequestError: a photograph that was named cannot be read (one found in a folder is skipped), or nothing is left.
    """
    paths: list[tuple[Path, bool]] = []  # and whether it was named
    skipped: list[str] = []
    for given in images:
        if given.is_dir():
            found = find_images(given)
            paths += [(found.path(index), False) for index in range(len(found))]
            skipped += [str(given / name) for name in found.skipped]
        else:
            paths.append((given, True))

    with steps.step("loading"):
        runner = load_runner(artifact, runtime)
        other = load_runner(artifact) if runtime == "evaluator" else runner
        size = artifact.manifest.preprocessing.crop
        runner.run(np.zeros((1, 3, *size), np.float32))  # the first run sets up memory and is not to be timed
    predictions, answers, others = [], [], []
    with steps.step("classifying", len(paths)) as advance:
        for path, named in paths:
            try:
                image = to_input(prepare(open_rgb(path), artifact.manifest.preprocessing))
                prediction, logits = _classify(runner, path, image, artifact.labels)
            except UnreadableImage:
                if named:
                    raise
                skipped.append(str(path))
            else:
                predictions.append(prediction)
                answers.append(logits)
                if other.runtime != runner.runtime:
                    others.append(other.run(image)[0])
            advance()
    if not predictions:
        raise RequestError(f"none of the {len(skipped)} files can be read as an image, {skipped[0]} for one")
    compared = None
    if others:
        compared = Comparison(other.runtime, relative_error(np.stack(others), np.stack(answers)))
    return Predictions(tuple(predictions), runner.runtime, tuple(skipped), compared)


def _classify(runner: Runner, path: Path, image: Array, labels: Sequence[str]) -> tuple[Prediction, Array]:
    start = time.perf_counter()
    logits = runner.run(image)[0]
    milliseconds = 1000 * (time.perf_counter() - start)
    probabilities = softmax(logits)
    best = np.argsort(-probabilities, kind="stable")[:TOP]
    classes = tuple(Guess(labels[i], float(probabilities[i])) for i in best)
    return Prediction(str(path), classes, milliseconds), logits
