"""Timing on this machine: the command, what it writes, what it refuses; figures from known turns."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import xml.etree.ElementTree
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.command import contents, refusal, run
from tests.conftest import Converted
from volo_edge import machine
from volo_edge.benchmark import measure, plot, runners
from volo_edge.benchmark.request import PEERS
from volo_edge.errors import RequestError

ABSENT = [name for name, peer in PEERS.items() if peer.missing]


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
    assert eager["memory"] is None and 5e6 < ours["memory"] < 2e8  # the file's 10 MB and what runs it
    assert [roof["name"] for roof in found["roofs"]] == ["fp32", "int8"]
    assert all(roof["gops"] > 0 for roof in found["roofs"])
    xml.etree.ElementTree.parse(tmp_path / "new/benchmark.svg")
    assert "pass --force" in refusal(*asked, "--output", tmp_path / "new")


def test_a_name_is_drawn_as_it_is(tmp_path: Path) -> None:
    """A dollar begins no formula, and what nobody sees is escaped."""
    one = measure.Timed("cost $\\frac{1$ \x1b", "fp32", 2.0, (2.0, 2.0), 1.0, 1.0, None, None, None)
    found = measure.Benchmark("a$^", (64, 64), 1, 2, 1, (one,), {}, (), machine.Machine("", "a $5 processor", 1), {})
    plot.draw(found, tmp_path / "plot.svg")
    xml.etree.ElementTree.parse(tmp_path / "plot.svg")


def test_contenders_are_compared_within_a_round() -> None:
    slow_half = [1.0, 1.0, 1.0, 10.0, 10.0]  # the machine's speed changed after the third round
    assert measure.paired([2 * time for time in slow_half], slow_half) == 2
    assert measure.paired([2.0, 2.0, 2.0, 90.0, 20.0], slow_half) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["compile", "litert", "litert-int8", "mnn", "mnn-int8", "ncnn"])
def test_a_peer_answers_as_the_float_model_does(name: str, executorch_artifact: Converted, tmp_path: Path) -> None:
    if name in ABSENT:
        pytest.skip(f"what {name} needs is not installed")
    asked = ("benchmark", executorch_artifact[0], "--against", name, "--rounds", "1", "--runs", "1", "--threads", "2")
    ended = run(*asked, "--json", "--output", tmp_path / "new")
    assert ended.status == 0, ended.err
    found = json.loads(ended.out)["benchmark"]
    assert found["refused"] == {}
    peer = found["timed"][1]
    assert peer["top1_agreement"] == 1
    assert peer["relative_error"] < (0.05 if name.endswith("int8") else 1e-3)


@settings(deadline=None)
@given(st.data(), st.integers(0, 2), st.tuples(st.integers(5, 11), st.integers(5, 11)))
def test_fold_as_a_transposed_convolution(data: st.DataObject, padding: int, size: tuple[int, int]) -> None:
    kernel, stride = 2 * padding + 1, data.draw(st.integers(1, padding + 1))
    window = {"kernel_size": kernel, "stride": stride, "padding": padding}
    columns = F.unfold(torch.rand(2, 3, *size, dtype=torch.float64), **window)
    found = runners._fold(columns, size, (kernel,) * 2, (1, 1), (padding,) * 2, (stride,) * 2)
    torch.testing.assert_close(found, F.fold(columns, size, **window))


def test_a_runtime_that_refuses_says_why(tmp_path: Path) -> None:
    asked = {"kind": "artifact", "folder": str(tmp_path), "threads": 1, "images": str(tmp_path / "absent.npy")}
    with measure._scratch() as place, measure._working(asked, 1, place) as worker:
        assert "absent.npy" in worker.hear()["error"]


# what a runtime writes, in a process that it started too, before the contender is ready and while it has its turn
LITTER = """
import json, os, subprocess, sys, tempfile, time
write = "import tempfile, time; open(tempfile.mkdtemp() + '/big', 'w').write('x'); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", write])
while sum(map(len, (files for *_, files in os.walk(tempfile.gettempdir())))) < 1:
    time.sleep(0.01)
print(json.dumps({"logits": [], "memory": 0}), flush=True)
for line in sys.stdin:
    tempfile.mkdtemp()
    print(json.dumps({"milliseconds": [1.0]}), flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="ends groups of processes, which are POSIX")
@pytest.mark.parametrize("ends", ["well", "badly", "interrupted"])
def test_contenders_leave_no_file_and_no_process(ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "python", lambda *_: [sys.executable, "-c", LITTER])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    groups: list[int] = []
    raised = {"badly": RequestError, "interrupted": KeyboardInterrupt}

    def work() -> None:
        with measure._scratch() as place, ExitStack() as running:
            for _ in range(2):
                worker = running.enter_context(measure._working({}, 1, place))
                groups.append(worker._process.pid)
                assert "error" not in worker.hear()
                assert worker.turn(1) == 1
            assert sum(path.is_file() for path in tmp_path.rglob("*")) >= 2
            if ends in raised:
                raise raised[ends]

    with pytest.raises(raised[ends]) if ends in raised else nullcontext():
        work()
    assert contents(tmp_path) == {}
    until = time.monotonic() + 5  # the system takes note
    while (left := [group for group in groups if _runs(group)]) and time.monotonic() < until:
        time.sleep(0.01)
    assert not left


def _runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--against", "eagre"), "did you mean 'eager'"),
        (("--threads", "0"), "--threads 0: take at least 1"),
        (("--weights", "absent.pth"), "no weights at absent.pth"),
        (("--compute", "all"), "--compute is for a phone"),
        (("--device", "android", "--against", "eager"), "are for this machine"),
        *((("--against", name), f"pip install 'volo-edge[{PEERS[name].extra}]'") for name in ABSENT),
    ],
)
def test_refusals(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    assert said in refusal("benchmark", tmp_path, *arguments, cwd=tmp_path)
    assert not any(tmp_path.iterdir())


def test_one_artifact_twice(tmp_path: Path) -> None:
    assert "rename one" in refusal("benchmark", tmp_path, tmp_path, cwd=tmp_path)


@pytest.mark.slow
def test_the_roof_is_a_matrix_product(tmp_path: Path) -> None:
    with measure._working({"kind": "products", "name": "fp32", "threads": 1}, 1, tmp_path) as worker:
        assert worker.hear() == {"logits": [], "memory": None}
        milliseconds = worker.turn(2)
    assert 1 < 2e-6 * measure.PRODUCTS * measure.ROOFLINE**3 / milliseconds < 1e5  # 10^9 operations a second
