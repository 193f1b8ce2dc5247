"""Names of the classes: from a file, of the variant, of ImageNet-1k, or counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from volo_edge.errors import RequestError
from volo_edge.labels import imagenet_labels, labels_for
from volo_edge.variants import CIFAR10_CLASSES, VARIANTS

D1, DEMO = VARIANTS["volo_d1_224"], VARIANTS["volo_cifar10"]


def test_imagenet_has_a_thousand_different_names_in_the_order_of_the_logits() -> None:
    names = imagenet_labels()
    assert len(names) == len(set(names)) == 1000
    assert names[0] == "tench"
    assert names[207] == "golden retriever"
    assert names[999] == "toilet tissue"
    assert (names[134], names[517]) == ("crane (n02012849)", "crane (n03126707)")
    assert (names[638], names[639]) == ("maillot", "maillot, tank suit")
    assert all(name == name.strip() and name for name in names)


def test_without_a_file() -> None:
    assert labels_for(D1, 1000) == imagenet_labels()
    assert labels_for(DEMO, 10) == CIFAR10_CLASSES
    assert labels_for(DEMO, 1000) == imagenet_labels()
    assert labels_for(D1, 3) == labels_for(DEMO, 3) == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize("text", ["cat\ndog\n", "cat\ndog", "cat\r\ndog\r\n\r\n", "\ufeff cat \ndog\n\n"])
def test_a_file_goes_first(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode())
    assert labels_for(DEMO, 2, path) == ("cat", "dog")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 names for 3 classes"),
        (b"a\nb\n", "2 names for 3 classes"),
        (b"a\nb\nc\nd\n", "4 names for 3 classes"),
        (b"a\n \nc\n", "line 2 is empty"),
        (b"\na\nc\n", "line 1 is empty"),
        (b"a\nb\na\n", "lines 1 and 3 are both 'a'"),
        (b"a\n\xff\xfe\nc\n", "not UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "labels.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(RequestError) as refused:
        labels_for(D1, 3, path)
    message = str(refused.value)
    assert said in message and str(path) in message and "\n" not in message


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="Is a directory"):
        labels_for(D1, 3, tmp_path)
