"""What a program and XNNPACK's form of it compute twice or for nothing, taken out; the answers keep every bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from torch.export import ExportedProgram


def without_repetitions(program: ExportedProgram) -> ExportedProgram:
    """`program` with what is computed several times computed once: query, key and value each round the same tokens.

    But integers of a fixed range become floats once for each reader: XNNPACK's partitioner takes that step as a part of
    the reader, and where two share one it makes several delegates of the program.
    """
    import executorch.exir  # noqa: F401 registers the operator
    import torch
    from torch.fx.passes.dialect.common.cse_pass import CSEPass

    return program._transform_do_not_use(CSEPass({torch.ops.quantized_decomposed.dequantize_per_tensor}))


@contextmanager
def without_detours() -> Iterator[None]:
    """Within it, XNNPACK's form of a program has no image that is transposed there and back.

    XNNPACK convolves images whose channels are last in memory. ExecuTorch 1.5 copies what a convolution made to
    channels first, and then the model's own permutation copies it to channels last again: the largest tensor twice.
    """
    from executorch.backends.xnnpack._passes import XNNPACKPassManager
    from executorch.backends.xnnpack._passes.channels_last_tagged_reshape_pass import ChannelsLastTaggedReshapePass
    from executorch.exir.dialects._ops import ops
    from executorch.exir.pass_base import ExportPass, PassResult
    from torch.fx import GraphModule

    aten = ops.edge.aten
    channels_last = ChannelsLastTaggedReshapePass.is_nhwc_node

    class Straight(ExportPass):  # type: ignore[misc]
        def call(self, module: GraphModule) -> PassResult:
            for copy in module.graph.find_nodes(op="call_function", target=aten._to_copy.default):
                permuted = copy.args[0]
                if channels_last(copy) or permuted.target != aten.permute_copy.default:
                    continue
                image, order = permuted.args
                if list(order) == [0, 2, 3, 1] and channels_last(image):
                    with module.graph.inserting_before(copy):
                        # in memory it is so already: a view of the same shape says it and copies nothing
                        view = module.graph.call_function(aten.view_copy.default, (image, list(copy.meta["val"].shape)))
                    view.meta = dict(copy.meta)
                    copy.replace_all_uses_with(view)
                    module.graph.erase_node(copy)
                    if not permuted.users:
                        module.graph.erase_node(permuted)
            return PassResult(module, True)

    original = XNNPACKPassManager.__init__

    def prepared(self: Any, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        self.passes = [*self.passes, Straight]

    with patch.object(XNNPACKPassManager, "__init__", prepared):
        yield
