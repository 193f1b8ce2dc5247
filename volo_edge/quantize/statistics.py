"""What calibration photographs show of each layer's inputs: their means and second moments."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from volo_edge.decompose import EdgeVOLO
from volo_edge.quantize.layers import quantizable


@dataclass
class Inputs:
    """Sums over all the vectors (inputs,) that one layer was given; of a convolution, over its patches.

    Args:
        count: how many vectors.
        total: (inputs,), their sum.
        products: (inputs, inputs), the sum of their outer products; None where it was not asked for.
    """

    count: int
    total: Tensor
    products: Tensor | None

    @property
    def mean(self) -> Tensor:
        """(inputs,)."""
        return self.total / self.count


def gather(
    edge: EdgeVOLO, names: Collection[str], batches: Iterable[Tensor], products: bool, advance: Callable[[int], None]
) -> dict[str, Inputs]:
    """Run `edge` on `batches` (B, C, H, W) and sum what each layer in `names` is given, its `products` too if asked.

    Layers that read the same tensor, as query, key and value do, share one sum.
    """
    found: dict[str, Inputs] = {}
    layers = quantizable(edge)
    last: tuple[Tensor, Inputs] | None = None

    def watch(name: str) -> RemovableHandle:
        def hook(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            nonlocal last
            (given,) = arguments
            if last is not None and last[0] is given:
                found[name] = last[1]
                return
            vectors = input_vectors(layer, given)
            if name not in found:
                width = vectors.shape[1]
                found[name] = Inputs(0, torch.zeros(width), torch.zeros(width, width) if products else None)
            sums = found[name]
            sums.count += len(vectors)
            sums.total += vectors.sum(0)
            if sums.products is not None:
                sums.products.addmm_(vectors.T, vectors)
            last = given, sums

        return layers[name].register_forward_pre_hook(hook)

    handles = [watch(name) for name in names]
    try:
        with torch.inference_mode():
            for images in batches:
                edge(images)
                advance(len(images))
    finally:
        for handle in handles:
            handle.remove()
    return found


def input_vectors(layer: nn.Module, given: Tensor) -> Tensor:
    """(N, inputs) of what a linear (..., inputs) or a convolution (B, C, H, W) multiplies its rows with."""
    if isinstance(layer, nn.Conv2d):
        columns = F.unfold(given, layer.kernel_size, layer.dilation, layer.padding, layer.stride)  # type: ignore[arg-type]
        return columns.transpose(1, 2).flatten(0, 1)
    return given.flatten(0, -2)
