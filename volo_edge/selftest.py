"""An artifact's self-test, as its app runs it: the file, in a runtime, on photographs whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from volo_edge.artifact import Artifact
from volo_edge.console import Steps
from volo_edge.errors import RequestError
from volo_edge.predict import load
from volo_edge.validate.metrics import relative_error


@dataclass(frozen=True)
class Tested:
    """What a self-test found.

    Args:
        runtime, processor, instructions: what ran the file, see `Process` and `Process.finish`.
        photographs: how many.
        relative_error: of the logits over all of them, |file - known| / |known| in the 2-norm.
        tolerance: the largest that passes.
    """

    runtime: str
    processor: str
    instructions: tuple[str, ...]
    photographs: int
    relative_error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the answers are the known ones up to the tolerance."""
        return self.relative_error <= self.tolerance


def run(found: Artifact, runtime: str, processors: tuple[str, ...], steps: Steps) -> tuple[Tested, ...]:
    """Run the self-test of an artifact in a `runtime`; of "arm64", on `processors`, () for the usual."""
    if runtime != "arm64":
        return (_run(found, runtime, None, steps),)
    from volo_edge.converters.executorch import arm64

    ready = arm64.prepare(processors, steps) or (None,)  # this machine's own
    return tuple(_run(found, runtime, processor, steps) for processor in ready)


def _run(found: Artifact, runtime: str, processor: str | None, steps: Steps) -> Tested:
    m = found.manifest
    if not m.selftest.cases:
        raise RequestError(f"{found.folder} has no photograph in its self-test: convert the model again")
    tensors, known = (
        np.stack([np.fromfile(found.folder / getattr(case, part), "<f4") for case in m.selftest.cases])
        for part in ("tensor", "logits")
    )
    where = f" on {processor}" if processor else ""
    with steps.step(f"self-test{where}"), load(found, runtime, processor) as runner:
        logits = runner.run(tensors.reshape(-1, *m.preprocessing.shape[1:]))
        error = relative_error(logits, known)
        ran = runner.runtime, runner.processor, runner.finish()
    return Tested(*ran, len(known), error, m.selftest.tolerance)
