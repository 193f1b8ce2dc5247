"""The same model, converted in another process, at another place and under another name, is the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import contents, run
from tests.conftest import Converted
from volo_edge.converters.coreml.canonical import make_canonical

pytestmark = pytest.mark.slow

LOWERED = """
import sys
from pathlib import Path
import torch
from tests.small import SMALL, edge_model, preprocessing_of
from volo_edge.console import Steps
from volo_edge.converters.card import Card
from volo_edge.converters.coreml.lower import lower as package
from volo_edge.converters.executorch.lower import lower as program
from volo_edge.converters.targets import choose
from volo_edge.decompose import CHANNELS_FIRST
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import precisions

def made(target, backend, scheme):
    choice, edge = choose(target, backend, scheme, None), edge_model(SMALL, CHANNELS_FIRST)
    batches = lambda: iter([torch.arange(2 * 3 * 72 * 48).remainder(251).float().reshape(2, 3, 72, 48)])
    return quantize(edge, precisions(edge, choice.scheme), choice.backend, batches, 2, Steps(None)), choice

card = Card(tuple("abcde"), "softmax", "five letters", "", "", "1", {f"key {n}": str(n) for n in range(9)})
package(*made("coreml", None, "palette4"), Path("VOLO.mlpackage"), card)
program(*made("executorch", "coreml", "int8-weight"), Path("model.pte"))
"""


def test_the_demo_package_is_the_same_wherever_it_is_made(coreml_artifact: Converted, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    said = ("--author", "A. Person", "--license", "CC0", "--output", "../another name")
    seed = {**os.environ, "PYTHONHASHSEED": "7"}
    ended = run("convert", "--target", "coreml", "--quantize", "fp16", *said, cwd=tmp_path / "elsewhere", env=seed)
    assert ended.status == 0, ended.err
    assert contents(tmp_path / "another name") == contents(coreml_artifact[0])


def test_palettes_and_programs_that_hold_a_package_are_the_same_in_every_process(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        folder = tmp_path / f"made with {seed}"
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        subprocess.run([sys.executable, "-c", LOWERED], cwd=folder, env=environment, check=True, capture_output=True)
    first, second = (contents(folder) for folder in sorted(tmp_path.iterdir()))
    assert first.keys() == second.keys() and {"model.pte", "VOLO.mlpackage/Manifest.json"} <= first.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_package_says_nothing_of_when_it_was_made(coreml_artifact: Converted) -> None:
    import coremltools as ct

    metadata = ct.utils.load_spec(str(coreml_artifact[0] / "VOLO.mlpackage")).description.metadata
    assert metadata.userDefined["com.github.apple.coremltools.version"] == "9.0"
    assert [key for key in metadata.userDefined if "date" in key] == []


def test_a_package_that_lists_its_items_otherwise_is_rewritten_to_the_same(
    coreml_artifact: Converted, tmp_path: Path
) -> None:
    import shutil

    import coremltools as ct

    package = tmp_path / "VOLO.mlpackage"
    shutil.copytree(coreml_artifact[0] / "VOLO.mlpackage", package)
    before = contents(package)
    manifest = json.loads((package / "Manifest.json").read_text())
    renamed = {
        key: f"{number}0000000-0000-4000-8000-000000000000" for number, key in enumerate(manifest["itemInfoEntries"])
    }
    manifest["itemInfoEntries"] = {renamed[key]: item for key, item in reversed(manifest["itemInfoEntries"].items())}
    manifest["rootModelIdentifier"] = renamed[manifest["rootModelIdentifier"]]
    (package / "Manifest.json").write_text(json.dumps(manifest))
    specification = ct.utils.load_spec(str(package))
    specification.description.metadata.userDefined["com.github.apple.coremltools.conversion_date"] = "1970-01-01"
    (package / "Data/com.apple.CoreML/model.mlmodel").write_bytes(specification.SerializeToString())
    assert contents(package) != before
    make_canonical(package)
    assert contents(package) == before
