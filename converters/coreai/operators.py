"""An exported program in the operators that Core AI has: stored weights stay as they are, the rest may become half.

coreai-torch 0.4.3 makes single precision constants of torchao's tensors, without a word, and refuses PT2E's operators.
Its own operators for both are in `coreai_torch._compression`, where nothing public leads to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import coreai_torch._compression.custom_layers  # noqa: F401 registers torch.ops.coreai
import torch
import torchao.prototype.quantization.codebook_coreml  # noqa: F401 registers torch.ops.quant
from coreai_torch import get_decomp_table
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Graph, GraphModule, Node

_ATEN, _CORE_AI, _PT2E = torch.ops.aten, torch.ops.coreai, torch.ops.quantized_decomposed
_INTEGERS: dict[tuple[int, int], torch.dtype] = {
    (-8, 7): torch.int4,  # type: ignore[attr-defined]  # torch's own stubs lack it
    (-128, 127): torch.int8,
    (-127, 127): torch.int8,
}


def rewritten(program: ExportedProgram, half: bool) -> ExportedProgram:
    """`program` in what coreai-torch takes, its own operators for what is quantized; with `half`, in half precision.

    Its input and output are in single precision either way.
    """
    table = get_decomp_table()
    for operator in _WRITES:
        table.pop(operator, None)  # or they would be arithmetic on floats
    module = program.run_decompositions(table).module()  # with torchao's tensors as what they are made of
    assert isinstance(module, GraphModule)
    writer = _Writer(module, torch.float16 if half else torch.float32)
    for node in list(module.graph.nodes):
        if node.target in _WRITES:
            with module.graph.inserting_before(node):
                node.replace_all_uses_with(_WRITES[node.target](writer, *node.args))
            module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    if half:
        _halve(module)
    module = GraphModule(module, module.graph)  # without the weights that nothing reads any more
    return torch.export.export(module, program.example_inputs[0], strict=False)


def stored_types(program: ExportedProgram) -> Counter[str]:
    """How many weights a program in Core AI's operators has of each type, "int8" or "palette6"."""
    found: Counter[str] = Counter()
    for node in program.graph.nodes:
        if node.target == _CORE_AI.constexpr_blockwise_shift_scale.default:
            found[str(node.args[4]).removeprefix("torch.")] += 1
        elif node.target == _CORE_AI.lut_to_dense.default:
            found[f"palette{node.args[1].meta['val'].shape[-2].bit_length() - 1}"] += 1
    return found


class _Writer:
    """Writes operators into a graph, and constants beside it.

    Args:
        module: of the graph.
        compute: the type of what is made of stored weights and of rounded activations.
    """

    def __init__(self, module: GraphModule, compute: torch.dtype) -> None:
        self.compute = compute
        self._module, self._count = module, 0

    def call(self, operator: Any, *args: Any) -> Node:
        return self._module.graph.call_function(operator, args)

    def constant(self, kind: str, value: Tensor) -> Node:
        """`kind` is part of its name, by which coreai-torch knows indices ("indices") and their table ("lut")."""
        name, self._count = f"{kind}_{self._count}", self._count + 1
        self._module.register_buffer(name, value.contiguous())
        return self._module.graph.get_attr(name)

    def value(self, node: Node) -> Tensor:
        """Of a constant of the graph."""
        found: Tensor = attrgetter(str(node.target))(self._module)
        return found.detach()

    def scaled(self, integers: Tensor, scale: Tensor, zero: Tensor, dtype: torch.dtype) -> Node:
        """Integers of `dtype` times the scale of their block, of which `scale` has one along each axis or more."""
        if zero.any():
            raise ValueError("weights with a zero point are not written for Core AI")
        stored = self.constant("integers", integers.to(torch.int8)), self.constant("scale", scale.to(self.compute))
        return self.call(_CORE_AI.constexpr_blockwise_shift_scale.default, *stored, None, None, dtype, None)

    def level(self, scale: float, zero: int, dtype: torch.dtype) -> tuple[Node, Node | None]:
        """Scale and zero point of an activation."""
        zeros = None if zero == 0 else self.constant("zero", torch.tensor(zero, dtype=dtype))
        return self.constant("scale", torch.tensor(scale, dtype=self.compute)), zeros


def _integers(to: _Writer, data: Node, _: Any, scale: Node, zero: Node, __: Any, lowest: int, highest: int) -> Node:
    """torchao's weights, a scale for each block."""
    return to.scaled(to.value(data), to.value(scale), to.value(zero), _INTEGERS[lowest, highest])


def _channels(to: _Writer, data: Node, scale: Node, zero: Node, *_: Any) -> Node:
    """PT2E's weights, a scale for each row."""
    integers = to.value(data)
    axes = (-1, *[1] * (integers.dim() - 1))
    return to.scaled(integers, to.value(scale).reshape(axes), to.value(zero), torch.int8)


def _palette(to: _Writer, codes: Node, table: Node, *_: Any) -> Node:
    """torchao's codebook: indices into a table (1, ..., 1, 2^bits, 1)."""
    indices = to.constant("indices", to.value(codes).to(torch.uint8))
    return to.call(_CORE_AI.lut_to_dense.default, indices, to.constant("lut", to.value(table).to(to.compute)), 0)


def _quantize(to: _Writer, x: Node, scale: float, zero: int, _: int, __: int, dtype: torch.dtype) -> Node:
    scales, zeros = to.level(scale, zero, dtype)
    return to.call(_CORE_AI.quantize.default, x, scales, dtype, zeros, None, 0)


def _dequantize(to: _Writer, x: Node, scale: float, zero: int, _: int, __: int, dtype: torch.dtype) -> Node:
    scales, zeros = to.level(scale, zero, dtype)
    return to.call(_CORE_AI.dequantize.default, x, scales, zeros, None, 0, None, None)


_WRITES: dict[Any, Callable[..., Node]] = {
    torch.ops.torchao.dequantize_affine.default: _integers,
    torch.ops.quant.dequantize_codebook.default: _palette,
    _PT2E.dequantize_per_channel.default: _channels,
    _PT2E.quantize_per_tensor.default: _quantize,
    _PT2E.dequantize_per_tensor.default: _dequantize,
}


def _halve(module: GraphModule) -> None:
    """Compute in half precision between input and output, in place, but for the mean squares of norms.

    Half precision holds no square of more than 255. Apple's own norms compute theirs in single precision too
    (coreai-torch 0.4.3, `composite_ops/_rms_norm.py`).
    """
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.dtype == torch.float32:
            owner, _, own = name.rpartition(".")
            setattr(module.get_submodule(owner), own, torch.nn.Parameter(tensor.detach().half(), requires_grad=False))
    graph = module.graph
    for node in list(graph.nodes):
        if node.op == "placeholder":
            _cast(graph, node, torch.float16)
        elif node.op == "output":
            (made,) = node.args[0]
            _cast(graph, made, torch.float32)
        elif node.target == _ATEN.rsqrt.default:
            product = node.args[0].args[0].args[0]  # rsqrt(mean(x * x) + epsilon)
            x, again = product.args
            if x is not again:
                raise ValueError(f"{node} is no norm's")
            with graph.inserting_before(product):
                single = graph.call_function(_ATEN._to_copy.default, (x,), {"dtype": torch.float32})
            product.args = (single, single)
            _cast(graph, node, torch.float16)


def _cast(graph: Graph, node: Node, dtype: torch.dtype) -> None:
    """Give all that read `node` its values as `dtype`."""
    with graph.inserting_after(node):
        cast = graph.call_function(_ATEN._to_copy.default, (node,), {"dtype": dtype})
    node.replace_all_uses_with(cast, delete_user_cb=lambda user: user is not cast)
