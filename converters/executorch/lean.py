"""Lowering in half the time and half the memory, to the same bytes.

What ExecuTorch 1.5 does on its way to a file, and the file does not show (`docs/performance.md` has the figures):
passes for what an edge VOLO does not have interpret all of it; it is decomposed three times, of which one does;
weights, and what each node was ever made from, are copied with the graph, and nobody changes the copies; Python's
collector walks millions of live objects to find none that are dead; and two caches keep every program for good.

`benchmarks/lowering.py` shows what each pass changes and takes; `tests/test_executorch.py` notices when a pass is no
longer idle, no longer there, or no longer run, and when ExecuTorch itself leaves out what is left out here.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest.mock import patch

IDLE = {  # passes that leave an edge VOLO's program as it is, and why
    # on the way to edge dialect
    "executorch.exir.passes.memory_format_ops_pass:MemoryFormatOpsPass": "DimOrderOpsRevertPass takes it back",
    "executorch.exir.passes.normalize_transpose_pass:NormalizeTransposePass": "the decomposed program has no aten.t",
    "executorch.exir.passes.remove_mixed_type_operators:RemoveMixedTypeOperators": "all that is added is float32",
    "executorch.exir.passes.replace_broken_ops_with_function_ops_pass:ReplaceBrokenOpsWithFunctionalOpsPass": (
        "ReplaceViewOpsWithViewCopyOpsPass has replaced all views"
    ),
    "executorch.exir.passes.scalar_to_tensor_pass:ScalarToTensorPass": "export makes tensors of an operator's scalars",
    "executorch.exir.passes.sym_to_tensor_pass:SymToTensorPass": "shapes are static",
    # XNNPACK's own
    "executorch.backends.transforms.remove_getitem_op:RemoveGetItemPass": "max_pool2d stays whole, without indices",
    "executorch.backends.xnnpack._passes.conv1d_unsqueeze_pass:Conv1dUnsqueezePass": "convolutions are of images",
    "executorch.backends.xnnpack._passes.convert_to_linear:ConvertToLinearPass": "a linear stays whole",
    "executorch.backends.xnnpack._passes.convert_to_sdpa:ConvertToSDPAPass": "attention is written as its products",
    "executorch.backends.xnnpack._passes.convert_to_upsample_bilinear2d:ConvertToUpsampleBilinear2d": (
        "nothing is interpolated"
    ),
    "executorch.backends.xnnpack._passes.decompose_batch_norm:DecomposeBatchNorm": "batch norms are folded",
    "executorch.backends.xnnpack._passes.fuse_batch_norm:FuseBatchNormPass": "batch norms are folded",
    "executorch.backends.xnnpack._passes.insert_pad_qdq:InsertPadQDQPass": "what is padded is float",
    "executorch.backends.xnnpack._passes.prelu_reshape_pass:PReLUReshapePass": "there is no PReLU",
    "executorch.backends.xnnpack._passes.propagate_custom_meta_pass:PropagateCustomMetaPass": (
        "it marks nodes for passes of other backends"
    ),
    "executorch.backends.xnnpack._passes.remove_redundant_copy_pass:RemoveRedundantCopyPass": (
        "convolutions follow each other without a copy between them"
    ),
    "executorch.exir.passes.const_prop_pass:ConstPropPass": "no operator has constants only",
    "executorch.exir.passes.memory_format_ops_pass:DimOrderOpsRevertPass": "MemoryFormatOpsPass is left out",
    # on the way to the file
    "executorch.exir.passes.legalize_portable_dim_order_pass:LegalizePortableDimOrderPass": (
        "outside the delegate, channels are first"
    ),
}
_THRESHOLDS = (200_000, 20, 100)  # new objects that live before the collector looks; Python's own is 700


@contextmanager
def lean() -> Iterator[None]:
    """Within it, lowering an edge VOLO's program leaves out what makes no difference to the file."""
    from executorch.exir.backend.utils import is_same_node
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.export import ExportedProgram
    from torch.fx.passes.infra.pass_base import PassBase, PassResult
    from torch.fx.traceback import NodeSource
    from torch.nn import Parameter

    call, decompose = PassBase.__call__, ExportedProgram.run_decompositions
    copy: Any = Parameter.__deepcopy__
    idle = {resolve_name(path) for path in IDLE}
    decomposed: list[ExportedProgram] = []

    def called(self: PassBase, module: Any) -> Any:
        return PassResult(module, False) if type(self) in idle else call(self, module)

    def decomposed_once(self: ExportedProgram, table: Any, **options: Any) -> ExportedProgram:
        if not table:  # the next one does what this would do, and more
            return self
        if self in decomposed and table.keys().isdisjoint(node.target for node in self.graph.nodes):
            return self
        decomposed.append(decompose(self, table, **options))
        return decomposed[-1]

    def weights(self: Any, memo: Any) -> Any:
        # XNNPACK writes all that a tensor is a part of: of a query's weights, the checkpoint's of query, key and value
        return self if self.untyped_storage().nbytes() == self.nbytes else copy(self, memo)

    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        with (
            patch.object(PassBase, "__call__", called),
            patch.object(ExportedProgram, "run_decompositions", decomposed_once),
            patch.object(Parameter, "__deepcopy__", weights),
            patch.object(NodeSource, "__deepcopy__", lambda self, memo: self, create=True),
        ):
            yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        FakeTensorMode.cache_clear()
        is_same_node.cache_clear()
