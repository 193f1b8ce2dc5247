"""Why a backend did not take an operator: its partitioner's own words where it has any, collected during lowering."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

_LOGGER = "executorch.backends.xnnpack.partition"


class _Collector(logging.Handler):
    """Keeps the partitioner's first reason for each node, which is the most specific; prints none of its debugging."""

    def __init__(self) -> None:
        super().__init__()
        self.of: dict[Any, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        # the message is executorch's one WhyNoPartition object, which the next refusal overwrites: read it now
        node, reason = getattr(record.msg, "node", None), getattr(record.msg, "reason", None)
        if node is not None and reason is not None:
            self.of.setdefault(node, str(reason))
        elif record.levelno >= logging.WARNING:
            logging.getLogger().handle(record)  # what this logger would have shown had it not been made to tell all


@contextmanager
def _asking(partitioner: Any, why: Callable[[Any, Any], str]) -> Iterator[dict[str, str]]:
    """Around `to_edge_transform_and_lower`: a dictionary it fills with the operators `partitioner` left, and why.

    Keys are the operators' names at that point, as "aten.cumsum.default"; where nodes of one operator were refused for
    different reasons, "; " joins them. An operator that the partitioner refused and executorch then decomposed is
    there under the names of its parts.

    Args:
        partitioner: a class of executorch's.
        why: of the partitioner and a node that it left.
    """
    found: dict[str, str] = {}
    partition = partitioner.partition

    def partition_and_ask(self: Any, program: Any) -> Any:
        result = partition(self, program)
        for node in program.graph.nodes:
            if "delegation_tag" in node.meta or not hasattr(node.target, "_schema"):
                continue  # taken; or not an operator: an input, a tuple's element, a delegate
            name = node.target.__name__
            reasons = found.get(name, "").split("; ") if name in found else []
            found[name] = "; ".join(dict.fromkeys([*reasons, why(self, node)]))
        return result

    with patch.object(partitioner, "partition", partition_and_ask):
        yield found


@contextmanager
def xnnpack_reasons() -> Iterator[dict[str, str]]:
    """The operators left outside XNNPACK, see `_asking`; none while `logging.disable` holds debug records back."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir.backend.canonical_partitioners.config_partitioner import format_target_name

    collector = _Collector()

    def why(partitioner: Any, node: Any) -> str:
        if format_target_name(node.target.__name__) in partitioner.target_partitioner_configs:
            return collector.of.get(node, "XNNPACK has the operator; its partitioner gives no reason")
        return "XNNPACK has no such operator"

    logger = logging.getLogger(_LOGGER)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with _asking(XnnpackPartitioner, why) as found:
            yield found
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def coreml_reasons() -> Iterator[dict[str, str]]:
    """The operators left outside Core ML, see `_asking`."""
    from coremltools.converters.mil.frontend.torch import is_torch_fx_node_supported
    from executorch.backends.apple.coreml.partition.coreml_partitioner import CoreMLPartitioner

    def why(_: Any, node: Any) -> str:
        if is_torch_fx_node_supported(node):
            return "coremltools converts the operator; ExecuTorch's partitioner does not trust it to"
        return "coremltools does not convert the operator"

    with _asking(CoreMLPartitioner, why) as found:
        yield found
