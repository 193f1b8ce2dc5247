"""Static activations: PyTorch's PT2E quantization with a quantizer that annotates the layers it is told, and no others.

ExecuTorch's own quantizers decide by operator. `XNNPACKQuantizer` quantizes every concatenation, the windows' and the
class token's, whatever its filter says; `CoreMLQuantizer` needed 134 s for the demo model and then matched none of its
layers. What a backend asks of a layer in 8 bits is little. XNNPACK computes it whole: input, weight and output are
rounded, and a ReLU counts to the layer. Core ML computes it on rounded inputs and weights; where its output goes on in
half precision, rounding that too would only lose (1 to 3 dB of the logits).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.observer import HistogramObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

_LAYERS = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
_RELU = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)
SYMMETRIC = ("coreml", "coreai")
_ANNOTATION = "quantization_annotation"  # where PT2E looks for it in a node's metadata


def static(
    program: ExportedProgram,
    scales: Mapping[str, Tensor],
    backend: str,
    batches: Iterable[tuple[Tensor, ...]],
    advance: Callable[[int], None],
    observer: Any = HistogramObserver,
) -> ExportedProgram:
    """`program` with the layers named in `scales` quantized: weights by these scales (outputs,), which they are
    multiples of, inputs and outputs by ranges found in `batches` of what it takes, each cut along the first axis.
    """
    example, _ = program.example_inputs
    prepared = prepare_pt2e(program.module(), LayerQuantizer(scales, backend, observer))
    with torch.inference_mode():
        for batch in batches:
            for inputs in zip(*(torch.split(tensor, 1) for tensor in batch), strict=True):
                prepared(*inputs)
                advance(1)
    quantized: GraphModule = convert_pt2e(prepared)
    return torch.export.export(quantized, example, strict=False)


class LayerQuantizer(Quantizer):  # type: ignore[misc]
    """Rounds some linears and convolutions to 8 bits.

    Args:
        scales: (outputs,) of each row of the weights, by the layer's name.
        backend: what the program is for; activations of those in `SYMMETRIC` have no zero point, and no sign after a
            ReLU.
        observer: finds the range of an activation.
    """

    def __init__(self, scales: Mapping[str, Tensor], backend: str, observer: Any) -> None:
        super().__init__()
        self._scales, self._observer = scales, observer
        self._symmetric = backend in SYMMETRIC
        self._rounds_outputs = backend == "xnnpack"

    def annotate(self, model: GraphModule) -> GraphModule:
        for node in model.graph.nodes:
            name = _module(node)
            if name in self._scales and node.target in _LAYERS:
                given, weight, *_ = node.args
                inputs = {given: self._activation(given), weight: _weight(self._scales[name])}
                node.meta[_ANNOTATION] = QuantizationAnnotation(inputs, _annotated=True)
                if self._rounds_outputs:
                    user, *others = node.users
                    last = user if user.target in _RELU and not others else node
                    output = last.meta.setdefault(_ANNOTATION, QuantizationAnnotation(_annotated=True))
                    output.output_qspec = self._activation(last)
        return model

    def validate(self, model: GraphModule) -> None:
        pass

    def _activation(self, node: Node) -> QuantizationSpec:
        unsigned = self._symmetric and node.target in _RELU
        return QuantizationSpec(
            dtype=torch.uint8 if unsigned else torch.int8,
            quant_min=0 if unsigned else -128,
            quant_max=255 if unsigned else 127,
            qscheme=torch.per_tensor_symmetric if self._symmetric and not unsigned else torch.per_tensor_affine,
            observer_or_fake_quant_ctr=self._observer.with_args(eps=2**-20),
        )


def _weight(scale: Tensor) -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.int8,
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_channel_symmetric,
        ch_axis=0,
        observer_or_fake_quant_ctr=KnownScale.with_args(scale=scale),
    )


class KnownScale(PerChannelMinMaxObserver):  # type: ignore[misc]
    """Of a weight whose scales (outputs,) were chosen before."""

    def __init__(self, scale: Tensor, **options: Any) -> None:
        super().__init__(**options)
        self._scale = scale

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        return self._scale, torch.zeros(len(self._scale), dtype=torch.int64)


def _module(node: Node) -> str:
    """The name of the module that `node` is a call in, "" of none."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]).removeprefix("L['self'].") if stack else ""
