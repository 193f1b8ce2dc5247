"""What is built holds all that an installed tool needs: every verb runs from it, offline, outside the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.command import Ended
from tests.small import SMALL
from tests.weights import named_weights
from volo_edge.app import _template
from volo_edge.model import VOLO

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PHOTOS = ROOT / "calibration/volo_cifar10/validation"
BUILD = "from setuptools import build_meta; build_meta.build_sdist({0!r}); build_meta.build_wheel({0!r})"
NOWHERE = "http://127.0.0.1:9"  # a proxy that answers nobody: what asks the network fails


def do(*command: str | Path, cwd: Path | None = None) -> None:
    """Run to a good end."""
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # which may be the checkout
    ended = subprocess.run([*map(str, command)], capture_output=True, text=True, env=alone, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel, built from a copy of what git has: building leaves folders behind."""
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    do(sys.executable, "-c", BUILD.format(str(made)), cwd=source)
    return made


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it, and a folder `work` to run in.

    Its dependencies are this Python's, which are too large to install again: its search path ends with this one's
    site-packages. That folder's own .pth files, among them the one that leads to the checkout, are not followed there.
    """
    home = tmp_path_factory.mktemp("installed")
    do(sys.executable, "-m", "venv", "--without-pip", home)
    (wheel,) = built.glob("*.whl")
    do(sys.executable, "-m", "pip", "--python", home / "bin/python", "install", "--no-index", "--no-deps", wheel)
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (home / "work").mkdir()
    return home


@pytest.fixture(scope="module")
def installed(environment: Path) -> Callable[..., Ended]:
    """Runs the installed command; `offline` is what the hub's library understands by that."""

    def run(*arguments: str | Path, offline: str = "") -> Ended:
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
        given = {name: os.environ[name] for name in ("PATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
        given |= proxies | {"HOME": str(environment), "HF_HUB_OFFLINE": offline}
        command = [environment / "bin/volo-edge", *map(str, arguments)]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=environment / "work", env=given)
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture(scope="module")
def photographs(environment: Path) -> Path:
    """Three classes of four photographs."""
    for label in ("cat", "ship", "truck"):
        (environment / "photos" / label).mkdir(parents=True)
        for photo in sorted((PHOTOS / label).iterdir())[:4]:
            shutil.copy(photo, environment / "photos" / label)
    return environment / "photos"


@pytest.fixture(scope="module")
def converted(installed: Callable[..., Ended]) -> Path:
    """The demo model, which the wheel brings, as the installed command converts it."""
    ended = installed("convert", "--target", "executorch", "--quantize", "int8-dynamic", "--output", "made")
    assert ended.status == 0, ended.err
    return Path("made")


def test_the_wheel_ships_the_demo_model_its_photographs_and_the_labels(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "volo_edge/calibration/volo_cifar10/volo_cifar10.safetensors" in names
    assert {"volo_edge/imagenet1k.txt", "volo_edge/report/template.html", "volo_edge/py.typed"} <= set(names)
    assert {"volo_edge/cli.py", "volo_edge/decompose/edge.py", "volo_edge/converters/coreml/lower.py"} <= set(names)
    for platform in ("android", "ios"):
        files = {f"volo_edge/apps/{platform}/{name}" for name in _template(platform)}
        assert files <= set(names) and any(name.endswith(".gitignore") for name in files)
    photographs = [name for name in names if name.endswith(".jpg")]
    assert sum("/calibration/" in name.removeprefix("volo_edge/calibration/") for name in photographs) == 200
    assert sum("/validation/" in name for name in photographs) == 500
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"volo_edge"}, "names of other projects"


def test_the_sdist_builds_the_same_wheel(built: Path, tmp_path: Path) -> None:
    (sdist,), (wheel,) = built.glob("*.tar.gz"), built.glob("*.whl")
    with tarfile.open(sdist) as archive:
        assert [member.name for member in archive if member.issym() or member.islnk()] == []
    pip = (sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation")
    do(*pip, "--wheel-dir", tmp_path, sdist)
    contents = []
    for path in (wheel, tmp_path / wheel.name):
        with zipfile.ZipFile(path) as archive:
            contents.append({name: archive.read(name) for name in archive.namelist()})
    assert contents[0].keys() == contents[1].keys()
    assert [name for name, data in contents[0].items() if data != contents[1][name]] == []


def test_what_runs_is_the_wheel_and_not_the_checkout(environment: Path) -> None:
    code = "import volo_edge.converters.targets as t, volo_edge.calibration as c; print(t.__file__, c.DEMO_VALIDATION)"
    command = [environment / "bin/python", "-c", code]
    said = subprocess.run(command, cwd=environment, env={}, check=True, capture_output=True, text=True).stdout
    assert [part.startswith(str(environment)) for part in said.split()] == [True, True]
    assert str(ROOT) not in said


@pytest.mark.parametrize("verb", ["models", "schemes", "doctor"])
def test_a_verb_that_lists_needs_nothing_else(installed: Callable[..., Ended], verb: str) -> None:
    ended = installed(verb, "--json")
    assert ended.status == 0, ended.err
    assert json.loads(ended.out)


def test_the_demo_is_converted_inspected_and_asked(
    installed: Callable[..., Ended], converted: Path, photographs: Path
) -> None:
    ended = installed("predict", "--json", converted, photographs / "truck")
    assert ended.status == 0, ended.err
    guesses = [one["classes"][0]["label"] for one in json.loads(ended.out)["predictions"]]
    assert len(guesses) == 4 and guesses.count("truck") >= 3
    ended = installed("inspect", "--json", converted)
    assert json.loads(ended.out)["program"]["delegates"] == ["XnnpackBackend"], ended.err
    ended = installed("inspect", converted, "--against", converted)
    assert ended.out.startswith("same     yes"), ended.err


@pytest.mark.parametrize("platform", ["android", "ios"])
def test_an_app_is_written(installed: Callable[..., Ended], environment: Path, converted: Path, platform: str) -> None:
    ended = installed("app", platform, converted, "--output", platform)
    assert ended.status == 0, ended.err
    written = {path.read_bytes() for path in (environment / "work" / platform).rglob("model.pte")}
    assert (environment / "work" / converted / "model.pte").read_bytes() in written


def test_it_is_evaluated_against_a_reference(
    installed: Callable[..., Ended], environment: Path, converted: Path, photographs: Path
) -> None:
    ended = installed("reference", "--data", photographs, "--device", "cpu", "--output", "reference.npz")
    assert ended.status == 0, ended.err
    given = ("--data", photographs, "--reference", "reference.npz", "--max-drop", "100", "--output", "report")
    ended = installed("evaluate", converted, *given)
    assert ended.status == 0, ended.err
    report = json.loads((environment / "work/report/report.json").read_text())
    assert report["data"]["photographs"] == 12
    assert (environment / "work/report/report.html").stat().st_size > 10_000  # its template is in the wheel


def test_its_layers_are_measured_and_it_is_timed(
    installed: Callable[..., Ended], environment: Path, converted: Path, photographs: Path
) -> None:
    weights = environment / "small.pth"  # of two blocks: each layer is measured twice
    torch.save(named_weights(VOLO(SMALL)).state_dict(), weights)
    few = ("--data", photographs, "--limit", "3", "--output", "layers")
    small = ("--target", "executorch", "--quantize", "int8-dynamic", "--weights", weights)
    ended = installed("sensitivity", *small, *few)
    assert ended.status == 0, ended.err
    assert [*(environment / "work/layers").glob("*.json")]
    ended = installed("benchmark", converted, "--rounds", "1", "--runs", "1", "--threads", "1", "--output", "times")
    assert ended.status == 0, ended.err
    assert [*(environment / "work/times").glob("*.json")]


def test_weights_of_the_hub_that_cannot_be_had_are_one_line(installed: Callable[..., Ended]) -> None:
    hub = ("--weights", "hf-hub:timm/volo_d1_224.sail_in1k")
    ended = installed("convert", "--target", "executorch", *hub, offline="1")
    assert ended.status == 2, ended.err
    (line,) = (line for line in ended.err.splitlines() if not line.startswith("step: "))
    assert line.startswith("volo-edge: hf-hub:timm/volo_d1_224.sail_in1k")


def test_a_program_that_imports_it_sees_its_types(environment: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from volo_edge.variants import VARIANTS\n\ntop1: str = VARIANTS['volo_d1_224'].top1\n")
    options = ("--strict", "--follow-imports", "silent", "--cache-dir", tmp_path / "cache")
    command = [sys.executable, "-m", "mypy", *options, "--python-executable", environment / "bin/python", program]
    said = subprocess.run([*map(str, command)], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True)
    assert b'expression has type "float", variable has type "str"' in said.stdout, said.stdout
    assert b"Found 1 error in 1 file" in said.stdout
