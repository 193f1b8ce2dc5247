"""What `volo-edge reference` is asked for, and all that can be refused of it before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from volo_edge import outputs, request
from volo_edge.errors import RequestError, did_you_mean
from volo_edge.trained import ModelRequest

KIND = outputs.Kind("float reference", None, ("files", "labels", "read", "logits", "record"))
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Request:
    """A float reference; None stands for a default.

    Args:
        model: which trained model, and how it was trained.
        data: folder of photographs, in class folders or without.
        device: "auto", "cpu", "cuda" or "mps".
        limit: how many photographs, as many of each class; None for all.
        output: the .npz file to write.
        force: whether to replace a file that is there.
    """

    model: ModelRequest
    data: Path
    device: str
    limit: int | None
    output: Path
    force: bool

    @property
    def inputs(self) -> outputs.Inputs:
        """What it reads."""
        return *self.model.inputs, self.data


def check(wanted: Request) -> None:
    """RequestError for what is wrong with the request and can be seen from it alone."""
    request.check_model(wanted.model)
    check_device(wanted.device)
    check_data(wanted.data, wanted.limit)
    if wanted.output.suffix != ".npz":
        raise RequestError(f"--output {wanted.output}: name a file that ends in .npz")
    outputs.check(wanted.output, KIND, wanted.force, wanted.inputs)


def check_device(device: str) -> None:
    """RequestError where `device` is none."""
    if device not in get_args(Device):
        raise RequestError(f"no device is called '{device}': {did_you_mean(device, list(get_args(Device)))}")


def check_data(data: Path, limit: int | None) -> None:
    """RequestError where there is no such folder, or nothing is to be taken of it."""
    if not data.exists():
        raise RequestError(f"there is no folder of images at {data}")
    if limit is not None and limit < 1:
        raise RequestError(f"--limit {limit}: take at least 1 photograph")
