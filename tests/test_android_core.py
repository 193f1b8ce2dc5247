"""The Kotlin core compiles without a warning, and its own tests pass: golden vectors, artifacts, measuring."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "apps" / "android" / "core" / "src"
TOOLS = ROOT / ".tools"
COMPILER = TOOLS / "node_modules" / "kotlin-compiler" / "lib"
JAVA = TOOLS / "debian" / "usr" / "share" / "java"
LIBRARIES = [
    COMPILER / "kotlin-stdlib.jar",
    *(JAVA / name for name in ("json-android.jar", "junit4.jar", "hamcrest.jar")),
]
MISSING = [path for path in LIBRARIES if not path.exists()]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason="no Kotlin compiler or JUnit: bash tests/kotlin_tools.sh .tools"),
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java"),
]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core and its tests, compiled for what Android takes."""
    folder = tmp_path_factory.mktemp("kotlin")
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]  # a compiler that runs once is not worth optimizing
    compiler = ["java", *quick, "-cp", f"{COMPILER}/*", "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"]
    options = ["-Werror", "-no-reflect", "-no-stdlib", "-jvm-target", "11", "-d", folder, "-cp", classpath()]
    ended = subprocess.run([*compiler, *options, *sorted(CORE.rglob("*.kt"))], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


def classpath(*more: Path) -> str:
    return ":".join(str(path) for path in (*LIBRARIES, *more))


def test_the_cores_own_tests_pass(compiled: Path, tmp_path: Path) -> None:
    sources = sorted((CORE / "test").rglob("*Test.kt"))
    classes = [".".join(path.relative_to(CORE / "test" / "kotlin").with_suffix("").parts) for path in sources]
    results = tmp_path / "results.json"
    java = ["java", f"-Dresults={results}", "-cp", classpath(compiled, CORE / "test" / "resources")]
    ended = subprocess.run([*java, "org.junit.runner.JUnitCore", *classes], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    passed = re.search(r"^OK \((\d+) tests\)$", ended.stdout, re.MULTILINE)
    assert passed and int(passed[1]) == sum(path.read_text().count("@Test") for path in sources) > 0, ended.stdout
    schema = json.loads((ROOT / "docs" / "device-results.schema.json").read_text())
    jsonschema.validate(json.loads(results.read_text()), schema)
