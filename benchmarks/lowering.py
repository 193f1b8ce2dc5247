"""What of ExecuTorch's lowering an edge VOLO needs: the measurements behind `converters/executorch/lean.py`.

    python benchmarks/lowering.py [volo_cifar10] [fp32]

Lowers a model in a scheme as ExecuTorch does, and prints for every pass how often it ran, how often it changed the
graph, its seconds, and whether it is left out; then lowers it again without those, and prints both times and whether
the files have the same bytes. Weights are noise, filled by name; static ranges are those of one image of noise. Seconds
are of a processor; a pass's are those of the passes that it calls too.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg
from torch.fx.passes.infra.pass_base import PassBase

from tests.small import edge_model, pixels
from volo_edge.console import Steps
from volo_edge.converters.executorch import lower as lowering
from volo_edge.converters.executorch.lean import IDLE
from volo_edge.converters.targets import Choice, choose
from volo_edge.decompose import TOKENS_LAST
from volo_edge.quantize.export import quantize
from volo_edge.quantize.layers import precisions
from volo_edge.variants import VARIANTS


def program_of(model: str, scheme: str) -> tuple[ExportedProgram, Choice]:
    """The program to lower, and what it is lowered for."""
    architecture = VARIANTS[model].architecture
    choice, edge = choose("executorch", None, scheme, None), edge_model(architecture, TOKENS_LAST)
    images = torch.from_numpy(pixels(architecture, 1))
    return quantize(edge, precisions(edge, choice.scheme), "xnnpack", lambda: [images], 1, Steps(None)), choice


def written(module: GraphModule) -> list[tuple[Any, ...]]:
    """The graph without names: what a pass that changes nothing leaves the same."""
    numbers: dict[Node, int] = {}

    def line(node: Node) -> tuple[Any, ...]:
        numbers[node] = len(numbers)
        arguments = map_arg((node.args, node.kwargs), lambda one: f"%{numbers[one]}")
        values = torch.utils._pytree.tree_map_only(
            torch.Tensor, lambda one: (one.shape, one.dtype, one.stride()), node.meta.get("val")
        )
        return node.op, str(node.target) * (node.op != "get_attr"), str(arguments), str(values)

    return [line(node) for node in module.graph.nodes]


@contextmanager
def watched() -> Iterator[dict[type, list[float]]]:
    """Of each pass within: how often it ran, how often it changed the graph, its seconds."""
    found: dict[type, list[float]] = defaultdict(lambda: [0, 0, 0.0])
    call = PassBase.__call__

    def called(self: PassBase, module: GraphModule) -> Any:
        before, start = written(module), time.process_time()
        result = call(self, module)
        counts = found[type(self)]
        counts[2] += time.process_time() - start
        counts[1] += result is not None and written(result.graph_module) != before
        counts[0] += 1
        return result

    with patch.object(PassBase, "__call__", called):
        yield found


def main() -> None:
    """Print the passes and the two times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", nargs="?", default="volo_cifar10")
    parser.add_argument("scheme", nargs="?", default="fp32")
    args = parser.parse_args()
    left_out = {resolve_name(path) for path in IDLE}
    with tempfile.TemporaryDirectory() as place:
        folder, seconds = Path(place), {}
        with patch.object(lowering, "lean", nullcontext), watched() as found:
            lowering.lower(*program_of(args.model, args.scheme), folder / "watched")
        for one, (runs, changes, taken) in found.items():
            mark = "left out" if one in left_out else ""
            print(f"{one.__module__ + ':' + one.__qualname__:100} {runs:3} {changes:3} {taken:6.2f} s  {mark}")
        for name in ("lean", "plain"):
            program, choice = program_of(args.model, args.scheme)
            with nullcontext() if name == "lean" else patch.object(lowering, "lean", nullcontext):
                start = time.process_time()
                lowering.lower(program, choice, folder / name)
                seconds[name] = time.process_time() - start
        same = (folder / "lean").read_bytes() == (folder / "plain").read_bytes()
    print("plain {plain:.1f} s, lean {lean:.1f} s".format(**seconds), "the same file" if same else "ANOTHER FILE")


if __name__ == "__main__":
    main()
