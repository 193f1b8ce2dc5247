"""The iOS app fits what Apple and ExecuTorch document: it is type-checked against stubs of their modules.

Apple's SDK is on Macs only. A stub in `apple_stubs` declares what the app uses of a framework, as its documentation has
it, and does nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import swift

pytestmark = [pytest.mark.slow, swift.needed]

APP = swift.ROOT / "apps" / "ios" / "VoloEdge"
# Each after those that it imports.
STUBS = (
    *("AppleFoundation", "Darwin", "CoreGraphics", "ImageIO", "CoreVideo", "CoreML"),
    *("UIKit", "AVFoundation", "SwiftUI", "PhotosUI", "ExecuTorch", "CoreAI"),
)


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the app imports: the package, and the stubs."""
    folder = tmp_path_factory.mktemp("modules")
    package = "-module-name VoloEdgeKit -swift-version 6 /src/apps/ios/VoloEdgeKit/Sources/VoloEdgeKit/*.swift"
    stubs = [f"-module-name {name} -swift-version 5 /src/tests/apple_stubs/{name}.swift" for name in STUBS]
    compiled = [f"swiftc -emit-module -parse-as-library -I . {what}" for what in (package, *stubs)]
    ended = swift.run(folder, "bash", "-c", " && ".join(["cd /build", *compiled]))
    assert ended.returncode == 0, ended.stdout
    return folder


def mistakes(modules: Path, app: Path, version: int) -> str:
    """What the compiler says of the app's sources; nothing where they are right."""
    shutil.copytree(app, modules / "app", dirs_exist_ok=True)
    checks = f"-swift-version {version} -strict-concurrency=complete -warnings-as-errors"
    command = f"swiftc -typecheck -parse-as-library -module-name VoloEdge -I /build {checks} /build/app/*.swift"
    ended = swift.run(modules, "bash", "-c", command)
    assert (ended.returncode == 0) == (ended.stdout == "")
    return ended.stdout


@pytest.mark.parametrize("version", [5, 6])
def test_the_app_type_checks(modules: Path, version: int) -> None:
    said = mistakes(modules, APP, version)
    assert not said, said


def test_an_older_xcode_builds_it_without_core_ai(modules: Path, tmp_path: Path) -> None:
    older = tmp_path / "modules"
    shutil.copytree(modules, older, ignore=shutil.ignore_patterns("CoreAI.swiftmodule", "app"))
    said = mistakes(older, APP, 6)
    assert not said, said


@pytest.mark.parametrize(
    ("file", "right", "wrong", "said"),
    [
        ("CoreMLEngine.swift", "MLFeatureValue(pixelBuffer:", "MLFeatureValue(buffer:", "incorrect argument label"),
        ("CoreAIEngine.swift", 'remove("logits")', 'take("logits")', "no member 'take'"),
        ("Headless.swift", "await session.runSelfTest()", "session.runSelfTest()", "'async'"),
    ],
)
def test_what_is_wrong_is_seen(modules: Path, tmp_path: Path, file: str, right: str, wrong: str, said: str) -> None:
    shutil.copytree(APP, tmp_path, dirs_exist_ok=True)
    text = (tmp_path / file).read_text()
    assert right in text
    (tmp_path / file).write_text(text.replace(right, wrong))
    assert said in mistakes(modules, tmp_path, 5)
