"""Lowering in half the time and half the memory, to the same bytes.

What ExecuTorch 1.4 does on its way to a file, and the file does not show (`docs/performance.md` has the figures):
passes for what an edge VOLO does not have interpret all of it; it is decomposed three times, of which one does;
weights, and what each node was ever made from, are copied with the graph, and nobody changes the copies; Python's
collector walks millions of live objects to find none that are dead; and two caches keep every program for good.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

_IDLE = frozenset(  # passes that leave an edge VOLO's program as it is
    {
        "ConstPropPass",
        "ConvertToLinearPass",
        "ConvertToSDPAPass",
        "ConvertToUpsampleBilinear2d",
        "Conv1dUnsqueezePass",
        "DecomposeBatchNorm",
        "DimOrderOpsRevertPass",
        "FuseBatchNormPass",
        "InsertPadQDQPass",
        "LegalizePortableDimOrderPass",
        "MemoryFormatOpsPass",
        "NormalizeTransposePass",
        "PReLUReshapePass",
        "PropagateCustomMetaPass",
        "RemoveMixedTypeOperators",
        "ReplaceBrokenOpsWithFunctionalOpsPass",
        "ScalarToTensorPass",
        "SymToTensorPass",
    }
)
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
    decomposed: list[ExportedProgram] = []

    def called(self: PassBase, module: Any) -> Any:
        return PassResult(module, False) if type(self).__name__ in _IDLE else call(self, module)

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
