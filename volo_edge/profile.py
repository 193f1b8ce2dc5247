"""Where an artifact's time goes: its parts, compiled alone, beside the whole file.

ExecuTorch's wheels cannot time what XNNPACK computes within a program. So the parts of the model that the file holds
(same widths, grid and scheme; other weights, on which time does not depend) are lowered as the model was, each to a
program of its own, and timed in turns with the file. Blocks of the same shapes are alike: one stands for all.

What phones would execute of the same programs is counted in qemu, one instruction like the other. It says which kernels
a processor has for a part; it is no time, which memory decides as well.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from volo_edge import machine
from volo_edge.artifact import Artifact, Manifest
from volo_edge.console import Steps
from volo_edge.converters.executorch import arm64
from volo_edge.converters.process import lines, python
from volo_edge.converters.targets import Choice, choose
from volo_edge.decompose import LAYOUTS, EdgeVOLO, decompose
from volo_edge.decompose.edge import Attention, ClassAttention, Mlp, PatchEmbed, PatchProjection
from volo_edge.decompose.tokens_last import Norm, OutlookAttention
from volo_edge.machine import Machine
from volo_edge.model import VOLO
from volo_edge.quantize.layers import precisions
from volo_edge.quantize.static import static
from volo_edge.quantize.weights import quantize_weights
from volo_edge.timing import ROUNDS

_MACS_COUNTED = 3e8  # of a file that is counted whole; VOLO-D1, with 7e9, would take qemu a quarter of an hour
_PARTS: dict[type[nn.Module], str] = {
    PatchEmbed: "stem and patch embedding",
    OutlookAttention: "outlook attention",
    PatchProjection: "downsampling",
    Attention: "attention",
    ClassAttention: "class attention",
    Mlp: "MLP",
    Norm: "norm",
}


@dataclass(frozen=True)
class Part:
    """Modules of the edge model that compute the same.

    Args:
        name: of them, "network.0.*.attn".
        kind: what they are.
        count: how many there are.
        milliseconds: of one of them alone, the median of its turns.
        macs: multiplications of one of them that end in a sum.
        instructions: of one of them alone, by name of the ARM64 processor.
    """

    name: str
    kind: str
    count: int
    milliseconds: float
    macs: int
    instructions: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """Times of an artifact's file and of its parts, for one image.

    Args:
        milliseconds: of the file.
        parts: in the order they run.
        threads: of ExecuTorch.
        machine: this one.
        instructions: of the file, by name of the ARM64 processor; {} where it is too large to be counted whole.
    """

    milliseconds: float
    parts: tuple[Part, ...]
    threads: int
    machine: Machine
    instructions: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Example:
    """A module, what the model gives it, and `Part`'s name, kind, count and macs."""

    module: nn.Module
    inputs: tuple[Tensor, ...]
    name: str
    kind: str
    count: int
    macs: int


def profile(found: Artifact, threads: int | None, steps: Steps, processors: Sequence[str] = ()) -> Profile:
    """Time the file of `found`, XNNPACK's, and its parts here; with `threads`, or as many as the machine has cores.

    On each of the ARM64 `processors`, names of `arm64.PROCESSORS`, instructions are counted too.

    Raises:
        RuntimeMissing: this machine cannot compute one of them; see `arm64.prepare`.
    """
    if processors:
        arm64.prepare(processors, steps)
    manifest = found.manifest
    threads = threads or machine.this().cores
    choice = choose(manifest.target, manifest.backend, manifest.quantization.scheme, None)
    with steps.step("taking the model apart"):
        edge = _edge(manifest)
        examples = _examples(edge)
    once = {_shapes(example): example for example in examples}
    with TemporaryDirectory() as place:
        paths = [Path(place) / f"{number}.pte" for number in range(len(once))]
        with steps.step("lowering its parts", len(once)) as advance:
            for path, program in zip(paths, _programs(edge, list(once.values()), choice), strict=True):
                choice.target.module("lower").lower(program, choice, path)
                advance(1)
        image = (edge.example(),)
        given = [image, *(example.inputs for example in once.values())]
        milliseconds = _timed([found.model_path, *paths], given, threads, steps)
        small = sum(example.count * example.macs for example in examples) <= _MACS_COUNTED
        counted = _counted([found.model_path, *paths] if small else paths, processors, steps)
    place_of = {shapes: number - len(once) for number, shapes in enumerate(once)}  # from the end: the file may be first
    parts = (
        Part(
            name=example.name,
            kind=example.kind,
            count=example.count,
            milliseconds=milliseconds[place_of[_shapes(example)]],
            macs=example.macs,
            instructions={name: counts[place_of[_shapes(example)]] for name, counts in counted.items()},
        )
        for example in examples
    )
    whole = {name: counts[0] for name, counts in counted.items() if small}
    return Profile(milliseconds[0], tuple(parts), threads, machine.this(), whole)


def _counted(paths: list[Path], processors: Sequence[str], steps: Steps) -> dict[str, list[int]]:
    """Instructions of each of the programs at `paths`, by processor."""
    found = {}
    for name in processors:
        with steps.step(f"counting instructions of {name}"):
            found[name] = arm64.count(paths, arm64.find(name))
    return found


def _shapes(example: _Example) -> tuple[object, ...]:
    """What parts have in common that compute the same with other weights: stages of one width have such."""
    tensors = (*example.inputs, *example.module.parameters())
    return example.kind, getattr(example.module, "heads", None), *(tuple(tensor.shape) for tensor in tensors)


def _edge(manifest: Manifest) -> EdgeVOLO:
    """A model as the manifest says, of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VOLO(manifest.model.architecture).eval()
    return decompose(model, manifest.preprocessing, LAYOUTS["xnnpack"], consume=True)


def _examples(edge: EdgeVOLO) -> list[_Example]:
    """One module of each kind in each stage with its inputs, in the order they run."""
    names = {module: name for name, module in edge.named_modules() if type(module) in _PARTS}
    names |= {module: name for name, module in edge.named_children() if isinstance(module, nn.Linear)}
    alike = Counter(_pattern(name) for name in names.values())
    seen: dict[str, tuple[nn.Module, tuple[Tensor, ...]]] = {}

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.setdefault(_pattern(names[module]), (module, tuple(tensor.clone() for tensor in inputs)))

    hooks = [module.register_forward_pre_hook(before) for module in names]
    with torch.inference_mode():
        edge(torch.rand_like(edge.example()) * 255)
    for hook in hooks:
        hook.remove()
    return [
        _Example(module, inputs, name, _PARTS.get(type(module), "classifier"), alike[name], _macs(module, inputs))
        for name, (module, inputs) in seen.items()
    ]


def _pattern(name: str) -> str:
    """A module's name with "*" for the number of its block, as "network.0.*.attn"."""
    return re.sub(r"^(network\.\d+|post_network)\.\d+\.", r"\1.*.", name)


def _macs(module: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops()) // 2


def _programs(edge: EdgeVOLO, examples: list[_Example], choice: Choice) -> Any:
    """Each module's program, quantized as the scheme says; weights are rounded alone, which is as fast to compute."""
    alone = {
        name: replace(precision, weights=replace(precision.weights, compensated=False))
        for name, precision in precisions(edge, choice.scheme).items()
    }
    scales = quantize_weights(edge, alone, {})
    of = {module: scales[name] for name, module in edge.named_modules() if name in scales}
    for example in examples:
        program = torch.export.export(example.module, example.inputs, strict=False)
        own = {name: of[module] for name, module in example.module.named_modules() if module in of}
        if own:
            program = static(program, own, choice.backend, [example.inputs], lambda count: None)
        yield program


def _timed(paths: list[Path], given: list[tuple[Tensor, ...]], threads: int, steps: Steps) -> list[float]:
    """Milliseconds of a run of each file: the median of its turns' medians."""
    programs = [
        {"path": str(path), "shapes": [list(tensor.shape) for tensor in inputs]}
        for path, inputs in zip(paths, given, strict=True)
    ]
    command = python("volo_edge.timing", json.dumps({"programs": programs, "threads": threads}))
    turns = []
    with steps.step("timing", ROUNDS) as advance:
        for line in lines(command, paths[0]):
            turns.append(json.loads(line))
            advance(1)
    return [median(taken) for taken in zip(*turns, strict=True)]
