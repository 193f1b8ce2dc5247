"""What `volo-edge evaluate` is asked for, and all that can be refused of it before torch is imported."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from volo_edge import outputs
from volo_edge.errors import RequestError
from volo_edge.reference.request import check_data, check_device
from volo_edge.report.contents import KIND
from volo_edge.request import check_processors, check_runtime, check_weights

THRESHOLD = 0.5  # a label's probability is as much for it as against it


@dataclass(frozen=True)
class Request:
    """An evaluation; None stands for a default.

    Args:
        artifacts: folders that `convert` wrote.
        data: folder of photographs, in class folders or without.
        limit: how many of them, as many of each class; None for all.
        class_map: file of the label, or its index, that each class folder or photograph stands for, see
            `volo_edge.evaluate.class_map`; of independent labels, of those that each photograph has, see `truth`.
        threshold: probability, 0..1, from which on an independent label is said; None for `THRESHOLD`.
        reference: file that `volo-edge reference` wrote; None to compute it here.
        reference_device: "auto", "cpu", "cuda" or "mps", where it is computed here.
        weights: checkpoint of the float model; None for the demo's.
        calibration: folder that the artifacts were calibrated on, to see that none of it is among the data.
        device_results: files that apps wrote.
        runtime: what runs the files that it takes, a key of `converters.targets.RUNTIMES`; ARM64 code besides this
            machine's.
        processors: whose ARM64 code, keys of `converters.executorch.arm64.processors.PROCESSORS`; () for the usual.
        arm64_limit: how many of the photographs ARM64 code is judged on, as many of each class.
        max_drop: points of top-1 accuracy, or of label accuracy, that may be lost; None for no gate.
        expected_top1: percent of the photographs that the float model should know; None for what was published.
        output: the folder to write.
        force: whether to replace an earlier report.
        command: as it was typed, for the report.
    """

    artifacts: tuple[Path, ...]
    data: Path
    limit: int | None = None
    class_map: Path | None = None
    threshold: float | None = None
    reference: Path | None = None
    reference_device: str = "auto"
    weights: str | None = None
    calibration: Path | None = None
    device_results: tuple[Path, ...] = ()
    runtime: str | None = None
    processors: tuple[str, ...] = ()
    arm64_limit: int = 500
    max_drop: float | None = None
    expected_top1: float | None = None
    output: Path = Path("report")
    force: bool = False
    command: str = ""

    @property
    def inputs(self) -> outputs.Inputs:
        """What it reads."""
        given = (self.data, self.class_map, self.reference, self.weights, self.calibration)
        return *self.artifacts, *given, *self.device_results


def check(wanted: Request) -> None:
    """RequestError for what is wrong with the request and can be seen from it alone."""
    check_data(wanted.data, wanted.limit)
    check_device(wanted.reference_device)
    check_runtime(wanted.runtime)
    check_processors(wanted.processors, wanted.runtime)
    if wanted.arm64_limit < 1:
        raise RequestError(f"--arm64-limit {wanted.arm64_limit}: take at least 1, 500 are usual")
    if len({path.resolve() for path in wanted.artifacts}) < len(wanted.artifacts):
        raise RequestError("an artifact is named twice: name each once")
    names = [path.resolve().name for path in wanted.artifacts]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RequestError(f"two artifacts are called '{twice[0]}', by which the report tells them apart: rename one")
    for path, what in (
        (wanted.class_map, "class map"),
        (wanted.reference, "float reference"),
        (wanted.calibration, "folder of images"),
        *((path, "file of device results") for path in wanted.device_results),
    ):
        if path is not None and not path.exists():
            raise RequestError(f"there is no {what} at {path}")
    check_weights(wanted.weights, "the checkpoint that the artifacts were made from")
    if wanted.max_drop is not None and not (math.isfinite(wanted.max_drop) and wanted.max_drop >= 0):
        raise RequestError(f"--max-drop {wanted.max_drop}: give points of accuracy, 0.5 for half of one percent")
    if wanted.threshold is not None and not 0 < wanted.threshold < 1:
        raise RequestError(f"--threshold {wanted.threshold:g}: give a probability between 0 and 1")
    if wanted.expected_top1 is not None and not 0 <= wanted.expected_top1 <= 100:  # which nan is not either
        raise RequestError(f"--expected-top1 {wanted.expected_top1}: give percent, 84.2 for one")
    outputs.check(wanted.output, KIND, wanted.force, wanted.inputs)
