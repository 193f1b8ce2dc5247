"""The measurement: each layer quantized alone, and each left out alone, against the float edge model.

All numbers are of the torch graph that would be lowered, not of a file. They are written down as they come, next to
where the result will be, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from volo_edge import __version__, calibration, checkpoint, files, interrupts, outputs, plain
from volo_edge.calibration.doubts import doubts
from volo_edge.calibration.images import ImageList, balanced_subset, find_images, list_hash, stream
from volo_edge.checkpoint import LoadedModel
from volo_edge.console import Steps
from volo_edge.converters.targets import Choice
from volo_edge.decompose import LAYOUTS, EdgeVOLO, decompose
from volo_edge.errors import RequestError
from volo_edge.machine import images_together
from volo_edge.preprocess import Preprocessing
from volo_edge.quantize.layers import STEM, precisions, quantizable
from volo_edge.quantize.static import SYMMETRIC
from volo_edge.quantize.statistics import gather
from volo_edge.quantize.transforms import ROBUST
from volo_edge.sensitivity.kept import Kept, Layer, Measured
from volo_edge.sensitivity.request import KIND, PLOT, REPORT, Request, check
from volo_edge.sensitivity.rounding import Switched, find_ranges, switch_all, switched
from volo_edge.trained import Assumed
from volo_edge.validate import metrics
from volo_edge.validate.metrics import Logits

MEASURED_ON = "the torch graph that would be lowered, in single precision; not a file"
_KEPT_BYTES = 2**30  # of features between two blocks, of all photographs, float and quantized


Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Sensitivity:
    """The report, field for field.

    Args:
        request: all that determines the numbers: weights, scheme, photographs, versions.
        measured_on: what was measured, in words.
        photographs: how many.
        float_top1: points (0..100) of top-1 accuracy of the float model; None where no class of theirs is known.
        quantized: with all layers quantized.
        layers: those that the scheme quantizes, in the network's order.
    """

    request: dict[str, Any]
    measured_on: str
    photographs: int
    float_top1: float | None
    quantized: Measured
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Work:
    """A measurement about to be made.

    Args:
        wanted, choice, loaded, preprocessing: what is asked for, and of which model.
        data, fit: photographs to measure on, and to calibrate on.
        output: the folder to write.
        key: `Sensitivity.request`.
    """

    wanted: Request
    choice: Choice
    loaded: LoadedModel
    preprocessing: Preprocessing
    data: ImageList
    fit: ImageList
    output: Path
    key: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What a measurement wrote.

    Args:
        folder: where.
        sensitivity: the report.
        skipped: names of files among the photographs that are no images.
        notes: what was taken of the checkpoint and what was left, a sentence each.
        assumed: what its tensors do not say.
        doubts: what speaks against the calibration photographs, a sentence each.
        resumed: how many layers had been measured by an earlier run.
        seconds: how long this run took.
    """

    folder: Path
    sensitivity: Sensitivity
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    assumed: tuple[Assumed, ...]
    doubts: tuple[str, ...]
    resumed: int
    seconds: float


def prepare(wanted: Request, steps: Steps) -> Work:
    """Read the weights and list the photographs."""
    choice = check(wanted)
    fit = find_images(wanted.calibration or calibration.DEMO_CALIBRATION)
    data = find_images(wanted.data or calibration.DEMO_VALIDATION)
    with steps.step("reading weights"):
        loaded = checkpoint.load(wanted.model)
    fit = balanced_subset(fit, wanted.calibration_size, seed=0)
    data = balanced_subset(data, wanted.limit, seed=0)
    key = {
        "model": loaded.variant.name,
        "weights_sha256": loaded.weights_sha256,
        "entry": f"{loaded.entry}:{loaded.prefix}",
        "architecture": json.loads(json.dumps(asdict(loaded.model.architecture))),
        "preprocessing": json.loads(json.dumps(asdict(loaded.preprocessing))),
        "target": choice.target.name,
        "backend": choice.backend,
        "scheme": json.loads(json.dumps(asdict(choice.scheme))),
        "data": list_hash(data),
        "classes": list(data.classes),
        "calibration": list_hash(fit) if choice.scheme.calibrates else None,
        "versions": {"volo_edge": __version__, **{name: version(name) for name in ("torch", "torchao")}},
    }
    output = wanted.output or Path(f"{choice.name(loaded.variant.name)}-sensitivity")
    outputs.check(output, KIND, wanted.force, wanted.inputs)
    return Work(
        wanted=wanted,
        choice=choice,
        loaded=loaded,
        preprocessing=loaded.preprocessing,
        data=data,
        fit=fit,
        output=output,
        key=key,
    )


def measure(work: Work, steps: Steps) -> Result:
    """Measure every layer and write the report and its plot.

    Raises:
        RequestError: a photograph or the folder to write is bad.
        KeyboardInterrupt: with a sentence on how to go on.
    """
    with outputs.owned(work.output) as place, interrupts.resumable(place.state):
        return _measured(work, Kept(place.state / "layers.json", work.key), steps)


def _measured(work: Work, kept: Kept, steps: Steps) -> Result:
    """`measure`; what is done is kept."""
    start = time.monotonic()
    if kept.found:
        steps.note(f"{len(kept.found)} layer(s) were measured by an earlier run and are not measured again")
    if kept.of_another:
        steps.note(f"{kept.path} is left of a run with another request and of no use to this one: starting afresh")
    resumed = len(kept.found)
    scheme, layout = work.choice.scheme, LAYOUTS[work.choice.backend]
    skipped: dict[str, None] = dict.fromkeys(work.data.skipped)
    with steps.step("reading photographs", len(work.data)) as advance:
        photographs, labels = _photographs(work, skipped, advance)
    with steps.step("decomposing"):
        edge = decompose(work.loaded.model, work.preprocessing, layout, ROBUST, consume=True)
    which = precisions(edge, scheme)

    def batches() -> Iterator[Tensor]:
        together = images_together(work.preprocessing.crop)
        for batch in stream(work.fit, work.preprocessing, together, on_skip=lambda name, _: skipped.setdefault(name)):
            yield torch.from_numpy(batch.inputs)

    said: tuple[str, ...] = ()
    if scheme.calibrates:
        with steps.step("looking at the calibration photographs"):
            said = doubts(work.fit, work.preprocessing, work.loaded.model.architecture.num_classes)
    inputs = {}
    if fitted := [name for name, precision in which.items() if precision.weights.compensated]:
        with steps.step("calibrating", len(work.fit)) as advance:
            inputs = gather(edge, fitted, batches(), True, advance)
    with steps.step("quantizing weights", len(which)) as advance:
        layers = switched(edge, which, inputs, advance)
    with steps.step("finding ranges", len(work.fit)) as advance:
        find_ranges(edge, layers, work.choice.backend in SYMMETRIC, batches(), advance)

    found = kept.found
    with (
        interrupts.resumable(kept.path, lambda: f"{len(found)} of {len(layers)} layers are measured"),
        steps.step("measuring layers", 2 + 2 * len(layers)) as advance,
    ):
        network = _Network(edge, layers, photographs)
        reference = network.logits()
        advance()
        with network.quantized():
            everything = _compare(network.logits(), reference, labels)
        advance()
        for name, layer in layers.items():
            if name not in found:
                found[name] = _measure(name, layer, network, reference, labels, everything, advance)
                kept.write()
            else:
                advance(2)
    sensitivity = Sensitivity(
        request=work.key,
        measured_on=MEASURED_ON,
        photographs=len(reference),
        float_top1=None if labels is None else _top1(reference, labels),
        quantized=everything,
        layers=tuple(found[name] for name in layers),
    )
    with steps.step("writing"):
        write(work, sensitivity)
    shutil.rmtree(kept.path.parent, ignore_errors=True)
    return Result(
        folder=work.output,
        sensitivity=sensitivity,
        skipped=tuple(skipped),
        notes=work.loaded.told,
        assumed=work.loaded.assumed,
        doubts=said,
        resumed=resumed,
        seconds=time.monotonic() - start,
    )


def write(work: Work, sensitivity: Sensitivity) -> None:
    """The report and its plot, whole or not at all."""
    from volo_edge.sensitivity.plot import draw

    with outputs.new_folder(work.output, KIND, work.wanted.force, work.wanted.inputs) as folder:
        text = plain.as_json(asdict(sensitivity))
        files.write_text(folder.working / REPORT, f"{text}\n")
        draw(sensitivity, folder.working / PLOT)


def kind(name: str) -> str:
    """What a layer is for, from its name."""
    if name.startswith(STEM):
        return "stem"
    above, _, last = name.rpartition(".")
    if last == "proj" and not above.endswith("attn"):
        return "patch"
    return "head" if last == "aux_head" else last


def _measure(
    name: str,
    layer: Switched,
    network: _Network,
    reference: Logits,
    labels: Labels | None,
    everything: Measured,
    advance: Any,
) -> Layer:
    """Both measurements of one layer."""
    with network.changed(name):
        only = _compare(network.logits(), reference, labels)
    advance()
    with network.quantized(), network.changed(name):
        without = _compare(network.logits(), reference, labels)
    advance()
    gain = None
    if without.snr_db is not None and everything.snr_db is not None:
        gain = without.snr_db - everything.snr_db
    precision = layer.precision
    parameters, weights = layer.weights[0].numel(), str(precision.weights)
    return Layer(name, kind(name), parameters, weights, precision.activations, only, without, gain)


class _Reached(Exception):
    """The features that were wanted are made."""


class _Network:
    """The edge model over all photographs. Blocks in front of a changed layer are not computed again.

    Of the float and of the quantized model the features in front of one block are kept, of all photographs, and moved
    forward from layer to layer.
    """

    def __init__(self, edge: EdgeVOLO, layers: dict[str, Switched], photographs: list[Tensor]) -> None:
        self._edge, self._layers, self._photographs = edge, layers, photographs
        parts: list[nn.Module] = [edge.patch_embed]
        for part in edge.network:
            parts += list(part) if isinstance(part, nn.Sequential) else [part]
        self._blocks = parts
        owner = {id(module): index for index, block in enumerate(parts) for module in block.modules()}
        modules = quantizable(edge)
        self._block_of = {name: owner.get(id(modules[name]), len(parts) - 1) for name in layers}
        a = edge.architecture
        count = sum(len(batch) for batch in photographs)
        self._keeps = 2 * 4 * count * a.grid[0] * a.grid[1] * a.embed_dims[0] <= _KEPT_BYTES
        self._kept: dict[bool, tuple[int, list[Tensor]]] = {}
        self._everything = False
        self._first = 0

    @property
    def _given(self) -> list[Tensor]:
        return self._kept[self._everything][1] if self._first else self._photographs

    @contextmanager
    def quantized(self) -> Iterator[None]:
        """Within it, all layers are quantized."""
        self._everything = True
        switch_all(self._layers.values(), True)
        try:
            yield
        finally:
            self._everything = False
            switch_all(self._layers.values(), False)

    @contextmanager
    def changed(self, name: str) -> Iterator[None]:
        """Within it, the layer called `name` is float where the others are quantized, or the other way round."""
        if self._keeps:
            self._move(self._block_of[name])
        self._layers[name].switch(not self._everything)
        try:
            yield
        finally:
            self._layers[name].switch(self._everything)
            self._first = 0

    def logits(self) -> Logits:
        """(N, classes) of all photographs."""
        return np.asarray(torch.cat([self._run(given) for given in self._given]))

    def _move(self, block: int) -> None:
        """Make `block` the first that is computed, from kept features."""
        at = self._kept[self._everything][0] if self._everything in self._kept else 0
        self._first = at if at <= block else 0
        if self._first < block:
            features = [self._run(given, block) for given in self._given]
            self._kept[self._everything] = (block, features)
        self._first = block

    def _run(self, given: Tensor, until: int | None = None) -> Tensor:
        """Logits of pixels, or of the features in front of block `self._first`; with `until`, the features there."""
        made: list[Tensor] = []

        def stop(block: nn.Module, arguments: Any, features: Tensor) -> None:
            made.append(features)
            raise _Reached

        passed: Any
        for index in range(self._first):
            # only the last one's answer is used; the others' need the number of axes to pass between stages
            passed = given if index == self._first - 1 else torch.zeros(1, 1, 1, 1)
            self._blocks[index].forward = lambda *_, passed=passed: passed
        handle = self._blocks[until - 1].register_forward_hook(stop) if until else None
        pixels = torch.zeros(len(given), 1, 1, 1) if self._first else given.float()
        try:
            with torch.inference_mode():
                answer: Tensor = self._edge(pixels)
        except _Reached:
            answer = made[0]
        finally:
            if handle is not None:
                handle.remove()
            for index in range(self._first):
                del self._blocks[index].forward  # the class's own again
        return answer


def _photographs(work: Work, skipped: dict[str, None], advance: Any) -> tuple[list[Tensor], Labels | None]:
    """Batches of pixels (B, C, H, W), a byte each, and the photographs' classes where they are the model's."""
    batches: list[Tensor] = []
    indices: list[int] = []
    together = images_together(work.preprocessing.crop)
    for batch in stream(work.data, work.preprocessing, together, on_skip=lambda name, _: skipped.setdefault(name)):
        batches.append(torch.from_numpy(batch.inputs).byte())
        indices += batch.indices
        advance(len(batch.indices))
    if not batches:
        raise RequestError(f"none of the images in {work.data.root} can be read, {[*skipped][-1]} for one")
    labels = work.data.labels
    if labels is None or len(work.data.classes) != work.loaded.model.architecture.num_classes:
        return batches, None
    return batches, np.array([labels[index] for index in indices])


def _top1(logits: Logits, labels: Labels) -> float:
    return 100 * float((logits.argmax(1) == labels).mean())


def _compare(logits: Logits, reference: Logits, labels: Labels | None) -> Measured:
    snr = metrics.snr_db(logits, reference)
    single = logits.shape[1] == 1  # which is never another class
    agreement = metrics.labels_agreement if single else metrics.top1_agreement
    return Measured(
        snr_db=snr if math.isfinite(snr) else None,
        disagreement=100 * (1 - agreement(logits, reference)),
        top1_drop=None if labels is None or single else _top1(reference, labels) - _top1(logits, labels),
    )
