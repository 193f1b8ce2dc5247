"""Where it goes wrong: the error after each block, and what each block adds of its own.

Each layer's weights and activation ranges are read back from the saved file and put into a copy of the float edge
model, so that what is measured is what the file holds, not what it was meant to. The copy computes in single precision:
half precision arithmetic of a Core ML package is not in these figures, it is in those of the logits.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from volo_edge.converters.program import Activation, StoredLayer
from volo_edge.decompose import EdgeVOLO
from volo_edge.errors import RequestError
from volo_edge.report.contents import BlockError, ErrorGrowth
from volo_edge.sensitivity.rounding import by_token

LOGITS = "logits"
_QUIET = 1e-8  # noise to signal, 80 dB: less changes no class
_SAMPLE = 4096  # numbers of a weight that tell it from any other: the cosine of unlike ones is 0 to 1 / 64
_ORDER = 1e-3  # of a cosine: the most that order counts beside likeness


def measure(
    edge: EdgeVOLO, stored: Sequence[StoredLayer], batches: Iterable[Tensor], advance: Callable[[int], None]
) -> ErrorGrowth:
    """The error of a file's layers on `batches` of photographs (B, C, H, W), 0..255.

    Args:
        edge: the float edge model that the file was made from.
        stored: the file's layers.
        advance: called with the size of each batch.

    Raises:
        RequestError: the file's layers are not the model's.
    """
    saved = with_layers(edge, stored)
    blocks, copies = _blocks(edge), _blocks(saved)
    grown, own = ({name: _Error() for name in (*blocks, LOGITS)} for _ in range(2))
    made: dict[str, Tensor] = {}
    count = 0

    def keep(name: str) -> Callable[..., None]:
        return lambda block, given, output: made.__setitem__(name, output)

    def compare(name: str) -> Callable[..., None]:
        def hook(block: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            grown[name].add(made[name], output)
            own[name].add(copies[name](*given), output)

        return hook

    with torch.inference_mode():
        for images in batches:
            handles = [block.register_forward_hook(keep(name)) for name, block in copies.items()]
            logits = saved(images)
            _remove(handles)
            handles = [block.register_forward_hook(compare(name)) for name, block in blocks.items()]
            grown[LOGITS].add(logits, edge(images))
            _remove(handles)
            count += len(images)
            advance(len(images))
    del own[LOGITS]
    errors = tuple(BlockError(name, grown[name].snr_db, own[name].snr_db if name in own else None) for name in grown)
    worst = max(own, key=lambda name: own[name].ratio)
    return ErrorGrowth(count, errors, worst if own[worst].ratio > _QUIET else None)


def with_layers(edge: EdgeVOLO, stored: Sequence[StoredLayer]) -> EdgeVOLO:
    """A copy of `edge` that computes with what `stored` has of each of its layers, and rounds what that rounds."""
    saved = copy.deepcopy(edge)
    for name, found in matched(edge, stored).items():
        layer: Any = saved.get_submodule(name)
        if found.bias is not None:
            bias = _without_token(torch.from_numpy(np.array(found.bias)), layer, name, saved)
            layer.bias = nn.Parameter(bias, requires_grad=False)
        layer.weight = nn.Parameter(torch.from_numpy(np.array(found.weight)), requires_grad=False)
        if (before := _rounding(found.given)) is not None:
            layer.register_forward_pre_hook(lambda _, given, rounds=before: (rounds(given[0]), *given[1:]))
        if (after := _rounding(found.made)) is not None:
            layer.register_forward_hook(lambda _, given, made, rounds=after: rounds(made))
    return saved


def matched(edge: EdgeVOLO, stored: Sequence[StoredLayer]) -> dict[str, StoredLayer]:
    """What `stored` has of each linear and convolution of `edge`, those within norms too, by name.

    Of those of one shape, the pairs whose weights are most alike altogether: which of query, key and value runs first
    is the lowering's choice, so order decides between equal weights alone. A layer whose weights are spoiled is what
    no other one is like. The windows' own kernels are in files and not among the names. A layer that reads no
    photograph, the first query of the class token, may be a constant of the file, and is not found then.

    Raises:
        RequestError: a layer that the file does not have.
    """
    shapes: dict[tuple[int, ...], list[str]] = {}
    for name in call_order(edge):
        shapes.setdefault(tuple(float_weight(edge, name).shape), []).append(name)
    found: dict[str, StoredLayer] = {}
    for shape, all_names in shapes.items():
        layers = [one for one in stored if one.weight.shape == shape]
        names = all_names
        if len(layers) < len(names):
            constant = _constant(edge)
            names = [name for name in all_names if name not in constant]
        if len(layers) < len(names):
            raise RequestError(f"the file has no layer of shape {shape} where the model has {names[len(layers)]}")
        ours = np.stack([_direction(float_weight(edge, name).numpy()) for name in names])
        theirs = np.stack([_direction(one.weight) for one in layers])
        apart = (np.arange(len(names))[:, None] - np.arange(len(layers))) / len(layers)
        pairs = zip(*linear_sum_assignment(ours @ theirs.T - _ORDER * apart**2, maximize=True), strict=True)
        found |= {names[row]: layers[column] for row, column in pairs}
    return found


def call_order(edge: EdgeVOLO) -> list[str]:
    """Names of the linears and convolutions, those within norms too, in the order they run."""
    order: list[str] = []
    modules = {name: module for name, module in edge.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    handles = [
        module.register_forward_pre_hook(lambda _, given, name=name: order.append(name))
        for name, module in modules.items()
    ]
    with torch.inference_mode():
        edge(edge.example())
    _remove(handles)
    return order


def _constant(edge: EdgeVOLO) -> set[str]:
    """Names of the layers that are given the same whatever the photograph is."""
    seen: dict[str, list[Tensor]] = {name: [] for name in call_order(edge)}
    handles = [
        edge.get_submodule(name).register_forward_pre_hook(lambda _, given, name=name: seen[name].append(given[0]))
        for name in seen
    ]
    with torch.inference_mode():
        for level in (0.0, 100.0):
            edge(torch.full_like(edge.example(), level))
    _remove(handles)
    halves = ((name, given[: len(given) // 2], given[len(given) // 2 :]) for name, given in seen.items())
    return {name for name, black, grey in halves if all(map(torch.equal, black, grey))}


def float_weight(edge: EdgeVOLO, name: str) -> Tensor:
    """The weight of a layer of `edge`; of a quantized one, what its integers and palettes stand for."""
    weight: Any = edge.get_submodule(name).weight.data
    dequantized: Tensor = weight if type(weight) is Tensor else weight.dequantize()
    return dequantized


def _direction(weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Numbers spread over a weight, as a vector of length 1; those that are not finite are zero, and zeros stay so."""
    some = weight.reshape(-1)[:: -(-weight.size // _SAMPLE)].astype(np.float64)
    some[~np.isfinite(some)] = 0
    return some / (np.linalg.norm(some) or 1.0)


def _without_token(bias: Tensor, layer: Any, name: str, edge: EdgeVOLO) -> Tensor:
    """A bias, without the class token where it holds that too.

    coremltools adds what the first class block's attention is added to, a constant, to the bias of its projection.
    """
    if name != "post_network.0.attn.proj":
        return bias
    apart = bias - edge.cls_token.flatten()
    nearer = (apart - layer.bias).norm() < (bias - layer.bias).norm()
    return apart if nearer else bias


def _rounding(activation: Activation) -> Callable[[Tensor], Tensor] | None:
    if activation is None:
        return None
    if activation == "dynamic":
        return by_token
    levels = activation
    return lambda x: torch.fake_quantize_per_tensor_affine(
        x, levels.scale, levels.zero_point, levels.lowest, levels.highest
    )


def _blocks(edge: EdgeVOLO) -> dict[str, nn.Module]:
    """What a person would keep in higher precision, in the order it runs."""
    found: dict[str, nn.Module] = {"patch_embed": edge.patch_embed}
    for number, stage in enumerate(edge.network):
        if isinstance(stage, nn.Sequential):
            found |= {f"network.{number}.{index}": block for index, block in enumerate(stage)}
        else:
            found[f"network.{number}"] = stage
    found |= {f"post_network.{index}": block for index, block in enumerate(edge.post_network)}
    found["head"] = edge.head
    if edge.aux_head is not None:
        found["aux_head"] = edge.aux_head
    return found


class _Error:
    """Squares of a signal and of its noise, summed over batches."""

    def __init__(self) -> None:
        self._signal = self._noise = 0.0

    def add(self, made: Tensor, right: Tensor) -> None:
        self._signal += float(right.double().square().sum())
        self._noise += float((made.double() - right.double()).square().sum())

    @property
    def ratio(self) -> float:
        """Noise to signal; infinite where something is not finite."""
        ratio = self._noise / self._signal if self._signal else 0.0
        return ratio if np.isfinite(ratio) else np.inf

    @property
    def snr_db(self) -> float | None:
        """In decibels; None without noise."""
        if self.ratio == 0:
            return None
        return max(-1000.0, float(-10 * np.log10(self.ratio)))


def _remove(handles: Iterable[Any]) -> None:
    for handle in handles:
        handle.remove()
