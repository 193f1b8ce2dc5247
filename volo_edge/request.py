"""What `volo-edge convert` is asked for, and all that can be refused of it before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from volo_edge import activation, outputs, trained, variants
from volo_edge.converters.executorch.arm64 import processors
from volo_edge.converters.targets import RUNTIMES, Choice, choose
from volo_edge.errors import RequestError, did_you_mean
from volo_edge.quantize import Scheme
from volo_edge.trained import DEMO_MODEL, ModelRequest


@dataclass(frozen=True)
class Request:
    """A conversion; None stands for a default.

    Args:
        target, backend, scheme, minimum_ios: names and number, see `converters.targets.choose`.
        model: which trained model, and how it was trained.
        photographs: folder of images to calibrate on and to prove the file on.
        calibration_size: how many of them to calibrate on, at most.
        labels: file with the classes' names, see `volo_edge.label_files`.
        activation: what makes probabilities of the logits, see `volo_edge.activation.chosen`.
        author, license: what a Core ML package says of them.
        runtime: what runs the saved file, a key of `converters.targets.RUNTIMES`; ARM64 code besides this machine's.
        processors: whose ARM64 code, keys of `converters.executorch.arm64.processors.PROCESSORS`; () for the usual.
        output: the folder to write.
        force: whether to replace an artifact that is there.
    """

    target: str
    backend: str | None = None
    scheme: str | None = None
    minimum_ios: int | None = None
    model: ModelRequest = DEMO_MODEL
    photographs: Path | None = None
    calibration_size: int = 256
    labels: Path | None = None
    activation: str | None = None
    author: str = ""
    license: str = ""
    runtime: str | None = None
    processors: tuple[str, ...] = ()
    output: Path | None = None
    force: bool = False

    @property
    def inputs(self) -> outputs.Inputs:
        """What it reads."""
        return *self.model.inputs, self.photographs, self.labels


def check(request: Request) -> Choice:
    """The combination asked for; RequestError for what is wrong with the request and can be seen from it alone."""
    choice = choose(request.target, request.backend, request.scheme, request.minimum_ios)
    choice.target.require()
    check_runtime(request.runtime, choice.backend)
    check_processors(request.processors, request.runtime)
    check_model(request.model)
    activation.check(request.activation)
    for path, what in ((request.photographs, "folder of images"), (request.labels, "file of labels")):
        if path is not None and not path.exists():
            raise RequestError(f"there is no {what} at {path}")
    if request.calibration_size < 1:
        raise RequestError(f"--calibration-size {request.calibration_size}: take at least 1, 256 are usual")
    check_calibration(choice.scheme, request.model.weights, request.photographs)
    if request.output is not None:
        outputs.check(request.output, outputs.ARTIFACT, request.force, request.inputs)
        outputs.check(failed_output(request.output), outputs.ARTIFACT, True, request.inputs)
    return choice


def failed_output(output: Path) -> Path:
    """The folder that has the artifact for `output` where its file fails the parity check.

    An earlier one there is of no use and is replaced.
    """
    return output.with_name(f"{output.name}-parity-failed")


def check_runtime(runtime: str | None, *backends: str) -> None:
    """RequestError where no runtime is called so, or it takes no file of one of the `backends`."""
    if runtime is not None and runtime not in RUNTIMES:
        raise RequestError(f"no runtime is called '{runtime}': {did_you_mean(runtime, list(RUNTIMES))}")
    for backend in backends:
        if runtime is not None and backend not in RUNTIMES[runtime].backends:
            takes = [name for name, other in RUNTIMES.items() if backend in other.backends]
            raise RequestError(f"--runtime {runtime} does not run what {backend} computes: take {' or '.join(takes)}")


def check_processors(names: tuple[str, ...], runtime: str | None) -> None:
    """RequestError where no ARM64 processor is called so, or other code than ARM64's is to run."""
    if names and runtime != "arm64":
        raise RequestError("--arm64-cpu is for --runtime arm64: give both or neither")
    for name in names:
        processors.find(name)


def check_against(profile: bool, runtime: str | None) -> None:
    """RequestError where two artifacts are to be compared and one to be run."""
    if profile or runtime is not None:
        option = "--profile" if profile else "--runtime"
        raise RequestError(f"--against compares two files and runs neither: leave {option} out")


def check_profile(profile: bool, threads: int | None, runtime: str | None, backend: str) -> None:
    """RequestError where `inspect` cannot time what that backend computes, or not so."""
    if threads is not None and not profile:
        raise RequestError("--threads is for --profile, which times the file: give both or neither")
    if threads is not None and threads < 1:
        raise RequestError(f"--threads {threads}: take at least 1")
    if profile and runtime == "native":
        raise RequestError("--runtime native runs the self-test and --profile times the file here: give one of them")
    if profile and backend != "xnnpack":
        raise RequestError(
            "--profile times the parts of what XNNPACK computes; those of Core ML's, Xcode's performance report does"
        )


def check_model(model: ModelRequest) -> None:
    """RequestError where there is no such model, image size, setting or file."""
    variant = None
    if model.model is not None or model.weights is None:
        variant = variants.find(model.model or variants.DEMO)
    if variant is not None and model.image_size is not None:
        replace(variant.architecture, image_size=model.image_size)  # which refuses what the grid cannot hold
    elif model.image_size is not None:
        variants.check_attention(model.image_size)
    if model.architecture is not None and model.model is not None:
        raise RequestError("--model and --architecture both say which model it is: give one of them")
    trained.check(model)
    check_weights(model.weights, "a .pth.tar, .pth or .safetensors file, or hf-hub:NAME")


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
