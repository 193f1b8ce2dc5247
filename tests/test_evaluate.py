"""Evaluation: the command on saved files against what their runtimes say, its gate, its faults, its resumption."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.broken import double_scales
from tests.command import Ended, contents, end, refusal, run, start
from tests.conftest import Converted
from tests.small import SMALL, edge_model, pixels
from tests.test_device_results import RESULTS
from volo_edge import artifact, checkpoint
from volo_edge.artifact import ModelInfo
from volo_edge.calibration import DEMO_CALIBRATION, DEMO_VALIDATION
from volo_edge.calibration.images import ImageList, balanced_subset, find_images, stream
from volo_edge.converters.program import Levels, StoredLayer
from volo_edge.converters.targets import TARGETS
from volo_edge.decompose import LAYOUTS, EdgeVOLO, decompose
from volo_edge.errors import RequestError
from volo_edge.evaluate import data, growth, multilabel, outcome, plausible, statistics
from volo_edge.evaluate.facts import Facts, compare
from volo_edge.evaluate.plausible import Known
from volo_edge.evaluate.verdict import passes as gate_passes
from volo_edge.evaluate.verdict import verdict
from volo_edge.labels import imagenet_labels, imagenet_synsets
from volo_edge.quantize.transforms import ROBUST
from volo_edge.report.contents import FORMAT
from volo_edge.validate import metrics
from volo_edge.variants import CIFAR10_CLASSES, VARIANTS

LABELS = ("cat", "dog", "frog")
BLOCK = tuple(f"network.3.1.{layer}" for layer in ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2"))


# Which class a folder stands for


def test_folders_are_labels_by_their_names() -> None:
    assert data.class_of(("cat", "dog", "frog"), LABELS) == ((0, 1, 2), "")
    assert data.class_of(("frog", "dog"), LABELS, gate=True) == ((2, 1), "")
    synsets = imagenet_synsets()
    assert data.class_of((synsets[7], synsets[3]), imagenet_labels(), gate=True) == ((7, 3), "")
    assert data.class_of((f"{synsets[7]}-Rooster", f"{synsets[3]}_shark"), imagenet_labels()) == ((7, 3), "")
    assert data.class_of(synsets[5:7], synsets) == ((5, 6), "")  # the labels themselves


def test_folders_of_integers_are_indices_in_the_order_of_numbers() -> None:
    folders = tuple(sorted(map(str, range(1000))))  # ImageNetV2's: "0", "1", "10", "100", ...
    numbers, note = data.class_of(folders, imagenet_labels(), gate=True)
    assert numbers == tuple(map(int, folders))
    assert note == "class folders were taken for indices among the labels: '0' for 'tench' and so on"
    assert data.class_of(("2", "0"), LABELS)[0] == (2, 0)
    assert data.class_of(("02", "000"), LABELS)[0] == (2, 0)


def test_folders_of_integers_that_are_labels_are_labels() -> None:
    assert data.class_of(("3", "1"), ("1", "2", "3"), gate=True) == ((2, 0), "")
    with pytest.raises(RequestError, match=r"some numbers are labels \('1', '2'\) and others are not: .* --class-map"):
        data.class_of(("0", "1", "2"), ("1", "2", "3"))


def test_integers_beyond_the_labels_are_refused() -> None:
    with pytest.raises(RequestError, match=r"'7' is beyond the model's classes, 0..2: say what they are with --class"):
        data.class_of(("0", "7"), LABELS)
    with pytest.raises(RequestError, match=r"'3' is beyond .* counted from 1; say what they are with --class-map"):
        data.class_of(("1", "2", "3"), LABELS)


def test_folders_that_are_written_otherwise_than_labels_are_told() -> None:
    labels = ("golden retriever", "caf\u00e9", "T-shirt", "cat")
    folders = ("Golden_Retriever", "cafe\u0301", "t shirt", "cat")
    numbers, note = data.class_of(folders, labels, gate=True)
    assert numbers == (0, 1, 2, 3)
    assert note.startswith(
        "class folders were taken for labels that are written otherwise: 'Golden_Retriever' for 'golden"
    )
    with pytest.raises(RequestError, match="1 of 1 class folders are no labels"):  # of which of the two?
        data.class_of(("T_Shirt",), ("t-shirt", "t shirt"))
    assert data.class_of(("t shirt",), ("t-shirt", "t shirt")) == ((1,), "")


def test_sorted_order_is_a_warning_and_nothing_to_judge_a_gate_on() -> None:
    folders = ("Hund", "Katze", "Otter")
    numbers, note = data.class_of(folders, LABELS)
    assert numbers == (0, 1, 2) and "sorted order" in note and "'Hund' for 'cat'" in note
    with pytest.raises(RequestError, match=r"--max-drop judges nothing on .* sorted order .* --class-map"):
        data.class_of(folders, LABELS, gate=True)


def test_some_folders_that_are_no_labels_are_not_taken_by_their_place() -> None:
    with pytest.raises(RequestError, match="1 of 2 class folders are no labels"):
        data.class_of(("cat", "x"), ("cat", "dog"))


def test_folders_that_are_no_labels() -> None:
    for folders in (("cat", "bird"), ("bird", "0")):
        with pytest.raises(RequestError, match=r"are no labels of the model .* --class-map"):
            data.class_of(folders, LABELS)


def listed(*files: str) -> ImageList:
    """Photographs of these names, in class folders where there are any."""
    classes = tuple(sorted({name.partition("/")[0] for name in files if "/" in name}))
    labels = tuple(classes.index(name.partition("/")[0]) for name in files) if classes else None
    return ImageList(Path("nowhere"), files, classes, labels)


def mapped(path: Path, text: str, *files: str, labels: tuple[str, ...] = LABELS) -> data.Classes:
    path.write_text(text)
    return data.classes_of(listed(*files), labels, path, gate=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("map.json", '{"chat": "cat", "chien": 1, "other": "frog"}'),
        ("map.json", '{"chat": "Cat", "chien": "dog"}'),
        ("map.csv", "folder,label\nchat,cat\nchien,dog\n"),
        ("map.csv", "id,class,file\n7,0,chat\n8,1,chien\n"),
        ("map.txt", "chat cat\nchien dog\n"),
        ("map.txt", "chat 0\nchien 1\n"),
    ],
)
def test_a_class_map_of_folders(tmp_path: Path, name: str, text: str) -> None:
    found = mapped(tmp_path / name, text, "chat/0.png", "chien/0.png", "chien/1.png")
    assert (found.numbers, found.folders) == ((0, 1, 1), (0, 1))
    assert len(found.notes) == 1 and name in found.notes[0]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("val.txt", "ILSVRC2012_val_00000001.JPEG 2\nILSVRC2012_val_00000002.JPEG 0\na b.JPEG 1\nother.JPEG 1\n"),
        ("tabs.tsv", "ILSVRC2012_val_00000001.JPEG\tfrog\nILSVRC2012_val_00000002.JPEG\tcat\na b.JPEG\tdog\n"),
        ("labels.csv", "file,label\r\nILSVRC2012_val_00000001.JPEG,frog\r\nILSVRC2012_val_00000002.JPEG,cat\r\n"
         "a b.JPEG,dog\r\n"),
        ("stems.csv", "image_id,class\nILSVRC2012_val_00000001,2\nILSVRC2012_val_00000002,0\na b,1\n"),
        ("a.json", '{"ILSVRC2012_val_00000001.JPEG": 2, "ILSVRC2012_val_00000002.JPEG": "cat", "a b.JPEG": "dog"}'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("folder", ["", "images/"])
def test_a_class_map_of_photographs(tmp_path: Path, name: str, text: str, folder: str) -> None:
    names = (f"{folder}ILSVRC2012_val_00000001.JPEG", f"{folder}ILSVRC2012_val_00000002.JPEG", f"{folder}a b.JPEG")
    found = mapped(tmp_path / name, text, *names)
    assert (found.numbers, found.folders) == ((2, 0, 1), ())
    assert f"photographs were given their labels by {name}" in found.notes[0]


def test_values_of_a_class_map_may_be_synsets(tmp_path: Path) -> None:
    synsets = imagenet_synsets()
    text = f"a.JPEG {synsets[65]}\nb.JPEG {synsets[7]}\n"
    assert mapped(tmp_path / "val.txt", text, "a.JPEG", "b.JPEG", labels=imagenet_labels()).numbers == (65, 7)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", '{"a": "cat"}', "says nothing of 1 class folders \\('b'\\)"),
        ("a.json", '{"a": "cat", "b": "dgo"}', "did you mean 'dog'"),
        ("a.json", '{"a": "cat", "b": 3}', "give a label, or 0..2"),
        ("a.json", '{"a": "cat", "b": true}', "give a label, or 0..2"),
        ("a.json", '{"a": "cat", "b": null}', "give a label, or 0..2"),
        ("a.json", '["cat"]', "is no JSON object"),
        ("a.json", "{", "cannot be read as JSON"),
        ("a.json", '{"a": "cat", "b": "cat", "a": "dog"}', "'a' is both 'cat' and 'dog'"),
        ("a.csv", "a,cat\nb,dog\n", "no header"),
        ("a.csv", "", "no header"),
        ("a.csv", "file,label\na,cat\nb\n", "row 3 has 1 cells"),
        ("a.txt", "a cat\nb\n", "line 2 is not a file and its class"),
        ("a.txt", "a 1\nb 2\nb 3\n", "'b' is both '2' and '3'"),
        ("a.txt", "a 1\nb 3\n", "'3' is beyond the model's classes, 0..2"),
        ("a.txt", "0.png cat\n", "says nothing of 1 photographs \\('b/1.png'\\) and none of the class folders"),
        ("a.txt", "", "says nothing of 2 photographs"),
        ("a.txt", "caf\udce9 1\n", "cannot be read"),
    ],
)
def test_class_maps_that_are_none(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RequestError, match=said) as refused:
        data.classes_of(listed("a/0.png", "b/1.png"), LABELS, path, gate=False)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_name_of_several_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"'0\.png' is several photographs"):
        mapped(tmp_path / "val.txt", "0.png 1\n", "a/0.png", "b/0.png")
    assert mapped(tmp_path / "val.txt", "a/0.png 1\nb/0.png 2\n", "a/0.png", "b/0.png").numbers == (1, 2)


def photographs(root: Path, **counts: int) -> Path:
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (4, 4), (index, len(folder), 9)).save(root / folder / f"{index}.png")
    return root


def test_problems_are_told(tmp_path: Path) -> None:
    def problems(images: ImageList, *folders: int) -> list[str]:
        numbers = tuple(folders[label] for label in images.labels or ())
        return data.problems(images, data.Classes(numbers, folders, ()), LABELS)

    missing, uneven = problems(find_images(photographs(tmp_path / "a", cat=1, dog=3)), 0, 1)
    assert missing == "1 of the model's 3 classes have no photograph: 'frog'"
    assert uneven.startswith("classes are uneven, 1 to 3")
    (missing, twice) = problems(find_images(photographs(tmp_path / "b", cat=2, dog=2)), 1, 1)
    assert "several class folders stand for one label: 'dog'" in twice


def test_files_that_are_left_out_are_counted_and_named(tmp_path: Path) -> None:
    root = photographs(tmp_path / "a", cat=1, dog=1)
    shutil.copy(root / "cat" / "0.png", root / "loose.png")
    for name in ("dog/raw.CR2", "dog/clip.mov", "notes.txt", "cat/.hidden", "Thumbs.db"):
        (root / name).write_bytes(b"?")
    images = find_images(root)
    said = data.problems(images, data.Classes((0, 1), (0, 1), ()), ("cat", "dog"))
    assert images.skipped == ("dog/clip.mov", "dog/raw.CR2", "loose.png", "notes.txt")
    assert said == [
        "1 photograph(s) beside the class folders are left out ('loose.png'): they have no class",
        "2 file(s) in formats that are not read are left out ('dog/clip.mov', 'dog/raw.CR2'): save them as JPEG or PNG",
        "1 file(s) that are no photographs are left out ('notes.txt')",
    ]


def test_photographs_that_other_loaders_see_otherwise_are_counted(tmp_path: Path) -> None:
    root = photographs(tmp_path / "a", cat=3)
    assert data.altered(find_images(root)) == []
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4), "red").save(root / "cat" / "turned.jpg", exif=exif)
    exif[0x0112] = 1
    Image.new("RGB", (8, 4), "red").save(root / "cat" / "upright.jpg", exif=exif)
    Image.new("RGBA", (8, 4), (1, 2, 3, 128)).save(root / "cat" / "clear.png")
    Image.new("RGBA", (8, 4), (1, 2, 3, 255)).save(root / "cat" / "opaque.png")
    (root / "cat" / "broken.jpg").write_bytes(b"no photograph")
    (said,) = data.altered(find_images(root))
    assert (
        said.startswith("1 photograph(s) are turned upright") and "and 1 with transparency are laid over white" in said
    )


def test_shared_photographs_are_found_by_content(tmp_path: Path) -> None:
    images = find_images(photographs(tmp_path / "a", cat=3))
    others = photographs(tmp_path / "b", elsewhere=1)
    shutil.copy(images.path(1), others / "elsewhere" / "under another name.png")
    assert data.shared(images, find_images(others)) == ["cat/1.png"]
    assert data.shared(find_images(DEMO_VALIDATION), find_images(DEMO_CALIBRATION)) == []


# The verdict


@pytest.mark.parametrize(
    ("worse", "better", "max_drop", "passes", "said"),
    [
        (0, 0, None, None, "has the same photographs right"),
        (5, 3, None, None, "which may be chance"),
        (60, 3, None, None, "loses 5.70 points of top-1 .* which is more than chance"),
        (3, 60, 0.5, True, "gains 5.70 points .* which is more than chance.* Passes: even .* upper end is at most 0.5"),
        (5, 3, 5, True, "Passes"),
        (5, 3, 0.5, False, "the drop itself is at most 0.5, but the interval's upper end is not; more photographs"),
        (60, 3, 0.5, False, "Fails: more than 0.5"),
    ],
)
def test_verdicts(worse: int, better: int, max_drop: float | None, passes: bool | None, said: str) -> None:
    theirs = np.array([True] * worse + [False] * better + [True] * (1000 - worse - better))
    ours = np.array([False] * worse + [True] * better + [True] * (1000 - worse - better))
    top1 = compare(ours, theirs)
    assert re.search(said, verdict(top1, 99, (), 500, max_drop))
    if passes is not None and max_drop is not None:
        assert gate_passes(top1, (), 1000, max_drop) is passes  # the interval decides, not the point


# Whether the float model's own answers can be right


def judged(classes: int, each: int) -> Any:
    return np.repeat(np.arange(classes), each)


def answered(truth: Any, accuracy: float, classes: int, shift: int = 0, seed: int = 0) -> Facts:
    """What a model says that knows a share of the photographs, of classes that are taken for others by `shift`."""
    random = np.random.default_rng(seed)
    right = np.arange(len(truth)) < round(accuracy * len(truth))
    wrong = (truth + random.integers(1, max(2, classes), len(truth))) % classes
    said = (np.where(random.permutation(right), truth, wrong) + shift) % classes
    nothing = np.zeros(len(truth))
    return Facts(said, nothing, said == truth, said == truth, nothing, 0.0, 0.0)


@pytest.mark.parametrize(
    ("classes", "each", "accuracy", "expected", "said"),
    [
        (1000, 5, 0.80, None, None),
        (10, 50, 0.79, None, None),
        (10, 50, 0.15, None, None),  # a poor model, and no chance
        (10, 50, 0.11, None, "guessing among 10 classes may do as well: see"),
        (10, 50, 0.05, None, "guessing among 10 classes may do as well: see"),
        (2, 2, 1.0, None, None),  # so few that nothing is shown
        (2, 20, 0.5, None, "guessing among 2 classes"),
        (1, 20, 1.0, None, None),
        (1000, 5, 0.70, Known(84.2, "volo_d1_224"), None),  # ImageNetV2, and harder
        (1000, 5, 0.60, Known(84.2, "volo_d1_224"), "84.2 % were published of volo_d1_224 (--expected-top1 says"),
        (1000, 5, 0.216, Known(84.2, "volo_d1_224"), "84.2 % were published of volo_d1_224"),
        (10, 2, 0.60, Known(84.2, "volo_d1_224"), None),  # of 20 photographs that may be 64 %
        (10, 50, 0.76, Known(78.8, "--expected-top1"), None),
        (10, 100, 0.65, Known(78.8, "--expected-top1"), "78.8 % were expected: see"),
    ],
)
def test_a_reference_is_believed_or_not(
    classes: int, each: int, accuracy: float, expected: Known | None, said: str | None
) -> None:
    truth = judged(classes, each)
    found = plausible.doubt(answered(truth, accuracy, classes), truth, classes, expected)
    if said is None:
        assert found is None
    else:
        assert found is not None and found.startswith(
            f"it puts {100 * accuracy:.2f} % of {len(truth):,} photographs in"
        )
        assert said in found and "if these classes were others" not in found


@pytest.mark.parametrize(("classes", "each", "accuracy"), [(1000, 4, 0.8), (10, 20, 0.8), (2, 40, 0.9), (100, 20, 0.4)])
def test_classes_that_are_taken_for_others_are_noticed(classes: int, each: int, accuracy: float) -> None:
    truth = judged(classes, each)
    found = plausible.doubt(answered(truth, accuracy, classes, shift=1), truth, classes, None)
    assert found is not None and "if these classes were others" in found
    assert plausible.doubt(answered(truth, accuracy, classes), truth, classes, None) is None


def test_two_classes_that_are_taken_for_each_other_are_no_reason_to_doubt() -> None:
    """Of ten; it may be the model's fault."""
    truth = judged(10, 50)
    said = answered(truth, 0.8, 10).said
    swapped = np.where(said == 0, 1, np.where(said == 1, 0, said))
    found = dataclasses.replace(answered(truth, 0.8, 10), said=swapped, top1=swapped == truth)
    assert plausible._renamed(swapped, truth) > found.top1.sum() + 50
    assert plausible.doubt(found, truth, 10, None) is None


def test_a_model_that_always_says_the_same_guesses() -> None:
    truth = judged(10, 50)
    constant = dataclasses.replace(answered(truth, 1, 10), said=np.full(500, 3), top1=truth == 3)
    silent = dataclasses.replace(answered(truth, 1, 10), said=np.full(500, -1), top1=np.zeros(500, bool))
    for facts in (constant, silent):
        found = plausible.doubt(facts, truth, 10, None)
        assert found is not None and "guessing among 10 classes may do as well: see" in found


def test_accuracy_intervals() -> None:
    """Of tables of Clopper and Pearson's limits."""
    for right, count, low, high in ((0, 10, 0.0, 30.850), (5, 10, 18.709, 81.291), (10, 10, 69.150, 100.0)):
        found = statistics.accuracy_interval(right, count)
        assert (found.low, found.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))


def model_info(**changes: Any) -> ModelInfo:
    architecture = VARIANTS["volo_d1_224"].architecture
    info = ModelInfo("volo_d1_224", 1, (224, 224), 1000, "softmax", "d1_224_84.2.pth.tar", "0" * 64, "", "",
                     (224, 224), architecture, ())  # fmt: skip
    return dataclasses.replace(info, **changes)


def test_what_is_known_of_a_model() -> None:
    every, names = np.arange(1000), imagenet_labels()
    assert plausible.known(model_info(), names, every, None) == Known(84.2, "volo_d1_224")
    assert plausible.known(model_info(), names, every, 70.0) == Known(70.0, "--expected-top1")
    assert plausible.known(model_info(), names, np.arange(500), None) is not None
    for model, labels, classes in (
        (model_info(weights="finetuned.pth"), names, every),
        (model_info(image_size=(384, 384)), names, every),
        (model_info(name="volo_of_mine"), names, every),
        (model_info(), tuple(f"class_{index}" for index in range(1000)), every),
        (model_info(), names, np.arange(499)),  # ImageNette and the like
    ):
        assert plausible.known(model, labels, classes, None) is None
    demo = model_info(name="volo_cifar10", weights="volo_cifar10.safetensors", image_size=(64, 64))
    assert plausible.known(demo, CIFAR10_CLASSES, np.arange(10), None) == Known(78.8, "volo_cifar10")


def test_a_doubted_reference_fails_every_gate() -> None:
    top1 = compare(np.ones(1000, bool), np.ones(1000, bool))
    assert verdict(top1, 100, (), 1000, 1.0, doubted=True).endswith(
        "Fails: the float model's own answers cannot be right."
    )
    assert "Fails" not in verdict(top1, 100, (), 1000, None, doubted=True) + verdict(top1, 100, (), 1000, 1.0)


# What the report says of photographs


def test_a_photograph_that_the_file_has_right_changed_for_the_better() -> None:
    """Right by the float model alone, by the file alone, and by neither."""
    truth, nothing = np.array([0, 0, 0]), np.zeros(3)
    theirs, ours = np.array([0, 1, 1]), np.array([1, 0, 2])
    found, float_facts = (
        Facts(said, nothing + 0.5, said == truth, said == truth, nothing, 1.0, 0.0) for said in (ours, theirs)
    )
    names = ("a.png", "b.png", "c.png")
    changed = outcome._changed(listed(*names), LABELS, found, float_facts, np.arange(3), truth)
    assert [(one.photograph, one.effect) for one in changed] == [
        ("a.png", "worse"),
        ("c.png", "other"),
        ("b.png", "better"),
    ]


def test_labels_that_are_no_numbers_agree_with_none() -> None:
    """Of independent labels nothing is said then, as of a photograph without any."""
    silent = np.full((2, 3), -5, np.float32)
    broken = silent.copy()
    broken[1] = np.nan
    one, other = (multilabel.gather(of, silent, np.arange(2), None, 0.5) for of in (silent, broken))
    assert outcome._agreement(one, one) == 100 and outcome._agreement(one, other) == 50


# Where it goes wrong


def layers_of(edge: EdgeVOLO) -> list[StoredLayer]:
    found = []
    for name in growth.call_order(edge):
        layer: Any = edge.get_submodule(name)
        bias = None if layer.bias is None else layer.bias.numpy()
        found.append(StoredLayer(layer.weight.numpy(), bias, None, None))
    return found


@pytest.mark.parametrize("backend", ["xnnpack", "coreml"])
def test_equal_layers_make_no_error(backend: str) -> None:
    edge = edge_model(SMALL, LAYOUTS[backend])
    found = growth.measure(edge, layers_of(edge), [torch.from_numpy(pixels(SMALL))], lambda count: None)
    assert {block.snr_db for block in found.blocks} == {None}
    assert found.worst is None and found.photographs == 2
    assert [block.block for block in found.blocks][:2] == ["patch_embed", "network.0.0"]


@pytest.mark.parametrize("backend", ["xnnpack", "coreml"])
@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("patch_embed.conv.3", "patch_embed"),
        ("network.0.0.mlp.fc2", "network.0.0"),
        ("network.1.proj", "network.1"),
        ("network.2.0.attn.v", "network.2.0"),
        ("post_network.1.mlp.fc1", "post_network.1"),
        ("head", "head"),
    ],
)
def test_a_fault_is_found_in_its_block(backend: str, layer: str, block: str) -> None:
    edge = edge_model(SMALL, LAYOUTS[backend])
    order, stored = growth.call_order(edge), layers_of(edge)
    place = order.index(layer)
    stored[place] = dataclasses.replace(stored[place], weight=2 * stored[place].weight)
    found = growth.measure(edge, stored, [torch.from_numpy(pixels(SMALL))], lambda count: None)
    assert found.worst == block
    names = [one.block for one in found.blocks]
    before = found.blocks[: names.index(block)]
    assert all(one.snr_db is None for one in before if one.block != "head")
    own = {one.block: one.own_snr_db for one in found.blocks}
    assert own.pop(block) is not None and set(own.values()) == {None}
    assert found.blocks[-1].snr_db is not None and found.blocks[-1].snr_db < 60


def test_static_activations_are_rounded_and_clipped() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    stored = layers_of(edge)
    place = growth.call_order(edge).index("network.2.0.attn.proj")
    snr = []
    for scale in (1, 0.05, 1e-5):  # the last clips nearly all of it away
        stored[place] = dataclasses.replace(stored[place], given=Levels(scale, 0, -128, 127))
        found = growth.measure(edge, stored, [torch.from_numpy(pixels(SMALL))], lambda count: None)
        assert found.worst == "network.2.0"
        snr.append(next(one.own_snr_db for one in found.blocks if one.block == "network.2.0") or 999)
    assert snr[1] > snr[0] and snr[1] > snr[2] + 10


def test_static_outputs_are_rounded_too() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    stored = layers_of(edge)
    place = growth.call_order(edge).index("network.2.0.attn.proj")
    stored[place] = dataclasses.replace(stored[place], made=Levels(1.0, 0, -128, 127))
    found = growth.measure(edge, stored, [torch.from_numpy(pixels(SMALL))], lambda count: None)
    assert found.worst == "network.2.0"


def test_static_levels_have_their_zero_where_the_file_says() -> None:
    """What a ReLU made has it at the lowest, and nothing below."""
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    layer: Any = edge.get_submodule("network.2.0.attn.proj")
    bias = layer.bias.clone()
    layer.bias = nn.Parameter(bias + 100, requires_grad=False)
    stored = layers_of(edge)
    place = growth.call_order(edge).index("network.2.0.attn.proj")
    saved = []
    for zero_point in (0, -128):  # 0..127 and 0..255 levels of one half above zero
        stored[place] = dataclasses.replace(stored[place], made=Levels(0.5, zero_point, -128, 127))
        saved.append(growth.with_layers(edge, stored).get_submodule("network.2.0.attn.proj"))
    given = torch.zeros(1, 1, layer.in_features)
    clipped, whole = (layer_(given).flatten() for layer_ in saved)
    assert torch.equal(clipped, torch.full_like(clipped, 63.5))
    assert (whole - bias - 100).abs().max() <= 0.25


def test_a_block_that_makes_no_numbers_is_the_worst() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    stored = layers_of(edge)
    order = growth.call_order(edge)
    for name, value in (("network.0.0.mlp.fc2", 2.0), ("network.2.0.mlp.fc2", np.nan)):
        one = stored[order.index(name)]
        stored[order.index(name)] = dataclasses.replace(one, weight=value * one.weight)
    found = growth.measure(edge, stored, [torch.from_numpy(pixels(SMALL))], lambda count: None)
    own = {one.block: one.own_snr_db for one in found.blocks}
    assert found.worst == "network.2.0" and own["network.2.0"] == -1000
    assert own["network.0.0"] is not None and own["network.0.0"] > -100


def test_the_class_token_in_a_bias_is_taken_out() -> None:
    edge = edge_model(SMALL, LAYOUTS["coreml"])
    stored = layers_of(edge)
    place = growth.call_order(edge).index("post_network.0.attn.proj")
    bias = stored[place].bias
    assert bias is not None
    stored[place] = dataclasses.replace(stored[place], bias=bias + edge.cls_token.flatten().numpy())
    found = growth.measure(edge, stored, [torch.from_numpy(pixels(SMALL))], lambda count: None)
    assert (found.blocks[-1].snr_db or 999) > 100


@pytest.mark.parametrize("backend", ["xnnpack", "coreml"])
def test_layers_are_known_in_any_order_and_a_spoiled_one_by_the_others(backend: str) -> None:
    edge = edge_model(SMALL, LAYOUTS[backend])
    order, stored = growth.call_order(edge), layers_of(edge)
    place = order.index("post_network.0.attn.k")
    stored[place] = dataclasses.replace(stored[place], weight=np.full_like(stored[place].weight, np.nan))
    shuffled = [stored[index] for index in np.random.default_rng(0).permutation(len(stored))]
    found = growth.matched(edge, shuffled)
    for name, layer in zip(order, stored, strict=True):
        np.testing.assert_array_equal(found[name].weight, layer.weight, err_msg=name)


def test_of_equal_weights_order_decides() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    attn = edge.network[2][0].attn
    attn.k.weight = attn.v.weight = attn.q.weight
    order, stored = growth.call_order(edge), layers_of(edge)
    found = growth.matched(edge, stored)
    assert all(found[f"network.2.0.attn.{one}"] is stored[order.index(f"network.2.0.attn.{one}")] for one in "qkv")


@pytest.mark.parametrize("backend", ["xnnpack", "coreml"])
def test_a_layer_that_reads_no_photograph_may_be_a_constant_of_the_file(backend: str) -> None:
    edge = edge_model(SMALL, LAYOUTS[backend])
    order, stored = growth.call_order(edge), layers_of(edge)
    query, key = (order.index(f"post_network.0.attn.{one}") for one in "qk")
    found = growth.matched(edge, stored[:query] + stored[query + 1 :])
    assert found.keys() == set(order) - {"post_network.0.attn.q"}
    assert found["post_network.0.attn.k"] is stored[key]
    with pytest.raises(RequestError, match="the file has no layer of shape"):
        growth.matched(edge, stored[:key] + stored[key + 1 :][:-1])


def test_of_weights_that_are_nearly_equal_order_decides() -> None:
    """Each is a little more like another one than like itself, as rounding may make it."""
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    attn, generator = edge.network[2][0].attn, torch.Generator().manual_seed(0)
    weight = attn.q.weight.data.clone()
    three = [weight * (1 + 1e-3 * torch.randn(weight.shape, generator=generator)) for _ in "qkv"]
    order, stored = growth.call_order(edge), layers_of(edge)
    for one, own, other in zip("qkv", three, (*three[1:], three[0]), strict=True):
        edge.get_submodule(f"network.2.0.attn.{one}").weight.data = own
        place = order.index(f"network.2.0.attn.{one}")
        stored[place] = dataclasses.replace(stored[place], weight=other.numpy())
    found = growth.matched(edge, stored)
    assert all(found[f"network.2.0.attn.{one}"] is stored[order.index(f"network.2.0.attn.{one}")] for one in "qkv")


def test_layers_of_another_model_are_refused() -> None:
    edge = edge_model(SMALL, LAYOUTS["xnnpack"])
    with pytest.raises(RequestError, match="the file has no layer of shape"):
        growth.with_layers(edge, layers_of(edge)[:-1])


# On saved files


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo model with each target's default scheme."""
    made = []
    for target in ("executorch", "coreml"):
        output = tmp_path_factory.mktemp("artifacts") / f"demo-{target}"
        ended = run("convert", "--target", target, "--output", output)
        assert ended.status == 0, ended.err
        made.append(output)
    return made[0], made[1]


def evaluated(ended: Ended, status: int = 0) -> dict[str, Any]:
    assert ended.status == status, ended.err
    found: dict[str, Any] = json.loads(ended.out)["report"]
    return found


def without_times(report: dict[str, Any]) -> dict[str, Any]:
    report = copy.deepcopy(report)
    del report["made_at"], report["float_model"]["record"]["made_at"], report["command"]
    for one in report["artifacts"]:
        del one["latency"]
    return report


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_weights_are_read_back_as_the_model_has_them(artifacts: tuple[Path, Path], number: int) -> None:
    found = artifact.read(artifacts[number])
    m = found.manifest
    edge = decompose(checkpoint.load().model, m.preprocessing, LAYOUTS[m.backend], ROBUST)
    saved = growth.with_layers(edge, TARGETS[m.target].module("program").read_weights(found.model_path))
    layers = [name for name, module in edge.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    for name in layers:
        ours, theirs = saved.get_submodule(name), edge.get_submodule(name)
        assert metrics.snr_db(ours.weight.numpy(), theirs.weight.numpy()) > 35, name
        if theirs.bias is not None:
            assert np.allclose(ours.bias.numpy(), theirs.bias.numpy(), atol=2e-3 * float(theirs.bias.abs().max())), name
    (batch,) = stream(balanced_subset(find_images(DEMO_VALIDATION), 16, 0), m.preprocessing, 16)
    logits = TARGETS[m.target].module("run").load(found.model_path).run(batch.inputs)
    with torch.inference_mode():
        emulated, exact = (np.asarray(model(torch.from_numpy(batch.inputs))) for model in (saved, edge))
    # the copy is much nearer to the file than the float model is
    assert metrics.snr_db(emulated, logits) > metrics.snr_db(exact, logits) + 3


@pytest.mark.slow
def test_the_figures_are_those_of_the_saved_files(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    command = ("evaluate", *artifacts, "--data", DEMO_VALIDATION, "--limit", "100", "--json")
    report = evaluated(run(*command, "--max-drop", "9", "--output", tmp_path / "one"))
    images = balanced_subset(find_images(DEMO_VALIDATION), 100, seed=0)
    labels = np.array(images.labels)
    loaded = checkpoint.load()
    for one, folder in zip(report["artifacts"], artifacts, strict=True):
        found = artifact.read(folder)
        (batch,) = stream(images, found.manifest.preprocessing, 100)
        logits = TARGETS[found.manifest.target].module("run").load(found.model_path).run(batch.inputs)
        with torch.inference_mode():
            mean, std = (
                torch.tensor(x)[:, None, None]
                for x in (found.manifest.preprocessing.mean, found.manifest.preprocessing.std)
            )
            reference = np.asarray(loaded.model((torch.from_numpy(batch.inputs) / 255 - mean) / std))
        assert one["top1"]["file"] == pytest.approx(100 * (logits.argmax(1) == labels).mean())
        assert one["top1"]["float_model"] == pytest.approx(100 * (reference.argmax(1) == labels).mean())
        assert one["agreement"] == pytest.approx(100 * metrics.top1_agreement(logits, reference))
        assert one["snr_db"] == pytest.approx(metrics.snr_db(logits, reference), abs=0.01)
        assert sum(row["photographs"] for row in one["by_class"]) == 100
        assert one["passed"] is True and one["growth"]["worst"]
        # what is left after the last block is about what the file's logits have
        assert one["growth"]["blocks"][-1]["snr_db"] == pytest.approx(one["snr_db"], abs=6)
    assert report["data"]["photographs"] == 100 and report["data"]["available"] == 500
    assert FORMAT.as_json(FORMAT.read(tmp_path / "one" / "report.json")) == report

    again = evaluated(run(*command, "--max-drop", "9", "--output", tmp_path / "two"))
    assert without_times(again) == without_times(report)
    reference_file = tmp_path / "float.npz"
    assert run("reference", "--data", DEMO_VALIDATION, "--output", reference_file, "--device", "cpu").status == 0
    other = evaluated(run(*command, "--reference", reference_file, "--output", tmp_path / "three"))
    assert other["float_model"]["file"] == str(reference_file)
    for one, two in zip(other["artifacts"], report["artifacts"], strict=True):
        assert one["top1"] == two["top1"] and one["snr_db"] == pytest.approx(two["snr_db"], abs=0.01)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_broken_block_fails_the_gate_and_is_pointed_at(
    artifacts: tuple[Path, Path], tmp_path: Path, number: int
) -> None:
    broken = double_scales(artifacts[number], BLOCK, tmp_path / "broken")
    ended = run("evaluate", broken, artifacts[number], "--data", DEMO_VALIDATION, "--max-drop", "2.5", "--json",
                "--output", tmp_path / "report")  # fmt: skip
    bad, good = evaluated(ended, status=3)["artifacts"]
    assert ended.err.splitlines()[-1].startswith("volo-edge: 1 of 2 artifact(s) may lose more than 2.5 points")
    assert (bad["passed"], good["passed"]) == (False, True)
    assert bad["top1"]["low"] > 0 and bad["top1"]["p_value"] < 0.01
    assert bad["growth"]["worst"] == "network.3.1" != good["growth"]["worst"]
    grown = {which: {b["block"]: b for b in one["growth"]["blocks"]} for which, one in (("bad", bad), ("good", good))}
    assert grown["bad"]["network.3.0"] == grown["good"]["network.3.0"]  # all is well before it
    assert grown["bad"]["network.3.1"]["snr_db"] < grown["good"]["network.3.1"]["snr_db"] - 20
    assert grown["bad"]["network.3.2"]["own_snr_db"] == grown["good"]["network.3.2"]["own_snr_db"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert 'class="bad">FAIL' in page and "broken: network.3.1 adds most of its own" in page


@pytest.mark.slow
def test_a_killed_evaluation_goes_on_and_ends_with_the_same_numbers(
    artifacts: tuple[Path, Path], tmp_path: Path
) -> None:
    command = ("evaluate", artifacts[1], "--data", DEMO_VALIDATION, "--json", "--output")
    state, output = tmp_path / ".stopped.volo-edge" / "state", tmp_path / "stopped"
    process = start(*command, output)
    deadline = time.monotonic() + 100
    while not any(path.stat().st_size for path in state.glob("demo-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    end(process)
    assert not output.exists()
    ended = run(*command, output)
    assert 500 < json.loads(ended.out)["resumed"] < 1000  # all of the reference, and some of the file's
    whole = run(*command, tmp_path / "whole")
    assert json.loads(whole.out)["resumed"] == 0
    assert without_times(evaluated(ended)) == without_times(evaluated(whole))
    assert not state.exists()


@pytest.mark.slow
def test_an_interrupted_evaluation_says_how_to_go_on(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    process = start("evaluate", artifacts[1], "--data", DEMO_VALIDATION, "--output", tmp_path / "out")
    deadline = time.monotonic() + 100
    while not [*tmp_path.glob(".out.volo-edge/state/demo-*")] and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    ended = end(process)
    assert ended.status == 2
    assert "of 500 photographs are done: the same command goes on from there" in ended.err.splitlines()[-1]


@pytest.mark.slow
def test_bad_data_is_told(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for path in sorted((DEMO_VALIDATION / name).iterdir())[:6]:
            shutil.copy(path, folder / name)
    (folder / "cat" / "broken.jpg").write_bytes(b"\xff\xd8 no photograph")
    shutil.copy(DEMO_CALIBRATION / "dog" / "0003.jpg", folder / "dog" / "seen.jpg")
    ended = run("convert", "--target", "coreml", "--quantize", "palette8", "--output", tmp_path / "fitted")
    assert ended.status == 0, ended.err
    report = evaluated(run("evaluate", tmp_path / "fitted", "--data", folder, "--json", "--output", tmp_path / "out"))
    assert report["data"]["unreadable"][0]["file"] == "cat/broken.jpg" and len(report["data"]["unreadable"]) == 1
    assert report["data"]["photographs"] == 13
    problems = " ".join(report["data"]["problems"])
    assert "8 of the model's 10 classes have no photograph" in problems
    assert "1 photograph(s) are also in the calibration folder, 'dog/seen.jpg'" in problems
    text = (tmp_path / "out" / "report.md").read_text()
    assert "1 file(s) could not be read and are left out: cat/broken.jpg" in text

    plain = tmp_path / "plain"
    plain.mkdir()
    for index in range(3):
        shutil.copy(DEMO_VALIDATION / "cat" / f"{2 * index:04}.jpg", plain)
    report = evaluated(run("evaluate", artifacts[0], "--data", plain, "--json", "--output", tmp_path / "out2"))
    assert report["artifacts"][0]["top1"] is None and report["artifacts"][0]["agreement"] == 100
    for option in ("--max-drop", "--expected-top1"):
        said = refusal("evaluate", artifacts[0], "--data", plain, option, "1", "--output", tmp_path / "out3")
        assert f"{option} needs classes" in said and "--class-map" in said


@pytest.mark.slow
def test_folders_of_numbers_and_a_class_map_that_is_wrong(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    for number, name in enumerate(CIFAR10_CLASSES):
        (tmp_path / "right").mkdir(exist_ok=True)
        (tmp_path / "right" / str(number)).symlink_to(DEMO_VALIDATION / name)
    command = ("evaluate", artifacts[0], "--limit", "200", "--max-drop", "5", "--json", "--data")
    ended = run(*command, tmp_path / "right", "--output", tmp_path / "good")
    report = evaluated(ended)
    assert "class folders were taken for indices" in report["data"]["problems"][0]
    assert (report["float_model"]["known_top1"], report["float_model"]["known_from"]) == (78.8, "volo_cifar10")
    assert report["float_model"]["doubt"] is None and report["artifacts"][0]["passed"] is True

    shifted = tmp_path / "map.json"
    shifted.write_text(json.dumps({name: (index + 1) % 10 for index, name in enumerate(CIFAR10_CLASSES)}))
    ended = run(*command, DEMO_VALIDATION, "--class-map", shifted, "--output", tmp_path / "bad")
    report = evaluated(ended, status=3)
    assert ended.err.startswith("note: The float model's answers cannot be right: it puts ")
    assert "the gate fails, for the float model's own answers cannot be right" in ended.err.splitlines()[-1]
    assert report["artifacts"][0]["passed"] is False and report["artifacts"][0]["top1"]["high"] < 5
    assert "78.8 % were published" in report["float_model"]["doubt"]
    assert "cannot be right" in (tmp_path / "bad" / "report.md").read_text().splitlines()[2]
    page = (tmp_path / "bad" / "report.html").read_text()
    assert '<p class="headline">The float model&#39;s answers cannot be right: what is said of 1 artifact' in page

    ended = run(*command, DEMO_VALIDATION, "--expected-top1", "95", "--output", tmp_path / "low")
    report = evaluated(ended, status=3)
    assert "95 % were expected" in report["float_model"]["doubt"]


@pytest.mark.slow
def test_a_flat_folder_with_the_classes_in_a_file(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    flat, lines = tmp_path / "flat", []
    flat.mkdir()
    for index, name in enumerate(CIFAR10_CLASSES):
        for path in sorted((DEMO_VALIDATION / name).iterdir())[:4]:
            shutil.copy(path, flat / f"{name}-{path.name}")
            lines.append(f"{name}-{path.name} {index}\n")
    (tmp_path / "val.txt").write_text("".join(lines))
    command = ("evaluate", artifacts[0], "--data", flat, "--class-map", tmp_path / "val.txt", "--json")
    report = evaluated(run(*command, "--max-drop", "20", "--output", tmp_path / "out"))
    assert report["data"]["classes"] == [{"folder": None, "label": name, "photographs": 4} for name in CIFAR10_CLASSES]
    assert report["float_model"]["top1"] > 50 and report["artifacts"][0]["passed"] is True


@pytest.mark.slow
def test_device_results_come_into_the_report(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "phone.json"
    path.write_text(json.dumps(RESULTS))
    command = ("evaluate", artifacts[0], "--data", DEMO_VALIDATION, "--limit", "20", "--device-results", path)
    with_no_artifact = refusal(*command, "--output", tmp_path / "out")
    assert "is of another file (volo_cifar10, executorch, int8-dynamic" in with_no_artifact
    results = copy.deepcopy(RESULTS)
    results["artifact"]["model_sha256"] = artifact.read(artifacts[0]).manifest.files["model"].sha256
    path.write_text(json.dumps(results))
    report = evaluated(run(*command, "--json", "--output", tmp_path / "out"))
    assert report["artifacts"][0]["devices"] == [results]
    assert "Example Phone 1" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_a_reference_that_does_not_belong(artifacts: tuple[Path, Path], tmp_path: Path) -> None:
    reference, output = tmp_path / "float.npz", tmp_path / "out"
    command = ("--data", DEMO_VALIDATION, "--limit", "20")
    assert run("reference", *command, "--output", reference).status == 0
    evaluation = ("evaluate", artifacts[0], "--reference", reference, "--output", output)
    said = refusal(*evaluation, "--data", DEMO_VALIDATION)
    assert "is of other photographs than those in" in said
    arrays = dict(np.load(reference))
    architecture = json.loads(str(arrays["record"]))["architecture"]
    for change, said in (
        ({"weights_sha256": "0" * 64}, "of other weights (0000000000000000) than"),
        ({"architecture": {**architecture, "num_classes": 9}}, "9 classes"),
        ({"architecture": {**architecture, "pool": "avg"}}, "entry or architecture"),
    ):
        record = json.loads(str(arrays["record"])) | change
        np.savez(reference, **{**arrays, "record": np.array(json.dumps(record))})
        assert said in refusal(*evaluation, *command)
    record = json.loads(str(arrays["record"]))
    record["preprocessing"]["resize_to"] = [99, 99]
    np.savez(reference, **{**arrays, "record": np.array(json.dumps(record))})
    assert "of another preprocessing" in refusal(*evaluation, *command)


def test_bad_requests(tmp_path: Path) -> None:
    with_data = ("--data", DEMO_VALIDATION, "--output", tmp_path / "out")
    none = tmp_path / "none"
    assert "give a folder that 'volo-edge convert' wrote" in refusal("evaluate", none, *with_data)
    for option, what in (
        ("--reference", "float reference"),
        ("--class-map", "class map"),
        ("--calibration", "folder of images"),
        ("--device-results", "file of device results"),
    ):
        assert f"there is no {what} at" in refusal("evaluate", none, *with_data, option, none)
    assert "there is no folder of images at" in refusal("evaluate", none, "--data", none)
    for percent in ("101", "-1", "nan"):
        said = refusal("evaluate", none, *with_data, "--expected-top1", percent)
        assert f"--expected-top1 {float(percent)}: give percent" in said
    assert "--max-drop -1.0: give points" in refusal("evaluate", none, *with_data, "--max-drop", "-1")
    assert "at least 1" in refusal("evaluate", none, *with_data, "--limit", "0")
    assert "no device is called 'gpu'" in refusal("evaluate", none, *with_data, "--reference-device", "gpu")
    assert "is named twice" in refusal("evaluate", none, none, *with_data)
    assert "two artifacts are called 'none'" in refusal("evaluate", none, tmp_path / "other" / "none", *with_data)
    assert contents(tmp_path) == {}


@pytest.mark.slow
def test_artifacts_of_two_models(artifacts: tuple[Path, Path], executorch_artifact: Converted, tmp_path: Path) -> None:
    other = shutil.copytree(executorch_artifact[0], tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["model"]["weights_sha256"] = "0" * 64
    (other / "manifest.json").write_text(json.dumps(manifest))
    with_data = ("--data", DEMO_VALIDATION, "--output", tmp_path / "out")
    assert "differ in their weights" in refusal("evaluate", artifacts[0], other, *with_data)
    assert "is not at hand: pass its weights" in refusal("evaluate", other, *with_data)
