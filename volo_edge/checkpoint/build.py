"""A VOLO with the weights of a checkpoint."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from volo_edge.checkpoint.text import listed, quoted
from volo_edge.errors import RequestError
from volo_edge.model import VOLO
from volo_edge.variants import Architecture


def build(architecture: Architecture, tensors: dict[str, Tensor]) -> VOLO:
    """A VOLO with `tensors`, whose position embedding is resized where it is of another grid; empties `tensors`.

    Each tensor is copied out of the file, converted and let go before the next, and becomes the model's parameter as
    it is: memory peaks at one copy of the weights. Without the copy the parameters would stay mapped: a file changed
    or cut short later would change the model under its user, or kill the process.
    """
    kept = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    unusable = [
        f"{quoted(name)} ({str(t.dtype if t.layout == torch.strided else t.layout).removeprefix('torch.')})"
        for name, t in tensors.items()
        if t.dtype not in kept or t.layout != torch.strided or t.device.type != "cpu"
    ]
    if unusable:
        raise RequestError(f"has weights that are not plain floating point: {listed(unusable)}; save float weights")

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
