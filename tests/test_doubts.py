"""Doubts about calibration photographs: raised by folders that deserve them, and not by the shipped photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from volo_edge import calibration
from volo_edge.calibration.doubts import FEW, LOOKED_AT, doubts
from volo_edge.calibration.images import balanced_subset, find_images, selected
from volo_edge.preprocess import Preprocessing

SMALL = Preprocessing.from_crop((64, 64), 1.0)
FRAMED = Preprocessing.from_crop((64, 64), 1.15)  # a border of zeros around every photograph
pytestmark = pytest.mark.filterwarnings("error")  # numpy's, of a mean of nothing

Paint = Callable[[np.random.Generator], NDArray[np.uint8]]


def photo(random: np.random.Generator) -> NDArray[np.uint8]:
    """Of large patches of colour, as photographs are."""
    patches = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8))
    return np.asarray(patches.resize((72, 68), Image.Resampling.BICUBIC))


def plain(random: np.random.Generator) -> NDArray[np.uint8]:
    """One colour, with a sensor's noise of a level."""
    return (random.integers(1, 255, 3) + random.integers(-1, 2, (70, 70, 3))).astype(np.uint8)


def black(random: np.random.Generator) -> NDArray[np.uint8]:
    return np.zeros((50, 50, 3), np.uint8)


def grey(random: np.random.Generator) -> NDArray[np.uint8]:
    """The channels a level apart at most."""
    one = np.clip(photo(random)[..., :1], 1, 254).astype(int)
    return (one + random.integers(0, 2, (*one.shape[:2], 3))).astype(np.uint8)


def same(random: np.random.Generator) -> NDArray[np.uint8]:
    return photo(np.random.default_rng(1))


def noise_of(side: int) -> Paint:
    return lambda random: random.integers(0, 256, (side, side, 3), np.uint8)


def put(root: Path, paint: Paint, count: int = 40, kind: str = "png", at: str = "") -> Path:
    (root / at).mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        Image.fromarray(paint(np.random.default_rng(seed))).save(root / at / f"{paint.__name__}{seed:03}.{kind}")
    return root


def raised(root: Path, num_classes: int = 10, preprocessing: Preprocessing = SMALL) -> tuple[str, ...]:
    return doubts(find_images(root), preprocessing, num_classes)


# --- none


@pytest.mark.parametrize("folder", [calibration.DEMO_CALIBRATION, calibration.DEMO_VALIDATION])
@pytest.mark.parametrize("preprocessing", [SMALL, FRAMED, Preprocessing.from_crop((224, 224), 0.96)])
def test_none_of_the_shipped_photographs(folder: Path, preprocessing: Preprocessing) -> None:
    assert doubts(find_images(folder), preprocessing, 10) == ()


@settings(max_examples=10, deadline=None)
@given(
    st.sampled_from((calibration.DEMO_CALIBRATION, calibration.DEMO_VALIDATION)),
    st.integers(40, 200),
    st.integers(0, 10**6),
)
def test_none_of_any_subset_of_the_shipped_photographs(folder: Path, count: int, seed: int) -> None:
    assert doubts(balanced_subset(find_images(folder), count, seed), SMALL, 10) == ()


def test_none_of_photographs_without_classes(tmp_path: Path) -> None:
    assert raised(put(tmp_path, photo), num_classes=1000) == ()


@pytest.mark.parametrize("paint", [plain, black, same, grey, noise_of(64)])
def test_none_of_a_few_strays(tmp_path: Path, paint: Paint) -> None:
    put(tmp_path, photo, 37)
    assert raised(put(tmp_path, paint, 3)) == ()


# --- each


def test_few(tmp_path: Path) -> None:
    put(tmp_path, photo, FEW - 1)
    assert raised(tmp_path) == (
        "only 31 photographs: ranges and roundings fitted to so few do not hold for others; 256 are usual",
    )
    put(tmp_path, photo, FEW)
    assert raised(tmp_path) == ()
    (one,) = raised(put(tmp_path / "one", photo, 1))
    assert one.startswith("only 1 photograph: ")


@pytest.mark.parametrize("preprocessing", [SMALL, FRAMED])
@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("paint", [plain, black])
def test_flat(tmp_path: Path, paint: Paint, kind: str, preprocessing: Preprocessing) -> None:
    """All of them, and more than a tenth; one sentence, though black is also grey and the same again."""
    put(tmp_path, paint, 40, kind)
    (said,) = raised(tmp_path, preprocessing=preprocessing)
    assert said.startswith("one colour and nothing else in 40 of the 40 photographs looked at: ")
    put(tmp_path / "mixed", photo, 35)
    (said,) = raised(put(tmp_path / "mixed", paint, 5, kind))
    assert said.startswith("one colour and nothing else in 5 of the 40 photographs")


def test_copies(tmp_path: Path) -> None:
    put(tmp_path / "some", photo, 35)
    (said,) = raised(put(tmp_path / "some", same, 5))  # photo's own second is the sixth
    assert said == "the same pixels as in another one in 6 of the 40 photographs looked at: give different photographs"

    put(tmp_path / "twice", photo, 120)
    put(tmp_path / "twice", photo, 120, "bmp")  # each beside its copy, of another format
    (said,) = raised(tmp_path / "twice")
    assert said.startswith("the same pixels as in another one in ")


def test_grey(tmp_path: Path) -> None:
    put(tmp_path, grey, 39)
    (said,) = raised(put(tmp_path, photo, 1))
    assert said.startswith("grey without colour in 39 of the 40 photographs looked at: give colour photographs if")
    put(tmp_path, photo, 5)
    assert raised(tmp_path) == ()


@pytest.mark.parametrize("paint", [photo, grey])
def test_a_grey_model_asks_for_no_colour(tmp_path: Path, paint: Paint) -> None:
    seen = Preprocessing.from_crop((64, 64), 1.0, color="L", mean=(0.45,), std=(0.23,))
    assert raised(put(tmp_path, paint), preprocessing=seen) == ()


@pytest.mark.parametrize("preprocessing", [SMALL, FRAMED, Preprocessing.from_crop((224, 224), 0.96)])
@pytest.mark.parametrize(("side", "kind"), [(20, "png"), (32, "png"), (64, "png"), (64, "jpg"), (300, "png")])
def test_noise(tmp_path: Path, side: int, kind: str, preprocessing: Preprocessing) -> None:
    """Enlarged noise too, whose next neighbours are alike."""
    (said,) = raised(put(tmp_path, noise_of(side), 40, kind), preprocessing=preprocessing)
    assert said.startswith("noise rather than photographs: ") and said.endswith("; give photographs")


# --- classes


def test_one_class(tmp_path: Path) -> None:
    put(tmp_path, photo, at="cat")
    (tmp_path / "dog").mkdir()
    said = "all photographs are in one class folder, 'cat', and the model has 10 classes: give photographs of all"
    assert raised(tmp_path)[0].startswith(said) and len(raised(tmp_path)) == 1
    put(tmp_path / "single", photo, at="cat")
    assert raised(tmp_path / "single", num_classes=1) == ()


def spread(root: Path, classes: int, count: int) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        folder = root / f"class{number % classes:03}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo(random)).save(folder / f"{number:03}.bmp")
    return root


def test_one_label_has_photographs_with_it_and_without(tmp_path: Path) -> None:
    for folder in ("cat", "no cat"):
        put(tmp_path, photo, at=folder)
    assert not any("class folder" in said for said in doubts(find_images(tmp_path), SMALL, 1))


def test_few_of_the_classes(tmp_path: Path) -> None:
    four = spread(tmp_path / "four", 4, 40)
    assert raised(four, 8) == ()  # half of them
    assert raised(four) == ("40 photographs of only 4 classes for a model of 10: give photographs of more of them",)
    twenty = spread(tmp_path / "twenty", 20, 40)
    assert raised(twenty, 1000) == ()  # no more than 40 could be there
    (said,) = raised(spread(tmp_path / "nineteen", 19, 40), 1000)
    assert said.startswith("40 photographs of only 19 classes for a model of 1000")


def test_classes_without_a_chosen_photograph_count_as_folders(tmp_path: Path) -> None:
    spread(tmp_path, 11, 44)
    images = find_images(tmp_path)
    chosen = selected(images, [index for index, name in enumerate(images.files) if not name.startswith("class010/")])
    (said,) = doubts(chosen, SMALL, 10)
    assert said.startswith("11 class folders for a model of 10 classes: calibrate on photographs of what")


# --- how it looks


def test_several(tmp_path: Path) -> None:
    said = raised(put(tmp_path, black, 5, at="cat"))
    assert [sentence.split()[0] for sentence in said] == ["only", "all", "one"]
    assert all("\n" not in sentence and not sentence.endswith(".") for sentence in said)


def test_unreadable_photographs_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, photo, FEW)
    for number in range(20):
        (tmp_path / f"broken{number}.png").write_text("no image")
    assert raised(tmp_path) == ()
    (tmp_path / "photo000.png").write_text("no image")
    (said,) = raised(tmp_path)
    assert said.startswith("only 31 photographs: ")


def test_nothing_readable(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no image")
    (said,) = raised(tmp_path)
    assert said.startswith("only 0 photographs: ")


def test_a_large_folder_is_sampled(tmp_path: Path) -> None:
    (said,) = raised(put(tmp_path, black, LOOKED_AT + 30))
    assert f"{LOOKED_AT} of the {LOOKED_AT} photographs looked at" in said
