"""How coremltools reads torchao's quantized weights: as compressed constants of any rank.

coremltools 9.0 refuses torchao's operators, and the converters that ExecuTorch 1.4 registers for them take matrices
only; the projections here are 1x1 convolutions, of rank 4. Importing this module registers converters for every rank.
"""

from __future__ import annotations

from typing import Any

# ExecuTorch registers its own when it is imported: ours come after them, and replace them.
import executorch.backends.apple.coreml.compiler.torch_ops  # noqa: F401
import numpy as np
from coremltools.converters.mil.frontend import _utils
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
from coremltools.converters.mil.mil import types

_INTEGERS = {(-8, 7): "int4", (-128, 127): "int8"}


@register_torch_op(torch_alias=["torchao::dequantize_affine", "torchao.dequantize_affine"], override=True)  # type: ignore[untyped-decorator]
def dequantize_affine(context: Any, node: Any) -> None:
    """Integers times the scale of their block, (outputs / block[0], inputs / block[1], ...); zero points are zero."""
    data, _, scale, _, _, lowest, highest, *_ = (value and value.val for value in _get_inputs(context, node))
    integers = types.nptype_from_builtin(types.string_to_builtin(_INTEGERS[int(lowest), int(highest)]))
    context.add(_utils._construct_constexpr_dequant_op(data.astype(integers), None, scale, name=node.name))


@register_torch_op(torch_alias=["quant::dequantize_codebook", "quant.dequantize_codebook"], override=True)  # type: ignore[untyped-decorator]
def dequantize_codebook(context: Any, node: Any) -> None:
    """Values of a table (1, ..., 1, 2^bits, 1) by their indices."""
    indices, table, *_ = (value and value.val for value in _get_inputs(context, node))
    context.add(_utils._construct_constexpr_lut_op(indices.astype(np.uint8), table, name=node.name))
