"""Runs the float model on a folder of photographs: on a GPU where there is one, reproducibly.

Needs torch, numpy, Pillow and safetensors only: the machine with the GPU need not be one that builds for phones.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from volo_edge import __version__, checkpoint, files, interrupts, outputs
from volo_edge.calibration.images import ImageList, balanced_subset, find_images, list_hash
from volo_edge.checkpoint import LoadedModel
from volo_edge.console import Steps
from volo_edge.errors import RequestError
from volo_edge.machine import images_together, processor
from volo_edge.preprocess import Preprocessing, normalize
from volo_edge.reference import file
from volo_edge.reference.file import Record, Reference
from volo_edge.reference.request import KIND, Request, check
from volo_edge.trained import Assumed
from volo_edge.validate.answers import Run, collect
from volo_edge.validate.metrics import Logits
from volo_edge.validate.reference import finite


@dataclass(frozen=True)
class Result:
    """What `volo-edge reference` wrote.

    Args:
        path: where.
        reference: what it holds.
        notes: what was taken of the checkpoint and what was left, a sentence each.
        assumed: what the tensors do not say.
        resumed: how many photographs an earlier run had done.
        seconds: how long this one took.
    """

    path: Path
    reference: Reference
    notes: tuple[str, ...]
    assumed: tuple[Assumed, ...]
    resumed: int
    seconds: float


def compute(request: Request, steps: Steps) -> Result:
    """Run the float model on every photograph and write the file.

    Raises:
        RequestError: the request or an input is bad.
        KeyboardInterrupt: with a sentence on how to go on.
    """
    start = time.monotonic()
    check(request)
    images = find_images(request.data)
    if request.limit is not None:
        images = balanced_subset(images, request.limit, seed=0)
    with steps.step("reading weights"):
        loaded = checkpoint.load(request.model)
    with outputs.owned(request.output) as place:
        reference, resumed = of(loaded, images, request.device, place.state, steps)
        if reference.read.any():
            with outputs.new_file(request.output, KIND, request.force, request.inputs) as path:
                file.write(path, reference)
        with interrupts.held_back():  # half of it would be taken for work to go on with
            shutil.rmtree(place.state, ignore_errors=True)
    if not reference.read.any():
        raise RequestError(f"none of the {len(images)} images in {images.root} can be read, {images.files[0]} for one")
    seconds = time.monotonic() - start
    return Result(request.output, reference, loaded.told, loaded.assumed, resumed, seconds)


def of(loaded: LoadedModel, images: ImageList, device: str, state: Path, steps: Steps) -> tuple[Reference, int]:
    """The float model's logits for `images`, and how many of them an earlier run had left in the folder `state`."""
    architecture, preprocessing = loaded.model.architecture, loaded.preprocessing
    chosen = choose(device)
    record = Record(
        format_version=file.FORMAT_VERSION,
        made_at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        model=loaded.variant.name,
        weights=loaded.name,
        weights_sha256=loaded.weights_sha256,
        entry=loaded.entry,
        prefix=loaded.prefix,
        architecture=architecture,
        preprocessing=preprocessing,
        device=chosen.type,  # type: ignore[arg-type]
        device_name=_name(chosen),
        arithmetic="float32, no TF32, deterministic kernels",
        list_sha256=list_hash(images),
        classes=images.classes,
        versions={"volo_edge": __version__, **{name: version(name) for name in ("torch", "numpy", "pillow")}},
    )
    together = images_together(architecture.image_size, chosen.type)
    key = files.key(*record.identity, record.list_sha256, chosen.type, record.versions["torch"], together)
    resumed: list[int] = []
    with steps.step(f"float reference on {record.device_name}", len(images)) as advance:

        def progress(count: int) -> None:
            resumed.append(count)
            advance(count)

        answers = collect(
            images,
            preprocessing,
            lambda: _runner(loaded, preprocessing, chosen),
            together,
            architecture.num_classes,
            state / f"reference-{key}.f32",
            progress,
        )
    labels = np.full(len(images), -1) if images.labels is None else np.array(images.labels)
    return Reference(record, images.files, labels, answers.read, answers.logits), resumed[0]


def choose(device: str) -> torch.device:
    """The device asked for; "auto" is the fastest there is. RequestError where this machine has no such device."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, available in there.items() if available)
    if not there[device]:
        has = ", ".join(name for name, available in there.items() if available)
        raise RequestError(f"this machine has no {device} that torch {torch.__version__} can use (it has {has})")
    return torch.device(device)


def _runner(loaded: LoadedModel, preprocessing: Preprocessing, device: torch.device) -> Run:
    """The float model on `device`, in true single precision and the same each time."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS may choose another kernel each time
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    model = loaded.model.to(device)
    deterministic: Callable[[bool], None] = torch.use_deterministic_algorithms

    def run(images: Logits) -> Logits:
        before = torch.are_deterministic_algorithms_enabled()
        deterministic(True)
        try:
            with torch.inference_mode():
                return finite(np.asarray(model(normalize(torch.from_numpy(images).to(device), preprocessing)).cpu()))
        finally:
            deterministic(before)

    return run


def _name(device: torch.device) -> str:
    """What `device` is, as a person knows it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name()
    return f"{processor()} ({platform.machine()}){', MPS' if device.type == 'mps' else ''}"
