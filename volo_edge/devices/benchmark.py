"""Has the app on a connected phone test and time itself, and fetches what it measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from volo_edge import artifact, files, outputs, plain
from volo_edge.app import check_runnable
from volo_edge.artifact import Artifact
from volo_edge.console import Steps
from volo_edge.device_results import FORMAT, DeviceResults
from volo_edge.devices import adb, devicectl, tool
from volo_edge.errors import GateError, RequestError, did_you_mean

_TOOLS: dict[str, ModuleType] = {"android": adb, "ios": devicectl}
_OPTIONS = {"android": "threads", "ios": "compute"}  # what each platform's app lets one choose
RUNS = 100
KIND = outputs.Kind("file of device results", None, ("format_version", "app", "device", "engine"))
_SECONDS = 120, 5  # that the app may take: on the whole, and for each run


@dataclass(frozen=True)
class Request:
    """A measurement; None stands for a default.

    Args:
        platform: "android" or "ios".
        artifact: the folder that the app on the phone was made with.
        app: the app to install first; none where it is there already.
        serial: of the phone, where several are connected.
        warmup, runs: how often the model runs before and while it is timed.
        threads, compute: what computes it, on Android and on iOS.
        output: the results file to write.
        force: whether to replace one that is there.
    """

    platform: str
    artifact: Path
    app: Path | None
    serial: str | None
    warmup: int
    runs: int
    threads: int | None
    compute: str | None
    output: Path | None
    force: bool

    @property
    def path(self) -> Path:
        """The results file to write."""
        return self.output or Path(f"{self.artifact.resolve().name}-{self.platform}.json")

    @property
    def inputs(self) -> outputs.Inputs:
        """What it reads."""
        return self.artifact, self.app


@dataclass(frozen=True)
class Benchmarked:
    """The results file that was written, and what is in it."""

    output: Path
    results: DeviceResults

    def require_pass(self) -> None:
        """GateError where the phone does not compute what the host did."""
        if self.results.selftest is not None and not self.results.selftest.passed:
            raise GateError(f"the self-test failed on the phone: {self.output} has the numbers of each photograph")


def check(request: Request) -> None:
    """RequestError for what is wrong with the request and can be seen from it alone."""
    if request.platform not in _TOOLS:
        raise RequestError(f"no device is called '{request.platform}': {did_you_mean(request.platform, list(_TOOLS))}")
    for platform, option in _OPTIONS.items():
        if getattr(request, option) is not None and request.platform != platform:
            raise RequestError(f"--{option} is for {platform}, not for {request.platform}")
    for option, least in (("warmup", 0), ("runs", 1), ("threads", 1)):
        value = getattr(request, option)
        if value is not None and value < least:
            raise RequestError(f"--{option} {value}: take at least {least}")
    outputs.check(request.path, KIND, request.force, request.inputs)


def benchmark(request: Request, steps: Steps) -> Benchmarked:
    """Install the app where asked to, have it measure, fetch the results and write them down.

    Raises:
        RequestError: the tool, the phone or the app is missing or fails, or the app has another model in it.
    """
    found = artifact.read(request.artifact)
    check_runnable(request.platform, found.manifest)
    phones = _TOOLS[request.platform]
    package = None if request.app is None else phones.package(request.app)
    phone = tool.choose(phones.phones(), request.serial, phones.NO_PHONE)
    if package is not None:
        with steps.step(f"installing on {phone.name}"):
            phones.install(phone, package)
    arguments = {"warmup": str(request.warmup), "runs": str(request.runs)}
    option = _OPTIONS[request.platform]
    if (value := getattr(request, option)) is not None:
        arguments[option] = str(value)
    with steps.step(f"measuring on {phone.name}"):
        whole, each = _SECONDS
        phones.measure(phone, arguments, whole + each * (request.warmup + request.runs))
    with steps.step("fetching"):
        text = phones.fetch(phone)
    results = FORMAT.parse(text, Path(f"results.json of {phone.name}"))
    _check(results, found)
    with outputs.new_file(request.path, KIND, request.force, request.inputs) as working:
        files.write_text(working, plain.as_json(FORMAT.as_json(results)) + "\n")
    return Benchmarked(request.path, results)


def _check(results: DeviceResults, found: Artifact) -> None:
    """RequestError where the results are not all that was asked for, or of another model."""
    if results.selftest is None or results.benchmark is None:
        raise RequestError("the app measured only half of what it was asked: install it again with --app")
    if results.artifact.model_sha256 != found.manifest.files["model"].sha256:
        raise RequestError("the app on the phone has another model in it: install the artifact's with --app")
