"""The Android app type-checks, and names nothing that is not there.

No Android SDK is needed: `android_stubs` declares what the app uses of Android, AndroidX, Compose, CameraX and
ExecuTorch, a file a package, as it is documented upstream. The Compose compiler plug-in checks where composables are
called; without Compose's own runtime it transforms nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests import kotlin

MAIN = kotlin.ANDROID / "app" / "src" / "main"
STUBS = Path(__file__).parent / "android_stubs"
LIBRARIES = [kotlin.COROUTINES, kotlin.JSON]
COMPOSE = (
    f"-Xplugin={kotlin.COMPOSE}",
    *("-P", "plugin:androidx.compose.compiler.plugins.kotlin:skipIrLoweringIfRuntimeNotFound=true"),
    "-Xwarning-level=COMPOSE_CONFIGURATION_WARNING:disabled",  # that it transforms nothing
)

# Each line marked so must be refused. Where there are errors, the compiler does not tell of warnings.
ERRORS = """
package org.voloedge.app

import android.os.Bundle
import androidx.camera.core.ImageProxy
import androidx.compose.material3.Text
import androidx.compose.runtime.Composable
import org.pytorch.executorch.Module
import org.voloedge.core.largestIndex // refused: internal

fun argument(frame: ImageProxy) = frame.planes["0"] // refused
fun unchecked(arguments: Bundle): Int = arguments.getString("runs").length // refused
fun renamed(module: Module) = module.run() // refused
fun outside() = Text("not in a composition") // refused

@Composable
fun Lines(count: String) = Text(text = "two", maxLines = count) // refused
"""
WARNINGS = """
package org.voloedge.app

fun checked(frame: androidx.camera.core.ImageProxy) = frame?.width // refused
"""


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the app uses, compiled: the core, and the stubs."""
    folder = tmp_path_factory.mktemp("used")
    sources = [*STUBS.glob("*.kt"), *(kotlin.CORE / "main").rglob("*.kt")]
    ended = kotlin.compiled(sources, LIBRARIES, folder, *COMPOSE)
    assert ended.returncode == 0, ended.stderr
    return folder


@kotlin.needed
def test_the_app_compiles_without_a_warning(used: Path, tmp_path: Path) -> None:
    ended = kotlin.compiled((MAIN / "kotlin").rglob("*.kt"), [*LIBRARIES, used], tmp_path, *COMPOSE)
    assert (ended.returncode, ended.stderr) == (0, "")


@kotlin.needed
@pytest.mark.parametrize("text", [ERRORS, WARNINGS], ids=["errors", "warnings"])
def test_what_is_broken_is_refused(used: Path, tmp_path: Path, text: str) -> None:
    source = tmp_path / "Broken.kt"
    source.write_text(text)
    ended = kotlin.compiled([source], [*LIBRARIES, used], tmp_path / "classes", *COMPOSE)
    refused = {int(line) for line in re.findall(r"Broken\.kt:(\d+):", ended.stderr)}
    assert ended.returncode != 0
    assert refused == {number for number, line in enumerate(text.splitlines(), 1) if "// refused" in line}


def test_each_stub_is_of_the_package_it_is_named_for() -> None:
    packages = {path.stem: re.search(r"^package (\S+)$", path.read_text(), re.MULTILINE) for path in STUBS.iterdir()}
    assert packages and {name: found and found[1] for name, found in packages.items()} == {
        name: name for name in packages
    }


def test_classes_and_resources_that_xml_names_are_there() -> None:
    documents = [path.read_text() for path in MAIN.rglob("*.xml")]
    sources = "\n".join(path.read_text() for path in MAIN.rglob("*.kt"))
    classes = re.findall(r'android:name="\.(\w+)"', "\n".join(documents))
    assert classes and all(f"class {name}" in sources for name in classes)
    kinds = {path: path.parent.name.split("-")[0] for path in (MAIN / "res").rglob("*.xml")}
    there = {f"@{kind}/{path.stem}" for path, kind in kinds.items() if kind != "values"}
    for path, kind in kinds.items():
        if kind == "values":
            there |= {f"@{entry.tag}/{entry.get('name')}" for entry in ElementTree.parse(path).getroot()}
    named = set(re.findall(r"\"(@\w+/[\w.]+)\"", "\n".join(documents)))
    assert named and named <= there


def test_the_app_runs_files_in_the_release_that_wrote_them() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has the first reader of TOML")
    catalogue = tomllib.loads((kotlin.ANDROID / "gradle" / "libs.versions.toml").read_text())
    project = tomllib.loads((kotlin.ROOT / "pyproject.toml").read_text())["project"]
    assert f"executorch=={catalogue['versions']['executorch']}" in project["dependencies"]
