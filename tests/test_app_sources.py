"""Every source of the apps parses, and what is said in several places is the same in all of them."""

from __future__ import annotations

import json
import plistlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tree_sitter
import tree_sitter_kotlin
import tree_sitter_swift
import yaml
from PIL import Image

from volo_edge.converters.targets import TARGETS
from volo_edge.devices import APP

APPS = Path(__file__).parents[1] / "apps"
LANGUAGES = {
    ".swift": tree_sitter.Language(tree_sitter_swift.language()),
    ".kt": tree_sitter.Language(tree_sitter_kotlin.language()),
    ".kts": tree_sitter.Language(tree_sitter_kotlin.language()),
}


def sources(*suffixes: str) -> list[Path]:
    """What git knows of, and what it would: no build outputs."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."]
    names = subprocess.run(command, cwd=APPS, capture_output=True, text=True, check=True).stdout.splitlines()
    return [APPS / name for name in names if Path(name).suffix in suffixes and (APPS / name).exists()]


def mistakes(node: tree_sitter.Node) -> Iterator[str]:
    """What of a syntax tree the grammar could not read."""
    if node.is_error or node.is_missing:
        line = node.start_point[0] + 1
        yield f"line {line}: {'missing ' + node.type if node.is_missing else 'cannot be read'}"
    elif node.has_error:
        for child in node.children:
            yield from mistakes(child)


def named(path: Any) -> str:
    return str(path.relative_to(APPS)) if isinstance(path, Path) else ""


@pytest.mark.parametrize("path", sources(*LANGUAGES), ids=named)
def test_swift_and_kotlin_parse(path: Path) -> None:
    text = path.read_bytes()
    tree = tree_sitter.Parser(LANGUAGES[path.suffix]).parse(text)
    assert list(mistakes(tree.root_node)) == []
    assert max(map(len, text.decode().splitlines())) <= 120


@pytest.mark.parametrize("suffix", LANGUAGES)
def test_what_is_broken_is_seen(suffix: str) -> None:
    tree = tree_sitter.Parser(LANGUAGES[suffix]).parse(b"class A { fun ( }")
    assert list(mistakes(tree.root_node))


@pytest.mark.parametrize("path", sources(".xml"), ids=named)
def test_xml_parses(path: Path) -> None:
    ElementTree.parse(path)


@pytest.mark.parametrize("path", sources(".yml", ".yaml"), ids=named)
def test_yaml_parses(path: Path) -> None:
    assert yaml.safe_load(path.read_text())


@pytest.mark.parametrize("path", sources(".toml"), ids=named)
def test_toml_parses(path: Path) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has the first reader of TOML")
    assert tomllib.loads(path.read_text())


def test_gradle_builds_name_what_the_catalogue_has() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 has the first reader of TOML")
    catalogue = tomllib.loads((APPS / "android" / "gradle" / "libs.versions.toml").read_text())
    entries = {**catalogue["libraries"], **{f"plugins.{name}": entry for name, entry in catalogue["plugins"].items()}}
    builds = "\n".join(path.read_text() for path in (APPS / "android").glob("**/build.gradle.kts"))
    named = set(re.findall(r"\((?:platform\()?libs\.([\w.]+)\)", builds))
    assert named == {name.replace("-", ".") for name in entries}
    versions = {entry["version"]["ref"] for entry in entries.values() if "version" in entry}
    assert versions == catalogue["versions"].keys()


@pytest.mark.parametrize("path", sources(".xcprivacy", ".plist"), ids=named)
def test_property_lists_parse(path: Path) -> None:
    assert plistlib.loads(path.read_bytes())


def test_nothing_leaves_the_phone() -> None:
    android = "{http://schemas.android.com/apk/res/android}"
    manifest = ElementTree.parse(APPS / "android" / "app" / "src" / "main" / "AndroidManifest.xml")
    permissions = {
        entry.get(f"{android}name"): entry.get("{http://schemas.android.com/tools}node")
        for entry in manifest.iter("uses-permission")
    }
    assert permissions == {"android.permission.CAMERA": None, "android.permission.INTERNET": "remove"}
    privacy = plistlib.loads((APPS / "ios" / "VoloEdge" / "PrivacyInfo.xcprivacy").read_bytes())
    assert privacy["NSPrivacyTracking"] is False and privacy["NSPrivacyCollectedDataTypes"] == []


def test_an_iphone_is_told_why_the_camera_is_used() -> None:
    target = yaml.safe_load((APPS / "ios" / "project.yml").read_text())["targets"]["VoloEdge"]
    assert target["info"]["properties"]["NSCameraUsageDescription"]


def test_xcode_runs_a_release_build() -> None:
    scheme = yaml.safe_load((APPS / "ios" / "project.yml").read_text())["schemes"]["VoloEdge"]
    assert scheme["run"]["config"] == "Release"  # preprocessing takes ten times as long in a debug build


def test_the_ios_app_has_an_icon() -> None:
    target = yaml.safe_load((APPS / "ios" / "project.yml").read_text())["targets"]["VoloEdge"]
    name = target["settings"]["base"]["ASSETCATALOG_COMPILER_APPICON_NAME"]
    folder = APPS / "ios" / "VoloEdge" / "Assets.xcassets" / f"{name}.appiconset"
    (image,) = json.loads((folder / "Contents.json").read_text())["images"]
    with Image.open(folder / image["filename"]) as icon:
        assert (icon.size, icon.mode) == ((1024, 1024), "RGB")  # a transparent one is refused by the App Store


def test_the_ios_app_links_the_executorch_that_exports() -> None:
    pins = re.findall(r'"executorch==([\d.]+)"', (APPS.parent / "pyproject.toml").read_text())
    package = yaml.safe_load((APPS / "ios" / "executorch.yml").read_text())["packages"]["ExecuTorch"]
    engine = (APPS / "ios" / "VoloEdge" / "ExecuTorchEngine.swift").read_text()
    said = re.findall(r'"ExecuTorch", version: "([\d.]+)"', engine)
    assert [package["branch"].removeprefix("swiftpm-")] == said == pins


def test_the_app_for_core_ai_is_for_the_ios_that_has_it() -> None:
    spec = yaml.safe_load((APPS / "ios" / "coreai.yml").read_text())
    assert spec["include"] == "project.yml"
    assert spec["options"]["deploymentTarget"]["iOS"] == f"{TARGETS['coreai'].minimum_ios}.0"
    assert {"sdk": "CoreAI.framework"} in spec["targets"]["VoloEdge"]["dependencies"]


def test_both_apps_have_the_name_that_the_tools_look_for() -> None:
    target = yaml.safe_load((APPS / "ios" / "project.yml").read_text())["targets"]["VoloEdge"]
    assert target["settings"]["base"]["PRODUCT_BUNDLE_IDENTIFIER"] == APP
    assert f'applicationId = "{APP}"' in (APPS / "android" / "app" / "build.gradle.kts").read_text()


@pytest.mark.parametrize("path", sources(".swift"), ids=named)
def test_the_swift_package_imports_apples_frameworks_only_where_they_are(path: Path) -> None:
    if "VoloEdgeKit" not in path.parts:
        return
    allowed = {"Foundation", "PackageDescription", "VoloEdgeKit", "XCTest"}
    assert set(re.findall(r"^\s*(?:@testable )?import (\w+)", path.read_text(), re.MULTILINE)) <= allowed
