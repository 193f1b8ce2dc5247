"""Timing on this machine: the command, what it writes, what it refuses; figures from known turns."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.command import contents, refusal, run
from tests.conftest import Converted
from volo_edge.benchmark import measure
from volo_edge.benchmark.request import PEERS

ABSENT = [name for name, peer in PEERS.items() if any(find_spec(package) is None for package in peer.packages)]


@pytest.mark.slow
def test_an_artifact_is_timed_beside_eager(executorch_artifact: Converted, tmp_path: Path) -> None:
    folder = executorch_artifact[0]
    asked = ("benchmark", folder, "--against", "eager", "--rounds", "2", "--runs", "3", "--threads", "1")
    ended = run(*asked, "--json", "--output", tmp_path / "new")
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)["benchmark"]
    assert found == json.loads((tmp_path / "new/benchmark.json").read_text())
    assert contents(tmp_path).keys() == {"new", "new/benchmark.json", "new/benchmark.svg"}
    ours, eager = found["timed"]
    assert (ours["name"], ours["what"], ours["ratio"]) == (folder.name, "fp32", 1)
    assert eager["name"] == "eager" and eager["ratio"] == measure.paired(eager["turns"], ours["turns"])
    for one in found["timed"]:
        assert len(one["turns"]) == 2 and 0 < min(one["turns"]) <= one["milliseconds"] <= max(one["turns"])
        assert one["relative_error"] < 1e-5 and one["top1_agreement"] == 1
        assert one["gops"] == pytest.approx(2e-6 * 71e6 / one["milliseconds"], rel=0.05)  # 0.07 billion products
    assert [roof["name"] for roof in found["roofs"]] == ["fp32", "int8"]
    assert all(roof["gops"] > ours["gops"] for roof in found["roofs"])
    xml.etree.ElementTree.parse(tmp_path / "new/benchmark.svg")
    assert "pass --force" in refusal(*asked, "--output", tmp_path / "new")


def test_contenders_are_compared_within_a_round() -> None:
    slow_half = [1.0, 1.0, 1.0, 10.0, 10.0]  # the machine's speed changed after the third round
    assert measure.paired([2 * time for time in slow_half], slow_half) == 2
    assert measure.paired([2.0, 2.0, 2.0, 90.0, 20.0], slow_half) == 2


def test_a_runtime_that_refuses_says_why(tmp_path: Path) -> None:
    asked = {"kind": "artifact", "folder": str(tmp_path), "threads": 1, "images": str(tmp_path / "absent.npy")}
    with measure._working(asked, 1) as worker:
        assert "absent.npy" in worker.hear()["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--against", "eagre"), "did you mean 'eager'"),
        (("--threads", "0"), "--threads 0: take at least 1"),
        (("--weights", "absent.pth"), "no weights at absent.pth"),
        (("--compute", "all"), "--compute is for a phone"),
        (("--device", "android", "--against", "eager"), "are for this machine"),
        *((("--against", name), "pip install 'volo-edge[bench]'") for name in ABSENT),
    ],
)
def test_refusals(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in refusal("benchmark", tmp_path, *arguments, cwd=tmp_path)
    assert not any(tmp_path.iterdir())


def test_one_artifact_twice(tmp_path: Path) -> None:
    assert "rename one" in refusal("benchmark", tmp_path, tmp_path, cwd=tmp_path)


@pytest.mark.slow
def test_the_roof_is_a_matrix_product() -> None:
    with measure._working({"kind": "products", "name": "fp32", "threads": 1}, 1) as worker:
        assert worker.hear() == {"logits": []}
        milliseconds = worker.turn(2)
    assert 1 < 2e-6 * measure.PRODUCTS * measure.ROOFLINE**3 / milliseconds < 1e5  # 10^9 operations a second
