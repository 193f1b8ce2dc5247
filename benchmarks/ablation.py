"""Measures what each accuracy-keeping transform is worth: scheme by transform, SNR and top-1 of the logits.

    python benchmarks/ablation.py --data PHOTOGRAPHS --output docs/results/ablation

The demo model and its twin (`tests/twin.py`) are quantized in torch, the graph that would be lowered, and run on the
photographs of `--data`, a folder of class folders. Transforms that were tried and are not part of volo-edge are
implemented here. What was measured is kept in OUTPUT.json, so that an interrupted run goes on where it stopped; the
table is written to OUTPUT.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn
from torchao.quantization.pt2e.observer import HistogramObserver, MinMaxObserver

from tests.twin import make_twin
from volo_edge import calibration, checkpoint
from volo_edge.calibration.images import balanced_subset, find_images, stream
from volo_edge.console import Steps
from volo_edge.decompose import LAYOUTS, EdgeVOLO, decompose
from volo_edge.decompose.rewrites import assign, bias_of, blocks
from volo_edge.model import VOLO, Attention, ClassAttention, OutlookAttention
from volo_edge.preprocess import Preprocessing
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import precisions, quantizable
from volo_edge.quantize.schemes import SCHEMES, Precision
from volo_edge.quantize.statistics import gather, input_vectors
from volo_edge.quantize.transforms import ROBUST, equalize, rotate
from volo_edge.quantize.weights import quantize_weights
from volo_edge.validate import metrics

Batches = Callable[[], Iterable[Tensor]]


@dataclass(frozen=True)
class Way:
    """A way to quantize.

    Args:
        name: as the table has it.
        also: rewrites of the folded reference.
        compensated: None for as the scheme has it.
        prepare: changes the edge model before it is quantized, looking at the calibration photographs.
        bias: whether each layer's bias makes up for the mean error of its rounded weights.
        observer: of static ranges.
        only: schemes that it can change, "" for all.
    """

    name: str
    also: tuple[Callable[[VOLO], None], ...] = ROBUST
    compensated: bool | None = None
    prepare: Callable[[EdgeVOLO, Batches], None] | None = None
    bias: bool = False
    observer: Any = HistogramObserver
    only: str = ""


def rotate_heads(model: VOLO) -> None:
    """Values and scores of each head rotated by a Hadamard matrix, which its projection, or the other, undoes."""
    for block in blocks(model):
        attn: Any = block.attn
        width = attn.proj.in_features
        one = torch.ones(1, 1, dtype=torch.float64)
        while len(one) < width // attn.num_heads:
            one = torch.cat([torch.cat([one, one], 1), torch.cat([one, -one], 1)]) / math.sqrt(2)
        matrix = torch.block_diag(*[one] * attn.num_heads)
        value = {OutlookAttention: ("v", 0), Attention: ("qkv", 2), ClassAttention: ("kv", 1)}[type(attn)]
        turned = [(getattr(attn, value[0]), value[1])]
        if isinstance(attn, Attention):
            turned += [(attn.qkv, 0), (attn.qkv, 1)]
        elif isinstance(attn, ClassAttention):
            turned += [(attn.q, 0), (attn.kv, 0)]
        for linear, number in turned:
            rows = slice(number * width, (number + 1) * width)
            weight, bias = linear.weight.double().clone(), bias_of(linear).clone()
            weight[rows], bias[rows] = matrix @ weight[rows], matrix @ bias[rows]
            assign(linear, weight, bias)
        assign(attn.proj, attn.proj.weight.double() @ matrix.T)


class Scaled(nn.Module):
    """A norm whose channels are then multiplied by constants."""

    def __init__(self, norm: nn.Module, factor: Tensor, axis: int) -> None:
        super().__init__()
        self.norm = norm
        self.register_buffer("factor", factor if axis == -1 else factor.reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The scaled, normalized tokens."""
        return self.norm(x) * self.factor


def smooth(edge: EdgeVOLO, batches: Batches) -> None:
    """SmoothQuant (arXiv:2211.10438) with alpha 0.5 between every norm of a residual block and its readers."""
    axis = -1 if edge.layout.name == "tokens-last" else 1
    for block in [block for stage in edge.network if isinstance(stage, nn.Sequential) for block in stage]:
        names = [name for name in ("v", "attn", "q", "k") if hasattr(block.attn, name)]
        for norm, readers in (("norm1", [getattr(block.attn, name) for name in names]), ("norm2", [block.mlp.fc1])):
            seen: list[Tensor] = []

            def look(layer: nn.Module, given: tuple[Tensor, ...], seen: list[Tensor] = seen) -> None:
                seen.append(input_vectors(layer, given[0]).abs().amax(0))

            handle = readers[0].register_forward_pre_hook(look)
            with torch.inference_mode():
                for images in batches():
                    edge(images)
            handle.remove()
            largest = torch.stack([reader.weight.data.flatten(1).abs().amax(0) for reader in readers]).amax(0)
            factor = (torch.stack(seen).amax(0).clamp(min=1e-5) / largest.clamp(min=1e-5)).sqrt()
            for reader in readers:
                shape = (1, -1) + (1,) * (reader.weight.dim() - 2)
                reader.weight.data = reader.weight.data * factor.reshape(shape)
            setattr(block, norm, Scaled(getattr(block, norm), 1 / factor, axis))


class Percentile(HistogramObserver):  # type: ignore[misc]
    """The range that all but a hundred-thousandth of the values lie in, on either side."""

    def _non_linear_param_search(self) -> tuple[Tensor, Tensor]:
        share = self.histogram.cumsum(0) / self.histogram.sum()
        edges = torch.linspace(float(self.min_val), float(self.max_val), len(share) + 1)
        return edges[int((share < 1e-5).sum())], edges[int((share < 1 - 1e-5).sum()) + 1]


STATIC = "int8-static int8-hybrid"
WAYS = (
    Way("plain rounding", (), False),
    Way("equalize", (equalize,), False),
    Way("rotate", (rotate,), False),
    Way("equalize, rotate", ROBUST, False),
    Way("as shipped"),
    Way("equalize, rotate, heads rotated", (*ROBUST, rotate_heads), False),
    Way("equalize, SmoothQuant", (equalize,), False, prepare=smooth),
    Way("equalize, rotate, bias corrected", ROBUST, False, bias=True),
    Way("as shipped, heads rotated", (*ROBUST, rotate_heads)),
    Way("as shipped, ranges of least and largest", observer=MinMaxObserver, only=STATIC),
    Way("as shipped, ranges of 99.999 %", observer=Percentile, only=STATIC),
)
QUANTIZING = tuple(name for name, scheme in SCHEMES.items() if scheme.quantizes)


def main() -> None:
    """Measure what was not yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=calibration.DEMO_VALIDATION)
    parser.add_argument("--limit", type=int, default=2000)
    parser.add_argument("--static-limit", type=int, default=500, help="of static schemes, run one by one")
    parser.add_argument("--schemes", nargs="*", default=QUANTIZING)
    parser.add_argument("--output", type=Path, default=Path("ablation"))
    args = parser.parse_args()

    loaded = checkpoint.load()
    preprocessing = Preprocessing.from_crop(loaded.model.architecture.image_size, loaded.variant.crop_pct)
    twin = copy.deepcopy(loaded.model)
    make_twin(twin)
    data = balanced_subset(find_images(args.data, need_classes=True), args.limit, seed=0)
    inputs = torch.cat([torch.from_numpy(batch.inputs) for batch in stream(data, preprocessing, 100)])
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    inputs, labels = inputs[order], np.array(data.labels)[order]
    fit = find_images(calibration.DEMO_CALIBRATION)
    photographs = torch.cat([torch.from_numpy(batch.inputs) for batch in stream(fit, preprocessing, 100)])

    def batches() -> Iterator[Tensor]:
        yield from photographs.split(32)

    reference = answers(decompose(loaded.model, preprocessing, LAYOUTS["xnnpack"]), inputs, 50)
    path = args.output.with_suffix(".json")
    found: dict[str, Any] = json.loads(path.read_text())["results"] if path.exists() else {}
    jobs = [
        (scheme, backend, way, which)
        for scheme in args.schemes
        for backend in SCHEMES[scheme].backends
        for way in WAYS
        for which in ("model", "twin")
        if scheme in (way.only or scheme)
    ]
    for scheme, backend, way, which in track(jobs, "measuring"):
        key = f"{scheme} | {backend} | {way.name} | {which}"
        if key in found:
            continue
        model = loaded.model if which == "model" else twin
        edge = decompose(model, preprocessing, LAYOUTS[backend], way.also)
        if way.prepare:
            way.prepare(edge, batches)
        chosen = precisions(edge, SCHEMES[scheme])
        if way.compensated is not None:
            chosen = {name: uncompensated(precision) for name, precision in chosen.items()}
        static = any(precision.activations == "static" for precision in chosen.values())
        if way.bias:
            correct_bias(edge, chosen, batches)
        count = args.static_limit if static else args.limit
        if static:
            program = quantize(edge, chosen, backend, batches, len(fit), Steps(None), observer=way.observer)
            logits = answers(program.module(), inputs[:count], 1)
        else:
            fitted = [name for name, precision in chosen.items() if precision.weights.compensated]
            quantize_weights(edge, chosen, gather(edge, fitted, batches(), True, lambda images: None))
            logits = answers(edge, inputs[:count], 50)
        right, float_right = (out.argmax(1) == labels[:count] for out in (logits, reference[:count]))
        found[key] = {
            "photographs": count,
            "drop_points": 100 * float(float_right.mean() - right.mean()),
            "agreement": metrics.top1_agreement(logits, reference[:count]),
            "snr_db": metrics.snr_db(logits, reference[:count]),
        }
        path.write_text(json.dumps({"results": found}, indent=2) + "\n")
    args.output.with_suffix(".md").write_text(markdown(found))


def uncompensated(precision: Precision) -> Precision:
    """The same, every weight rounded to the nearest."""
    return replace(precision, weights=replace(precision.weights, compensated=False))


def correct_bias(edge: EdgeVOLO, chosen: dict[str, Precision], batches: Batches) -> None:
    """To each bias, the mean error that the layer's rounded weights make on the photographs."""
    rounded = copy.deepcopy(edge)
    quantize_weights(rounded, {name: replace(one, activations="float") for name, one in chosen.items()}, {})
    means = gather(edge, list(chosen), batches(), False, lambda images: None)
    after = quantizable(rounded)
    for name, layer in quantizable(edge).items():
        if name in chosen:
            stored: Any = after[name].weight.data
            error = (layer.weight.data - stored.dequantize()).flatten(1) @ means[name].mean
            layer.bias = nn.Parameter(bias_of(layer).float() + error, requires_grad=False)


def answers(model: Any, inputs: Tensor, together: int) -> metrics.Logits:
    """Logits of all `inputs`."""
    with torch.inference_mode():
        return np.concatenate([np.asarray(model(images)) for images in inputs.split(together)])


def markdown(found: dict[str, Any]) -> str:
    """The results as a table, a row a scheme and way."""
    lines = ["| scheme | transforms | SNR dB | agrees % | drop | twin: SNR dB | twin: agrees % | twin: drop |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|---:|")
    for key in found:
        scheme, backend, way, which = key.split(" | ")
        if which == "model":
            both = (found[key], found.get(f"{scheme} | {backend} | {way} | twin"))
            cells = [f"{scheme}, {backend}" if scheme == "int8-static" else scheme, way]
            for one in both:
                cells += (
                    [f"{one['snr_db']:.1f}", f"{100 * one['agreement']:.2f}", f"{one['drop_points']:+.2f}"]
                    if one
                    else ["", "", ""]
                )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
