"""What is read from a saved Core ML package without running it: weights, levels, types and bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.test_evaluator import COMPRESSIONS, Quantized, compressed, converted, save_program
from volo_edge.converters.coreml.lower import _share
from volo_edge.converters.coreml.program import read_program, read_weights
from volo_edge.converters.program import Levels

pytestmark = pytest.mark.usefixtures("small_heap")


@pytest.mark.parametrize("opset", ["iOS17", "iOS18"])
def test_weights_and_levels_in_8_bits_are_read_back(tmp_path: Path, opset: str) -> None:
    import torchao.quantization.pt2e  # noqa: F401 defines the operators

    network = Quantized()
    converted(network, (1, 3, 12, 10), opset).save(str(tmp_path / "net.mlpackage"))
    first, second = read_weights(tmp_path / "net.mlpackage")
    assert (first.given, second.given) == (Levels(2**-5, 3, -128, 127), Levels(2**-4, 3, -128, 127))
    for one, name in ((first, "first"), (second, "second")):
        scales: Any = getattr(network, f"{name}_scales")[:, None, None, None]
        np.testing.assert_array_equal(one.weight, getattr(network, name) * scales)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_weights_are_read_back_with_how_they_are_stored(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "net.mlpackage"
    network = compressed(path, compression)
    for one, layer in zip(read_weights(path), (network[0], network[2]), strict=True):
        np.testing.assert_allclose(one.weight, layer.weight.data, rtol=1e-6)
    program = read_program(path)
    dtype, group = {"int4 blocks": ("int4", 16), "sparse": ("fp32", 0)}.get(compression, (compression, 0))
    assert [(one.weight_dtype, one.group_size) for one in program.layers] == [(dtype, group)] * 2
    count, rows = 48 * 64 + 40 * 48, 48 + 40
    stored = {
        "int8": {"int8": count + rows},  # each row has a zero point
        "int4 blocks": {"int4": count // 2},
        "palette4": {"uint8": count // 2},  # packed
        "sparse": {},
    }[compression]
    assert stored.items() <= program.bytes_by_dtype.items()


def test_a_convolution_of_one_channel_is_depthwise_where_it_makes_several(tmp_path: Path) -> None:
    def build(mb: Any, x: Any) -> Any:
        x = mb.conv(x=x, weight=np.ones((3, 1, 1, 1), np.float32), groups=3)
        x = mb.conv(x=x, weight=np.ones((1, 3, 1, 1), np.float32))
        return mb.conv(x=x, weight=np.ones((1, 1, 1, 1), np.float32))

    program = read_program(save_program(tmp_path / "net.mlpackage", (1, 3, 4, 4), build))
    assert [layer.kind for layer in program.layers] == ["depthwise convolution", "convolution", "convolution"]


def test_a_package_is_for_everyone_to_read(tmp_path: Path) -> None:
    (tmp_path / "a.mlpackage" / "Data").mkdir(parents=True, mode=0o700)
    (tmp_path / "a.mlpackage" / "Data" / "weight.bin").write_bytes(b"weights")
    for path in (tmp_path / "a.mlpackage", *(tmp_path / "a.mlpackage").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    _share(tmp_path / "a.mlpackage")
    names = ("a.mlpackage", "a.mlpackage/Data", "a.mlpackage/Data/weight.bin")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in names] == [0o755, 0o755, 0o644]
