"""Builds `runner.cpp`, once for a compiler and an SDK."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from volo_edge import files, machine
from volo_edge.converters.executorch.arm64 import cache, sdk
from volo_edge.converters.runner import RuntimeMissing

SOURCE = Path(__file__).with_name("runner.cpp")
CROSS = "aarch64-linux-gnu-g++"
REMEDY = "apt-get install g++-aarch64-linux-gnu (Debian, Ubuntu)"
_FLAGS = ("-std=c++17", "-O1", "-w", "-DC10_USING_CUSTOM_GENERATED_MACROS", f'-DEXECUTORCH_VERSION="{sdk.VERSION}"')
# The first are the SDK's; the others it needs, and they are named so that they come from the compiler's own system
_LIBRARIES = (*sdk.LIBRARIES, "stdc++", "m", "gcc_s", "dl", "pthread")


def native() -> bool:
    """Whether this machine runs ARM64 Linux programs itself."""
    return sys.platform == "linux" and machine.instruction_set() == "arm64"


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler for ARM64 Linux.

    Args:
        path: of the program.
        version: its first line on itself.
        libraries: where the C and C++ libraries of its programs are.
        root: what qemu takes for "/", where that is not this machine's.
    """

    path: str
    version: str
    libraries: Path
    root: Path | None


def compiler() -> Compiler:
    """This machine's; RuntimeMissing where it has none."""
    names = ("g++", CROSS) if native() else (CROSS,)
    for name in names:
        if path := shutil.which(name):
            library = Path(_said(path, "-print-file-name=libstdc++.so.6"))
            if not library.is_absolute():  # what gcc prints of a library that it has not
                raise RuntimeMissing(f"{path} has no C++ library: {REMEDY}")
            libraries = library.resolve().parent
            root = None if name == "g++" else libraries.parent
            return Compiler(path, _said(path, "--version").splitlines()[0], libraries, root)
    remedy = "apt-get install g++ (Debian, Ubuntu)" if native() else REMEDY
    raise RuntimeMissing(f"running a file as ARM64 code takes a C++ compiler ({names[0]}), which is not here: {remedy}")


def _said(path: str, option: str) -> str:
    ended = subprocess.run([path, option], capture_output=True, text=True)
    if ended.returncode or not ended.stdout.strip():
        raise RuntimeMissing(f"{path} does not work ({option} fails): {REMEDY}")
    return ended.stdout.strip()


def name(found: Compiler) -> str:
    """What the runner is called in the cache: another source, SDK or compiler makes another."""
    return f"runner-{files.key(SOURCE.read_bytes(), sdk.SHA256, found, _FLAGS, _LIBRARIES, str(cache.folder()))}"


def runner(found: Compiler, fetch: sdk.Fetch = sdk.download) -> Path:
    """The program, built on first use; RuntimeMissing where the SDK is not to be had or does not compile."""
    kit = sdk.unpacked(fetch)

    def fill(working: Path) -> None:
        include, lib = kit / "include", kit / "lib"
        command = [
            *(found.path, *_FLAGS, "-isystem", str(include)),
            *("-isystem", str(include / "executorch/runtime/core/portable_type/c10")),
            *(str(SOURCE), "-o", str(working / "runner"), f"-L{lib}", "-Wl,--no-as-needed"),
            # as RPATH, which comes before what the caller's LD_LIBRARY_PATH holds: libraries of this machine
            *("-Wl,--disable-new-dtags", "-Xlinker", "-rpath", "-Xlinker", f"{found.libraries}:{lib}"),
            *(f"-l{library}" for library in _LIBRARIES),
        ]
        ended = subprocess.run(command, capture_output=True, text=True)
        if ended.returncode:
            why = next((line for line in ended.stderr.splitlines() if "error" in line), "it says nothing")
            raise RuntimeMissing(f"{found.path} ({found.version}) cannot build the runner: {why}; try a newer one")

    return cache.made(name(found), fill) / "runner"
