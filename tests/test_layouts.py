"""Checkpoints as training scripts write them: what is in the file, and what is taken of it. `docs/checkpoints.md`."""

from __future__ import annotations

import argparse
import dataclasses
import enum
import json
import shutil
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.small import SMALL
from tests.weights import named_weights
from volo_edge import checkpoint
from volo_edge.checkpoint import LoadedModel, entries
from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.trained import ModelRequest

State = dict[str, Tensor]
# What is assumed where nobody says the heads, of a grid without an odd row.
ARCHITECTURE = dataclasses.replace(SMALL, num_heads=(1, 1), image_size=(64, 48))
DOCS = Path(__file__).parents[1] / "docs" / "checkpoints.md"


class EasyDict(dict[str, Any]):
    """As the library of that name has it: its entries are its attributes."""

    def __init__(self, **entries: Any) -> None:
        super().__init__(**entries)
        self.__dict__ = self  # type: ignore[assignment]


class AttributeDict(dict[str, Any]):
    """As Lightning's."""


class Names(list[str]):
    """A list with a class of its own."""


class Split(enum.Enum):
    TRAIN = 1


@dataclasses.dataclass
class Recipe:
    epochs: int = 300
    split: Split = Split.TRAIN


def state(change: float = 0.0) -> State:
    tensors = named_weights(VOLO(ARCHITECTURE)).state_dict()
    return {name: t + change if t.is_floating_point() else t for name, t in tensors.items()}


def behind(prefix: str, tensors: State) -> State:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def other() -> State:
    """Weights that must not be taken."""
    return state(1.0)


Layout = tuple[Callable[[], Any], str, str, tuple[str, ...]]

# What is in the file; the entry, the prefix and the other entries that are found. By its name in docs/checkpoints.md.
LAYOUTS: dict[str, Layout] = {
    "bare state dict": (state, "", "", ()),
    "state dict and counters": (lambda: {**state(), "epoch": 3}, "", "", ()),
    "official VOLO, timm": (
        lambda: {"state_dict": state(), "arch": "volo_d1", "epoch": 3, "optimizer": {"state": {0: {"step": 1}}}},
        "state_dict",
        "",
        (),
    ),
    "timm with a moving average": (
        lambda: {"state_dict": other(), "state_dict_ema": state(), "args": argparse.Namespace(lr=0.1)},
        "state_dict_ema",
        "",
        ("state_dict",),
    ),
    "timm, average not kept": (lambda: {"state_dict": state(), "state_dict_ema": None}, "state_dict", "", ()),
    "DataParallel": (lambda: behind("module.", state()), "", "module.", ()),
    "torch.compile of DataParallel": (lambda: behind("module._orig_mod.", state()), "", "module._orig_mod.", ()),
    "DeiT, ConvNeXt": (
        lambda: {"model": other(), "model_ema": state(), "optimizer": {}, "scaler": {"scale": 1.0}},
        "model_ema",
        "",
        ("model",),
    ),
    "torch AveragedModel": (
        lambda: {"model": other(), "model_ema": {"n_averaged": torch.tensor(9), **behind("module.", state())}},
        "model_ema",
        "module.",
        ("model",),
    ),
    "average within an object": (
        lambda: {"model": other(), "ema": {"module": state(), "decay": 0.99}},
        "ema.module",
        "",
        ("model",),
    ),
    "empty average": (lambda: {"model": state(), "ema": {}}, "model", "", ()),
    "Lightning, model": (
        lambda: {
            "state_dict": {**behind("model.", state()), "criterion.weight": torch.ones(5)},
            "pytorch-lightning_version": "2.5.0",
            "hyper_parameters": AttributeDict(lr=0.1),
            "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.8)}},
        },
        "state_dict",
        "model.",
        (),
    ),
    "Lightning, net": (lambda: {"state_dict": behind("net.", state()), "loops": {}}, "state_dict", "net.", ()),
    "Lightning, backbone": (lambda: {"state_dict": behind("backbone.", state())}, "state_dict", "backbone.", ()),
    "Lightning, student and teacher": (
        lambda: {"state_dict": {**behind("student.", state()), **behind("teacher.", other())}},
        "state_dict",
        "student.",
        ("state_dict.teacher",),
    ),
    "transformers around timm": (lambda: behind("timm_model.", state()), "", "timm_model.", ()),
    "DeepSpeed": (lambda: {"module": state(), "optimizer": None, "ds_version": "0.15"}, "module", "", ()),
    "Fabric, FSDP": (lambda: {"model": behind("_forward_module.", state())}, "model", "_forward_module.", ()),
    "PyTorch tutorial": (
        lambda: {
            "epoch": 3,
            "model_state_dict": state(),
            "optimizer_state_dict": {"state": {}, "param_groups": []},
            "loss": torch.tensor(0.7),
        },
        "model_state_dict",
        "",
        (),
    ),
    "net": (lambda: {"net": state(), "acc": 79.1, "epoch": 3}, "net", "", ()),
    "weights": (lambda: {"weights": OrderedDict(state())}, "weights", "", ()),
    "params": (lambda: {"params": state(), "params_ema": None}, "params", "", ()),
    "three dictionaries deep": (lambda: {"a": {"b": {"c": state()}}}, "a.b.c", "", ()),
    "objects beside the weights": (
        lambda: {
            "model": state(),
            "cfg": EasyDict(lr=0.1, names=Names("ab")),
            "recipe": Recipe(),
            "split": Split.TRAIN,
            "seen": {1, 2},
            "classes": frozenset("ab"),
            "counts": defaultdict(list, a=[1]),
            "output": Path("out"),
        },
        "model",
        "",
        (),
    ),
}


def load(path: Path, **said: Any) -> LoadedModel:
    return checkpoint.load(ModelRequest(str(path), **said))


def refusal(path: Path, **said: Any) -> str:
    with pytest.raises(RequestError) as refused:
        load(path, **said)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def holds(loaded: LoadedModel, tensors: State) -> bool:
    found = loaded.model.state_dict()
    return all(torch.equal(found[name], tensor) for name, tensor in tensors.items() if "num_batches" not in name)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_taken(tmp_path: Path, layout: str, zipped: bool) -> None:
    make, entry, prefix, others = LAYOUTS[layout]
    torch.save(make(), tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    loaded = load(tmp_path / "weights.pth")
    assert (loaded.entry, loaded.prefix, loaded.others) == (entry, prefix, others)
    assert loaded.model.architecture == ARCHITECTURE
    assert holds(loaded, state())
    for name in others:
        assert any(f"--entry takes '{name}'" in sentence for sentence in loaded.told)
        assert holds(load(tmp_path / "weights.pth", entry=name), other())


def test_the_document_has_them_all() -> None:
    text = DOCS.read_text(encoding="utf-8")
    missing = [layout for layout in LAYOUTS if f"| {layout} |" not in text]
    assert not missing and len(LAYOUTS) >= 20


def test_what_is_left_is_told(tmp_path: Path) -> None:
    torch.save(LAYOUTS["Lightning, model"][0](), tmp_path / "lightning.ckpt")
    told = load(tmp_path / "lightning.ckpt").told
    assert "left tensors beside the weights in state_dict.model: 'criterion.weight'" in told
    assert any("only plain values were read" in sentence and "AttributeDict" in sentence for sentence in told)


def test_entries_are_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"ema": {"module": state()}, "model": {"module": other()}}, path)
    assert load(path).entry == "ema.module"
    assert holds(load(path, entry="model.module"), other())
    assert "several VOLOs in 'module': `--entry` takes ema.module, model.module" in refusal(path, entry="module")
    assert "no VOLO in 'net'" in refusal(path, entry="net")


def test_of_two_prefixes_a_name_is_behind_the_longer_one() -> None:
    """A model, and beside it the same behind a prefix, which the first one's empty prefix is the start of too."""
    found = entries.find({**state(), **behind("ema.", other())})
    assert [(entry.prefix, entry.average, entry.beside) for entry in found] == [("", False, ()), ("ema.", True, ())]
    for entry, tensors in zip(found, (state(), other()), strict=True):
        assert entry.tensors.keys() == {name for name in tensors if not name.endswith("num_batches_tracked")}
        assert all(torch.equal(entry.tensors[name], tensors[name]) for name in entry.tensors)


def test_a_tensor_with_and_without_the_prefix(tmp_path: Path) -> None:
    torch.save({**behind("model.", state()), "head.bias": torch.zeros(5)}, tmp_path / "weights.pth")
    assert "names a tensor twice, with and without a prefix: 'head.bias'" in refusal(tmp_path / "weights.pth")


def test_safetensors_have_prefixes_too(tmp_path: Path) -> None:
    save_file(behind("timm_model.", state()), tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert (loaded.entry, loaded.prefix) == ("", "timm_model.") and holds(loaded, state())


# Models that are no image classifiers


def test_mivolo_of_faces(tmp_path: Path) -> None:
    torch.save({"state_dict": state(), "min_age": 1, "max_age": 95, "avg_age": 48.0}, tmp_path / "mivolo.pth.tar")
    assert "is a MiVOLO, which estimates age and gender: it reads a face" in refusal(tmp_path / "mivolo.pth.tar")


def test_mivolo_of_faces_and_persons(tmp_path: Path) -> None:
    torch.save({"state_dict": {**state(), "patch_embed.conv1.0.weight": torch.ones(1)}}, tmp_path / "mivolo.pth.tar")
    assert "a face and a person, 6 channels" in refusal(tmp_path / "mivolo.pth.tar")


def test_mivolo_by_its_config(tmp_path: Path) -> None:
    save_file(state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mivolo"}))
    assert "is a MiVOLO" in refusal(tmp_path / "model.safetensors")


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_channels_that_no_photograph_has(tmp_path: Path, channels: int) -> None:
    stem = torch.zeros(8, channels, 7, 7)
    torch.save({**state(), "patch_embed.conv.0.weight": stem}, tmp_path / "weights.pth")
    assert f"reads images of {channels} channels; 3 (RGB) and 1 (grey)" in refusal(tmp_path / "weights.pth")


# Objects that are not only data


class Acts:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize(
    ("function", "name"),
    [(eval, "eval"), (exec, "exec"), (open, "open"), (print, "print"), (shutil.rmtree, "shutil.rmtree")],
)
def test_what_acts_is_refused(tmp_path: Path, function: Callable[..., Any], name: str) -> None:
    torch.save({"model": state(), "x": Acts(function, "1")}, tmp_path / "weights.pth")
    assert f"holds code or objects other than tensors ({name}" in refusal(tmp_path / "weights.pth").replace(
        "builtins.", ""
    ).replace("__builtin__.", "").replace("io.", "")


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save({"model": VOLO(ARCHITECTURE)}, tmp_path / "whole.pth")
    assert "torch.nn.modules" in refusal(tmp_path / "whole.pth")
