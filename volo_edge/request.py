"""What `volo-edge convert` is asked for, and all that can be refused of it before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from converters.executorch.arm64 import processors
from converters.executorch.arm64.processors import Processor
from converters.targets import RUNTIMES, Choice, choose
from volo_edge import files, variants
from volo_edge.errors import RequestError, did_you_mean
from volo_edge.quantize import Scheme


@dataclass(frozen=True)
class Request:
    """A conversion; None stands for a default.

    Args:
        target, backend, scheme, minimum_ios: names and number, see `converters.targets.choose`.
        model, weights, image_size: see `volo_edge.checkpoint.load`.
        photographs: folder of images to calibrate on and to prove the file on.
        calibration_size: how many of them to calibrate on, at most.
        labels: file with the classes' names, one a line.
        author, license: what a Core ML package says of them.
        runtime: what runs the saved file, a key of `converters.targets.RUNTIMES`.
        output: the folder to write.
        force: whether to replace an artifact that is there.
    """

    target: str
    backend: str | None = None
    scheme: str | None = None
    minimum_ios: int | None = None
    model: str | None = None
    weights: str | None = None
    image_size: tuple[int, int] | None = None
    photographs: Path | None = None
    calibration_size: int = 256
    labels: Path | None = None
    author: str = ""
    license: str = ""
    runtime: str | None = None
    output: Path | None = None
    force: bool = False


def check(request: Request) -> Choice:
    """The combination asked for; RequestError for what is wrong with the request and can be seen from it alone."""
    choice = choose(request.target, request.backend, request.scheme, request.minimum_ios)
    check_runtime(request.runtime, choice.backend)
    check_model(request.model, request.weights, request.image_size)
    for path, what in ((request.photographs, "folder of images"), (request.labels, "file of labels")):
        if path is not None and not path.exists():
            raise RequestError(f"there is no {what} at {path}")
    if request.calibration_size < 1:
        raise RequestError(f"--calibration-size {request.calibration_size}: take at least 1, 256 are usual")
    check_calibration(choice.scheme, request.weights, request.photographs)
    if request.output is not None:
        files.check_replaceable(request.output, files.MANIFEST, request.force)
    return choice


def check_runtime(runtime: str | None, backend: str) -> None:
    """RequestError where no runtime is called so, or not one of that backend's files."""
    if runtime is not None and runtime not in RUNTIMES:
        raise RequestError(f"no runtime is called '{runtime}': {did_you_mean(runtime, list(RUNTIMES))}")
    if runtime == "evaluator" and backend != "coreml":
        raise RequestError(f"--runtime evaluator is for Core ML: ExecuTorch runs {backend} programs everywhere")


def check_profile(profile: bool, threads: int | None, backend: str) -> None:
    """RequestError where `inspect` cannot time what that backend computes, or not with so many threads."""
    if threads is not None and not profile:
        raise RequestError("--threads is for --profile, which times the file: give both or neither")
    if threads is not None and threads < 1:
        raise RequestError(f"--threads {threads}: take at least 1")
    if profile and backend != "xnnpack":
        raise RequestError(
            "--profile times the parts of what XNNPACK computes; those of Core ML's, Xcode's performance report does"
        )


def check_counting(profile: bool, runtime: str | None, names: str | None) -> tuple[Processor, ...]:
    """The processors that `inspect` counts instructions of; RequestError where none can be counted as asked.

    Args:
        profile, runtime: what was given of `--profile` and `--runtime`.
        names: of `--arm64-cpu`, with commas between; those that any qemu computes where None.
    """
    if runtime is None and names is None:
        return ()
    if runtime not in (None, "arm64"):
        raise RequestError(f"--runtime {runtime}: of inspect it is arm64, which counts instructions with --profile")
    if runtime is None:
        raise RequestError("--arm64-cpu is for --runtime arm64: give both or neither")
    if not profile:
        raise RequestError("--runtime arm64 counts instructions with --profile: give both or neither")
    return tuple(processors.find(name) for name in dict.fromkeys((names or ",".join(processors.USUAL)).split(",")))


def check_model(model: str | None, weights: str | None, image_size: tuple[int, int] | None) -> None:
    """RequestError where there is no such model, image size or file of weights."""
    variant = None
    if model is not None or weights is None:
        variant = variants.find(model or variants.DEMO)
    if variant is not None and image_size is not None:
        replace(variant.architecture, image_size=image_size)  # which refuses what the grid cannot hold
    check_weights(weights, "a .pth.tar, .pth or .safetensors file, or hf-hub:NAME")


def check_weights(weights: str | None, wanted: str) -> None:
    """RequestError where `weights` is a file that is not there; `wanted` says what to give."""
    if weights is not None and not weights.startswith("hf-hub:") and not Path(weights).exists():
        raise RequestError(f"no weights at {weights}: give {wanted}")


def check_calibration(scheme: Scheme, weights: str | None, photographs: Path | None) -> None:
    """RequestError where `scheme` would be fitted to the demo's photographs and the model is another."""
    if scheme.calibrates and weights is not None and photographs is None:
        raise RequestError(
            f"scheme {scheme.name} is fitted to photographs: give a folder of some that the model was made for with "
            "--calibration DIR"
        )
