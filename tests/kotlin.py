"""The Kotlin compiler that tests/kotlin_tools.sh fetches, and what it compiles of the Android app."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).parents[1]
ANDROID = ROOT / "apps" / "android"
CORE = ANDROID / "core" / "src"
_TOOLS = ROOT / ".tools"
_COMPILER = _TOOLS / "node_modules" / "kotlin-compiler" / "lib"
_JAVA = _TOOLS / "debian" / "usr" / "share" / "java"

STDLIB = _COMPILER / "kotlin-stdlib.jar"
COROUTINES = _COMPILER / "kotlinx-coroutines-core-jvm.jar"
COMPOSE = _COMPILER / "compose-compiler-plugin.jar"
JSON = _JAVA / "json-android.jar"
JUNIT = (_JAVA / "junit4.jar", _JAVA / "hamcrest.jar")

_MISSING = [path.name for path in (STDLIB, COROUTINES, COMPOSE, JSON, *JUNIT) if not path.exists()]
_MARKS = (
    pytest.mark.slow,
    pytest.mark.skipif(bool(_MISSING), reason=f"no {', '.join(_MISSING)}: bash tests/kotlin_tools.sh .tools"),
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java"),
)
Test = TypeVar("Test", bound=Callable[..., None])


def needed(test: Test) -> Test:
    """Skip the test where it cannot be compiled, and say what is missing."""
    for mark in _MARKS:
        test = mark(test)
    return test


def classpath(paths: Iterable[Path]) -> str:
    return ":".join(map(str, paths))


def compiled(
    sources: Iterable[Path], libraries: Iterable[Path], folder: Path, *options: str
) -> subprocess.CompletedProcess[str]:
    """Compile `sources` into `folder` for what Android takes; a warning is an error."""
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # a compiler that runs once is not worth optimizing
    compiler = ["java", *quick, "-cp", f"{_COMPILER}/*", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    fixed = ["-Werror", "-no-reflect", "-no-stdlib", "-jvm-target", "11", "-d", str(folder)]
    command = [*compiler, *fixed, *options, "-cp", classpath([STDLIB, *libraries]), *map(str, sorted(sources))]
    return subprocess.run(command, capture_output=True, text=True)
