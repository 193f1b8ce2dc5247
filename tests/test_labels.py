"""Names of the classes: from a file, of the variant, of ImageNet-1k, or counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from volo_edge.errors import RequestError
from volo_edge.labels import imagenet_labels, imagenet_synsets, in_imagenet_order, labels_for, plain, told_apart
from volo_edge.variants import CIFAR10_CLASSES, VARIANTS, Variant

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


def test_a_published_model_has_its_own_names() -> None:
    for variant, names in ((D1, imagenet_labels()), (DEMO, CIFAR10_CLASSES)):
        found = labels_for(variant, len(names), published=True)
        assert (found.names, found.notes) == (names, ())


@pytest.mark.parametrize(("variant", "count"), [(D1, 1000), (DEMO, 10), (D1, 3), (DEMO, 1000)])
def test_a_model_that_others_trained_is_given_no_names_and_that_is_told(variant: Variant, count: int) -> None:
    found = labels_for(variant, count, published=False)
    assert found.names == tuple(f"class_{index}" for index in range(count))
    assert len(found.notes) == 1 and "--labels names them" in found.notes[0]
    if count != variant.architecture.num_classes:  # a head of another size is no published one, whatever it is called
        assert labels_for(variant, count, published=True) == found


def test_a_configurations_names_are_taken_where_there_are_as_many_as_classes() -> None:
    found = labels_for(DEMO, 2, own=("cat", "dog"), published=False)
    assert found.names == ("cat", "dog") and found.notes == ("classes are called as config.json has it",)
    for count in (1, 3):
        found = labels_for(DEMO, count, own=("cat", "dog"), published=False)
        assert found.names == tuple(f"class_{index}" for index in range(count))


@pytest.mark.parametrize(
    ("weights", "variant"),
    [
        ("d1_224_84.2.pth.tar", D1),
        ("hf-hub:timm/volo_d1_224.sail_in1k", D1),
        ("hf-hub:timm/volo_d1_224.sail_in1k@main", D1),
        ("volo_cifar10.safetensors", DEMO),
    ],
)
def test_what_is_published_is_known_by_its_name(weights: str, variant: Variant) -> None:
    assert variant.publishes(weights)
    for other in ("", "model.safetensors", "hf-hub:me/volo_d1_224", "d1_384_85.2.pth.tar"):
        assert not variant.publishes(other)


def read(path: Path, text: str | bytes, count: int) -> tuple[str, ...]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return labels_for(DEMO, count, path, published=True).names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "cat\ndog, hot\n"),
        ("a.txt", "cat\ndog, hot"),
        ("crlf.txt", "cat\r\ndog, hot\r\n\r\n"),
        ("old mac.txt", "cat\rdog, hot\r"),
        ("bom.txt", "\ufeff cat \ndog, hot\n\n"),
        ("windows unicode.txt", "cat\r\ndog, hot\r\n".encode("utf-16")),
        ("numbered.txt", "0: cat\n1: dog, hot\n"),
        ("any order.txt", "1: dog, hot\n0: cat\n"),
        ("tabs.txt", "0\tcat\n1\tdog, hot\n"),
        ("clsidx_to_labels.txt", "{0: 'cat',\n 1: 'dog, hot'}"),
        ("open dict.txt", "{0: 'cat',\n 1: 'dog, hot',\n"),
        ("synset_words.txt", "n01440764 cat\nn01443537 dog, hot\n"),
        ("list.json", '["cat", "dog, hot"]'),
        ("python list.txt", "['cat', 'dog, hot']"),
        ("id2label.json", '{"1": "dog, hot", "0": "cat"}'),
        ("class_to_idx.json", '{"dog, hot": 1, "cat": 0}'),
        ("class_index.json", '{"0": ["n01440764", "cat"], "1": ["n01443537", "dog, hot"]}'),
        ("config.json", '{"num_labels": 2, "id2label": {"0": "cat", "1": "dog, hot"}, "label2id": {"cat": 0}}'),
        ("timm's config.json", '{"architecture": "volo", "label_names": ["cat", "dog, hot"]}'),
        ("a.csv", 'index,name\n1,"dog, hot"\n0,cat\n'),
        ("no head.csv", '0,cat\r\n1,"dog, hot"\r\n'),
        ("turned.csv", 'label,class_id\n"dog, hot",1\ncat,0\n'),
        ("three.csv", 'wnid,id,label\nn01,0,cat\nn02,1,"dog, hot"\n'),
        ("one column.csv", 'name\ncat\n"dog, hot"\n'),
        ("a.tsv", "index\tname\n0\tcat\n1\tdog, hot\n"),
    ],
)
def test_files_as_they_are_in_the_world(tmp_path: Path, name: str, text: str | bytes) -> None:
    assert read(tmp_path / name, text, 2) == ("cat", "dog, hot")


def test_apostrophes_in_a_printed_dictionary(tmp_path: Path) -> None:
    for text in ("{0: \"potter's wheel\", 1: 'it\\'s'}", "0: \"potter's wheel\"\n1: 'it\\'s'\n"):
        assert read(tmp_path / "a.txt", text, 2) == ("potter's wheel", "it's")


def test_lines_that_only_look_numbered_are_names(tmp_path: Path) -> None:
    assert read(tmp_path / "a.txt", "3: the movie\n1: the book\n", 2) == ("3: the movie", "1: the book")
    assert read(tmp_path / "b.txt", "n01440764\nn01443537\n", 2) == ("n01440764", "n01443537")
    assert read(tmp_path / "c.txt", "cat\u2028or lynx\ndog", 2) == ("cat\u2028or lynx", "dog")


def test_lines_with_a_number_and_a_blank(tmp_path: Path) -> None:
    assert read(tmp_path / "a.txt", "1 dog\n0 cat\n2 red frog\n", 3) == ("cat", "dog", "red frog")
    assert read(tmp_path / "b.txt", "0;cat\n1;dog\n", 2) == ("cat", "dog")


@pytest.mark.parametrize("text", ["1: cat\n2: dog\n", "0 cat\n2 dog\n", "1 cat\n2 dog\n"])
def test_lines_that_are_numbered_otherwise(tmp_path: Path, text: str) -> None:
    with pytest.raises(RequestError, match="number the classes from 0"):
        read(tmp_path / "a.txt", text, 2)


def test_names_that_are_alike_are_told_apart_and_that_is_told(tmp_path: Path) -> None:
    path = tmp_path / "imagenet_classes.txt"
    path.write_text("crane\ncrane\nmaillot\ncrane (2)\nmaillot\ncrane\n")
    found = labels_for(DEMO, 6, path, published=True)
    assert found.names == ("crane", "crane (3)", "maillot", "crane (2)", "maillot (2)", "crane (4)")
    (note,) = found.notes
    assert str(path) in note and "class 1 is called 'crane (3)'" in note and "class 4 is called 'maillot (2)'" in note


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "a (2)", "a (3)", "b (2)", "a (2) (2)"]), max_size=12))
def test_told_apart_names_differ_and_unique_ones_stay(names: list[str]) -> None:
    found, notes = told_apart(names)
    assert len(set(found)) == len(found) == len(names)
    for index, (old, new) in enumerate(zip(names, found, strict=True)):
        assert new.startswith(old)
        assert new == old or old in names[:index]  # the first of each keeps its name
    assert bool(notes) == (len(set(names)) < len(names))


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.txt", b"", "0 names for 3 classes"),
        ("a.txt", b"a\nb\n", "2 names for 3 classes"),
        ("a.txt", b"a\nb\nc\nd\n", "4 names for 3 classes"),
        ("a.txt", b"background\na\nb\nc\n", "leave out the first, 'background'"),
        ("a.txt", b"a\n \nc\n", "line 2 is empty"),
        ("a.txt", b"\na\nc\n", "line 1 is empty"),
        ("a.txt", b"a\n\xff\xfe\nc\n", "not UTF-8"),
        ("a.json", b"a\nb\nc\n", "no JSON"),
        ("a.json", b"3", "no list of names"),
        ("a.json", b'["a", 2, "c"]', "no list of names"),
        ("a.json", b'{"a": "b", "c": "d"}', "no object of names by index"),
        ("a.json", b'{"0": "a", "2": "b", "3": "c"}', "no name for class 1, and one for 3; number the classes from 0"),
        ("a.json", b'{"1": "a", "2": "b", "3": "c"}', "no name for class 0"),
        ("a.json", b'{"a": 0, "b": 1, "c": 1}', "two names have the same index"),
        ("a.json", b'{"0": "a", "1": null, "2": "c"}', "None is no name"),
        ("a.json", b'["a", "b", "c\\nd"]', "class 2 has several lines"),
        ("a.json", b"[" * 100_000, "no JSON"),
        ("a.csv", b"index,name\n0,a\n1,b\n1,c\n", "two rows have the same index"),
        ("a.csv", b"0,a\n1,b,c\n2,d\n", "different numbers of cells"),
        ("a.csv", b"x,a\ny,b\nz,c\n", "no column of indices"),
        ("a.txt", None, "No such file"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, name: str, data: bytes | None, said: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(RequestError) as refused:
        labels_for(D1, 3, path, published=True)
    message = str(refused.value)
    assert said in message and str(path) in message and "\n" not in message


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder"):
        labels_for(D1, 3, tmp_path, published=True)


# How names compare


def test_names_that_mean_the_same() -> None:
    for name in (
        "golden retriever",
        "Golden_Retriever",
        "golden-retriever",
        " GOLDEN  RETRIEVER",
        "golden\u00a0retriever",
    ):
        assert plain(name) == "golden retriever"
    assert plain("caf\u00e9") == plain("cafe\u0301") and plain("\uff21") == "a" and plain("Stra\u00dfe") == "strasse"
    assert plain("cat") != plain("cats") and plain("_-") == ""


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=12))
def test_a_plain_name_is_as_plain_as_it_gets(name: str) -> None:
    assert plain(plain(name)) == plain(name)


def test_lists_of_imagenet_are_known_by_their_names_and_order() -> None:
    ours, synsets = imagenet_labels(), imagenet_synsets()
    assert in_imagenet_order(ours) and in_imagenet_order(synsets)
    assert in_imagenet_order(tuple(name.upper().replace(" ", "_") for name in ours))
    assert not in_imagenet_order(tuple(sorted(ours)))
    assert not in_imagenet_order((*ours[1:], ours[0]))
    assert not in_imagenet_order(tuple(f"class_{index}" for index in range(1000)))
    assert not in_imagenet_order(ours[:999])
