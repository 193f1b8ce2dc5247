"""Independent labels: which photographs have which, their figures against hand counts and other definitions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit, rel_entr

from tests.test_artifact import write
from volo_edge import activation, predict
from volo_edge.artifact import Artifact
from volo_edge.calibration.images import find_images, selected
from volo_edge.console import Steps
from volo_edge.errors import RequestError
from volo_edge.evaluate import facts, multilabel, statistics, truth
from volo_edge.evaluate.truth import Truth
from volo_edge.evaluate.verdict import verdict
from volo_edge.preprocess import UnreadableImage
from volo_edge.validate import metrics
from volo_edge.validate.parity import compare

LABELS = ("sea", "sand", "a dog")


# What the head was trained with


def test_the_activation_is_softmax_unless_said_otherwise() -> None:
    assert activation.chosen(None, 2) == activation.chosen("softmax", 10) == "softmax"
    assert activation.chosen("sigmoid", 1) == activation.chosen("sigmoid", 10) == "sigmoid"


@pytest.mark.parametrize("wanted", [None, "softmax"])
def test_softmax_of_one_output_is_refused(wanted: str | None) -> None:
    with pytest.raises(RequestError, match=r"one output, and its softmax is always 100 %: say --activation sigmoid"):
        activation.chosen(wanted, 1)


def test_an_unknown_activation_is_refused() -> None:
    with pytest.raises(RequestError, match="no activation is called 'sigmiod': did you mean 'sigmoid'"):
        activation.chosen("sigmiod", 3)


def test_probabilities_by_the_activation() -> None:
    logits = np.array([[0.0, 2.0, -1000.0], [1000.0, 0.0, 0.0]], np.float32)
    assert activation.probabilities(logits, "sigmoid") == pytest.approx(expit(logits.astype(np.float64)), abs=1e-15)
    assert activation.probabilities(logits, "softmax").sum(1) == pytest.approx([1, 1])
    assert metrics.log_sigmoid(np.array([-1000.0], np.float32))[0] == -1000


def test_parity_of_independent_labels_is_of_labels_and_not_of_the_largest_logit() -> None:
    reference = np.array([[3.0, -1.0], [2.0, 1.0], [-1.0, -2.0], [0.5, -3.0]], np.float32)
    logits = reference.copy()
    logits[1, 1], logits[2, 0] = -0.1, np.nan
    found = compare(logits, reference, 1, "a runtime", "x86-64", activation="sigmoid")
    assert (found.top1_agreement, found.labels_agreement) == (None, 0.5)
    assert compare(reference, reference, 1, "a runtime", "x86-64").labels_agreement is None
    single = np.array([[1.0], [-1.0]], np.float32)  # whose largest logit never changes
    assert compare(-single, single, 9, "a runtime", "x86-64", activation="sigmoid").labels_agreement == 0


# Which photographs have which


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    return photographs(tmp_path / "flat", "a.png", "b.png", "sub dir.png")


def photographs(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(root / name)
    return root


def told(folder: Path, class_map: Path | None, labels: tuple[str, ...] = LABELS) -> Truth:
    images = find_images(folder)
    found = truth.of(images, images, labels, class_map)
    assert found is not None
    return found


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "file,labels\na.png,sea;sand\nb.png,\nsub dir.png,a dog\n",
        "\ufefffile,labels\r\na.png, sand ; sea \r\n./b.png,\r\n\r\nsub dir.png,a dog;\r\n",
        "File,a dog,sea,sand\na.png,0,1,1\nb.png,0,0,0\nsub dir.png,1,0.0,0\n",
        json.dumps({"a.png": ["sea", 1], "b.png": [], "sub dir.png": "a dog"}),
    ],
)
def test_every_form_of_a_class_map_says_the_same(flat: Path, tmp_path: Path, text: str) -> None:
    found = told(flat, written(tmp_path / "map", text))
    assert found.has.tolist() == [[True, True, False], [False, False, False], [False, False, True]]
    assert found.folders == () and found.problems == ("map says which labels photographs have",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "file,labels\na.png,sea\n",
            r"says nothing of 2 of 3 photographs \('b.png', 'sub dir.png'; it names 'a.png'\)",
        ),
        ("file,labels\na.png,see\n", "row 2: 'see' is no label of the model: did you mean 'sea'"),
        ("file,labels\na.png,sea\na.png,sand\n", "row 3: 'a.png' is in row 2 already"),
        ("file,labels\na.png,sea,sand\n", "row 2: 3 cells under a header of 2"),
        ("file,sea,sand\na.png,1,0\n", r"its columns are not the model's labels \('a dog'\)"),
        ("file,sea,sand,cat\na.png,1,0,1\n", r"its columns are not the model's labels \('cat'\)"),
        ("file,sea,sand,a dog\na.png,1,,0\n", "row 2: 'sand' is '': give 1 where the photograph has the label"),
        ("file,sea,sand,a dog\na.png,1,-1,0\n", "row 2: 'sand' is '-1'"),
        ("a.png 65\nb.png 66\n", "is neither a JSON object nor CSV with the header file,labels"),
        ("", "is neither a JSON object nor CSV"),
        ('file,labels\n"a.png,sea\n', "cannot be read as CSV"),
        ("{", "cannot be read as JSON"),
        ("[1]", "is no JSON object"),
        ('{"a.png": ["sea", 3]}', "'a.png': 3 is no label of the model"),
        ('{"a.png": [true]}', "'a.png': True is no label of the model"),
    ],
)
def test_a_bad_class_map_is_refused_with_its_place(flat: Path, tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        told(flat, written(tmp_path / "map", text))
    assert "\n" not in str(caught.value)


def test_what_a_class_map_says_of_absent_photographs_and_labels_is_told(flat: Path, tmp_path: Path) -> None:
    rows = "file,labels\na.png,sea\nb.png,sea\nsub dir.png,sea;sand\ngone.png,a dog\n"
    assert told(flat, written(tmp_path / "map.csv", rows)).problems == (
        "map.csv says which labels photographs have",
        "1 photograph(s) of map.csv are not in the folder: 'gone.png'",
        "no photograph has 1 of the model's 3 label(s): 'a dog'",
        "every photograph has 1 of the model's 3 label(s): 'sea'",
    )


def test_photographs_that_a_limit_leaves_out_are_not_missing(flat: Path, tmp_path: Path) -> None:
    images = find_images(flat)
    found = truth.of(selected(images, [1]), images, LABELS, written(tmp_path / "map", "file,labels\nb.png,sea\n"))
    assert found is not None and found.has.tolist() == [[True, False, False]]


def test_nothing_is_known_of_photographs_without_folders_and_map(flat: Path) -> None:
    images = find_images(flat)
    assert truth.of(images, images, LABELS, None) is None


def test_class_folders_are_labels_by_name_and_a_map_may_say_more(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "data", "sand/1.png", "sea/1.png", "sea/2.png")
    found = told(folder, None)
    assert found.has.tolist() == [[False, True, False], [True, False, False], [True, False, False]]
    assert found.folders == ("sand", "sea") and "and no other" in found.problems[0]
    found = told(folder, written(tmp_path / "map.json", json.dumps({"sea": ["sea", "sand"], "sand": []})))
    assert found.has.tolist() == [[False] * 3, [True, True, False], [True, True, False]]
    assert found.folders == ("no label", "sea, sand")
    photographs(folder, "cats/1.png")
    with pytest.raises(RequestError, match=r"1 of 3 class folders are no labels .*'cats'.* with --class-map"):
        told(folder, None)


@pytest.mark.parametrize(
    ("folders", "positive"),
    [(("0", "1"), "1"), (("hot dog", "other"), "hot dog"), (("everything", "hot dog"), "hot dog")],
)
def test_two_class_folders_of_a_single_label(tmp_path: Path, folders: tuple[str, str], positive: str) -> None:
    found = told(photographs(tmp_path, *(f"{folder}/1.png" for folder in folders)), None, ("hot dog",))
    assert found.has[:, 0].tolist() == [folder == positive for folder in folders]
    (other,) = set(folders) - {positive}
    assert found.problems == (
        f"photographs in {positive!r} were taken to have 'hot dog', those in {other!r} not to have it",
    )


@pytest.mark.parametrize("folders", [("no", "yes"), ("hot dog",), ("0", "1", "2"), ("hot dog", "cat", "dog")])
def test_class_folders_that_do_not_say_which_is_positive(tmp_path: Path, folders: tuple[str, ...]) -> None:
    with pytest.raises(RequestError, match="the model has one label, 'hot dog', and the class folders are"):
        told(photographs(tmp_path, *(f"{folder}/1.png" for folder in folders)), None, ("hot dog",))


# Average precision


def plainly(scores: list[int], has: list[bool]) -> float:
    """The sum of (R_n - R_n-1) P_n over thresholds, as it is written."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [own for score, own in zip(scores, has, strict=True) if score >= threshold]
        recall, precision = sum(taken) / sum(has), sum(taken) / len(taken)
        total, before = total + (recall - before) * precision, recall
    return total


@pytest.mark.parametrize(
    ("scores", "has", "expected"),
    [
        ([4, 3, 2, 1], [1, 0, 1, 0], (1 + 2 / 3) / 2),
        ([4, 3, 2, 1], [1, 1, 0, 0], 1),
        ([4, 3, 2, 1], [0, 0, 0, 1], 1 / 4),
        ([1, 1, 1, 1], [1, 0, 0, 0], 1 / 4),  # all at once: what chance gives
        ([2, 2, 1, 1], [1, 0, 1, 0], 0.5 * 0.5 + 0.5 * 0.5),
        ([0], [1], 1),
    ],
)
def test_average_precision_of_known_rankings(scores: list[int], has: list[int], expected: float) -> None:
    found = statistics.average_precision(np.array(scores, np.float32), np.array(has, bool))
    assert found == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=40))
def test_average_precision_is_its_definition(pairs: list[tuple[int, bool]]) -> None:
    scores, has = [score for score, _ in pairs], [own for _, own in pairs]
    found = statistics.average_precision(np.array(scores, np.float32), np.array(has, bool))
    assert found == (pytest.approx(plainly(scores, has)) if any(has) else None)


# The figures


def test_label_accuracy_by_hand() -> None:
    said = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 1]], bool)
    has = np.array([[1, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]], bool)
    assert multilabel.label_accuracy(said, has).tolist() == [0.5, 1, 0, 1, 0]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_of_one_label_it_is_plain_accuracy(pairs: list[tuple[bool, bool]]) -> None:
    said, has = (np.array([pair[which] for pair in pairs])[:, None] for which in (0, 1))
    assert multilabel.label_accuracy(said, has).tolist() == (said == has)[:, 0].astype(float).tolist()


def test_a_file_that_says_nothing_is_not_nearly_right_where_labels_are_rare() -> None:
    has = np.random.default_rng(0).random((1000, 80)) < 0.03
    silent = np.zeros_like(has)
    assert (silent == has).mean() > 0.96  # of the decisions
    assert multilabel.label_accuracy(silent, has).mean() < 0.15


def test_figures_of_a_label_by_hand() -> None:
    said, has = np.array([1, 1, 1, 0, 0], bool), np.array([1, 0, 1, 1, 0], bool)
    found = multilabel.figures(said, np.array([5, 4, 3, np.nan, -2], np.float32), has)
    assert (found.precision, found.recall, found.f1) == pytest.approx((200 / 3, 200 / 3, 200 / 3))
    assert found.average_precision == pytest.approx(100 * (1 + 2 / 3 + 3 / 5) / 3)  # no number: the last
    endless = multilabel.figures(said, np.array([5, 4, 3, np.inf, -2], np.float32), has)
    assert endless.average_precision == pytest.approx(100 * (1 + 2 / 3 + 3 / 5) / 3)
    nothing = multilabel.figures(np.zeros(2, bool), np.zeros(2, np.float32), np.zeros(2, bool))
    assert nothing == type(nothing)(None, None, None, None)
    never = multilabel.figures(np.zeros(2, bool), np.zeros(2, np.float32), np.array([1, 0], bool))
    assert (never.precision, never.recall, never.f1) == (None, 0, 0)


def drawn(count: int = 60, labels: int = 4) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """A file's logits, the float model's, and the truth."""
    generator = np.random.default_rng(0)
    has = generator.random((count, labels)) < 0.3
    reference = (generator.normal(size=(count, labels)) + 2 * has - 1).astype(np.float32)
    return reference + 0.4 * generator.normal(size=(count, labels)).astype(np.float32), reference, has


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_facts_do_not_depend_on_how_many_are_in_memory(monkeypatch: pytest.MonkeyPatch, threshold: float) -> None:
    logits, reference, has = drawn()
    rows = np.arange(5, 60)
    whole = multilabel.gather(logits, reference, rows, has[rows], threshold)
    monkeypatch.setattr(facts, "_TOGETHER", 7)
    parts = multilabel.gather(logits, reference, rows, has[rows], threshold)
    for name in ("said", "not_finite", "accuracy", "exact", "divergence"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name)), name
    assert parts.calibration_error == pytest.approx(whole.calibration_error)
    assert whole.snr_db == pytest.approx(metrics.snr_db(logits[rows], reference[rows]))
    ours, theirs = (expit(array.astype(np.float64))[rows] for array in (logits, reference))
    assert np.array_equal(whole.said, ours >= threshold)
    binary = rel_entr(theirs, ours) + rel_entr(1 - theirs, 1 - ours)
    assert whole.divergence == pytest.approx(binary.sum(1), rel=1e-6)
    decisions = statistics.calibration_error(ours.ravel(), has[rows].ravel())
    assert whole.calibration_error == pytest.approx(decisions)


def test_a_logit_that_is_no_number_has_nothing_right() -> None:
    reference = np.full((3, 2), -3, np.float32)
    logits = reference.copy()
    logits[1, 0], logits[2, 1] = np.nan, np.inf
    found = multilabel.gather(logits, reference, np.arange(3), np.zeros((3, 2), bool), 0.5)
    assert found.accuracy is not None and found.exact is not None
    assert found.accuracy.tolist() == [1, 0, 0] and found.exact.tolist() == [True, False, False]
    assert found.not_finite.tolist() == [False, True, True] and not found.said.any()
    assert np.isinf(found.divergence[1:]).all() and found.snr_db == -np.inf


def test_without_truth_only_the_distance_is_known() -> None:
    logits, reference, _ = drawn()
    rows = np.arange(60)
    ours, theirs = (multilabel.gather(of, reference, rows, None, 0.5) for of in (logits, reference))
    assert ours.accuracy is None and ours.exact is None and ours.calibration_error is None
    names = tuple(f"{index}.png" for index in rows)
    found = multilabel.judged(ours, theirs, logits, reference, rows, None, ("a", "b", "c", "d"), names)
    assert (found.accuracy, found.exact, found.mean_average_precision, found.by_label) == (None, None, None, ())
    assert len(found.changed) == int((ours.said != theirs.said).sum()) > 0
    assert {change.effect for change in found.changed} == {"other"}


def test_what_the_report_says_of_labels() -> None:
    logits, reference, has = drawn()
    rows, names = np.arange(60), ("a", "b", "c", "d")
    ours, theirs = (multilabel.gather(of, reference, rows, has, 0.5) for of in (logits, reference))
    found = multilabel.judged(ours, theirs, logits, reference, rows, has, names, tuple(map(str, rows)))
    assert found.accuracy is not None and found.exact is not None
    assert ours.accuracy is not None and theirs.accuracy is not None
    assert found.accuracy.drop == pytest.approx(100 * (theirs.accuracy - ours.accuracy).mean())
    assert found.accuracy.worse == int((theirs.accuracy > ours.accuracy).sum())
    assert found.accuracy.low < found.accuracy.drop < found.accuracy.high
    assert found.exact.file == pytest.approx(100 * ((logits >= 0) == has).all(1).mean())
    averages = [100 * plainly(logits[:, label].tolist(), has[:, label].tolist()) for label in range(4)]
    assert [row.file.average_precision for row in found.by_label] == pytest.approx(averages)
    assert found.mean_average_precision == pytest.approx(np.mean(averages))
    assert [row.photographs for row in found.by_label] == has.sum(0).tolist()
    lost = [abs(change.float_model - change.file) for change in found.changed if change.effect == "worse"]
    assert len(lost) > 1 and lost == sorted(lost, reverse=True)
    first = found.changed[0]
    place, label = int(first.photograph), names.index(first.label)
    assert first.effect == "worse" and first.truth == has[place, label] == (reference[place, label] >= 0)
    assert first.file == pytest.approx(float(expit(logits[place, label])), rel=1e-5)


def test_labels_of_which_a_logit_is_no_number_have_not_changed() -> None:
    logits, reference, has = drawn()
    logits[reference.max(1) >= 0] = np.nan
    rows = np.arange(60)
    ours, theirs = (multilabel.gather(of, reference, rows, has, 0.5) for of in (logits, reference))
    found = multilabel.judged(ours, theirs, logits, reference, rows, has, ("a", "b", "c", "d"), tuple(map(str, rows)))
    spoilt = {str(row) for row in np.flatnonzero(np.isnan(logits).any(1))}
    assert len(spoilt) > 10 and spoilt.isdisjoint(change.photograph for change in found.changed)


# The drop


def test_the_interval_of_shares_is_that_of_flips_where_they_are_flips() -> None:
    right, float_right = np.array([1, 0, 1, 1, 0] * 30, bool), np.array([1, 1, 0, 1, 0] * 30, bool)
    assert facts.compare(right.astype(float), float_right.astype(float)) == facts.compare(right, float_right)


def test_the_interval_of_shares_covers_the_truth() -> None:
    """Photographs lose a third or a half of their labels, or win one, with known chances."""
    kinds, chances = np.array([1 / 3, 0.5, -0.5, 0]), [0.03, 0.02, 0.02, 0.93]
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        interval = statistics.drop_interval(generator.choice(kinds, 1000, p=chances))
        inside += interval.low <= 100 * float(kinds @ chances) <= interval.high
    assert 0.93 <= inside / 200 <= 1  # a whole photograph is added for the worse and the better, so it is wide


def test_the_interval_does_not_depend_on_how_many_are_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = np.random.default_rng(0).choice([0, 0, 0, 0.25, -0.5, 1, 1 / 3], 300)
    whole = statistics.drop_interval(lost)
    monkeypatch.setattr(statistics, "_TOGETHER", 50)
    assert statistics.drop_interval(lost) == whole


def test_verdicts_speak_of_labels() -> None:
    ours, theirs = np.repeat([1, 0.5], [900, 100]), np.ones(1000)
    found = facts.compare(ours, theirs)
    assert "loses 5.00 points of label accuracy" in verdict(found, 99, (), 1000, None, "sigmoid")
    same = facts.compare(theirs, theirs)
    assert "same label accuracy of every photograph" in verdict(same, 99, (), 1000, 1, "sigmoid")
    assert (
        verdict(None, 99, (), 1000, None, "sigmoid") == "says the float model's labels for 99.00 % of the photographs."
    )
    doubted = verdict(same, 99, (), 1000, 1, "sigmoid", doubted=True)
    assert "Fails: the float model's own answers cannot be right" in doubted and "Passes" not in doubted


def test_a_float_model_that_knows_nothing_of_a_label_is_noticed() -> None:
    _, reference, has = drawn(400, 3)
    shuffled = has.copy()
    shuffled[:, 1] = np.random.default_rng(3).permutation(has[:, 1])
    shuffled[:, 2] = False
    assert multilabel.at_chance(reference, np.arange(400), has).tolist() == [False, False, False]
    assert multilabel.at_chance(reference, np.arange(400), shuffled).tolist() == [False, True, False]
    assert multilabel.at_chance(-reference, np.arange(400), has).all()  # what has the label is given less of it
    assert multilabel.doubt(reference, np.arange(400), has, LABELS) is None
    assert multilabel.doubt(reference, np.arange(400), shuffled, LABELS) is None  # it knows the sea
    shuffled[:, 0] = False
    said = multilabel.doubt(reference, np.arange(400), shuffled, LABELS)
    assert said is not None and "whichever it is ('sand')" in said


# What predict says


class Runs:
    """A file that answers every image alike."""

    runtime, processor, seconds = "a runtime", "a processor", 0.25

    def __init__(self, *logits: float) -> None:
        self.logits = np.array([logits], np.float32)

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.logits.repeat(len(images), 0)


def predicted(tmp_path: Path, *paths: tuple[Path, bool]) -> predict.Predictions:
    """What is said of photographs, each with whether it was named, by a model of two independent labels."""
    manifest = write(tmp_path / "artifact")
    found = Artifact(tmp_path, replace(manifest, model=replace(manifest.model, activation="sigmoid")), ("cat", "dog"))
    runner: Any = Runs(70, 90)
    return predict._classified(found, runner, runner, list(paths), [], Steps(None))


def test_the_likeliest_label_has_the_largest_logit_where_probabilities_are_all_one(tmp_path: Path) -> None:
    (folder := tmp_path / "data").mkdir()
    (said,) = predicted(tmp_path, (photographs(folder, "a.png") / "a.png", True)).predictions
    assert [(guess.label, guess.probability) for guess in said.classes] == [("dog", 1.0), ("cat", 1.0)]
    assert said.milliseconds == 250


def test_a_photograph_that_cannot_be_read_is_skipped_unless_it_was_named(tmp_path: Path) -> None:
    whole = photographs(tmp_path / "data", "a.png") / "a.png"
    broken = written(tmp_path / "data" / "b.png", "no photograph")
    found = predicted(tmp_path, (whole, False), (broken, False))
    assert [one.image for one in found.predictions] == [str(whole)] and found.skipped == (str(broken),)
    with pytest.raises(UnreadableImage, match=r"b\.png"):
        predicted(tmp_path / "again", (whole, True), (broken, True))
