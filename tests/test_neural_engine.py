"""What is known against operators on the Neural Engine, and what half precision cannot hold, in saved packages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import save_file

from tests.command import run
from tests.conftest import Converted
from tests.test_evaluator import save_program
from volo_edge import artifact, checkpoint
from volo_edge.converters.coreml.evaluator import read_package
from volo_edge.converters.coreml.neural_engine import RULES, operations, units
from volo_edge.converters.coreml.program import read_program
from volo_edge.converters.coreml.ranges import ranges

Build = Callable[[Any, Any], Any]


def lut(mb: Any, x: Any) -> Any:
    """A 4x4 convolution of stride 4 whose weights are a palette."""
    weight = mb.constexpr_lut_to_dense(
        indices=np.zeros((8, 4, 4, 4), np.uint8), lut=np.ones((1, 1, 1, 1, 256, 1), np.float16)
    )
    return mb.conv(x=x, weight=weight, strides=[3, 3])


def blocks(mb: Any, x: Any) -> Any:
    """A 1x1 convolution with two scales for each output channel."""
    weight = mb.constexpr_blockwise_shift_scale(
        data=np.ones((8, 4, 1, 1), np.int8), scale=np.ones((8, 2, 1, 1), np.float16)
    )
    return mb.conv(x=x, weight=weight)


# What each program is to be warned of, and its input's shape. An operator in front keeps the rest off the edge.
HAZARDS: dict[str, tuple[str, tuple[int, ...], Build]] = {
    "a rank": ("5 axes", (1, 4, 2, 8, 32), lambda mb, x: mb.transpose(x=mb.relu(x=x), perm=(0, 1, 2, 4, 3))),
    "an axis": ("an axis of 20000", (1, 1, 1, 20000), lambda mb, x: mb.relu(x=x)),
    "padding": ("a last axis of 4 is padded to 8.0", (1, 64, 64, 4), lambda mb, x: mb.relu(x=x)),
    "an operator": (
        "the operator is not computed there",
        (1, 4, 8, 32),
        lambda mb, x: mb.gather(x=x, indices=[1, 2], axis=1),
    ),
    "a kernel": (
        "a kernel 15 wide",
        (1, 4, 32, 32),
        lambda mb, x: mb.conv(x=x, weight=np.ones((4, 4, 1, 15), np.float16)),
    ),
    "a stride": (
        "a stride of 5",
        (1, 4, 32, 32),
        lambda mb, x: mb.conv(x=x, weight=np.ones((4, 4, 5, 5), np.float16), strides=[5, 5]),
    ),
    "a palette": ("a stride of 3", (1, 4, 32, 32), lut),
    "softmax": ("a softmax over other axes", (1, 4, 8, 32), lambda mb, x: mb.softmax(x=x, axis=-1)),
    "a slice": (
        "a slice of the last axis",
        (1, 4, 8, 64),
        lambda mb, x: mb.slice_by_index(x=x, begin=[0, 0, 0, 32], end=[1, 4, 8, 64]),
    ),
    "blocks": ("integers in blocks", (1, 4, 8, 32), blocks),
    "a cast": (
        "a change of type within",
        (1, 4, 8, 32),
        lambda mb, x: mb.relu(x=mb.cast(x=mb.relu(x=mb.cast(x=mb.relu(x=x), dtype="fp32")), dtype="fp16")),
    ),
    "single precision": (
        "single precision is not computed there",
        (1, 4, 8, 32),
        lambda mb, x: mb.relu(x=mb.cast(x=mb.relu(x=mb.cast(x=mb.relu(x=x), dtype="fp32")), dtype="fp16")),
    ),
}


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_hazard_is_found(tmp_path: Path, hazard: str) -> None:
    says, shape, build = HAZARDS[hazard]
    package = read_package(save_program(tmp_path / "p.mlpackage", shape, build, half=True))
    reasons = [reason for operation in operations(package) for reason in operation.reasons]
    assert any(reason.startswith(says) for reason in reasons), reasons
    assert all(reason.endswith("]") for reason in reasons)


def test_a_harmless_program_has_none(tmp_path: Path) -> None:
    def build(mb: Any, x: Any) -> Any:
        x = mb.relu(x=mb.conv(x=x, weight=np.ones((64, 4, 3, 3), np.float16), strides=[2, 2], pad_type="same"))
        return mb.softmax(x=x, axis=1)

    package = read_package(save_program(tmp_path / "p.mlpackage", (1, 4, 8, 64), build, half=True))
    found = list(operations(package))
    assert [operation.kind for operation in found] == ["conv", "relu", "softmax"]
    assert not any(operation.reasons for operation in found)
    assert found[1].bytes == 2 * 2 * 64 * 4 * 32  # read and written, two bytes each
    assert not any(operation.copies for operation in found)
    assert units(tmp_path / "p.mlpackage") == {} or all(units(tmp_path / "p.mlpackage").values())


def test_every_rule_is_seen_to_find_something() -> None:
    assert len(RULES) == len(HAZARDS)


@pytest.mark.slow
def test_the_edge_volo_suits_the_neural_engine(coreml_artifact: Converted) -> None:
    """No transposes, no softmax over rows or columns, nothing in single precision but the classifier at the end."""
    program = read_program(coreml_artifact[0] / "VOLO.mlpackage")
    assert program.operations is not None
    assert not any(operation.kind == "transpose" for operation in program.operations)
    reasons = {reason for operation in program.operations for reason in operation.reasons}
    # a model of 64x64 pixels has rows shorter than the Neural Engine's; and a classifier picks its class elsewhere
    assert all("is padded to" in reason or reason.startswith("the operator") for reason in reasons)
    assert [o.kind for o in program.operations if any(r.startswith("the operator") for r in o.reasons)] == ["classify"]
    shown = run("inspect", coreml_artifact[0]).out
    assert "0 transposes, " in shown and "warning  1 operator(s): the operator is not computed there [F]" in shown


# Half precision


def test_ranges_are_those_of_the_values(tmp_path: Path) -> None:
    def build(mb: Any, x: Any) -> Any:
        large = mb.mul(x=x, y=np.float16(50000), name="large")
        kept = mb.mul(x=large, y=np.float16(2e-5), name="kept")
        middle = mb.mul(x=kept, y=np.float16(1e-4), name="middle")
        small = mb.mul(x=middle, y=np.float16(3e-4), name="small")
        return mb.mul(x=small, y=np.float16(3e4), name="end")

    path = save_program(tmp_path / "p.mlpackage", (1, 1, 2, 2), build, half=True)
    image = np.array([[[1, 2], [0, -3]]], np.float32)
    found, single = ranges(path, image[None])
    assert (found.photographs, found.largest_in) == (1, "large")
    assert found.largest == pytest.approx(150000, rel=1e-3)
    assert found.near_maximum == ("large",)
    assert found.vanishing == ("small",)
    assert set(single) == {"large", "kept", "small", "end"}


@pytest.mark.slow
def test_what_half_precision_cannot_hold_is_kept_in_single(tmp_path: Path) -> None:
    model = checkpoint.load().model
    attn = model.network[2][0].attn  # the first transformer's
    width = attn.proj.in_features
    attn.qkv.weight.data[2 * width :] *= 1e6
    attn.proj.weight.data /= 1e6
    save_file(model.state_dict(), tmp_path / "large.safetensors")
    asked = ("convert", "--target", "coreml", "--quantize", "fp16", "--model", "volo_cifar10")
    ended = run(*asked, "--weights", tmp_path / "large.safetensors", "--output", tmp_path / "artifact")
    assert ended.status == 0, ended.err
    manifest = artifact.read(tmp_path / "artifact").manifest
    half = manifest.half_precision
    assert half is not None and half.largest > 65504
    assert half.near_maximum and set(half.near_maximum) < set(half.kept_single)
    assert manifest.parity[0].passed
    assert "compute in single precision instead" in ended.out
    program = read_program(tmp_path / "artifact" / "VOLO.mlpackage")
    assert program.operations is not None
    inside = [o for o in program.operations if any("single precision is not" in reason for reason in o.reasons)]
    assert 0 < len(inside) <= len(half.kept_single) + 2
