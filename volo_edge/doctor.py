"""What this machine has, what the tool needs, and how to get what is missing. Imports none of it but to see it load."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from volo_edge.machine import instruction_set

DISTRIBUTION = "volo-edge"


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Args:
        what: a package or an ability.
        needed: the version needed, or what it is for.
        found: the version found, or what was seen.
        ok: whether it will do; None where it is not needed here.
        remedy: how to get it, "" where nothing is to be done.
    """

    what: str
    needed: str
    found: str
    ok: bool | None
    remedy: str = ""


def examine() -> list[Finding]:
    """Python, every package that `pyproject.toml` asks for, and what this machine can run."""
    return [_python(), *_packages(), *_runtimes()]


def _python() -> Finding:
    needed = metadata.metadata(DISTRIBUTION)["Requires-Python"]
    ok = platform.python_version() in SpecifierSet(needed)
    return Finding("python", needed, platform.python_version(), ok, "" if ok else "make a virtual environment with it")


def _packages() -> list[Finding]:
    findings = []
    for requirement in map(Requirement, metadata.requires(DISTRIBUTION) or []):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name, needed = requirement.name, str(requirement.specifier)
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            findings.append(Finding(name, needed, "not installed", False, f"pip install '{requirement}'"))
            continue
        ok = requirement.specifier.contains(found, prereleases=True)
        findings.append(Finding(name, needed, found, ok, "" if ok else f"pip install '{requirement}'"))
    return findings


def _runtimes() -> list[Finding]:
    findings = [_executorch(), _core_ml(), *_extras(), _accelerator(), *_arm64(), *_phones()]
    free = shutil.disk_usage(Path.cwd()).free
    findings.append(
        Finding(
            "free disk space", "5 GB for VOLO-D5", f"{free / 1e9:.0f} GB", free > 5e9, "" if free > 5e9 else "make room"
        )
    )
    return findings


def _executorch() -> Finding:
    """Whether a .pte can be run here; in another process, which a broken library may take down."""
    what, needed = "run .pte files", "ExecuTorch's runtime with XNNPACK"
    program = "import torch; from executorch.extension.pybindings import _C; print(*_C._get_registered_backend_names())"
    try:
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return Finding(what, needed, "not loaded within 120 s", False, "end other programs and look again")
    if "XnnpackBackend" in result.stdout:
        return Finding(what, needed, "yes", True)
    reason = (result.stderr.strip() or "no XnnpackBackend in it").splitlines()[-1]
    return Finding(what, needed, reason, False, "pip install --force-reinstall the executorch above")


def _core_ml() -> Finding:
    what, needed = "run .mlpackage files", "Core ML on macOS, the evaluator elsewhere"
    if platform.system() == "Darwin":
        return Finding(what, needed, f"macOS {platform.mac_ver()[0]}", True)
    return Finding(what, needed, "evaluator", True)


def _extras() -> list[Finding]:
    """What targets need that a plain installation does not have."""
    from volo_edge.converters.targets import TARGETS
    from volo_edge.errors import RequestError

    findings = []
    for target in TARGETS.values():
        if not target.packages:
            continue
        needed = f"convert --target {target.name}"
        try:
            target.require()
        except RequestError as error:
            findings.append(Finding(f"target {target.name}", needed, "not here", None, str(error)))
            continue
        found = {name: version or "" for name, version in target.versions.items()}
        pinned = [r for r in map(Requirement, metadata.requires(DISTRIBUTION) or []) if r.name in found]
        wrong = [r.name for r in pinned if not r.specifier.contains(found[r.name], prereleases=True)]
        remedy = f"pip install 'volo-edge[{target.extra}]'" if wrong else ""
        said = ", ".join(f"{name} {version}" for name, version in found.items())
        findings.append(Finding(f"target {target.name}", needed, said, not wrong, remedy))
    return findings


def _phones() -> list[Finding]:
    """What drives a connected phone, which only `benchmark` needs."""
    from volo_edge.devices import adb, devicectl

    findings = []
    for tool, device, remedy in (("adb", "android", adb.REMEDY), ("xcrun", "ios", devicectl.REMEDY)):
        found = shutil.which(tool)
        needed = f"benchmark --device {device}"
        findings.append(Finding(tool, needed, found or "not here", True if found else None, "" if found else remedy))
    return findings


def _arm64() -> list[Finding]:
    """What runs .pte files as ARM64 code, which only `--runtime arm64` needs. Nothing is fetched or built."""
    from volo_edge.converters.executorch.arm64 import build, cache, probe, processors, qemu, sdk
    from volo_edge.converters.runner import RuntimeMissing

    needed, runner, findings = "--runtime arm64", None, []
    if sys.platform != "linux":
        here = "--runtime native runs ARM64 code" if instruction_set() == "arm64" else "take a Linux machine"
        return [Finding("run .pte files as ARM64 code", needed, "on Linux only", None, here)]
    try:
        compiler = build.compiler()
        findings.append(Finding("ARM64 compiler", needed, compiler.version, True))
        runner = cache.folder() / build.name(compiler) / "runner"
    except RuntimeMissing as error:
        findings.append(Finding("ARM64 compiler", needed, "not here", None, str(error)))
    findings.append(_kept("ExecuTorch for ARM64", needed, sdk.VERSION if sdk.present() else None))
    findings.append(_kept("ARM64 runner", needed, "built" if runner and runner.is_file() else None))
    try:
        emulator = qemu.find()
    except RuntimeMissing as error:
        return [*findings, Finding("qemu-aarch64", needed, "not here", None, str(error))]
    findings.append(Finding("qemu-aarch64", needed, f"{emulator.version}, {emulator.path}", True))
    for processor in processors.PROCESSORS.values():
        what = f"computes {processor.name}"
        result = probe.known(processor, emulator, runner) if runner and runner.is_file() else None
        if result is None:
            findings.append(Finding(what, needed, "not tried yet", None, "the first run on it does"))
        elif result.why:
            remedy = f"qemu-user-static {processor.qemu} or later"
            findings.append(Finding(what, needed, f"wrongly: {result.why}", None, remedy))
        else:
            findings.append(Finding(what, needed, f"rightly, error {result.error:.0e}", True))
    return findings


def _kept(what: str, needed: str, found: str | None) -> Finding:
    """Something that is made on first use."""
    remedy = "" if found else "the first run makes it"
    return Finding(what, needed, found or "not here yet", True if found else None, remedy)


def _accelerator() -> Finding:
    what, needed = "float reference", "any device; a GPU is faster"
    if importlib.util.find_spec("torch") is None:
        return Finding(what, needed, "torch is not installed", False)
    import torch

    if torch.cuda.is_available():
        return Finding(what, needed, torch.cuda.get_device_name(), True)
    return Finding(what, needed, "MPS" if torch.backends.mps.is_available() else "CPU", True)
