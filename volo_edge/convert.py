"""The main job: checkpoint -> float answers -> edge model -> quantized program -> file, proved -> artifact."""

from __future__ import annotations

import json
import math
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.export import ExportedProgram

from volo_edge import __version__, activation, artifact, calibration, checkpoint, files, machine, outputs
from volo_edge.activation import Activation
from volo_edge.artifact import Graph, Manifest, ModelInfo, UndelegatedOp
from volo_edge.calibration.doubts import doubts
from volo_edge.calibration.images import ImageList, balanced_subset, find_images, list_hash, stream, without
from volo_edge.checkpoint import LoadedModel
from volo_edge.console import Steps
from volo_edge.converters import process
from volo_edge.converters.card import Card
from volo_edge.converters.program import Program
from volo_edge.converters.runner import Array, RuntimeMissing
from volo_edge.converters.targets import Choice, Target
from volo_edge.decompose import LAYOUTS, decompose
from volo_edge.decompose.edge import multiply_adds
from volo_edge.errors import GateError, RequestError
from volo_edge.labels import labels_for
from volo_edge.model import VOLO
from volo_edge.preprocess import Preprocessing, UnreadableImage, open_rgb, prepare, to_input
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import precisions
from volo_edge.quantize.transforms import ROBUST
from volo_edge.request import Request, check, failed_output
from volo_edge.trained import Assumed
from volo_edge.validate.parity import Parity, compare, not_run
from volo_edge.validate.reference import float_logits
from volo_edge.variants import DEMO

if TYPE_CHECKING:
    from PIL import Image

PARITY_IMAGES = 32
SELFTEST_IMAGES = 4
RANGE_IMAGES = 8
EMULATION_SECONDS = 60.0  # for the photographs on an emulated processor: large models answer fewer than all
CALIBRATION_SEED = 0
_PHOTO_SIDE = 1024  # pixels: four photographs of a camera's full size would be larger than most models


@dataclass(frozen=True)
class Converted:
    """What a conversion wrote.

    Args:
        folder: the artifact.
        manifest: its manifest.
        notes: what was taken of the checkpoint, what was left, and what was taken for granted, a sentence each.
        skipped: names of files among the photographs that are no images.
        lowering_seconds, seconds: how long lowering took, and everything.
    """

    folder: Path
    manifest: Manifest
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    lowering_seconds: float
    seconds: float


def convert(request: Request, steps: Steps) -> Converted:
    """Convert, write the artifact and prove its file on real photographs.

    Raises:
        RequestError: the request or an input is bad.
        GateError: the file's parity is worse than its scheme's tolerance; the artifact is kept under another name.
    """
    start = time.monotonic()
    choice = check(request)
    target, scheme = choice.target, choice.scheme
    with steps.step(f"importing {target.name}"):
        lower = target.module("lower")
    here, processors = _where(request, steps)
    photographs = find_images(request.photographs or calibration.DEMO_CALIBRATION)
    with steps.step("reading weights"):
        loaded = checkpoint.load(request.model)
    num_classes, preprocessing = loaded.model.architecture.num_classes, loaded.preprocessing
    head = activation.chosen(request.activation, num_classes)
    named = labels_for(loaded.variant, num_classes, request.labels, own=loaded.labels, published=loaded.published)
    labels, notes = named.names, (*loaded.told, *named.notes, *_strange(request, loaded))
    output = request.output or Path(choice.name(loaded.variant.name))

    with outputs.new_folder(output, outputs.ARTIFACT, request.force, request.inputs) as folder:
        proof, fit = divided(photographs, request.calibration_size if scheme.calibrates else 0)
        skipped = dict.fromkeys(photographs.skipped)
        calibrated = None
        if scheme.calibrates:
            with steps.step("looking at the calibration photographs"):
                said = doubts(fit, preprocessing, num_classes)
            calibrated = artifact.Calibration(len(fit), CALIBRATION_SEED, list_hash(fit), said)
        shots, images = _photographs(proof, preprocessing, skipped)
        together = machine.images_together(preprocessing.crop)
        with steps.step("float reference", len(images)) as advance:
            run = partial(float_logits, loaded.model, preprocessing=preprocessing)
            reference = _in_turn(run, images, together, advance)
        notes += _one_class(reference, labels)
        info = _model_info(loaded, head, request)
        card = _card(request, loaded, labels, head, preprocessing, choice)

        def batches() -> Iterator[torch.Tensor]:
            for batch in stream(fit, preprocessing, together, on_skip=lambda name, why: skipped.setdefault(name)):
                yield torch.from_numpy(batch.inputs)

        program, macs = _program(loaded.model, preprocessing, choice, batches, len(fit), steps)
        del loaded, run  # the weights are the program's now
        path = folder.working / target.file

        def lowered(program: ExportedProgram, **options: Any) -> tuple[dict[str, str], float]:
            """Why something stayed outside, and the seconds it took."""
            start = time.monotonic()
            machine.give_memory_back()
            with steps.step(f"lowering for {choice.backend}"):
                reasons = lower.lower(program, choice, path, card, **options)
            return reasons, time.monotonic() - start

        def proved() -> tuple[Parity, Array]:
            """The saved file's parity on this machine and its logits; the reference's where no runtime takes it."""
            machine.give_memory_back()
            try:
                return _prove(path, choice, here, None, images, reference, head, steps)
            except RuntimeMissing as error:
                return not_run(str(error), scheme.tolerance), reference

        half_precision = scheme.compute == "float16" and choice.backend == target.name
        may_keep_single = half_precision and target.name == "coreml"
        reasons, lowering_seconds = lowered(program)
        if not half_precision:
            del program  # its weights would lie beside the file's and the runtime's
        parity, logits = proved()
        half = None
        if may_keep_single and parity.passed is not None:
            from volo_edge.converters.coreml.ranges import ranges

            some = images[_few(images, RANGE_IMAGES)]
            with steps.step("looking for values beyond half precision", len(some)) as advance:
                half, single = ranges(path, some, advance)
            if parity.passed is False and single:
                shutil.rmtree(path)
                reasons, lowering_seconds = lowered(program, single=single)
                parity, logits = proved()
                half = replace(half, kept_single=single)
        parities = [parity]
        if half_precision and 0 < parity.images < len(images):
            parities.append(_twin(program, choice, images, reference, head, steps))
        for processor in processors:
            parities.append(_prove(path, choice, "arm64", processor, images, reference, head, steps)[0])
        contents = target.module("program").read_program(path)

        files.write_text(folder.working / artifact.LABELS, "".join(f"{label}\n" for label in labels))
        few = _few(logits, SELFTEST_IMAGES)  # of the photographs that there was time for
        cases = artifact.write_selftest(folder.working, shots[few], images[few], logits[few], labels)
        manifest = Manifest(
            model=info,
            target=target.name,
            backend=choice.backend,
            minimum_ios=choice.minimum_ios,
            quantization=artifact.Quantization(scheme.name, calibrated),
            preprocessing=preprocessing,
            files=artifact.describe_files(folder.working, target.file, cases),
            graph=_graph(contents, reasons, macs),
            half_precision=half,
            photographs=request.photographs.resolve().name if request.photographs else artifact.SHIPPED,
            parity=tuple(parities),
            selftest=artifact.Selftest(cases, parity.runtime or "float reference", scheme.tolerance),
            tools=_tools(target),
        )
        artifact.write_manifest(folder.working, manifest)
        failed = [one for one in parities if one.passed is False]
        if failed:
            folder.path = failed_output(output)
            folder.force = True  # an earlier failure of the same conversion is of no use
    if failed:
        where = "; ".join(f"{p.processor}: relative error {p.relative_error:.1e} on {p.images} images" for p in failed)
        raise GateError(
            f"parity failed on {where}; {scheme.name} may have {scheme.tolerance:.0e}; kept as {folder.path}, not to "
            "be shipped"
        )
    return Converted(output, manifest, notes, tuple(skipped), lowering_seconds, time.monotonic() - start)


def _strange(request: Request, loaded: LoadedModel) -> tuple[str, ...]:
    """A sentence where the file is proved on photographs of another kind than its model was trained on."""
    if request.photographs is not None or (loaded.variant.name == DEMO and loaded.published):
        return ()
    return (
        f"parity and the self-test are on {artifact.SHIPPED}, not on photographs of the model's own kind: "
        "give some with --calibration DIR",
    )


def _one_class(reference: Array, labels: tuple[str, ...]) -> tuple[str, ...]:
    """A sentence where the float model puts all photographs into one class, as wrong settings make it do."""
    said = set(reference.argmax(1).tolist())
    if len(said) > 1 or len(labels) == 1 or len(reference) < SELFTEST_IMAGES:
        return ()
    return (
        f"the float model says {labels[said.pop()]!r} of all {len(reference)} photographs: are its weights, its "
        "preprocessing and the photographs the right ones?",
    )


def _where(request: Request, steps: Steps) -> tuple[str | None, tuple[str, ...]]:
    """This machine's runtime to run the file in, and the ARM64 processors to run it on besides, ready."""
    if request.runtime != "arm64":
        return request.runtime, ()
    from volo_edge.converters.executorch import arm64

    return None, arm64.prepare(request.processors, steps)


def _program(
    model: VOLO,
    preprocessing: Preprocessing,
    choice: Choice,
    batches: Callable[[], Iterator[torch.Tensor]],
    photographs: int,
    steps: Steps,
) -> tuple[ExportedProgram, int]:
    """The program to lower, made of the model's own weights, and its multiplications; see `quantize`."""
    scheme = choice.scheme
    with steps.step("decomposing"):
        also = ROBUST if scheme.quantizes else ()
        edge = decompose(model, preprocessing, LAYOUTS[choice.backend], also, consume=True)
        macs = multiply_adds(edge)
    return quantize(edge, precisions(edge, scheme), choice.backend, batches, photographs, steps), macs


def divided(photographs: ImageList, calibration_size: int) -> tuple[ImageList, ImageList]:
    """Photographs to prove the file on, and as many as `calibration_size` others to calibrate on.

    A folder with too few for both is halved, and a single photograph serves for both.
    """
    half = -(-len(photographs) // 2)
    proof = balanced_subset(photographs, min(PARITY_IMAGES, half) if calibration_size else PARITY_IMAGES, seed=0)
    rest = without(photographs, proof)
    return proof, balanced_subset(rest if len(rest) else photographs, max(1, calibration_size), CALIBRATION_SEED)


def _model_info(loaded: LoadedModel, head: Activation, request: Request) -> ModelInfo:
    """What the manifest says of the float model."""
    architecture = loaded.model.architecture
    return ModelInfo(
        name=loaded.variant.name,
        parameters=sum(parameter.numel() for parameter in loaded.model.parameters()),
        image_size=architecture.image_size,
        num_classes=architecture.num_classes,
        activation=head,
        weights=loaded.name,
        weights_sha256=loaded.weights_sha256,
        entry=loaded.entry,
        prefix=loaded.prefix,
        trained_size=loaded.trained_size,
        architecture=architecture,
        assumed=(
            *loaded.assumed,
            Assumed("activation", head, "--activation" if request.activation else "the usual one"),
        ),
    )


def _card(
    request: Request,
    loaded: LoadedModel,
    labels: tuple[str, ...],
    head: Activation,
    preprocessing: Preprocessing,
    choice: Choice,
) -> Card:
    """What a Core ML package says of itself: enough to use it, and to find the manifest it came with."""
    name, scheme, kind = loaded.variant.name, choice.scheme, activation.counted(len(labels), head)
    facts = {
        "model": name,
        "weights_sha256": loaded.weights_sha256,
        "scheme": scheme.name,
        "preprocessing": json.dumps(asdict(preprocessing)),
        "activation": head,
        "made_by": f"volo-edge {__version__}",
    }
    return Card(
        labels=labels,
        activation=head,
        summary=f"{name} (VOLO, arXiv:2106.13112), an image classifier of {kind}: {scheme.summary}",
        author=request.author,
        license=request.license,
        version=loaded.weights_sha256[:12],
        facts={f"volo_edge.{key}": value for key, value in facts.items()},
    )


def _photographs(
    proof: ImageList, preprocessing: Preprocessing, skipped: dict[str, None]
) -> tuple[list[Image.Image], Array]:
    """RGB photographs and inputs (N, 3, H, W) for the parity check; names of the files that are no images are added."""
    shots = []
    for index, name in enumerate(proof.files):
        try:
            shots.append(_small(open_rgb(proof.path(index))))
        except UnreadableImage:
            skipped[name] = None
    if not shots:
        raise RequestError(f"none of the images in {proof.root} can be read, {[*skipped][-1]} for one")
    return shots, to_input([prepare(shot, preprocessing) for shot in shots])


def _small(photo: Image.Image) -> Image.Image:
    """The photograph, its shorter side reduced to `_PHOTO_SIDE` pixels if it is longer."""
    factor = min(photo.size) / _PHOTO_SIDE
    return photo if factor <= 1 else photo.resize([round(side / factor) for side in photo.size])


def _in_turn(
    run: Callable[[Array], Array],
    images: Array,
    together: int,
    advance: Callable[[int], None],
    seconds: float = math.inf,
    least: int = SELFTEST_IMAGES,
) -> Array:
    """`run`'s answers, `together` images at a time, which bounds its memory; to the first images only where time ends.

    After `seconds` no more are begun, but the `least` are answered whatever that takes.
    """
    answers: list[Array] = []
    until = time.monotonic() + seconds
    for start in range(0, len(images), together):
        if start >= least and time.monotonic() > until:
            break
        answers.append(run(images[start : start + together]))
        advance(len(answers[-1]))
    return np.concatenate(answers)


def _few(images: Array, count: int) -> slice:
    """`count` of the images or fewer, spread evenly."""
    return slice(0, len(images), -(-len(images) // count))


def _prove(
    path: Path,
    choice: Choice,
    runtime: str | None,
    processor: str | None,
    images: Array,
    reference: Array,
    head: Activation,
    steps: Steps,
) -> tuple[Parity, Array]:
    """The saved file's parity and its logits, in a runtime and on a processor; see `converters.process.load`.

    They are of the first photographs only where the runtime is slow.
    """
    where = f" on {processor}" if processor else ""
    seconds, least = (EMULATION_SECONDS, SELFTEST_IMAGES) if processor else (choice.target.proof_seconds, 1)
    with (
        steps.step(f"running the saved file{where}", len(images)) as advance,
        process.load(choice.target.name, path, runtime, processor) as runner,
    ):
        logits = _in_turn(runner.run, images, 1, advance, seconds, least)
        compared = reference[: len(logits)]
        ran = runner.runtime, runner.processor, runner.finish()
        return compare(logits, compared, choice.scheme.tolerance, *ran, activation=head), logits


def _twin(
    program: ExportedProgram, choice: Choice, images: Array, reference: Array, head: Activation, steps: Steps
) -> Parity:
    """The parity of a file with the same weights that computes in single precision, which runtimes here do faster."""
    single = replace(choice, scheme=replace(choice.scheme, compute="float32"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, choice.target.file)
        with steps.step("lowering a twin in single precision"):
            choice.target.module("lower").lower(program, single, path)
        parity, _ = _prove(path, single, None, None, images, reference, head, steps)
    return replace(parity, twin=True)


def _graph(program: Program, reasons: dict[str, str], macs: int) -> Graph:
    """What the saved file computes, with the partitioner's reason for each operator that it left outside."""
    outside = program.undelegated or {}
    undelegated = tuple(UndelegatedOp(name, count, _reason(name, reasons)) for name, count in outside.items())
    calls = None if program.delegates is None else len(program.delegates)
    return Graph(calls, undelegated, macs, program.operators)


def _reason(operator: str, reasons: dict[str, str]) -> str:
    """Of the reasons by operator as the partitioner names it, "aten.cumsum.default", the one of "aten::cumsum.out"."""
    bare = operator.replace("::", ".").rpartition(".")[0]
    return next((reason for name, reason in reasons.items() if name.rpartition(".")[0] == bare), "")


def _tools(target: Target) -> dict[str, str]:
    """Versions of what made an artifact."""
    found = {"python": platform.python_version(), "volo_edge": __version__}
    return found | {name: version(name) for name in ("torch", "executorch", "torchao", "coremltools", *target.packages)}
