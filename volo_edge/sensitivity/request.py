"""What `volo-edge sensitivity` is asked for, and all that can be refused of it before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from volo_edge import outputs, request
from volo_edge.converters.targets import Choice
from volo_edge.errors import RequestError
from volo_edge.trained import DEMO_MODEL, ModelRequest

REPORT, PLOT = "sensitivity.json", "sensitivity.svg"
KIND = outputs.Kind("sensitivity", REPORT, ("request", "measured_on", "layers"), lambda _: (PLOT,))


@dataclass(frozen=True)
class Request:
    """A measurement; None stands for a default.

    Args:
        target, backend, scheme: names, see `converters.targets.choose`.
        model: which trained model, and how it was trained.
        calibration: folder of photographs that the scheme is fitted to.
        calibration_size: how many of them, at most.
        data: folder of photographs to measure on.
        limit: how many of them, at most.
        output: the folder to write.
        force: whether to replace an earlier result.
    """

    target: str
    backend: str | None = None
    scheme: str | None = None
    model: ModelRequest = DEMO_MODEL
    calibration: Path | None = None
    calibration_size: int = 256
    data: Path | None = None
    limit: int = 500
    output: Path | None = None
    force: bool = False

    @property
    def inputs(self) -> outputs.Inputs:
        """What it reads."""
        return *self.model.inputs, self.calibration, self.data


def check(wanted: Request) -> Choice:
    """The combination asked for; RequestError for what is wrong with the request and can be seen from it alone."""
    choice = request.check(
        request.Request(
            target=wanted.target,
            backend=wanted.backend,
            scheme=wanted.scheme,
            model=wanted.model,
            photographs=wanted.calibration,
            calibration_size=wanted.calibration_size,
        )
    )
    if not choice.scheme.quantizes:
        raise RequestError(
            f"scheme {choice.scheme.name} quantizes no layer: choose one that does, see 'volo-edge schemes'"
        )
    if wanted.limit < 1:
        raise RequestError(f"--limit {wanted.limit}: take at least 1 photograph, 500 are usual")
    if wanted.data is None and wanted.model.weights is not None:
        raise RequestError("nothing to measure on: give a folder of photographs that the model knows with --data DIR")
    if wanted.data is not None and not wanted.data.exists():
        raise RequestError(f"there is no folder of images at {wanted.data}")
    if wanted.output is not None:
        outputs.check(wanted.output, KIND, wanted.force, wanted.inputs)
    return choice
