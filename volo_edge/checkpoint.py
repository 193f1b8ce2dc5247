"""Reading weights: .pth.tar, .pth, .safetensors or the Hugging Face hub, into a float32 VOLO; never runs a file's code.

What a file is comes from its first bytes, which model it is from the shapes of its tensors. Every way a file can be
bad is a RequestError of one line that starts with the file's name.
"""

from __future__ import annotations

import math
import pickle
import re
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from volo_edge import files
from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.variants import DEMO, VARIANTS, Architecture, Variant, find

HUB = "hf-hub:"

# Where a training script keeps the weights. The moving average goes first, as in timm: the official training script
# validates it and keeps the epochs where *it* is best, so it is the model whose accuracy its user has seen.
ENTRIES = ("state_dict_ema", "model_ema", "state_dict", "model")

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LoadedModel:
    """A trained model and where it came from.

    Args:
        model: float32, on the CPU, in evaluation mode, without gradients; its `architecture` has the image size,
            the number of classes and the biases that the file has, which may not be the variant's.
        variant: the named or detected one.
        weights_sha256: of the file's bytes, in hexadecimal.
        source: what was asked for: a path or a hub name.
        path: the file that was read.
        entry: the one of `ENTRIES` that held the weights, "" for a bare state dict.
        resized_from: (rows, columns) of the file's position embedding where it was resized, else None.
    """

    model: VOLO
    variant: Variant
    weights_sha256: str
    source: str
    path: Path
    entry: str
    resized_from: tuple[int, int] | None


def load(
    weights: str | Path | None, model: str | None = None, image_size: tuple[int, int] | None = None
) -> LoadedModel:
    """The model in `weights`.

    Args:
        weights: a checkpoint's path, or `hf-hub:owner/name[@revision]`; None for the demo model's, which ship with us.
        model: a variant's name; None to find the variant from the tensors' shapes.
        image_size: (height, width) in pixels; None for the named variant's, or where none is named the size that the
            position embedding was trained at. The embedding is resized to it as the official loader does.

    Raises:
        RequestError: anything wrong with any of the three.
    """
    named = find(model) if model is not None else None
    if weights is None:
        weights = _shipped(named)
    source = str(weights)
    try:
        path = _download(source) if source.startswith(HUB) else Path(source)
        _require_file(path)
        digest = files.sha256(path)
        tensors, entry = _read(path)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        variant, architecture = _fit(named, shapes, image_size)
        network, resized_from = _build(architecture, tensors)
    except OSError as error:
        raise RequestError(_one_line(f"{source}: cannot be read: {error.strerror or error}")) from None
    except RequestError as error:
        raise RequestError(_one_line(f"{source}: {error}")) from None
    return LoadedModel(network, variant, digest, source, path, entry, resized_from)


def _one_line(text: str) -> str:
    return " ".join(text.split())


# Finding the file


def _shipped(named: Variant | None) -> Path:
    """The demo model's weights; RequestError for any other model, saying where its weights are."""
    if named is None or named.name == DEMO:
        from calibration import DEMO_WEIGHTS  # here: what is not asked for the demo need not have it

        return Path(DEMO_WEIGHTS)
    raise RequestError(
        f"the weights of {named.name} are not shipped: pass `--weights {named.checkpoint}` (a file of the releases of "
        f"github.com/sail-sg/volo) or `--weights {named.hub}`"
    )


def _require_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a name with a null byte
        example = next(iter(VARIANTS.values())).hub
        raise RequestError(f"no such file; give a checkpoint's path, or a hub name such as {example}") from None
    if stat.S_ISDIR(mode):
        raise RequestError("is a folder; give the checkpoint file in it")
    if not stat.S_ISREG(mode):
        raise RequestError("is not a regular file; give a checkpoint's path")


def _download(name: str) -> Path:
    """The local copy of the weights of `hf-hub:owner/name[@revision]`, fetched if need be.

    `hf_hub_download` answers an unreachable hub with half a minute of retries, each printed. So the hub is asked once,
    plainly, and where it cannot be reached only the cache is searched.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url  # here: a fifth of a second
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, tag = name.removeprefix(HUB).partition("@")
    revision = tag or None
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise RequestError(f"is no hub name; one is {HUB}owner/name or {HUB}owner/name@revision")
    reachable, reason = True, "the repository holds neither model.safetensors nor pytorch_model.bin"
    for filename in ("model.safetensors", "pytorch_model.bin"):
        if reachable:
            try:
                get_hf_file_metadata(hf_hub_url(repository, filename, revision=revision), timeout=10)
            except EntryNotFoundError:
                continue
            except Exception as error:  # of the HTTP library, of the hub's library or of the operating system
                reachable, reason = False, f"not in the cache, and the hub cannot be asked ({_brief(error)})"
        try:
            return Path(hf_hub_download(repository, filename, revision=revision, local_files_only=not reachable))
        except Exception as error:
            if reachable:
                reason = f"the download failed ({_brief(error)})"
    raise RequestError(f"{reason}; download the weights elsewhere and pass the file to `--weights`")


def _brief(error: Exception) -> str:
    text = _one_line(str(error)) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."


# Reading the file


class _Inert:
    """Stands for a harmless object beside the weights (the training script's arguments, a metric), and holds nothing.

    The unpickler is given this in place of the classes themselves, so that none of their code runs: numpy's own
    unpickling takes flags and sizes from the file unchecked, which is more than a checkpoint may ask.
    """

    def __new__(cls, *_: Any) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass


_INERT = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"pathlib.{module}{system}Path" for module in ("", "_local.") for system in ("Posix", "Windows")),
)


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file by their names in `VOLO`, and the entry they were in. They may be mapped from the file."""
    with open(path, "rb") as file:
        head = file.read(64)
    if not head:
        raise RequestError("is empty; copy or download it again")
    # a safetensors file: eight bytes with the length of a JSON header (100 MB at most), then the header
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= 100_000_000:
        return _named(_safetensors(path)), ""
    if head[:4] == b"PK\x03\x04" or head[:1] == b"\x80":
        # torch.load maps zip files only, and takes a path that ends so for a safetensors file, whatever is in it
        return _state_dict(_torch_file(path, mapped=head[:1] == b"P" and not path.name.endswith(".safetensors")))
    if head.startswith(b"version https://git-lfs"):
        raise RequestError("is a Git LFS pointer, not the weights; run `git lfs pull` in its repository")
    raise RequestError("is no checkpoint: give a .pth.tar, .pth or .safetensors file")


def _safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dict
    except Exception as error:  # as for torch files below
        raise RequestError(f"is truncated or damaged ({_brief(error)}); copy or download it again") from None


def _torch_file(path: Path, mapped: bool) -> Any:
    """What `torch.save` wrote, without running any code of it; `mapped` reads only the tensors that are used."""
    try:
        with torch.serialization.safe_globals([(_Inert, name) for name in _INERT]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and archives; what matters raises as well
            with open(path, "rb") as file:
                return torch.load(path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"code or objects other than tensors ({wanted[1]})" if wanted else "a pickle of more than tensors"
        raise RequestError(f"holds {what} and was refused; save `model.state_dict()` with torch.save") from None
    except Exception as error:  # whatever bytes that are not what they seem make the parser raise
        if "TorchScript" in str(error):
            raise RequestError("is a TorchScript program; save the model's state dict with torch.save") from None
        raise RequestError("is truncated, damaged or no checkpoint; copy or download it again") from None


def _state_dict(loaded: Any) -> tuple[dict[str, Tensor], str]:
    """The state dict in what a torch file held, and the entry of `ENTRIES` it was in."""
    if not isinstance(loaded, dict):
        raise RequestError(f"holds a {type(loaded).__name__}, not a state dict; save `model.state_dict()`")
    entry = next((name for name in ENTRIES if isinstance(loaded.get(name), dict)), "")
    state = loaded[entry] if entry else loaded
    others = [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if len(others) == len(state):
        raise RequestError(
            f"holds no weights{f' in {entry}' if entry else ''}: its entries are {_few(others) or 'none'}; "
            f"a state dict is looked for at the top and in {', '.join(ENTRIES)}"
        )
    if others:
        raise RequestError(f"has entries beside its weights that are not tensors: {_few(others)}; save only the state")
    return _named(state), entry


def _named(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`state` by the names of `VOLO`: no wrapper's prefix, no training counter, a position embedding of rank 4."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        # prefixes of data-parallel and compiled models
        plain = re.sub(r"^(module\.|_orig_mod\.)+", "", name)
        if plain in tensors:
            raise RequestError(f"names a tensor twice, with and without a prefix: {_few([plain])}")
        if not plain.endswith(".num_batches_tracked"):
            tensors[plain] = tensor
    position = tensors.get("pos_embed")
    if position is not None and position.ndim == 3:  # (1, T, C), T tokens of a square grid
        side = math.isqrt(position.shape[1])
        if side**2 == position.shape[1]:
            tensors["pos_embed"] = position.reshape(position.shape[0], side, side, position.shape[2])
    return tensors


# Which model it is


@cache
def expected_shapes(architecture: Architecture) -> Shapes:
    """Shape of every tensor that a checkpoint of `architecture` must hold, by name."""
    with torch.device("meta"):
        state = VOLO(architecture).state_dict()
    return {name: tuple(t.shape) for name, t in state.items() if not name.endswith(".num_batches_tracked")}


def _fit(named: Variant | None, shapes: Shapes, image_size: tuple[int, int] | None) -> tuple[Variant, Architecture]:
    """The variant that tensors of `shapes` are of, and its architecture with what such tensors decide."""
    if named is not None:
        architecture = _fitted(named.architecture, shapes, image_size or named.architecture.image_size)
        if problems := _differences(expected_shapes(architecture), shapes):
            raise RequestError(f"does not fit {named.name}: {problems}")
        return named, architecture

    summary = _summary(shapes)
    grid = _grid(shapes)
    fits: list[Variant] = []
    differences: list[tuple[int, Variant, str]] = []
    for variant in VARIANTS.values():
        fitted = _fitted(variant.architecture, shapes, _trained_size(variant.architecture, grid))
        expected = expected_shapes(fitted)
        if problems := _differences(expected, shapes):
            differences.append((len(expected.items() & shapes.items()), variant, problems))
        else:
            fits.append(variant)
    if not fits:
        alike, closest, problems = max(differences, key=lambda difference: difference[0])
        hint = f"closest is {closest.name}, but {problems}; " if alike > len(shapes) / 2 else ""
        known = ", ".join(VARIANTS)
        raise RequestError(f"{summary}; {hint}`--model` names the model it is of (known: {known})")
    # one architecture's variants differ in image size only
    variant = next((v for v in fits if v.architecture.coarse_grid == grid), fits[0])
    size = image_size or _trained_size(variant.architecture, grid)
    return variant, _fitted(variant.architecture, shapes, size)


def _grid(shapes: Shapes) -> tuple[int, int] | None:
    """(Rows, columns) of the position embedding, None where there is no such thing."""
    shape = shapes.get("pos_embed", ())
    return (shape[1], shape[2]) if len(shape) == 4 and min(shape) > 0 else None


def _trained_size(architecture: Architecture, grid: tuple[int, int] | None) -> tuple[int, int]:
    """The image size of a position embedding of `grid`: the architecture's own where it has that grid."""
    if grid is None or grid == architecture.coarse_grid:
        return architecture.image_size
    return grid[0] * 2 * architecture.patch_size, grid[1] * 2 * architecture.patch_size


def _fitted(architecture: Architecture, shapes: Shapes, image_size: tuple[int, int]) -> Architecture:
    """`architecture` with the classes, the auxiliary head and the biases that `shapes` have."""
    head = shapes.get("head.weight", ())
    return replace(
        architecture,
        image_size=image_size,
        num_classes=max(1, head[0]) if head else architecture.num_classes,
        aux_head=any(name.startswith("aux_head.") for name in shapes),
        qkv_bias=any(re.search(r"\.attn\.(v|q|kv|qkv)\.bias$", name) for name in shapes),
    )


def _differences(expected: Shapes, found: Shapes) -> str:
    """What keeps tensors of the shapes `found` from being `expected`; "" where nothing does."""
    misshapen = [
        f"{_quoted(name)} is {_size(found[name])}, not {_size(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape and not (name == "pos_embed" and _resizable(found[name], shape))
    ]
    problems = {
        "missing": [_quoted(name) for name in expected if name not in found],
        "unexpected": [_quoted(name) for name in found if name not in expected],
        "misshapen": misshapen,
    }
    return "; ".join(f"{what} {_listed(names)}" for what, names in problems.items() if names)


def _resizable(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(found) == 4 and min(found) > 0 and (found[0], found[3]) == (expected[0], expected[3])


def _summary(shapes: Shapes) -> str:
    """How the stages of an unknown VOLO look; RequestError where the tensors are of something else."""
    blocks: dict[int, set[int]] = {}
    for name in shapes:
        if match := re.match(r"network\.(\d{1,9})\.(\d{1,9})\.", name):
            blocks.setdefault(int(match[1]), set()).add(int(match[2]))
    if not blocks:
        raise RequestError(f"holds no VOLO: its tensors are {_few(shapes)}; give a checkpoint of a VOLO")
    layers = ",".join(str(len(blocks[stage])) for stage in sorted(blocks))
    widths = ",".join(_size(shapes.get(f"network.{stage}.0.norm1.weight", ())) for stage in sorted(blocks))
    return f"holds no model known here: stages of {layers} blocks, {widths} wide"


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "?"


def _quoted(name: object) -> str:
    text = repr(name)  # a name from a file may hold anything, line ends and terminal codes too
    return text if len(text) <= 80 else text[:77] + "..."


def _few(names: Iterable[object]) -> str:
    return _listed([_quoted(name) for name in names])


def _listed(texts: list[str], shown: int = 3) -> str:
    """The first few of `texts`, and how many more there are."""
    more = f" and {len(texts) - shown} more" if len(texts) > shown else ""
    return ", ".join(texts[:shown]) + more


# Building the model


def _build(architecture: Architecture, tensors: dict[str, Tensor]) -> tuple[VOLO, tuple[int, int] | None]:
    """A VOLO with `tensors`, and the grid of their position embedding if it had to be resized; empties `tensors`.

    Each tensor is copied out of the file, converted and let go before the next, and becomes the model's parameter as
    it is: memory peaks at one copy of the weights. Without the copy the parameters would stay mapped: a file changed
    or cut short later would change the model under its user, or kill the process.
    """
    kept = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    unusable = [
        f"{_quoted(name)} ({str(t.dtype if t.layout == torch.strided else t.layout).removeprefix('torch.')})"
        for name, t in tensors.items()
        if t.dtype not in kept or t.layout != torch.strided or t.device.type != "cpu"
    ]
    if unusable:
        raise RequestError(f"has weights that are not plain floating point: {_listed(unusable)}; save float weights")

    with torch.device("meta"):
        network = VOLO(architecture)
    state: dict[str, Tensor] = {}
    not_finite: list[str] = []
    for name in network.state_dict():
        if name.endswith(".num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)  # counts training steps; old checkpoints have none
            continue
        tensor = tensors.pop(name).detach()
        state[name] = tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        if not state[name].isfinite().all():
            not_finite.append(_quoted(name))
    if not_finite:
        raise RequestError(f"has NaN or infinite weights in {_listed(not_finite)}; use a checkpoint from before them")

    grid = (state["pos_embed"].shape[1], state["pos_embed"].shape[2])
    resized = grid != architecture.coarse_grid
    if resized:
        state["pos_embed"] = resize_pos_embed(state["pos_embed"], architecture.coarse_grid)
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False), grid if resized else None


def resize_pos_embed(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embedding (1, H, W, C) resized to (1, *grid, C), bicubically, as the official loader does.

    Source: `resize_pos_embed_4d` of github.com/sail-sg/volo `utils/utils.py`, for square grids only there.
    """
    resized = F.interpolate(embedding.permute(0, 3, 1, 2), size=grid, mode="bicubic")
    return resized.permute(0, 2, 3, 1).contiguous()
