"""How a model was trained: who says it, in which order, and what no one can follow."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.exactness import SMALL as THREE_STAGES
from tests.small import SMALL
from tests.test_layouts import load, refusal, state
from tests.weights import named_weights
from volo_edge.checkpoint import LoadedModel
from volo_edge.model import VOLO
from volo_edge.preprocess import IMAGENET_MEAN, IMAGENET_STD
from volo_edge.trained import UNTOLD, of_timm
from volo_edge.variants import VARIANTS, Architecture

DEMO = VARIANTS["volo_cifar10"].architecture
SQUARE = dataclasses.replace(SMALL, image_size=(64, 64))
SCHEMA = Path(__file__).parents[1] / "docs" / "architecture.schema.json"


def saved(path: Path, architecture: Architecture, **beside: Any) -> Path:
    torch.save({"state_dict": named_weights(VOLO(architecture)).state_dict(), **beside}, path)
    return path


def sources(loaded: LoadedModel) -> dict[str, tuple[str, str]]:
    return {one.what: (one.value, one.source) for one in loaded.assumed}


# Photographs


def test_the_first_dictionary_goes_first_and_what_it_leaves_empty_says_nothing() -> None:
    """`pretrained_cfg` beside the arguments: timm writes empty values for what was not given."""
    first = {"mean": (0.1, 0.2, 0.3), "std": None, "interpolation": "", "gp": None, "num_heads": []}
    second = {"mean": (0.5,), "std": (0.25,), "interpolation": "bilinear", "crop_pct": 0.875, "global_pool": "avg"}
    said = of_timm("args", first, None, second)
    assert said.who == "args" and dict(said.settings) == {
        "mean": (0.1, 0.2, 0.3),
        "std": (0.25,),
        "interpolation": "bilinear",
        "crop-pct": 0.875,
        "pool": "avg",
    }


def test_a_published_model_is_as_it_was_published(tmp_path: Path) -> None:
    loaded = load(saved(tmp_path / "weights.pth", DEMO))
    assert sources(loaded) == {
        "pool": ("token", "volo_cifar10"),
        "mean": ("0.485,0.456,0.406", "volo_cifar10"),
        "std": ("0.229,0.224,0.225", "volo_cifar10"),
        "interpolation": ("bicubic", "volo_cifar10"),
        "crop-mode": ("center", "volo_cifar10"),
        "crop-pct": ("1.0", "volo_cifar10"),
    }
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == (IMAGENET_MEAN, IMAGENET_STD)


ARGS = argparse.Namespace(
    mean=[0.5, 0.4, 0.3], std=[0.2], crop_pct=0.9, interpolation="bilinear", crop_mode=None, gp=None, lr=0.1
)


def test_arguments_in_the_checkpoint(tmp_path: Path) -> None:
    loaded = load(saved(tmp_path / "weights.pth", DEMO, args=ARGS))
    found = loaded.preprocessing
    assert (found.mean, found.std, found.interpolation) == ((0.5, 0.4, 0.3), (0.2, 0.2, 0.2), "bilinear")
    assert (found.resize_to, found.crop, found.crop_mode) == ((71, 71), (64, 64), "center")
    assert sources(loaded)["mean"] == ("0.5,0.4,0.3", "args in the checkpoint")
    assert sources(loaded)["crop-mode"] == ("center", "volo_cifar10")


@pytest.mark.parametrize("name", ["args", "hyper_parameters", "hparams", "config", "cfg"])
def test_arguments_whatever_they_are_called(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / "weights.pth", DEMO, **{name: {"crop_pct": 0.875}})
    assert sources(load(path))["crop-pct"] == ("0.875", f"{name} in the checkpoint")


class Node:
    """As a node of omegaconf: what it holds is among its fields."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__ |= fields


def test_arguments_in_omegaconf(tmp_path: Path) -> None:
    mean = Node(_metadata=Node(), _content=[Node(_val=0.5), Node(_val=0.4), Node(_val=0.3)])
    config = Node(_metadata=Node(), _content={"mean": mean, "crop_pct": Node(_val=0.9), "lr": Node(_val=0.1)})
    loaded = load(saved(tmp_path / "weights.pth", DEMO, hyper_parameters=config))
    assert sources(loaded)["mean"] == ("0.5,0.4,0.3", "hyper_parameters in the checkpoint")
    assert sources(loaded)["crop-pct"] == ("0.9", "hyper_parameters in the checkpoint")


def test_the_command_goes_first(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", DEMO, args=ARGS)
    said = {"mean": (0.1,), "std": (0.3, 0.2, 0.1), "resize": (80, 70), "interpolation": "bicubic"}
    loaded = load(path, crop_mode="squash", **said)
    found = loaded.preprocessing
    assert (found.mean, found.std, found.interpolation) == ((0.1, 0.1, 0.1), (0.3, 0.2, 0.1), "bicubic")
    assert (found.resize_to, found.crop_mode) == ((80, 70), "squash")
    assert {source for what, (_, source) in sources(loaded).items() if what != "pool"} == {
        "--mean",
        "--std",
        "--resize",
        "--interpolation",
        "--crop-mode",
    }


CONFIG = {
    "architecture": "volo_d1_224",
    "num_classes": 5,
    "global_pool": "avg",
    "label_names": ["a", "b", "c", "d", "e"],
    "model_args": {"num_heads": [1, 2]},
    "pretrained_cfg": {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "squash",
    },
}


def repository(folder: Path, config: object) -> Path:
    save_file(named_weights(VOLO(SMALL)).state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder / "model.safetensors"


def test_the_hubs_config(tmp_path: Path) -> None:
    loaded = load(repository(tmp_path, CONFIG))
    assert loaded.model.architecture == dataclasses.replace(SMALL, image_size=(64, 48), pool="avg")
    assert loaded.preprocessing.mean == (0.5, 0.5, 0.5) and loaded.preprocessing.crop_mode == "squash"
    assert loaded.labels == ("a", "b", "c", "d", "e")
    assert {source for _, source in sources(loaded).values()} == {"config.json"}


def test_what_a_config_has_and_the_weights_have_not_is_told(tmp_path: Path) -> None:
    other = {**CONFIG, "num_classes": 7, "id2label": {"0": "a"}, "pretrained_cfg": {"input_size": [3, 96, 96]}}
    told = load(repository(tmp_path, other)).told
    assert "config.json has num_classes 7, and the weights have 5: the weights decide" in told
    assert "config.json has names of classes 1, and the weights have 5: the weights decide" in told
    assert "config.json has image size 96, and the weights have 64: the weights decide" in told
    arguments = argparse.Namespace(num_classes=1000, img_size=64)
    (told,) = (load(saved(tmp_path / "weights.pth", DEMO, args=arguments)).contradicted,)
    assert told == ("args in the checkpoint has num_classes 1000, and the weights have 10: the weights decide",)


@pytest.mark.parametrize("size", [torch.zeros(2), [[1], [2]], [], "64", [64, 48], {"a": 1}])
def test_image_sizes_that_are_none_are_no_matter(tmp_path: Path, size: Any) -> None:
    arguments = argparse.Namespace(img_size=size)
    assert load(saved(tmp_path / "weights.pth", DEMO, args=arguments)).contradicted == ()


def test_transformers_labels(tmp_path: Path) -> None:
    names = {str(index): f"class {index}" for index in range(5)}
    assert load(repository(tmp_path, {"id2label": names})).labels == tuple(names.values())
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "only one"}}))
    assert load(tmp_path / "model.safetensors").labels == ()


def test_a_config_beside_other_weights_is_not_theirs(tmp_path: Path) -> None:
    repository(tmp_path, CONFIG)
    (tmp_path / "model.safetensors").rename(tmp_path / "mine.safetensors")
    assert "config.json" not in {source for _, source in sources(load(tmp_path / "mine.safetensors")).values()}


def test_a_damaged_config(tmp_path: Path) -> None:
    assert "the config.json beside it cannot be read" in refusal(repository(tmp_path, "{"))
    (tmp_path / "config.json").write_text("[]")
    assert "the config.json beside it is no JSON object" in refusal(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"interpolation": "lanczos"}, "args in the checkpoint says interpolation 'lanczos'"),
        ({"crop_mode": "border"}, "says crop-mode 'border'"),
        ({"crop_pct": -1}, "says crop-pct -1: give the crop's side over the photograph's, in 0.1..4"),
        ({"mean": [0.5, 0.5]}, "says mean [0.5, 0.5]: give one number, or one for each"),
        ({"mean": ["a"] * 3}, "says mean"),
        ({"mean": [123.7, 116.3, 103.5]}, "divide what is of 0..255 by 255; --mean says otherwise"),
        ({"std": [58.4]}, "divide what is of 0..255 by 255; --std says otherwise"),
        ({"crop_pct": 87.5}, "in 0.1..4; 0.875 for 87.5 %"),
        ({"crop_pct": True}, "says crop-pct True"),
        ({"mean": [10**400] * 3}, "says mean"),
        ({"mean": torch.zeros(3), "img_size": torch.zeros(2)}, "says mean tensor"),
        ({"std": float("nan"), "img_size": [[1], [2]]}, "says std nan"),
        ({"std": [0, 1, 1]}, "says std [0, 1, 1]: pixels are in 0..1 here"),
        ({"gp": "max"}, "says pool 'max'"),
        ({"num_heads": [1, 0]}, "give a number for each stage"),
        ({"num_heads": [1, 2, 3]}, "has 2 stages, the first of 1 heads, which (1, 2, 3) heads do not fit"),
        ({"num_heads": [1, 5]}, "32 channels wide does not divide into 5 heads"),
    ],
)
def test_what_no_one_can_follow(tmp_path: Path, arguments: dict[str, Any], said: str) -> None:
    assert said in refusal(saved(tmp_path / "weights.pth", SQUARE, args=argparse.Namespace(**arguments)))


def test_a_bad_setting_is_no_matter_where_another_goes_first(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", SQUARE, args=argparse.Namespace(interpolation="lanczos"))
    assert load(path, interpolation="bicubic").preprocessing.interpolation == "bicubic"


def test_grey(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", dataclasses.replace(SMALL, in_chans=1))
    assert "give --mean and --std, a number each" in refusal(path)
    assert "reads 1 channel(s), and --mean has 3 numbers for mean" in refusal(path, mean=(0.5, 0.4, 0.3), std=(0.2,))
    found = load(path, mean=(0.45,), std=(0.23,)).preprocessing
    assert (found.color, found.mean, found.std) == ("L", (0.45,), (0.23,))


# Any VOLO


OTHERS = {
    "patch 4, no stem": dataclasses.replace(THREE_STAGES, patch_size=4, stem_hidden_dim=0, image_size=(32, 40)),
    "patch 16": dataclasses.replace(THREE_STAGES, patch_size=16, image_size=(96, 64)),
    "mlp ratios": dataclasses.replace(THREE_STAGES, mlp_ratios=(2.5, 4.0, 1 / 3)),
    "biases, no auxiliary head": dataclasses.replace(THREE_STAGES, qkv_bias=True, aux_head=False),
    "one class block": dataclasses.replace(THREE_STAGES, post_layers=1, num_classes=3),
    "five stages": dataclasses.replace(
        THREE_STAGES, layers=(1,) * 5, embed_dims=(12, *(24,) * 4), num_heads=(2, *(4,) * 4), mlp_ratios=(2.0,) * 5
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_any_volo_is_read_from_its_shapes(tmp_path: Path, name: str) -> None:
    loaded = load(saved(tmp_path / "weights.pth", OTHERS[name]))
    assert loaded.model.architecture == OTHERS[name]
    assert loaded.variant.name == "volo"
    heads = ",".join(map(str, OTHERS[name].num_heads))
    assert sources(loaded)["architecture"] == (f"{heads} heads", "heads 6 channels wide, as the outlookers'")


def test_heads_of_published_widths(tmp_path: Path) -> None:
    published = VARIANTS["volo_d4_224"].architecture
    stages = {"layers": (1, 1), "embed_dims": (384, 768), "num_heads": (12, 16), "mlp_ratios": (1, 1)}
    shallow = dataclasses.replace(published, **stages)
    loaded = load(saved(tmp_path / "weights.pth", shallow))
    assert loaded.model.architecture.num_heads == (12, 16)
    assert sources(loaded)["architecture"] == ("12,16 heads", "volo_d4_224")


def architecture_file(tmp_path: Path, **fields: Any) -> Path:
    path = tmp_path / "architecture.json"
    path.write_text(json.dumps({"format_version": 1, **fields}))
    return path


def test_heads_from_a_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", SMALL)
    loaded = load(path, architecture=architecture_file(tmp_path, num_heads=[1, 2]))
    assert loaded.model.architecture == dataclasses.replace(SMALL, image_size=(64, 48))
    assert sources(loaded)["architecture"] == ("1,2", "--architecture")


def test_other_windows_from_a_file(tmp_path: Path) -> None:
    windows = {"outlook_kernel": 5, "outlook_padding": 2, "outlook_stride": 2}
    path = saved(tmp_path / "weights.pth", dataclasses.replace(SMALL, **windows))
    assert "other windows than 3x3 tokens; `--architecture FILE.json` gives outlook_kernel" in refusal(path)
    loaded = load(path, architecture=architecture_file(tmp_path, num_heads=[1, 2], **windows))
    assert loaded.model.architecture.outlook_kernel == 5


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is damaged"),
        ('{"format_version": 1}', "num_heads"),
        ('{"format_version": 1, "num_heads": [1, 2], "layers": [1]}', "layers"),
        ('{"format_version": 2, "num_heads": [1, 2]}', "format 2"),
    ],
)
def test_architectures_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    path = saved(tmp_path / "weights.pth", SMALL)
    (tmp_path / "architecture.json").write_text(text)
    assert said in refusal(path, architecture=tmp_path / "architecture.json")


def test_the_published_schema_is_current() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert schema == UNTOLD.schema(), "run 'make schema'"
    jsonschema.validate({"format_version": 1, "num_heads": [1, 2]}, schema)


# What the head reads


def test_pools_compute_different_things(tmp_path: Path) -> None:
    path = saved(tmp_path / "weights.pth", SMALL)
    image = torch.from_numpy(np.random.RandomState(0).standard_normal((1, 3, 64, 48)).astype(np.float32))
    answers = {}
    for pool in ("token", "avg", "mean"):
        loaded = load(path, pool=pool)
        answers[pool] = loaded.model(image)
        assert sources(loaded)["pool"] == (pool, "--pool")
    model = load(path).model
    with torch.no_grad():
        assert torch.equal(answers["token"], model(image))
        seen: list[torch.Tensor] = []
        model.norm.register_forward_hook(lambda module, given, found: seen.append(found))
        model(image)
        mean = model.head(seen[0].mean(1))
        assert torch.allclose(answers["mean"], mean, atol=1e-6)
        assert torch.allclose(answers["avg"], mean + 0.5 * model.aux_head(seen[0][:, 1:]).amax(1), atol=1e-6)
    assert not torch.allclose(answers["token"], answers["avg"], atol=1e-2)


def test_timm_pools_in_the_arguments(tmp_path: Path) -> None:
    loaded = load(saved(tmp_path / "weights.pth", SMALL, args=argparse.Namespace(gp="avg")))
    assert loaded.model.architecture.pool == "avg" and loaded.model.architecture.aux_head
    assert sources(loaded)["pool"] == ("avg", "args in the checkpoint")


def test_state_is_of_the_architecture_assumed() -> None:
    assert state().keys() == named_weights(VOLO(SMALL)).state_dict().keys()
