"""constraints.txt: the versions that are tested, for every Python that the project takes."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LINES = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]


def versions(python: str) -> list[tuple[str, str]]:
    """Names and versions of the lines that hold in a Python."""
    needed = (Requirement(line) for line in LINES)
    holding = (one for one in needed if one.marker is None or one.marker.evaluate({"python_version": python}))
    return [(canonicalize_name(one.name), str(one.specifier).removeprefix("==")) for one in holding]


def script() -> ModuleType:
    """What writes the file."""
    found = importlib.util.spec_from_file_location("constraints", ROOT / ".ci/constraints.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("python", PYTHONS)
def test_each_python_has_one_version_of_everything(python: str) -> None:
    found = versions(python)
    assert len(dict(found)) == len(found)
    assert all(version[0].isdigit() and "+" not in version for _, version in found)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML")
@pytest.mark.parametrize("python", PYTHONS)
def test_the_versions_are_those_the_project_takes(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(versions(python))
    extras = project["optional-dependencies"]
    for text in (*project["dependencies"], *extras["dev"], *(extras["coreai"] if python != "3.10" else ())):
        needed = Requirement(text)
        if needed.name == "volo-edge":  # with an extra of its own
            continue
        assert needed.specifier.contains(pinned[canonicalize_name(needed.name)]), text


@pytest.mark.skipif(not os.environ.get("CI"), reason="another's environment may have newer releases, and should")
def test_ci_has_the_versions_of_the_file() -> None:
    installed: dict[str, str] = script().installed()
    pinned = dict(versions(f"{sys.version_info[0]}.{sys.version_info[1]}"))
    assert installed == {name: version for name, version in pinned.items() if name in installed}
    assert len(installed) > 90
