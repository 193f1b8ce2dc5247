"""The golden vectors are what the host computes; the Kotlin and Swift cores are tested against the same ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.command import contents
from volo_edge import artifact
from volo_edge.apps import goldens
from volo_edge.preprocess import Preprocessing, open_rgb, prepare, to_input

FOLDER = goldens.FOLDERS[0]
INDEX = json.loads((FOLDER / "goldens.json").read_text())
BYTES = (FOLDER / "goldens.bin").read_bytes()


def read(place: list[int]) -> Any:
    offset, length = place
    return np.frombuffer(BYTES[offset : offset + length], np.uint8)


def test_each_core_has_the_same_ones_and_they_are_small() -> None:
    first, *others = (contents(folder) for folder in goldens.FOLDERS)
    assert others and all(other == first for other in others)
    assert sum(len(data) for data in first.values() if data is not None) < 500_000


def test_they_are_the_ones_that_the_command_writes(tmp_path: Path) -> None:
    goldens.write(tmp_path / "goldens")
    for name in ("goldens.json", "goldens.bin"):
        assert (tmp_path / "goldens" / name).read_bytes() == (FOLDER / name).read_bytes(), (
            "run python -m volo_edge.apps.goldens"
        )


@pytest.mark.parametrize("number", range(len(INDEX["photographs"])))
def test_a_golden_photograph_is_what_the_host_makes_of_it(number: int) -> None:
    case = INDEX["photographs"][number]
    stored = read(case["input"]).reshape(case["height"], case["width"], -1)
    channels = {"rgb": (0, 1, 2), "rgba": (0, 1, 2), "bgra": (2, 1, 0), "grey": (0, 0, 0)}[case["layout"]]
    image = Image.fromarray(np.ascontiguousarray(goldens.upright(stored[..., channels], case["orientation"])))
    said = case["preprocessing"].items()
    preprocessing = Preprocessing(**{name: tuple(v) if isinstance(v, list) else v for name, v in said})
    np.testing.assert_array_equal(prepare(image, preprocessing).ravel(), read(case["expected"]))


def test_the_golden_artifact_is_one_whose_selftest_preprocessing_passes() -> None:
    found = artifact.read(FOLDER / "artifact")
    for case, known in zip(found.manifest.selftest.cases, INDEX["artifact"], strict=True):
        photo = open_rgb(found.folder / case.photo)
        np.testing.assert_array_equal(np.asarray(photo).ravel(), read(known["input"]))
        tensor = to_input(prepare(photo, found.manifest.preprocessing))
        np.testing.assert_array_equal(tensor.ravel(), np.fromfile(found.folder / case.tensor, "<f4"))
