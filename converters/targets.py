"""What a model can be converted to: frozen data, so that a request no target takes is refused before any import.

Each target is a package here with the same three modules: `lower` writes the file, `program` reads what is in it,
`run` runs it.
"""

from __future__ import annotations

import math
import platform
import sys
from dataclasses import dataclass
from importlib import import_module, metadata
from types import ModuleType

from volo_edge import interrupts
from volo_edge.errors import RequestError, did_you_mean
from volo_edge.quantize.schemes import SCHEMES, Scheme


@dataclass(frozen=True)
class Needs:
    """What a target's packages are made for.

    Args:
        python: the first version.
        machines: `sys.platform` and `platform.machine()` of each; () for any.
        summary: the same for people.
    """

    python: tuple[int, int] = (3, 10)
    machines: tuple[tuple[str, str], ...] = ()
    summary: str = ""


@dataclass(frozen=True)
class Target:
    """A kind of file.

    Args:
        name: what `--target` takes, and the package that makes it.
        summary: what it is and where it runs.
        backends: what computes it on the phone, the default first.
        file: name of the file, or package folder, within an artifact.
        minimum_ios: the first iOS that runs such a file, where a framework of iOS computes it.
        extra: of `pyproject.toml`, what installs its packages; "" where a plain installation has them.
        packages: that the extra installs.
        needs: the Python, and the machines (`sys.platform`, `platform.machine()`), that there are such packages for.
        proof_seconds: that parity may take: where the runtime here is slow, fewer photographs than usual are proved.
    """

    name: str
    summary: str
    backends: tuple[str, ...]
    file: str
    minimum_ios: int
    extra: str = ""
    packages: tuple[str, ...] = ()
    needs: Needs = Needs()
    proof_seconds: float = math.inf

    def module(self, name: str) -> ModuleType:
        """The target's module `lower`, `program` or `run`, imported now; RequestError as `require`."""
        self.require()
        with interrupts.held_back():  # the C++ in them aborts the process when an exception comes up in it
            return import_module(f"volo_edge.converters.{self.name}.{name}")

    def require(self) -> None:
        """RequestError where its packages are missing, or there are none for this Python or machine."""
        here = sys.platform, platform.machine()
        fits = not self.needs.machines or here in self.needs.machines
        if sys.version_info < self.needs.python or not fits:
            raise RequestError(
                f"target {self.name} needs {self.needs.summary}; this is Python {platform.python_version()} on "
                f"{' '.join(here)}"
            )
        if missing := [name for name, found in self.versions.items() if found is None]:
            raise RequestError(
                f"target {self.name} needs {' and '.join(missing)}: pip install 'volo-edge[{self.extra}]'"
            )

    @property
    def versions(self) -> dict[str, str | None]:
        """Of its packages; None of those that are not installed."""
        return {name: _version(name) for name in self.packages}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="executorch",
            summary="ExecuTorch program for Android and iOS: XNNPACK on the CPU, or Core ML on iOS",
            backends=("xnnpack", "coreml"),
            file="model.pte",
            minimum_ios=16,
        ),
        Target(
            name="coreml",
            summary="Core ML package for iOS and macOS: Neural Engine, GPU or CPU",
            backends=("coreml",),
            file="VOLO.mlpackage",
            minimum_ios=15,
        ),
        Target(
            name="coreai",
            summary="Core AI asset for iOS 27 and macOS 27: Neural Engine, GPU or CPU",
            backends=("coreai",),
            file="VOLO.aimodel",
            minimum_ios=27,
            extra="coreai",
            packages=("coreai-torch", "coreai-core"),
            needs=Needs(
                python=(3, 11),
                machines=(("linux", "x86_64"), ("darwin", "arm64")),
                summary="Python 3.11 or later on Linux x86-64 or on a Mac with Apple silicon",
            ),
            proof_seconds=60.0,
        ),
    )
}

DEFAULT_SCHEMES = {
    "xnnpack": "int8-dynamic",
    "coreml": "int8-weight",
    "coreai": "int8-weight",
}  # of `--quantize`, by backend


@dataclass(frozen=True)
class Runtime:
    """What runs a saved file.

    Args:
        summary: what it is.
        backends: whose files it takes.
    """

    summary: str
    backends: tuple[str, ...]


RUNTIMES = {  # of `--runtime`; the default is the first that takes the file and that this machine has
    "native": Runtime(
        "what a phone has, on this machine's processor: ExecuTorch, Core ML or Core AI", ("xnnpack", "coreml", "coreai")
    ),
    "evaluator": Runtime("volo-edge's evaluator of Core ML packages", ("coreml",)),
    "arm64": Runtime("ExecuTorch on ARM64 code, in qemu where the machine is another", ("xnnpack",)),
}
IOS_VERSIONS = {"coreml": (15, 16, 17, 18), "coreai": (27,)}  # that a file can be made for, by backend
DEFAULT_IOS = 16  # the first with compressed weights: packages of different schemes run on the same phones


@dataclass(frozen=True)
class Choice:
    """A combination that some target takes; `minimum_ios` is the first iOS that runs it, None where any does."""

    target: Target
    backend: str
    scheme: Scheme
    minimum_ios: int | None

    def name(self, model: str) -> str:
        """What an artifact of that model is called: model, target, backend if it is not the usual one, scheme."""
        parts = dict.fromkeys((model, self.target.name, self.backend, self.scheme.name))
        return "-".join(parts).replace("-xnnpack", "")


def choose(target: str, backend: str | None, scheme: str | None, minimum_ios: int | None) -> Choice:
    """The combination asked for, None standing for the default; RequestError where no target takes it."""
    if target not in TARGETS:
        raise RequestError(f"no target is called '{target}': {did_you_mean(target, list(TARGETS))}")
    found = TARGETS[target]
    backend = backend or found.backends[0]
    if backend not in found.backends:
        known = did_you_mean(backend, list(found.backends))
        raise RequestError(f"target {target} has no backend '{backend}': {known}")
    scheme = scheme or DEFAULT_SCHEMES[backend]
    if scheme not in SCHEMES:
        raise RequestError(f"no quantization scheme is called '{scheme}': {did_you_mean(scheme, list(SCHEMES))}")
    chosen = SCHEMES[scheme]
    if backend not in chosen.backends:
        takes = ", ".join(name for name, other in SCHEMES.items() if backend in other.backends)
        raise RequestError(f"backend {backend} does not take the scheme {scheme}; it takes {takes}")
    versions = IOS_VERSIONS.get(backend, ())
    if minimum_ios is not None and not versions:
        raise RequestError("--minimum-ios is for Core ML and Core AI: an XNNPACK program runs wherever ExecuTorch does")
    if minimum_ios is not None and minimum_ios not in versions:
        raise RequestError(
            f"--minimum-ios {minimum_ios}: files for {backend} are made for iOS {', '.join(map(str, versions))}"
        )
    lowest = max(found.minimum_ios, chosen.minimum_ios)
    if minimum_ios is not None and minimum_ios < lowest:
        what = f"scheme {scheme}" if chosen.minimum_ios == lowest else f"target {target}"
        raise RequestError(f"{what} needs iOS {lowest}: pass --minimum-ios {lowest}")
    ios = minimum_ios or max(DEFAULT_IOS, lowest)
    return Choice(found, backend, chosen, ios if versions else None)
