"""Weights from every kind of file that holds them, and one line about every kind that does not."""

from __future__ import annotations

import argparse
import hashlib
import os
import pickle
import random
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PosixPath
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from tests.weights import image, named_weights
from volo_edge import checkpoint
from volo_edge.checkpoint import LoadedModel, shapes, storage
from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.trained import ModelRequest
from volo_edge.variants import VARIANTS, Architecture

DEMO = VARIANTS["volo_cifar10"].architecture
State = dict[str, Tensor]


def _state(architecture: Architecture = DEMO, dtype: torch.dtype = torch.float16) -> State:
    with torch.device("meta"):
        model = VOLO(architecture)
    return {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in named_weights(model).state_dict().items()
    }


@pytest.fixture(scope="module")
def original() -> State:
    return _state()


@pytest.fixture
def state(original: State) -> State:
    """A dict of its own for each test; the tensors are shared."""
    return dict(original)


@pytest.fixture(scope="module")
def saved(original: State, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good file, for those who only read it."""
    path = tmp_path_factory.mktemp("saved") / "good.pth"
    torch.save(original, path)
    return path


def load(
    weights: str | Path | None = None, model: str | None = None, size: tuple[int, int] | None = None, **said: Any
) -> LoadedModel:
    return checkpoint.load(ModelRequest(None if weights is None else str(weights), model, size, **said))


def _refusal(weights: str | Path, *arguments: Any, **said: Any) -> str:
    """What `load` says of `weights`, which it must refuse in one line that names them."""
    with pytest.raises(RequestError) as refused:
        load(weights, *arguments, **said)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 700
    assert " ".join(str(weights).split()) in message
    return message


def _same(model: VOLO, state: State) -> None:
    """`model` has exactly the values of `state`, in float32."""
    loaded = model.state_dict()
    for name, tensor in state.items():
        if not name.endswith("num_batches_tracked"):
            assert loaded[name].dtype == torch.float32
            assert torch.equal(loaded[name], tensor.float()), name


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.target}'",)


# Good files


def _prefixed(state: State, prefix: str = "module.") -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torch_files(tmp_path: Path, state: State, zipped: bool) -> None:
    path = tmp_path / "weights.pth.tar"
    parameters = {n: torch.nn.Parameter(t, t.is_floating_point()) for n, t in state.items()}
    torch.save({"state_dict": parameters}, path, _use_new_zipfile_serialization=zipped)
    loaded = load(path)
    assert (loaded.variant.name, loaded.source, loaded.path) == ("volo_cifar10", str(path), path)
    assert loaded.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert loaded.trained_size == (64, 64)
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    assert {t.device.type for t in loaded.model.state_dict().values()} == {"cpu"}
    _same(loaded.model, state)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ""])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_safetensors_whatever_they_are_called(tmp_path: Path, state: State, suffix: str, prefix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_file(_prefixed(state, prefix), path, metadata={"format": "pt"})
    loaded = load(str(path), "volo_cifar10")
    assert loaded.entry == ""
    _same(loaded.model, state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_every_float_type_becomes_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    state = _state(dtype=dtype)
    torch.save(state, tmp_path / "weights.pth")
    _same(load(tmp_path / "weights.pth").model, state)


def test_what_a_training_script_adds(tmp_path: Path, state: State) -> None:
    arguments = argparse.Namespace(lr=1e-3, output=PosixPath("out"), scale=[0.08, 1.0], best=np.float32(3))
    extras = {"args": arguments, "metric": np.float64(81.5), "curve": np.arange(3), "arch": "volo_d1", "epoch": 7}
    torch.save({"state_dict": state, **extras}, tmp_path / "checkpoint.pth.tar")
    _same(load(tmp_path / "checkpoint.pth.tar").model, state)


def test_old_files_lack_the_counters(tmp_path: Path, state: State) -> None:
    old = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    model = load(tmp_path / "old.pth").model
    assert model.state_dict()["patch_embed.conv.1.num_batches_tracked"] == 0


def test_the_model_computes_what_was_saved(saved: Path, original: State) -> None:
    reference = VOLO(DEMO)
    reference.load_state_dict(original)
    images = torch.from_numpy(image((64, 64)))
    with torch.no_grad():
        assert torch.equal(load(saved).model(images), reference(images))


@pytest.mark.parametrize("write", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_file_changed_later_does_not_change_the_model(tmp_path: Path, write: Callable[..., None]) -> None:
    state = _state(dtype=torch.float32)  # of the final type: the one case where no conversion makes a copy
    path = tmp_path / "weights"
    write(state, path)
    model = load(path).model
    with open(path, "r+b") as file:
        file.write(bytes(path.stat().st_size))
    _same(model, state)
    os.truncate(path, 10)  # reading a mapped tensor would now end the process
    _same(model, state)


def test_the_demo_is_what_is_loaded_by_default() -> None:
    loaded = load(None)
    assert loaded.variant.name == "volo_cifar10"
    assert loaded.weights_sha256 == "83ad498139f34552d9c73ca29f5ebc72ac3b6072da311e53c6c995ab028a1144"
    assert load(None, "volo_cifar10", (96, 96)).trained_size == (64, 64)


# Which model


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_known_by_its_shapes(name: str) -> None:
    variant = VARIANTS[name]
    for change in ({}, {"num_classes": 7, "aux_head": False}, {"qkv_bias": True}):
        architecture = replace(variant.architecture, **change)
        with torch.device("meta"):
            found = {key: tuple(t.shape) for key, t in VOLO(architecture).state_dict().items() if "num_b" not in key}
        assert shapes.detect(found, None) == (variant, architecture)
        assert shapes.named(variant, found, None) == architecture
        assert shapes.describe(found, None, None, None)[0] == architecture


def test_an_unlisted_grid_gives_the_size_it_was_trained_at() -> None:
    found = shapes.expected(replace(VARIANTS["volo_d3_224"].architecture, image_size=(320, 256)))
    for size in (None, (448, 448)):
        detected = shapes.detect(found, size)
        assert detected is not None
        assert (detected[0].name, detected[1].image_size) == ("volo_d3_224", size or (320, 256))
    assert shapes.named(VARIANTS["volo_d3_448"], found, None).image_size == (448, 448)


@pytest.mark.parametrize("change", [{"num_classes": 3}, {"qkv_bias": True}, {"aux_head": False}])
def test_what_the_file_decides(tmp_path: Path, change: dict[str, Any]) -> None:
    architecture = replace(DEMO, **change)
    torch.save(_state(architecture), tmp_path / "weights.pth")
    model = load(tmp_path / "weights.pth").model
    assert model.architecture == architecture
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, architecture.num_classes)


@pytest.mark.parametrize("size", [(96, 160), (32, 32), (64, 16)])
def test_the_position_embedding_is_resized(saved: Path, original: State, size: tuple[int, int]) -> None:
    loaded = load(saved, None, size)
    assert loaded.trained_size == (64, 64)
    assert loaded.model.architecture.image_size == size
    grid = (size[0] // 16, size[1] // 16)
    channels_first = original["pos_embed"].float().permute(0, 3, 1, 2)
    expected = F.interpolate(channels_first, size=grid, mode="bicubic").permute(0, 2, 3, 1)
    assert torch.equal(loaded.model.pos_embed, expected)
    assert loaded.model(torch.from_numpy(image(size))).shape == (1, 10)


def test_a_size_of_the_same_grid_resizes_nothing(saved: Path, original: State) -> None:
    loaded = load(saved, None, (72, 72))  # 9 x 9 tokens, whose last row and column are dropped
    assert loaded.trained_size == (72, 72)
    assert torch.equal(loaded.model.pos_embed, original["pos_embed"].float())


def test_a_flat_position_embedding_is_a_square(tmp_path: Path, state: State) -> None:
    state["pos_embed"] = state["pos_embed"].reshape(1, 16, 192)
    torch.save(state, tmp_path / "flat.pth")
    assert torch.equal(load(tmp_path / "flat.pth").model.pos_embed.flatten(1, 2), state["pos_embed"].float())
    state["pos_embed"] = state["pos_embed"][:, 1:]
    torch.save(state, tmp_path / "flat.pth")
    assert "'pos_embed' is 1x15x192, not 1x4x4x192" in _refusal(tmp_path / "flat.pth")


# Files that would run code


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle", "pickle 2", "arguments", "state"])
def test_no_code_of_a_file_runs(tmp_path: Path, state: State, form: str) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "ran"
    evil = Evil(target)
    if form.startswith("pickle"):
        path.write_bytes(pickle.dumps(evil, protocol=2 if form.endswith("2") else None))
    elif form == "arguments":
        torch.save({"state_dict": state, "args": argparse.Namespace(model=evil)}, path)
    elif form == "state":
        torch.save({**state, "head.bias": evil}, path)
    else:
        torch.save({"state_dict": state, "x": evil}, path, _use_new_zipfile_serialization=form == "zip")
    message = _refusal(path)
    assert not target.exists()
    assert "refused" in message
    torch.load(path, weights_only=False) if not form.startswith("pickle") else pickle.loads(path.read_bytes())
    assert target.exists(), "the file was harmless, so the test shows nothing"


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pth")
    message = _refusal(tmp_path / "module.pth")
    assert "(torch.nn.modules.linear.Linear) and was refused; save `model.state_dict()`" in message


def test_numpy_unpickles_nothing(tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its `dtype.__setstate__` believes what a file says about flags and sizes."""
    torch.save({"state_dict": state, "metric": np.float64(3)}, tmp_path / "weights.pth")
    seen: dict[str, Any] = {}
    plain_load = torch.load

    def watched(*arguments: Any, **options: Any) -> Any:
        seen.update(plain_load(*arguments, **options))
        return seen

    monkeypatch.setattr(torch, "load", watched)
    load(tmp_path / "weights.pth")
    assert isinstance(seen["metric"], storage.Inert)


# Bad files


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"hello, world\n" * 9, "is no checkpoint"),
        (b"{}", "is no checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(99), "is no checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(99), "damaged"),
        (b"\x80", "damaged"),
        (b"\x02\0\0\0\0\0\0\0{}", "holds no weights"),
        (b"\xff\0\0\0\0\0\0\0{}", "damaged"),
        (b'\x08\0\0\0\0\0\0\0{"a": 1}', "damaged"),
        (pickle.dumps([1, 2]), "refused"),
        (pickle.dumps([1, 2], protocol=2), "no checkpoint"),
        (pickle.dumps({"a": "b"}), "refused"),
    ],
)
def test_no_checkpoint(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(data)
    assert said in _refusal(path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([torch.zeros(3)], "holds a list"),
        (torch.zeros(3), "holds a Tensor"),
        ({"a": "b"}, "its entries are 'a'"),
        ({}, "its entries are none"),
        ({"state_dict": {}}, "its entries are 'state_dict', and none of them"),
        ({1: torch.zeros(3)}, "its entries are 1"),
        ({"net": {"head.weight": torch.zeros(3)}, "epoch": 3}, "its tensors are 'head.weight'"),
        ({"a\nb\x1b[31m": torch.zeros(3)}, r"'a\nb\x1b[31m'"),
        ({f"layer{n}.weight": torch.zeros(3) for n in range(9)}, "'layer2.weight' and 6 more"),
    ],
)
def test_torch_files_of_something_else(tmp_path: Path, value: Any, said: str) -> None:
    torch.save(value, tmp_path / "weights.pth")
    assert said in _refusal(tmp_path / "weights.pth")


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("kept", [0.00001, 0.001, 0.3, 0.9, 0.99999])
def test_truncated(tmp_path: Path, original: State, form: str, kept: float) -> None:
    path = tmp_path / "weights"
    if form == "safetensors":
        save_file(original, path)
    else:
        torch.save(original, path, _use_new_zipfile_serialization=form == "zip")
    os.truncate(path, int(path.stat().st_size * kept))
    assert "again" in _refusal(path)


@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_damage_is_never_worse_than_refused(tmp_path: Path, form: str) -> None:
    path = tmp_path / "weights"
    state = {"network.0.0.norm1.weight": torch.ones(96), "cls_token": torch.ones(1, 1, 192)}
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    whole = path.read_bytes()
    chance = random.Random(0)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.choice([1, 4, 30])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        _refusal(path)


def test_one_flipped_byte_is_seen(tmp_path: Path, saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[len(data) // 2] ^= 0x7F
    (tmp_path / "flipped.pth").write_bytes(data)
    assert "its checksums are wrong" in _refusal(tmp_path / "flipped.pth")


def test_files_without_checksums_are_read(tmp_path: Path, state: State) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "weights.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    _same(load(tmp_path / "weights.pth").model, state)


def test_a_negative_variance(tmp_path: Path, state: State) -> None:
    name = "patch_embed.conv.1.running_var"
    torch.save({**state, name: -state[name]}, tmp_path / "weights.pth")
    assert f"has a negative variance in '{name}'" in _refusal(tmp_path / "weights.pth")


def test_heads_of_different_classes(tmp_path: Path, state: State) -> None:
    torch.save({**state, "head.weight": torch.zeros(5, 192), "head.bias": torch.zeros(5)}, tmp_path / "weights.pth")
    assert "its head has 5 classes and its auxiliary head 10" in _refusal(tmp_path / "weights.pth")


def test_no_file(tmp_path: Path, saved: Path) -> None:
    assert "no such file" in _refusal(tmp_path / "absent.pth")
    assert "no such file" in _refusal(saved / "under-a-file.pth")
    assert "no such file" in _refusal("null\0byte.pth")
    assert "no such file" in _refusal(tmp_path / "two\nlines.pth")
    assert "hf-hub:timm/volo_d1_224.sail_in1k" in _refusal("timm/volo_d1_224.sail_in1k")
    assert "is a folder" in _refusal(tmp_path)
    with pytest.raises(RequestError, match="is a folder"):
        load("")
    assert "cannot be read" in _refusal(tmp_path / ("long" * 100))
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in _refusal(tmp_path / "pipe")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").touch(mode=0)
    assert "Permission denied" in _refusal(tmp_path / "weights.pth")


def test_a_read_that_fails(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(checkpoint.files, "sha256", refuse)
    assert "cannot be read: Permission denied" in _refusal(saved)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("head.bias", torch.tensor([float("nan")] * 10), "NaN or infinite weights in 'head.bias'"),
        ("cls_token", torch.full((1, 1, 192), float("inf")), "NaN or infinite weights in 'cls_token'"),
        ("norm.weight", torch.full((192,), 1e300, dtype=torch.float64), "NaN or infinite weights in 'norm.weight'"),
        ("head.bias", torch.zeros(10, dtype=torch.int8), "'head.bias' (int8)"),
        ("head.bias", torch.zeros(10, dtype=torch.complex64), "'head.bias' (complex64)"),
        ("head.weight", torch.zeros(10, 192).to_sparse(), "'head.weight' (sparse_coo)"),
        ("head.weight", torch.zeros(10, 192, device="meta"), "'head.weight'"),
        ("head.bias", "text", "not tensors: 'head.bias'"),
        ("head.bias", torch.zeros(11), "misshapen 'head.bias' is 11, not 10"),
        ("head.weight", torch.zeros(0, 192), "'head.weight' is 0x192, not 1x192"),
        ("head.weight", torch.tensor(1.0), "'head.weight' is ?, not 10x192"),
        ("pos_embed", torch.zeros(1, 4, 4, 8), "'pos_embed' is 1x4x4x8, not 1x4x4x192"),
        ("pos_embed", torch.zeros(1, 0, 4, 192), "'pos_embed' is 1x0x4x192"),
        ("extra", torch.zeros(1), "unexpected 'extra'"),
        ("module.head.bias", torch.zeros(10), "unexpected 'module.head.bias'"),
    ],
)
def test_one_bad_tensor(tmp_path: Path, state: State, name: str, value: Any, said: str) -> None:
    torch.save({**state, name: value}, tmp_path / "weights.pth")
    assert said in _refusal(tmp_path / "weights.pth")
    assert said in _refusal(tmp_path / "weights.pth", "volo_cifar10")


def test_many_bad_tensors_are_counted(tmp_path: Path, state: State) -> None:
    del state["norm.weight"], state["norm.bias"], state["cls_token"], state["head.bias"]
    torch.save({**state, "x": torch.zeros(1)}, tmp_path / "weights.pth")
    for arguments in ((), ("volo_cifar10",)):
        message = _refusal(tmp_path / "weights.pth", *arguments)
        assert "missing 'cls_token', 'norm.weight', 'norm.bias' and 1 more; unexpected 'x'" in message


def test_another_model(tmp_path: Path) -> None:
    resnet = {f"layer{n}.0.conv1.weight": torch.zeros(8, 8, 3, 3) for n in range(4)} | {"fc.bias": torch.zeros(10)}
    torch.save(resnet, tmp_path / "resnet.pth")
    assert "holds no VOLO: its tensors are 'layer0.0.conv1.weight'" in _refusal(tmp_path / "resnet.pth")


def test_another_variant(saved: Path) -> None:
    message = _refusal(saved, "volo_d2_224")
    assert "does not fit volo_d2_224: missing" in message and "misshapen" in message


def test_bad_requests(saved: Path) -> None:
    with pytest.raises(RequestError, match="did you mean 'volo_d1_224'"):
        load(saved, "volo_d1_244")
    with pytest.raises(RequestError, match=r"d2_384_86\.0\.pth\.tar.*hf-hub:timm/volo_d2_384\.sail_in1k"):
        load(None, "volo_d2_384")
    assert "image size 65x64" in _refusal(saved, None, (65, 64))
    assert "image size 8x64" in _refusal(saved, "volo_cifar10", (8, 64))


# The hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, which is offline."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def _cache(hub: Path, file: Path, filename: str, revision: str = "main") -> Path:
    repository = hub / "models--timm--volo_d1_224.sail_in1k"
    path = repository / "snapshots" / ("0" * 40) / filename
    path.parent.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / revision).write_text("0" * 40)
    shutil.copy(file, path)
    return path


NAME = "hf-hub:timm/volo_d1_224.sail_in1k"


@pytest.mark.parametrize("filename", ["model.safetensors", "pytorch_model.bin"])
def test_hub_names_are_read_from_the_cache(hub: Path, saved: Path, original: State, filename: str) -> None:
    cached = _cache(hub, saved, filename)
    loaded = load(NAME)
    assert (loaded.source, loaded.path) == (NAME, cached)
    _same(loaded.model, original)


def test_hub_names_may_have_a_revision(hub: Path, saved: Path) -> None:
    _cache(hub, saved, "model.safetensors", "v2")
    assert load(NAME + "@v2").source == NAME + "@v2"
    assert "not in the cache" in _refusal(NAME)


def test_hub_offline(hub: Path) -> None:
    assert "not in the cache, and the hub cannot be asked" in _refusal(NAME)


def test_hub_unreachable_is_asked_once(hub: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    asked: list[Any] = []

    def unreachable(*address: Any, **_: Any) -> Any:
        asked.append(address)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket, "create_connection", unreachable)
    assert "the hub cannot be asked" in _refusal(NAME)
    assert len(asked) <= 1  # none where a proxy is set
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["hf-hub:", "hf-hub:volo", "hf-hub:a/b/c", "hf-hub:../..//x", "hf-hub:a b/c"])
def test_what_is_no_hub_name(hub: Path, name: str) -> None:
    assert "is no hub name" in _refusal(name)
