"""An edge model whose layers can be quantized and made float again, one by one, at no cost.

Its numbers are those of the torch graph that would be lowered, got in a cheaper way. Weights are quantized once, by
`quantize_weights`, and kept as the floats that they stand for. Activations are rounded by hooks around each layer: the
dynamic ones token by token as torchao's tensors round them; the static ones within the ranges that torchao's observers
find in the calibration photographs, the inputs and the outputs of a layer as `LayerQuantizer` annotates them. PT2E
itself would have to rewrite and calibrate the whole graph again for every layer that is left out. What a layer is given
is observed with all weights rounded and no static activation, as in PT2E, but a batch at a time, where PT2E sees one
photograph after the other: ranges may differ by a bin of the observers' histograms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchao.quantization.pt2e.observer import HistogramObserver

from volo_edge.decompose import EdgeVOLO
from volo_edge.quantize.layers import STEM, quantizable
from volo_edge.quantize.schemes import Precision
from volo_edge.quantize.statistics import Inputs
from volo_edge.quantize.weights import quantize_weights

_EPS = 2**-20  # the smallest scale of a static activation, as `volo_edge.quantize.static` has it

Rounding = Callable[[Tensor], Tensor]


class Switched:
    """A layer that is either float or quantized; it starts float.

    Args:
        layer: whose weight is swapped.
        end: the module whose output is the layer's to whoever reads it: the ReLU after it, or the layer itself.
        precision: of the layer when it is quantized.
        weight: the floats that its quantized weight stands for.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, end: nn.Module, precision: Precision, weight: Tensor) -> None:
        self.layer, self.end, self.precision = layer, end, precision
        self.weights = (layer.weight, nn.Parameter(weight, requires_grad=False))
        self.quantized = False
        self.input: Rounding | None = by_token if precision.activations == "dynamic" else None
        self.output: Rounding | None = None
        layer.register_forward_pre_hook(self._before)
        end.register_forward_hook(self._after)

    def switch(self, quantized: bool) -> None:
        """Make the layer quantized, or float."""
        self.quantized = quantized
        self.layer.weight = self.weights[quantized]

    def _before(self, layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return (self.input(given[0]),) if self.quantized and self.input else None

    def _after(self, end: nn.Module, given: Any, made: Tensor) -> Tensor | None:
        return self.output(made) if self.quantized and self.output else None


def switched(
    edge: EdgeVOLO,
    precisions: Mapping[str, Precision],
    inputs: dict[str, Inputs],
    advance: Callable[[int], None] = lambda layers: None,
) -> dict[str, Switched]:
    """The layers of `edge` named in `precisions`, switchable. Static activations need `find_ranges` besides.

    Args:
        inputs: statistics with products of the layers whose rounding is compensated; taken from it as they are used.
    """
    layers, result = quantizable(edge), {}
    for name, precision in precisions.items():
        layer = layers[name]
        original = layer.weight.data
        own = {name: inputs.pop(name)} if name in inputs else {}
        quantize_weights(edge, {name: precision}, own)
        stored: Any = layer.weight.data
        weight = stored if type(stored) is Tensor else stored.dequantize()
        layer.weight = nn.Parameter(original, requires_grad=False)
        result[name] = Switched(layer, _end(edge, name), precision, weight)
        advance(1)
    return result


def find_ranges(
    edge: EdgeVOLO,
    layers: Mapping[str, Switched],
    symmetric: bool,
    batches: Iterable[Tensor],
    advance: Callable[[int], None],
) -> None:
    """Give each of `layers` with static activations the ranges that `batches` (B, C, H, W) show; leaves all float.

    Args:
        symmetric: see `volo_edge.quantize.static.LayerQuantizer`.
    """
    static = [(name, layer) for name, layer in layers.items() if layer.precision.activations == "static"]
    if not static:
        return
    seen, handles = [], []
    for name, layer in static:
        given = _observer(symmetric, symmetric and name.startswith(STEM))  # the stem's first, of pixels, is float
        made = _observer(symmetric, symmetric and isinstance(layer.end, nn.ReLU))
        seen.append((layer, given, made))
        handles.append(layer.layer.register_forward_pre_hook(lambda _, x, see=given: _watch(see, x[0])))
        handles.append(layer.end.register_forward_hook(lambda _, x, y, see=made: _watch(see, y)))
    switch_all(layers.values(), True)
    try:
        with torch.inference_mode():
            for images in batches:
                edge(images)
                advance(len(images))
    finally:
        for handle in handles:
            handle.remove()
        switch_all(layers.values(), False)
    for layer, given, made in seen:
        layer.input, layer.output = _within(given), None if symmetric else _within(made)


def switch_all(layers: Iterable[Switched], quantized: bool) -> None:
    """Make all the layers quantized, or float."""
    for layer in layers:
        layer.switch(quantized)


def by_token(x: Tensor) -> Tensor:
    """`x` (..., channels) in 8 bits, each token within its own range, zero in it: as torchao rounds at run time."""
    rows = x.flatten(0, -2)
    lowest, highest = rows.aminmax(dim=-1)
    lowest, highest = lowest.clamp(max=0), highest.clamp(min=0)
    scale = ((highest - lowest) / 255).clamp(min=torch.finfo(torch.float32).eps)
    zero = (-128 - (lowest / scale).round()).clamp(-128, 127).int()
    return torch.fake_quantize_per_channel_affine(rows, scale, zero, 0, -128, 127).reshape(x.shape)


def _end(edge: EdgeVOLO, name: str) -> nn.Module:
    """The ReLU after the layer called `name`, where it is of the stem and one follows; else the layer."""
    layer = edge.get_submodule(name)
    if not name.startswith(STEM):
        return layer
    conv = edge.get_submodule(STEM.rstrip("."))
    after = list(conv.children())
    following = next((m for m in after[after.index(layer) + 1 :] if isinstance(m, nn.ReLU | nn.Conv2d)), layer)
    return following if isinstance(following, nn.ReLU) else layer


def _observer(symmetric: bool, unsigned: bool) -> Any:
    """Of the range of an activation, as `LayerQuantizer` asks for it."""
    return HistogramObserver(
        dtype=torch.uint8 if unsigned else torch.int8,
        quant_min=0 if unsigned else -128,
        quant_max=255 if unsigned else 127,
        qscheme=torch.per_tensor_symmetric if symmetric and not unsigned else torch.per_tensor_affine,
        eps=_EPS,
    )


def _watch(observer: Any, x: Tensor) -> None:
    observer(x)  # a hook that gave back what an observer gives back would change the layer


def _within(observer: Any) -> Rounding:
    """Rounds to 8 bits within the range that was observed."""
    scale, zero = (value.item() for value in observer.calculate_qparams())
    lowest, highest = observer.quant_min, observer.quant_max
    return lambda x: torch.fake_quantize_per_tensor_affine(x, scale, int(zero), lowest, highest)
