"""How coremltools reads operators of torch that it does not, or not as they are used here.

coremltools 9.0 refuses torchao's quantized weights, and the converters that ExecuTorch 1.5 registers for them take
matrices only; the projections here are 1x1 convolutions, of rank 4. Core ML has `pixel_unshuffle` from iOS 16 on only.
Importing this module registers converters for all of them.
"""

from __future__ import annotations

from typing import Any

# ExecuTorch registers its own when it is imported: ours come after them, and replace them.
import executorch.backends.apple.coreml.compiler.torch_ops  # noqa: F401
import numpy as np
from coremltools.converters.mil import Builder
from coremltools.converters.mil._deployment_compatibility import AvailableTarget
from coremltools.converters.mil.frontend import _utils
from coremltools.converters.mil.frontend.torch.ops import _get_inputs
from coremltools.converters.mil.frontend.torch.torch_op_registry import register_torch_op
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.block import is_current_opset_version_compatible_with

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


@register_torch_op(override=True)  # type: ignore[untyped-decorator]
def pixel_unshuffle(context: Any, node: Any) -> None:
    """On iOS 15, a convolution of each channel with one kernel for each pixel of a square, all zero but for a one."""
    x, side = _get_inputs(context, node)
    if is_current_opset_version_compatible_with(AvailableTarget.iOS16):
        context.add(Builder.pixel_unshuffle(x=x, downscale_factor=np.uint32(side.val), name=node.name))
        return
    channels, pixels = x.shape[1], side.val**2
    kernels = np.eye(pixels, dtype=np.float32).reshape(pixels, 1, side.val, side.val)
    weight, strides = np.tile(kernels, (channels, 1, 1, 1)), [side.val] * 2
    context.add(Builder.conv(x=x, weight=weight, strides=strides, pad_type="valid", groups=channels, name=node.name))
