"""Lowering in two thirds of the time, to the same bytes.

ExecuTorch 1.4 interprets a program some forty times on its way to a file, and a third of the time is not the work
(`docs/performance.md`): every node is given a deep copy of all that it was ever made from, objects that nobody changes
and no file holds; XNNPACK's passes for operators that an edge VOLO does not have each interpret all of it; and Python's
collector walks millions of live objects to find none that are dead.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ABSENT = frozenset(  # passes that rewrite upsampling, fused attention, batch norms, 1-D convolutions and PReLU
    {
        "ConvertToUpsampleBilinear2d",
        "ConvertToSDPAPass",
        "FuseBatchNormPass",
        "DecomposeBatchNorm",
        "Conv1dUnsqueezePass",
        "PReLUReshapePass",
    }
)
_THRESHOLDS = (200_000, 20, 100)  # new objects that live before the collector looks; Python's own is 700


@contextmanager
def lean() -> Iterator[None]:
    """Within it, `to_edge_transform_and_lower` leaves out what makes no difference to an edge VOLO's file."""
    from executorch.backends.xnnpack._passes import XNNPACKPassManager
    from torch.fx.traceback import NodeSource

    original, thresholds = XNNPACKPassManager.__init__, gc.get_threshold()

    def chosen(self: Any, program: Any, passes: Any = None) -> None:
        original(self, program, passes)
        self.passes = [one for one in self.passes if one.__name__ not in _ABSENT]

    def shared(self: Any, memo: dict[int, Any]) -> Any:
        return self

    gc.collect()
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    XNNPACKPassManager.__init__ = chosen
    NodeSource.__deepcopy__ = shared  # type: ignore[attr-defined]
    try:
        yield
    finally:
        XNNPACKPassManager.__init__ = original
        del NodeSource.__deepcopy__  # type: ignore[attr-defined]
        gc.set_threshold(*thresholds)
        gc.unfreeze()
