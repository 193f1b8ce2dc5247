"""The Kotlin core compiles without a warning, and its own tests pass: golden vectors, artifacts, measuring."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from tests import kotlin
from volo_edge.device_results import FORMAT

TESTS = kotlin.CORE / "test"
LIBRARIES = [kotlin.JSON, *kotlin.JUNIT]
SCHEMA = kotlin.ROOT / "docs" / "device-results.schema.json"


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core and its tests, compiled."""
    folder = tmp_path_factory.mktemp("core")
    ended = kotlin.compiled(kotlin.CORE.rglob("*.kt"), LIBRARIES, folder)
    assert ended.returncode == 0, ended.stderr
    return folder


@kotlin.needed
def test_the_cores_own_tests_pass_and_the_host_reads_what_it_writes(core: Path, tmp_path: Path) -> None:
    sources = sorted(TESTS.rglob("*Test.kt"))
    classes = [".".join(path.relative_to(TESTS / "kotlin").with_suffix("").parts) for path in sources]
    results = tmp_path / "results.json"
    paths = kotlin.classpath([kotlin.STDLIB, *LIBRARIES, core, TESTS / "resources"])
    ended = subprocess.run(
        ["java", "-cp", paths, "org.junit.runner.JUnitCore", *classes],
        env={**os.environ, "VOLO_EDGE_RESULTS": str(results)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    passed = re.search(r"^OK \((\d+) tests\)$", ended.stdout, re.MULTILINE)
    assert passed and int(passed[1]) == sum(path.read_text().count("@Test") for path in sources) > 0, ended.stdout
    written = json.loads(results.read_text())
    jsonschema.validate(written, json.loads(SCHEMA.read_text()))
    assert FORMAT.as_json(FORMAT.read(results)) == written
