"""A VOLO with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from volo_edge.checkpoint.text import listed, quoted
from volo_edge.checkpoint.text import size as sized
from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.variants import Architecture

_KEPT = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_MOST_TIMES = 16  # that the weights may be as large in float32 as the file, which has each of them once


def require_plain(tensors: Mapping[str, Tensor], size: int) -> None:
    """RequestError where not all `tensors` are floating point, in full, in a file of `size` bytes.

    A tensor may say that it repeats a few numbers (a stride of 0): then it is as large as it says once it is copied.
    """
    if unusable := [f"{quoted(name)} ({kind})" for name, tensor in tensors.items() if (kind := _odd_kind(tensor))]:
        raise RequestError(f"has weights that are not plain floating point: {listed(unusable)}; save float weights")
    repeated = [
        f"{quoted(name)} is {sized(tuple(tensor.shape))}"
        for name, tensor in tensors.items()
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes()
    ]
    if repeated:
        raise RequestError(
            f"has weights that repeat a few numbers ({listed(repeated)}); save them with `.contiguous()`"
        )
    if 4 * sum(tensor.numel() for tensor in tensors.values()) > _MOST_TIMES * size:
        raise RequestError(
            f"has weights that share their numbers, and would be {_MOST_TIMES} times as large as the file"
        )


def _odd_kind(tensor: Tensor) -> str:
    """What keeps a tensor from being plain floating point: "sparse_coo", "int8", "nested"; "" for nothing."""
    if tensor.is_nested:
        return "nested"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.dtype not in _KEPT:
        return str(tensor.dtype).removeprefix("torch.")
    if tensor.device.type != "cpu":
        return f"on {tensor.device.type}"
    return "" if type(tensor) in (Tensor, torch.nn.Parameter) else type(tensor).__name__


def build(architecture: Architecture, tensors: dict[str, Tensor]) -> VOLO:
    """A VOLO with `tensors`, whose position embedding is resized where it is of another grid; empties `tensors`.

    Each tensor is copied out of the file, converted and let go before the next, and becomes the model's parameter as
    it is: memory peaks at one copy of the weights. Without the copy the parameters would stay mapped: a file changed
    or cut short later would change the model under its user, or kill the process.
    """
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
            not_finite.append(quoted(name))
        if name.endswith(".running_var") and (state[name] < 0).any():
            raise RequestError(f"has a negative variance in {quoted(name)}; copy or download it again")
    if not_finite:
        raise RequestError(f"has NaN or infinite weights in {listed(not_finite)}; use a checkpoint from before them")

    if tuple(state["pos_embed"].shape[1:3]) != architecture.coarse_grid:
        state["pos_embed"] = resize_pos_embed(state["pos_embed"], architecture.coarse_grid)
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False)


def resize_pos_embed(embedding: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embedding (1, H, W, C) resized to (1, *grid, C), bicubically, as the official loader does.

    Source: `resize_pos_embed_4d` of github.com/sail-sg/volo `utils/utils.py`, for square grids only there.
    """
    resized = F.interpolate(embedding.permute(0, 3, 1, 2), size=grid, mode="bicubic")
    return resized.permute(0, 2, 3, 1).contiguous()
