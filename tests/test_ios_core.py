"""The Swift package compiles without a warning, and its own tests pass: golden vectors, artifacts, measuring."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from tests import swift

PACKAGE = "apps/ios/VoloEdgeKit"


@pytest.mark.slow
@swift.needed
def test_the_packages_own_tests_pass(tmp_path: Path) -> None:
    folders = ["--package-path", f"/src/{PACKAGE}", "--scratch-path", "/build/package"]
    options = ["--disable-swift-testing", "-Xswiftc", "-warnings-as-errors"]
    results = ["env", "VOLO_EDGE_RESULTS=/build/results.json"]
    ended = swift.run(tmp_path, *results, "swift", "test", *folders, *options)
    assert ended.returncode == 0, ended.stdout
    # of all of them: the last suite holds the others
    ran = re.findall(r"Executed (\d+) tests, with 0 failures", ended.stdout)
    sources = (swift.ROOT / PACKAGE / "Tests").rglob("*.swift")
    written = sum(len(re.findall(r"^    func test", path.read_text(), re.MULTILINE)) for path in sources)
    assert int(ran[-1]) == written > 0, ended.stdout
    schema = json.loads((swift.ROOT / "docs" / "device-results.schema.json").read_text())
    jsonschema.validate(json.loads((tmp_path / "results.json").read_text()), schema)
