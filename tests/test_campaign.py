"""A little of the campaign of harmful files and failing disks; `make hostile` runs all of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.conftest import Converted
from tests.hostile import campaign, faults
from tests.hostile.kinds import KINDS, Kind, assets

SEEDS = 15
FAULTS = [("app", number) for number in range(6)] + [("reference", number) for number in range(3)]


@pytest.fixture
def artifacts(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What kinds that change whole artifacts begin with."""
    for name in ("executorch", "coreml", *(("coreai",) if assets in KINDS else ())):
        folder, _ = request.getfixturevalue(f"{name}_artifact")
        shutil.copytree(folder, tmp_path / "artifacts" / name)
    monkeypatch.setenv("HOSTILE_ARTIFACTS", str(tmp_path / "artifacts"))
    return tmp_path / "artifacts"


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_harmful_files_end_well(make: Callable[[Path], Kind], artifacts: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    kind = make(place)
    ends = {seed: campaign.outcome(kind, kind.read, kind.make(Random(seed)), judged=True) for seed in range(SEEDS)}
    assert not {seed: ended for seed, ended in ends.items() if ended not in campaign.GOOD}


def test_a_reader_that_is_wrong_is_told(tmp_path: Path) -> None:
    """The judge itself: another value, an exception nobody expects, an error that says nothing."""

    def raising(error: Exception) -> Callable[[Any], Any]:
        def read(_: Any) -> Any:
            raise error

        return read

    from volo_edge.errors import RequestError

    kind = Kind("a kind", lambda chance: tmp_path, lambda path: 1, right=1)
    assert campaign.outcome(kind, kind.read, None, True) == "read"
    assert campaign.outcome(kind, lambda _: 2, None, True) == "wrong: another value, and no error"
    assert campaign.outcome(kind, raising(KeyError("x")), None, True) == "wrong: KeyError: 'x'"
    assert campaign.outcome(kind, raising(RequestError(" ")), None, True) == "wrong: an error without a word"
    assert campaign.outcome(kind, raising(RequestError("a")), None, True) == "refused"
    assert campaign.outcome(kind, raising(OSError(36, "File name too long")), None, True) == "refused"
    assert campaign.outcome(kind, raising(AssertionError("gone")), None, True) == "wrong: AssertionError: gone"


@pytest.mark.slow
def test_disks_that_fail_and_signals(executorch_artifact: Converted, tmp_path: Path) -> None:
    """At calls spread over a run."""
    try:
        library = faults.build(tmp_path)
    except RuntimeError as error:
        pytest.skip(str(error))
    verbs = {verb.name: verb for verb in faults.VERBS}
    for name in ("app", "reference"):
        right, calls = faults.without_fault(verbs[name], executorch_artifact[0], library)
        for number in (number for verb, number in FAULTS if verb == name):
            kind, at = faults.KINDS[number], 1 + (number * len(calls)) // 7
            assert faults.one(verbs[name], executorch_artifact[0], library, right, at, kind) is None, (name, kind, at)
