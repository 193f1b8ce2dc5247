"""The wheel holds all that an installed tool needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from volo_edge.app import _template

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_ships_the_demo_model_its_photographs_and_the_labels(tmp_path: Path) -> None:
    source = tmp_path / "source"  # a copy: building leaves folders behind
    source.mkdir()
    shutil.copytree(ROOT / "volo_edge", source / "volo_edge", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path]
    subprocess.run([*command, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "volo_edge/calibration/volo_cifar10/volo_cifar10.safetensors" in names
    assert {"volo_edge/imagenet1k.txt", "volo_edge/report/template.html"} <= set(names)
    assert {"volo_edge/cli.py", "volo_edge/decompose/edge.py", "volo_edge/converters/coreml/lower.py"} <= set(names)
    for platform in ("android", "ios"):
        files = {f"volo_edge/apps/{platform}/{name}" for name in _template(platform)}
        assert files <= set(names) and any(name.endswith(".gitignore") for name in files)
    photographs = [name for name in names if name.endswith(".jpg")]
    assert sum("/calibration/" in name.removeprefix("volo_edge/calibration/") for name in photographs) == 200
    assert sum("/validation/" in name for name in photographs) == 500
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"volo_edge"}, "names of other projects"
