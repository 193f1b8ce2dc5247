"""Writes an exported edge VOLO as an ExecuTorch program that its backend computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch.export import ExportedProgram

from volo_edge.converters.card import Card
from volo_edge.converters.executorch import coreml_package
from volo_edge.converters.executorch.lean import lean
from volo_edge.converters.executorch.reasons import coreml_reasons, xnnpack_reasons
from volo_edge.converters.executorch.simplify import without_detours, without_repetitions
from volo_edge.converters.targets import Choice


def lower(program: ExportedProgram, choice: Choice, path: Path, card: Card | None = None) -> dict[str, str]:
    """Write `program` to `path`; why each operator that the backend was not given stayed outside ({} is the aim).

    Such a file has no place for a `card`.
    """
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

    partitioner, collecting = _BACKENDS[choice.backend]
    with collecting() as reasons, lean(), without_detours():
        # whether it is valid, the file's run in its runtime shows
        unchecked = EdgeCompileConfig(_check_ir_validity=False)
        program = without_repetitions(program)
        lowered = to_edge_transform_and_lower(program, partitioner=[partitioner(choice)], compile_config=unchecked)
        with path.open("wb") as file:
            lowered.to_executorch().write_to_file(file)
    return dict(reasons)


def _xnnpack(choice: Choice) -> Any:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    return XnnpackPartitioner()


def _coreml(choice: Choice) -> Any:
    """Delegates to a package for any compute unit, not compiled: that takes a Mac, and a phone does it as well."""
    import coremltools as ct
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition.coreml_partitioner import CoreMLPartitioner

    import volo_edge.converters.coreml.torch_ops  # noqa: F401 registers what coremltools does not know

    specification = CoreMLBackend.generate_compile_specs(
        compute_unit=ct.ComputeUnit.ALL,
        minimum_deployment_target=getattr(ct.target, f"iOS{choice.minimum_ios}"),
        compute_precision=getattr(ct.precision, choice.scheme.compute.upper()),
        model_type=CoreMLBackend.MODEL_TYPE.MODEL,
    )
    return CoreMLPartitioner(compile_specs=specification)


@contextmanager
def _coreml_lowering() -> Iterator[dict[str, str]]:
    """Around lowering to Core ML: delegates that are the same have the same bytes; else as `coreml_reasons`."""
    from executorch.backends.apple.coreml.compiler import CoreMLBackend

    preprocess = CoreMLBackend.preprocess_model

    def preprocess_canonically(*arguments: Any, **options: Any) -> Any:
        result = preprocess(*arguments, **options)
        return replace(result, processed_bytes=coreml_package.canonical(result.processed_bytes))

    with (
        coreml_reasons() as found,
        patch.object(CoreMLBackend, "preprocess_model", staticmethod(preprocess_canonically)),
    ):
        yield found


_Collecting = Callable[[], AbstractContextManager[dict[str, str]]]
_BACKENDS: dict[str, tuple[Callable[[Choice], Any], _Collecting]] = {  # partitioner, and what it left outside
    "xnnpack": (_xnnpack, xnnpack_reasons),
    "coreml": (_coreml, _coreml_lowering),
}
