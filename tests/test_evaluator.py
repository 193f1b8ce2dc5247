"""What runs a saved .mlpackage without a Mac: each operator, whole networks, the edge VOLO, damaged packages.

The programs come from coremltools, and every one is saved and read back from disk.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.small import SMALL, edge_model, exported, pixels, reference_logits
from volo_edge.converters.coreml import evaluator
from volo_edge.converters.coreml.evaluator import read_package
from volo_edge.converters.coreml.lower import lower
from volo_edge.converters.targets import choose
from volo_edge.decompose import CHANNELS_FIRST
from volo_edge.errors import RequestError

SPECIFICATION = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"

pytestmark = pytest.mark.usefixtures("small_heap")


def noise(*shape: int) -> NDArray[np.float32]:
    return np.random.RandomState(sum(shape)).randn(*shape).astype(np.float32)


def torch_noise(*shape: int) -> Tensor:
    return torch.from_numpy(noise(*shape))


def relative(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(np.asarray(found) - np.asarray(expected)) / np.linalg.norm(np.asarray(expected)))


def save_program(
    path: Path, shape: tuple[int, ...], build: Callable[[Any, Any], Any], opset: str = "iOS18", half: bool = False
) -> Path:
    """A package of the program that `build` makes of coremltools' builder and one input, saved as it is."""
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder, types

    dtype = types.fp16 if half else types.fp32
    target = getattr(ct.target, opset)

    @Builder.program(input_specs=[Builder.TensorSpec(shape=shape, dtype=dtype)], opset_version=target)
    def program(x: Any) -> Any:
        return build(Builder, x)

    model = ct.convert(
        program,
        convert_to="mlprogram",
        pass_pipeline=ct.PassPipeline.EMPTY,
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=target,
        skip_model_load=True,
    )
    model.save(str(path))
    return path


def answer(path: Path, x: NDArray[Any], arithmetic: str = "float32") -> list[NDArray[Any]]:
    loaded = evaluator.load(path, arithmetic)
    return list(loaded(**{loaded.inputs[0].name: x}).values())


IMAGE = (1, 4, 7, 9)
PAIR = noise(1, 4, 1, 9)
# Name, input, program, and the same in torch.
OPERATORS: list[tuple[str, tuple[int, ...], Callable[[Any, Any], Any], Callable[[Tensor], Any]]] = [
    ("add", IMAGE, lambda mb, x: mb.add(x=x, y=PAIR), lambda x: x + torch.tensor(PAIR)),
    ("scalar first", IMAGE, lambda mb, x: mb.sub(x=np.float32(2), y=x), lambda x: 2 - x),
    ("mul", IMAGE, lambda mb, x: mb.mul(x=x, y=PAIR), lambda x: x * torch.tensor(PAIR)),
    ("real_div", IMAGE, lambda mb, x: mb.real_div(x=x, y=PAIR), lambda x: x / torch.tensor(PAIR)),
    ("floor_div", IMAGE, lambda mb, x: mb.floor_div(x=x, y=PAIR), lambda x: torch.floor(x / torch.tensor(PAIR))),
    ("mod", IMAGE, lambda mb, x: mb.mod(x=x, y=np.float32(0.3)), lambda x: x - 0.3 * torch.floor(x / 0.3)),
    ("pow", IMAGE, lambda mb, x: mb.pow(x=x, y=np.float32(2)), lambda x: x * x),
    ("maximum", IMAGE, lambda mb, x: mb.maximum(x=x, y=np.float32(0.1)), lambda x: x.clamp_min(0.1)),
    ("minimum", IMAGE, lambda mb, x: mb.minimum(x=x, y=PAIR), lambda x: torch.minimum(x, torch.tensor(PAIR))),
    ("clip", IMAGE, lambda mb, x: mb.clip(x=x, alpha=-0.5, beta=0.7), lambda x: x.clamp(-0.5, 0.7)),
    ("rsqrt", IMAGE, lambda mb, x: mb.rsqrt(x=mb.square(x=x), epsilon=0.5), lambda x: 1 / (x * x + 0.5).sqrt()),
    ("sqrt", IMAGE, lambda mb, x: mb.sqrt(x=mb.abs(x=x)), lambda x: x.abs() ** 0.5),
    ("log", IMAGE, lambda mb, x: mb.log(x=mb.exp(x=x), epsilon=0.1), lambda x: (x.exp() + 0.1).log()),
    ("inverse", IMAGE, lambda mb, x: mb.inverse(x=mb.exp(x=x), epsilon=0.1), lambda x: 1 / (x.exp() + 0.1)),
    ("erf", IMAGE, lambda mb, x: mb.erf(x=x), torch.erf),
    ("tanh", IMAGE, lambda mb, x: mb.tanh(x=x), torch.tanh),
    ("round", IMAGE, lambda mb, x: mb.round(x=mb.mul(x=x, y=np.float32(4))), lambda x: torch.round(4 * x)),
    (
        "select",
        IMAGE,
        lambda mb, x: mb.select(cond=mb.greater(x=x, y=np.float32(0.2)), a=x, b=np.float32(-1)),
        lambda x: torch.where(x > 0.2, x, -1.0),
    ),
    ("cast", IMAGE, lambda mb, x: mb.cast(x=mb.mul(x=x, y=np.float32(3)), dtype="int32"), lambda x: (3 * x).trunc()),
    ("relu", IMAGE, lambda mb, x: mb.relu(x=x), F.relu),
    ("relu6", IMAGE, lambda mb, x: mb.relu6(x=mb.mul(x=x, y=np.float32(9))), lambda x: (9 * x).clamp(0, 6)),
    ("gelu", IMAGE, lambda mb, x: mb.gelu(x=x), lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2),
    (
        "gelu tanh",
        IMAGE,
        lambda mb, x: mb.gelu(x=x, mode="TANH_APPROXIMATION"),
        lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))),
    ),
    (
        "gelu sigmoid",
        IMAGE,
        lambda mb, x: mb.gelu(x=x, mode="SIGMOID_APPROXIMATION"),
        lambda x: x / (1 + torch.exp(-1.702 * x)),
    ),
    ("silu", IMAGE, lambda mb, x: mb.silu(x=x), lambda x: x / (1 + torch.exp(-x))),
    ("leaky_relu", IMAGE, lambda mb, x: mb.leaky_relu(x=x, alpha=0.1), lambda x: torch.where(x > 0, x, 0.1 * x)),
    (
        "prelu",
        IMAGE,
        lambda mb, x: mb.prelu(x=x, alpha=noise(4)),
        lambda x: F.prelu(x, torch_noise(4)),
    ),
    ("elu", IMAGE, lambda mb, x: mb.elu(x=x, alpha=0.5), lambda x: F.elu(x, 0.5)),
    (
        "sigmoid_hard",
        IMAGE,
        lambda mb, x: mb.sigmoid_hard(x=x, alpha=1 / 6, beta=0.5),
        F.hardsigmoid,
    ),
    ("scaled_tanh", IMAGE, lambda mb, x: mb.scaled_tanh(x=x, alpha=2.0, beta=0.5), lambda x: 2 * torch.tanh(x / 2)),
    ("softplus", IMAGE, lambda mb, x: mb.softplus(x=x), lambda x: (1 + x.exp()).log()),
    ("softmax", IMAGE, lambda mb, x: mb.softmax(x=x, axis=1), lambda x: x.exp() / x.exp().sum(1, keepdim=True)),
    (
        "conv",
        IMAGE,
        lambda mb, x: mb.conv(
            x=x, weight=noise(6, 2, 3, 3), bias=noise(6), strides=[2, 1], pad_type="custom", pad=[1, 1, 2, 2], groups=2
        ),
        lambda x: F.conv2d(x, torch_noise(6, 2, 3, 3), torch_noise(6), (2, 1), (1, 2), 1, 2),
    ),
    (
        "conv uneven",
        IMAGE,
        lambda mb, x: mb.conv(x=x, weight=noise(6, 4, 3, 3), dilations=[2, 1], pad_type="custom", pad=[0, 3, 2, 0]),
        lambda x: F.conv2d(F.pad(x, (2, 0, 0, 3)), torch_noise(6, 4, 3, 3), dilation=(2, 1)),
    ),
    (
        "conv 1x1",
        IMAGE,
        lambda mb, x: mb.conv(x=x, weight=noise(6, 4, 1, 1), bias=noise(6), pad_type="valid"),
        lambda x: F.conv2d(x, torch_noise(6, 4, 1, 1), torch_noise(6)),
    ),
    (
        "conv same",  # rows: 4 of 7 at stride 2 need 2 + 1; columns: 5 of 9 need 2 + 1
        IMAGE,
        lambda mb, x: mb.conv(x=x, weight=noise(2, 4, 4, 4), strides=[2, 2], pad_type="same"),
        lambda x: F.conv2d(F.pad(x, (1, 2, 1, 2)), torch_noise(2, 4, 4, 4), stride=2),
    ),
    (
        "conv same_lower",
        IMAGE,
        lambda mb, x: mb.conv(x=x, weight=noise(2, 4, 4, 4), strides=[2, 2], pad_type="same_lower"),
        lambda x: F.conv2d(F.pad(x, (2, 1, 2, 1)), torch_noise(2, 4, 4, 4), stride=2),
    ),
    (
        "conv 1d",
        (2, 4, 9),
        lambda mb, x: mb.conv(x=x, weight=noise(3, 4, 3), pad_type="valid"),
        lambda x: F.conv1d(x, torch_noise(3, 4, 3)),
    ),
    (
        "conv_transpose",
        IMAGE,
        lambda mb, x: mb.conv_transpose(
            x=x, weight=noise(4, 3, 3, 3), bias=noise(6), strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1], groups=2
        ),
        lambda x: F.conv_transpose2d(x, torch_noise(4, 3, 3, 3), torch_noise(6), 2, 1, 0, 2),
    ),
    (
        "conv_transpose output_shape",
        IMAGE,
        lambda mb, x: mb.conv_transpose(
            x=x,
            weight=noise(4, 1, 3, 3),
            strides=[2, 2],
            pad_type="custom",
            pad=[1, 0, 1, 0],
            output_shape=[1, 4, 14, 18],
            groups=4,
        ),
        lambda x: F.conv_transpose2d(x, torch_noise(4, 1, 3, 3), None, 2, 1, 1, 4),
    ),
    (
        "conv_transpose valid",
        IMAGE,
        lambda mb, x: mb.conv_transpose(x=x, weight=noise(4, 3, 2, 2), strides=[2, 2], pad_type="valid"),
        lambda x: F.conv_transpose2d(x, torch_noise(4, 3, 2, 2), None, 2),
    ),
    (
        "linear",
        (2, 5, 8),
        lambda mb, x: mb.linear(x=x, weight=noise(3, 8), bias=noise(3)),
        lambda x: x @ torch_noise(3, 8).T + torch_noise(3),
    ),
    (
        "matmul",
        (2, 5, 8),
        lambda mb, x: mb.matmul(x=x, y=noise(2, 5, 3), transpose_x=True),
        lambda x: x.transpose(1, 2) @ torch_noise(2, 5, 3),
    ),
    (
        "matmul transposed",
        (2, 5, 8),
        lambda mb, x: mb.matmul(x=x, y=noise(2, 6, 8), transpose_y=True),
        lambda x: x @ torch_noise(2, 6, 8).transpose(1, 2),
    ),
    (
        "einsum",
        IMAGE,
        lambda mb, x: mb.einsum(values=(x, noise(1, 9, 7, 5)), equation="nchw,nwhu->nchu"),
        lambda x: torch.einsum("nchw,nwhu->nchu", x, torch_noise(1, 9, 7, 5)),
    ),
    (
        "scaled_dot_product_attention",
        (1, 2, 5, 8),
        lambda mb, x: mb.scaled_dot_product_attention(
            query=x, key=noise(1, 2, 6, 8), value=noise(1, 2, 6, 4), attn_mask=noise(5, 6)
        ),
        lambda x: F.scaled_dot_product_attention(
            x, torch_noise(1, 2, 6, 8), torch_noise(1, 2, 6, 4), torch_noise(5, 6)
        ),
    ),
    (
        "layer_norm",
        (2, 5, 8),
        lambda mb, x: mb.layer_norm(x=x, axes=[-1], gamma=noise(8), beta=noise(9)[:8], epsilon=1e-3),
        lambda x: F.layer_norm(x, [8], torch_noise(8), torch_noise(9)[:8], 1e-3),
    ),
    (
        "layer_norm of channels",
        IMAGE,
        lambda mb, x: mb.layer_norm(x=x, axes=[1], gamma=noise(4), beta=noise(5)[:4], epsilon=1e-3),
        lambda x: F.layer_norm(x.mT.transpose(1, 3), [4], torch_noise(4), torch_noise(5)[:4], 1e-3).transpose(1, 3).mT,
    ),
    (
        "batch_norm",
        IMAGE,
        lambda mb, x: mb.batch_norm(
            x=x, mean=noise(4), variance=noise(4) ** 2, gamma=noise(4) + 1, beta=noise(4) - 1, epsilon=1e-3
        ),
        lambda x: F.batch_norm(
            x, torch_noise(4), torch_noise(4) ** 2, torch_noise(4) + 1, torch_noise(4) - 1, eps=1e-3
        ),
    ),
    (
        "instance_norm",
        IMAGE,
        lambda mb, x: mb.instance_norm(x=x, gamma=noise(4), beta=noise(4) - 1, epsilon=1e-3),
        lambda x: F.instance_norm(x, weight=torch_noise(4), bias=torch_noise(4) - 1, eps=1e-3),
    ),
    (
        "l2_norm",
        IMAGE,
        lambda mb, x: mb.l2_norm(x=x, epsilon=0.1),
        lambda x: x / (x.square().sum() + 0.1).sqrt(),
    ),
    (
        "max_pool",
        IMAGE,
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]),
        lambda x: F.max_pool2d(x, 3, 2, 1),
    ),
    (
        "max_pool ceil",
        (1, 2, 8, 10),
        lambda mb, x: mb.max_pool(x=x, kernel_sizes=[3, 3], strides=[2, 3], pad_type="valid", ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, (2, 3), 0, ceil_mode=True),
    ),
    (
        "max_pool ceil in the padding",  # where no window begins
        (1, 2, 5, 8),
        lambda mb, x: mb.max_pool(
            x=x, kernel_sizes=[2, 2], strides=[3, 3], pad_type="custom", pad=[1, 1, 1, 1], ceil_mode=True
        ),
        lambda x: F.max_pool2d(x, 2, 3, 1, ceil_mode=True),
    ),
    *(
        (
            f"avg_pool{' ceil' * ceil}{' excluded' * excluded}",
            (1, 2, 8, 10),
            lambda mb, x, ceil=ceil, excluded=excluded: mb.avg_pool(
                x=x,
                kernel_sizes=[3, 3],
                strides=[2, 2],
                pad_type="custom",
                pad=[1, 1, 1, 1],
                ceil_mode=ceil,
                exclude_padding_from_average=excluded,
            ),
            lambda x, ceil=ceil, excluded=excluded: F.avg_pool2d(x, 3, 2, 1, ceil, not excluded),
        )
        for ceil in (False, True)
        for excluded in (False, True)
    ),
    (
        "l2_pool",
        IMAGE,
        lambda mb, x: mb.l2_pool(x=x, kernel_sizes=[3, 3], strides=[2, 2], pad_type="valid"),
        lambda x: F.lp_pool2d(x, 2, 3, 2),
    ),
    ("reduce_mean", IMAGE, lambda mb, x: mb.reduce_mean(x=x, axes=[2, 3]), lambda x: x.mean((2, 3))),
    (
        "reduce_sum",
        IMAGE,
        lambda mb, x: mb.reduce_sum(x=x, axes=[1], keep_dims=True),
        lambda x: x.sum(1, keepdim=True),
    ),
    ("reduce_max", IMAGE, lambda mb, x: mb.reduce_max(x=x, axes=[-1]), lambda x: x.amax(-1)),
    ("reduce_min", IMAGE, lambda mb, x: mb.reduce_min(x=x, axes=[0, 2]), lambda x: x.amin((0, 2))),
    ("reduce_prod", IMAGE, lambda mb, x: mb.reduce_prod(x=x, axes=[1]), lambda x: x.prod(1)),
    ("reduce_l2_norm", IMAGE, lambda mb, x: mb.reduce_l2_norm(x=x, axes=[1]), lambda x: x.norm(dim=1)),
    ("reduce_argmax", IMAGE, lambda mb, x: mb.reduce_argmax(x=x, axis=3), lambda x: x.argmax(3)),
    ("topk", IMAGE, lambda mb, x: mb.topk(x=x, k=3, axis=-1), lambda x: tuple(torch.topk(x, 3))),
    ("cumsum", IMAGE, lambda mb, x: mb.cumsum(x=x, axis=3), lambda x: x.cumsum(3)),
    (
        "cumsum exclusive from the end",
        IMAGE,
        lambda mb, x: mb.cumsum(x=x, axis=3, exclusive=True, reverse=True),
        lambda x: torch.stack([x[..., i + 1 :].sum(-1) for i in range(9)], -1),
    ),
    ("reshape", IMAGE, lambda mb, x: mb.reshape(x=x, shape=[0, 2, -1, 9]), lambda x: x.reshape(1, 2, 14, 9)),
    ("expand_dims", (3, 4), lambda mb, x: mb.expand_dims(x=x, axes=[0, -1]), lambda x: x[None, :, :, None]),
    ("squeeze", (1, 4, 1, 9), lambda mb, x: mb.squeeze(x=x, axes=[2]), lambda x: x[:, :, 0]),
    ("transpose", IMAGE, lambda mb, x: mb.transpose(x=x, perm=[0, 2, -1, 1]), lambda x: x.permute(0, 2, 3, 1)),
    ("concat", IMAGE, lambda mb, x: mb.concat(values=[x, noise(*IMAGE)], axis=2), lambda x: torch.cat([x, x], 2)),
    (
        "concat interleaved",
        (2, 3),
        lambda mb, x: mb.concat(values=[x, mb.exp(x=x)], axis=0, interleave=True),
        lambda x: torch.stack([x[0], x[0].exp(), x[1], x[1].exp()]),
    ),
    ("stack", (2, 3), lambda mb, x: mb.stack(values=[x, mb.exp(x=x)], axis=1), lambda x: torch.stack([x, x.exp()], 1)),
    ("split", IMAGE, lambda mb, x: mb.split(x=x, split_sizes=[2, 5], axis=2), lambda x: tuple(x.split([2, 5], 2))),
    ("split evenly", IMAGE, lambda mb, x: mb.split(x=x, num_splits=2, axis=1), lambda x: tuple(x.split(2, 1))),
    (
        "slice_by_index",
        IMAGE,
        lambda mb, x: mb.slice_by_index(
            x=x,
            begin=[0, 1, -1, 7],
            end=[0, 3, 0, 2],
            stride=[1, 1, 1, -2],
            end_mask=[True, False, False, False],
            squeeze_mask=[False, False, True, False],
        ),
        lambda x: torch.from_numpy(x.numpy()[:, 1:3, -1, 7:2:-2].copy()),
    ),
    (
        "slice_by_index stride",
        IMAGE,
        lambda mb, x: mb.slice_by_index(
            x=x, begin=[0, 0, 1, 0], end=[1, 4, -1, 0], stride=[1, 1, 2, 3], end_mask=[False, False, False, True]
        ),
        lambda x: x[:, :, 1:-1:2, ::3],
    ),
    (
        "slice_by_size",
        IMAGE,
        lambda mb, x: mb.slice_by_size(x=x, begin=[0, 1, 2, 0], size=[1, 2, -1, 4]),
        lambda x: x[:, 1:3, 2:, :4],
    ),
    (
        "crop",
        IMAGE,
        lambda mb, x: mb.crop(x=x, crop_height=[1, 0], crop_width=[0, 2]),
        lambda x: x[:, :, 1:, :7],
    ),
    (
        "pad",
        IMAGE,
        lambda mb, x: mb.pad(x=x, pad=[1, 2, 0, 3], constant_val=0.5),
        lambda x: F.pad(x, (0, 3, 1, 2), value=0.5),
    ),
    (
        "pad reflect",
        IMAGE,
        lambda mb, x: mb.pad(x=x, pad=[1, 2, 4, 3], mode="reflect"),
        lambda x: F.pad(x, (4, 3, 1, 2), mode="reflect"),
    ),
    (
        "pad replicate",
        IMAGE,
        lambda mb, x: mb.pad(x=x, pad=[1, 2, 0, 3], mode="replicate"),
        lambda x: F.pad(x, (0, 3, 1, 2), mode="replicate"),
    ),
    ("tile", IMAGE, lambda mb, x: mb.tile(x=x, reps=[1, 2, 1, 3]), lambda x: x.repeat(1, 2, 1, 3)),
    ("reverse", IMAGE, lambda mb, x: mb.reverse(x=x, axes=[1, 3]), lambda x: x.flip(1, 3)),
    (
        "sliding_windows",
        IMAGE,
        lambda mb, x: mb.sliding_windows(x=x, axis=2, size=3, stride=2),
        lambda x: torch.stack([x[:, :, start : start + 3] for start in (0, 2, 4)], 2),
    ),
    ("gather", IMAGE, lambda mb, x: mb.gather(x=x, indices=[3, 0, 3], axis=1), lambda x: x[:, [3, 0, 3]]),
    ("pixel_shuffle", IMAGE, lambda mb, x: mb.pixel_shuffle(x=x, upscale_factor=2), lambda x: F.pixel_shuffle(x, 2)),
    (
        "pixel_unshuffle",
        (1, 2, 8, 10),
        lambda mb, x: mb.pixel_unshuffle(x=x, downscale_factor=np.uint32(2)),
        lambda x: F.pixel_unshuffle(x, 2),
    ),
    (
        "depth_to_space",
        (1, 8, 2, 3),
        lambda mb, x: mb.depth_to_space(x=x, block_size=2),
        lambda x: F.pixel_shuffle(x.reshape(4, 2, 2, 3).transpose(0, 1).reshape(1, 8, 2, 3), 2),
    ),
    (
        "space_to_depth",
        (1, 2, 8, 10),
        lambda mb, x: mb.depth_to_space(x=mb.space_to_depth(x=x, block_size=2), block_size=2),
        lambda x: x,
    ),
    (
        "upsample_nearest_neighbor",
        IMAGE,
        lambda mb, x: mb.upsample_nearest_neighbor(x=x, scale_factor_height=2, scale_factor_width=3),
        lambda x: F.interpolate(x, scale_factor=(2, 3), mode="nearest"),
    ),
    (
        "resize_nearest_neighbor",
        IMAGE,
        lambda mb, x: mb.resize_nearest_neighbor(x=x, target_size_height=5, target_size_width=12),
        lambda x: F.interpolate(x, (5, 12), mode="nearest"),
    ),
    *(
        (
            f"upsample_bilinear {corners}",
            IMAGE,
            lambda mb, x, corners=corners: mb.upsample_bilinear(
                x=x, scale_factor_height=2, scale_factor_width=3, align_corners=corners
            ),
            lambda x, corners=corners: F.interpolate(x, scale_factor=(2, 3), mode="bilinear", align_corners=corners),
        )
        for corners in (False, True)
    ),
    (
        "resize_bilinear",  # the documentation's example
        (1, 1, 2),
        lambda mb, x: mb.resize_bilinear(x=x, target_size_height=1, target_size_width=5, sampling_mode="DEFAULT"),
        lambda x: x[..., :1] + (x[..., 1:] - x[..., :1]) * torch.tensor([0.0, 0.4, 0.8, 1.0, 1.0]),
    ),
    (
        "quantize",
        (2, 3, 4),
        lambda mb, x: mb.dequantize(
            input=mb.quantize(
                input=x,
                scale=noise(3) ** 2 / 9,
                zero_point=np.array([1, -2, 3], np.int8),
                axis=1,
                output_dtype="int8",
            ),
            scale=noise(3) ** 2 / 9,
            zero_point=np.array([1, -2, 3], np.int8),
            axis=1,
        ),
        lambda x: torch.fake_quantize_per_channel_affine(
            x, torch_noise(3) ** 2 / 9, torch.tensor([1, -2, 3], dtype=torch.int32), 1, -128, 127
        ),
    ),
]


@pytest.mark.parametrize(
    ("shape", "build", "expected"), [case[1:] for case in OPERATORS], ids=[c[0] for c in OPERATORS]
)
def test_an_operator_means_what_torch_says(
    tmp_path: Path, shape: tuple[int, ...], build: Callable[..., Any], expected: Callable[..., Any]
) -> None:
    x = noise(*shape)
    path = save_program(tmp_path / "one.mlpackage", shape, build)
    wanted = expected(torch.from_numpy(x))
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    found = answer(path, x)
    assert len(found) == len(wanted)
    for value, right in zip(found, wanted, strict=True):
        assert value.shape == right.shape
        np.testing.assert_allclose(value, right, rtol=2e-5, atol=2e-5)


VOLUME = (2, 3, 4)
# Programs of values between 0 and 1.
INFERRED: dict[str, Callable[[Any, Any], Any]] = {
    **{
        name: lambda mb, x, name=name: getattr(mb, name)(x=x)
        for name in (
            "abs",
            "acos",
            "asin",
            "atan",
            "atanh",
            "ceil",
            "cos",
            "cosh",
            "exp2",
            "floor",
            "identity",
            "sigmoid",
            "sign",
            "sin",
            "sinh",
            "softsign",
            "tan",
            "reduce_l1_norm",
            "reduce_log_sum",
            "reduce_log_sum_exp",
            "reduce_sum_square",
            "reduce_argmin",
        )
    },
    **{
        name: lambda mb, x, name=name: mb.cast(x=getattr(mb, name)(x=mb.round(x=x), y=np.float32(1)), dtype="fp32")
        for name in ("equal", "not_equal", "greater_equal", "less", "less_equal")
    },
    **{
        name: lambda mb, x, name=name: mb.cast(
            x=getattr(mb, name)(x=mb.less(x=x, y=np.float32(0.7)), y=mb.greater(x=x, y=np.float32(0.3))), dtype="fp32"
        )
        for name in ("logical_and", "logical_or", "logical_xor")
    },
    "logical_not": lambda mb, x: mb.cast(x=mb.logical_not(x=mb.less(x=x, y=np.float32(0.5))), dtype="fp32"),
    "threshold": lambda mb, x: mb.threshold(x=x, alpha=0.4),
    "thresholded_relu": lambda mb, x: mb.mul(x=mb.thresholded_relu(x=mb.mul(x=x, y=x), alpha=0.4), y=x),
    "clamped_relu": lambda mb, x: mb.clamped_relu(x=mb.sub(x=x, y=np.float32(0.5)), alpha=0.3, beta=0.2),
    "linear_activation": lambda mb, x: mb.linear_activation(x=x, alpha=0.4, beta=0.1),
    "softplus_parametric": lambda mb, x: mb.softplus_parametric(x=x, alpha=noise(3), beta=noise(3) + 1),
    "gather_along_axis": lambda mb, x: mb.gather_along_axis(x=x, indices=np.int32([[[3, 0]] * 3] * 2), axis=2),
    "flatten2d": lambda mb, x: mb.flatten2d(x=x, axis=2),
    "shape": lambda mb, x: mb.cast(x=mb.shape(x=x), dtype="fp32"),
    "fill": lambda mb, x: mb.mul(x=x, y=mb.fill(shape=[3, 1], value=0.3)),
    "tile": lambda mb, x: mb.tile(x=x, reps=[2, 1, 3]),
    "cast": lambda mb, x: mb.cast(x=mb.mul(x=x, y=np.float32(-9)), dtype="int32"),
}


@pytest.mark.parametrize("name", INFERRED)
def test_an_operator_means_what_coremltools_infers(tmp_path: Path, name: str) -> None:
    data = np.random.RandomState(0).uniform(0.05, 0.95, VOLUME).astype(np.float32)
    inferred = []

    def build(mb: Any, x: Any) -> Any:
        inferred.append(INFERRED[name](mb, mb.const(val=data)).val)
        return INFERRED[name](mb, x)

    path = save_program(tmp_path / "one.mlpackage", VOLUME, build)
    assert inferred[0] is not None
    found = answer(path, data)[0]
    assert found.shape == inferred[0].shape
    np.testing.assert_allclose(found, inferred[0], rtol=2e-5, atol=2e-5)


COMPRESSED: list[tuple[str, str, Callable[[Any], Any], NDArray[Any]]] = [
    (
        "affine",
        "iOS16",
        lambda mb: mb.constexpr_affine_dequantize(
            quantized_data=np.arange(-6, 6, dtype=np.int8).reshape(3, 4),
            scale=np.float32([1, 2, 3]),
            zero_point=np.int8([0, 1, -1]),
            axis=0,
        ),
        (np.arange(-6, 6).reshape(3, 4) - [[0], [1], [-1]]) * [[1], [2], [3]],
    ),
    (
        "packed palette",
        "iOS16",
        lambda mb: mb.constexpr_lut_to_dense(
            indices=np.uint8([0b01101100, 0b00000011]), lut=np.float32([5, 6, 7, 8]), shape=np.uint32([5])
        ),
        np.array([5, 8, 7, 6, 8]),
    ),
    (
        "packed mask",
        "iOS16",
        lambda mb: mb.constexpr_sparse_to_dense(
            nonzero_data=np.float32([3, 4]), mask=np.uint8([0b01100]), shape=np.uint32([5])
        ),
        np.array([0, 0, 3, 4, 0]),
    ),
    (
        "cast",
        "iOS16",
        lambda mb: mb.constexpr_cast(source_val=np.float16([1, 2]), output_dtype="fp32"),
        np.arange(1, 3),
    ),
    (
        "int4 blocks",
        "iOS18",
        lambda mb: mb.constexpr_blockwise_shift_scale(
            data=as_type(np.arange(-8, 8).reshape(2, 8), "int4"),
            scale=np.float32([[1, 2], [3, 4]]),
            offset=as_type(np.array([[0, 1], [-1, 2]]), "int4"),
        ),
        (np.arange(-8, 8).reshape(2, 2, 4) - np.array([[[0], [1]], [[-1], [2]]])).reshape(2, 8)
        * np.repeat([[1, 2], [3, 4]], 4, 1),
    ),
    (
        "palette of groups",  # the documentation's first example
        "iOS18",
        lambda mb: mb.constexpr_lut_to_dense(
            indices=as_type(np.array([2, 3, 3, 0, 1, 0, 3, 0, 2, 1, 0, 3]).reshape(6, 2), "uint2"),
            lut=np.float32([1, 5, 9, 13, 2, 10, 18, 26]).reshape(2, 1, 4, 1),
        ),
        np.array([[9, 13], [13, 1], [5, 1], [26, 2], [18, 10], [2, 26]]),
    ),
    (
        "palette of vectors",  # its second
        "iOS18",
        lambda mb: mb.constexpr_lut_to_dense(
            indices=as_type(np.array([0, 0, 1, 0, 1, 1, 0, 0]).reshape(2, 2, 2), "uint1"),
            lut=np.float32([1, 2, 3, 4, 5, 6]).reshape(1, 1, 1, 2, 3),
            vector_axis=1,
        ),
        np.array([[[1, 1], [2, 2], [3, 3], [4, 1], [5, 2], [6, 3]], [[4, 4], [5, 5], [6, 6], [1, 1], [2, 2], [3, 3]]]),
    ),
    *(
        (
            f"{bits} bits",
            "iOS18",
            lambda mb, bits=bits: mb.constexpr_lut_to_dense(
                indices=as_type(np.arange(30) % 2**bits, f"uint{bits}"),
                lut=np.arange(2.0**bits, dtype=np.float32).reshape(1, -1, 1),
            ),
            np.arange(30) % 2**bits,
        )
        for bits in (1, 2, 3, 4, 6, 8)
    ),
    (
        "mask",
        "iOS18",
        lambda mb: mb.constexpr_sparse_to_dense(
            nonzero_data=np.float32([3, 4]), mask=as_type(np.array([[0, 1], [1, 0]]), "uint1")
        ),
        np.array([[0, 3], [4, 0]]),
    ),
    (
        "sparse palette",
        "iOS18",
        lambda mb: dense(
            mb,
            mb.constexpr_lut_to_sparse(
                indices_mask=as_type(np.array([[0, 1], [1, 0]]), "uint1"),
                indices_nonzero_data=as_type(np.array([1, 0]), "uint1"),
                lut=np.float32([3, 4]).reshape(1, 1, 2, 1),
            ),
        ),
        np.array([[0, 4], [3, 0]]),
    ),
    (
        "sparse blocks",
        "iOS18",
        lambda mb: dense(
            mb,
            mb.constexpr_sparse_blockwise_shift_scale(
                data_mask=as_type(np.array([[0, 1], [1, 0]]), "uint1"),
                nonzero_data=np.int8([3, 4]),
                scale=np.float32([[2], [3]]),
                offset=np.int8([[1], [1]]),
            ),
        ),
        np.array([[0, 4], [9, 0]]),
    ),
]


def as_type(values: NDArray[Any], name: str) -> Any:
    """Integers of less than a byte, as coremltools' builder takes them."""
    from coremltools.converters.mil.mil import types

    return values.astype(types.nptype_from_builtin(types.string_to_builtin(name)))


def dense(mb: Any, mask_and_data: tuple[Any, Any]) -> Any:
    mask, data = mask_and_data
    return mb.constexpr_sparse_to_dense(nonzero_data=data, mask=mask)


@pytest.mark.parametrize(
    ("opset", "build", "expected"), [case[1:] for case in COMPRESSED], ids=[f"{c[0]} {c[1]}" for c in COMPRESSED]
)
def test_a_compressed_constant_is_what_its_documentation_says(
    tmp_path: Path, opset: str, build: Callable[..., Any], expected: NDArray[Any]
) -> None:
    path = save_program(tmp_path / "one.mlpackage", expected.shape, lambda mb, x: mb.add(x=x, y=build(mb)), opset)
    np.testing.assert_array_equal(answer(path, np.zeros(expected.shape, np.float32))[0], expected)


def test_typed_rounds_what_the_program_types_half(tmp_path: Path) -> None:
    path = save_program(tmp_path / "one.mlpackage", (3,), lambda mb, x: mb.mul(x=x, y=np.float16(1 / 3)), half=True)
    x = np.float32([1, 1 + 2**-12, 3])  # the second is no half-precision number
    third = np.float32(np.float16(1 / 3))
    np.testing.assert_array_equal(answer(path, x, "typed")[0], np.float16(np.float16(x) * third).astype(np.float32))
    np.testing.assert_array_equal(answer(path, x, "float32")[0], x * third)


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda mb, x: mb.add(x=x, y=np.float16(1)), lambda x: x + 1),
        (lambda mb, x: mb.sub(x=x, y=np.float16(-1)), lambda x: x + 1),
        (lambda mb, x: mb.reduce_sum(x=x, axes=[0], keep_dims=True), lambda x: x.sum(keepdims=True)),
        (lambda mb, x: mb.reduce_mean(x=x, axes=[0], keep_dims=True), lambda x: x.mean(keepdims=True)),
        (lambda mb, x: mb.matmul(x=x, y=np.float16([[1], [1], [1]])), lambda x: x.sum(keepdims=True)),
    ],
    ids=["add", "sub", "reduce_sum", "reduce_mean", "matmul"],
)
def test_a_sum_that_the_program_types_half_is_rounded_once(
    tmp_path: Path, build: Callable[[Any, Any], Any], expected: Callable[[Any], Any]
) -> None:
    """Of numbers that half precision has, whose sums it has not."""
    path = save_program(tmp_path / "one.mlpackage", (3,), build, half=True)
    x = np.float32([1024, 2**-6, 1 + 2**-10])
    exact = expected(x)
    assert (np.float16(exact) != exact).any()
    np.testing.assert_array_equal(answer(path, x, "typed")[0], np.float16(exact).astype(np.float32))
    np.testing.assert_array_equal(answer(path, x, "float32")[0], exact)


def test_what_a_program_takes_in_half_precision_is_rounded_on_its_way_in(tmp_path: Path) -> None:
    path = save_program(tmp_path / "one.mlpackage", (2,), lambda mb, x: mb.identity(x=x), half=True)
    x = np.float32([1 + 2**-12, 1e-9])
    np.testing.assert_array_equal(answer(path, x, "typed")[0], [1, 0])
    np.testing.assert_array_equal(answer(path, x, "float32")[0], x)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(F.relu(self.norm(self.a(x)))))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches, self.block = nn.Conv2d(3, 32, 4, 4), nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        q = tokens.reshape(1, -1, 4, 8).transpose(1, 2)
        tokens = tokens + F.scaled_dot_product_attention(q, q, q).transpose(1, 2).reshape(tokens.shape)
        tokens = tokens + self.block.linear2(F.gelu(self.block.linear1(self.block.norm1(tokens))))
        return self.head(tokens.mean(1))


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1)
        self.out = nn.ConvTranspose2d(11, 2, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.out(torch.cat([x, F.leaky_relu(self.up(F.avg_pool2d(self.down(x), 3, 1, 1)), 0.1)], 1))
        return F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=False)


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inner, self.outer = nn.LayerNorm(16), nn.Linear(16, 64), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.inner(self.norm(x)).chunk(2, -1)
        return x + self.outer(F.silu(gate) * value)


def separable() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.Hardswish(),
        nn.Conv2d(16, 16, 5, 1, 2, groups=16),
        nn.BatchNorm2d(16),
        nn.ReLU6(),
        nn.Conv2d(16, 24, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(24, 5),
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "residual": (Residual, (1, 8, 12, 10)),
    "separable": (separable, (1, 3, 24, 20)),
    "attention": (Attention, (1, 3, 16, 16)),
    "decoder": (Decoder, (1, 3, 12, 16)),
    "gated": (Gated, (1, 7, 16)),
}


def made(build: Callable[[], nn.Module]) -> nn.Module:
    """The network with weights that are the same on every run."""
    torch.manual_seed(0)
    network = build().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = torch.randn(module.num_features), torch.rand(module.num_features)
    return network


def converted(network: nn.Module, shape: tuple[int, ...], opset: str = "iOS16") -> Any:
    import coremltools as ct

    return ct.convert(
        torch.export.export(network, (torch.zeros(shape),)).run_decompositions({}),
        convert_to="mlprogram",
        inputs=[ct.TensorType("x", shape)],
        outputs=[ct.TensorType("y")],
        compute_precision=ct.precision.FLOAT32,
        minimum_deployment_target=getattr(ct.target, opset),
        skip_model_load=True,
    )


def torch_answer(network: nn.Module, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(x)))


@pytest.mark.parametrize("opset", ["iOS16", "iOS18"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_answers_as_in_torch(tmp_path: Path, name: str, opset: str) -> None:
    build, shape = NETWORKS[name]
    network = made(build)
    converted(network, shape, opset).save(str(tmp_path / "net.mlpackage"))
    assert relative(answer(tmp_path / "net.mlpackage", noise(*shape))[0], torch_answer(network, noise(*shape))) < 1e-5


class Quantized(nn.Module):
    """Weights and activations in 8 bits. Scales are powers of two, so that no runtime rounds a tie another way."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        for name, shape in (("first", (16, 3, 3, 3)), ("second", (5, 16, 1, 1))):
            weights = torch.randint(-127, 128, shape, generator=generator, dtype=torch.int8)
            self.register_buffer(name, weights)
            self.register_buffer(f"{name}_scales", 2.0 ** torch.randint(-9, -5, (shape[0],), generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        for name, scale in (("first", 2**-5), ("second", 2**-4)):
            weights, scales = getattr(self, name), getattr(self, f"{name}_scales")
            zeros = torch.zeros(len(scales), dtype=torch.int64)
            rows = torch.ops.quantized_decomposed.dequantize_per_channel(
                weights, scales, zeros, 0, -127, 127, torch.int8
            )
            x = F.relu(F.conv2d(_eight_bits(x, scale), rows))
        return _eight_bits(x, 2**-3).mean((2, 3))


def _eight_bits(x: Tensor, scale: float) -> Tensor:
    levels = (scale, 3, -128, 127, torch.int8)
    return torch.ops.quantized_decomposed.dequantize_per_tensor(
        torch.ops.quantized_decomposed.quantize_per_tensor(x, *levels), *levels
    )


@pytest.mark.parametrize("opset", ["iOS17", "iOS18"])
def test_a_network_in_8_bits_answers_as_in_torch(tmp_path: Path, opset: str) -> None:
    import torchao.quantization.pt2e  # noqa: F401 defines the operators

    network, x = Quantized(), noise(1, 3, 12, 10)
    converted(network, x.shape, opset).save(str(tmp_path / "net.mlpackage"))
    package = evaluator.read_package(tmp_path / "net.mlpackage")
    kinds = [operator.kind for operator in package.operators]
    assert (kinds.count("quantize"), kinds.count("dequantize")) == (3, 3)
    assert relative(answer(tmp_path / "net.mlpackage", x)[0], torch_answer(network, x)) < 1e-5
    assert relative(answer(tmp_path / "net.mlpackage", x + 0.02)[0], torch_answer(network, x)) > 1e-4


COMPRESSIONS = ("int8", "int4 blocks", "palette4", "sparse")


def compressed(path: Path, compression: str) -> nn.Sequential:
    """A network of two linears, and at `path` the package of it compressed.

    Its weights lie on the grid that each compression chooses, so that it loses nothing of them.
    """
    from coremltools.optimize import coreml

    network = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 40))
    steps = {"int8": 127, "int4 blocks": 7, "palette4": 15, "sparse": 1}[compression]
    generator = np.random.RandomState(0)
    for module in network:
        if isinstance(module, nn.Linear):
            grid = generator.randint(0 if compression == "palette4" else -steps, steps + 1, module.weight.shape)
            grid[:, ::16] = steps  # every block has the largest, and the table the smallest
            grid[:, 1::16] = 0
            module.weight.data = torch.from_numpy(grid.astype(np.float32)) / 64
    model = converted(network, (1, 64), "iOS18" if compression == "int4 blocks" else "iOS16")
    weights = {
        "int8": lambda: coreml.linear_quantize_weights(
            model, coreml.OptimizationConfig(coreml.OpLinearQuantizerConfig("linear_symmetric", weight_threshold=0))
        ),
        "int4 blocks": lambda: coreml.linear_quantize_weights(
            model,
            coreml.OptimizationConfig(
                coreml.OpLinearQuantizerConfig(
                    "linear_symmetric", dtype="int4", granularity="per_block", block_size=16, weight_threshold=0
                )
            ),
        ),
        "palette4": lambda: coreml.palettize_weights(
            model, coreml.OptimizationConfig(coreml.OpPalettizerConfig("uniform", nbits=4, weight_threshold=0))
        ),
        "sparse": lambda: coreml.prune_weights(
            model,
            coreml.OptimizationConfig(
                coreml.OpThresholdPrunerConfig(threshold=1e-3, minimum_sparsity_percentile=0.1, weight_threshold=0)
            ),
        ),
    }[compression]()
    weights.save(str(path))
    return network


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressed_weights_are_the_ones_that_were_compressed(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "net.mlpackage"
    network = compressed(path, compression)
    assert sum(operator.kind.startswith("constexpr") for operator in read_package(path).operators) == 2
    assert relative(answer(path, noise(1, 64))[0], torch_answer(network, noise(1, 64))) < 1e-5


@pytest.mark.slow
def test_the_edge_volo_in_single_precision_is_the_float_model(tmp_path: Path) -> None:
    path = tmp_path / "VOLO.mlpackage"
    lower(exported(edge_model(SMALL, CHANNELS_FIRST)), choose("coreml", None, "fp32", None), path)
    images = pixels(SMALL)
    found = np.concatenate([answer(path, image[None])[0] for image in images])
    assert relative(found, reference_logits(SMALL, images)) < 1e-5
    loaded = evaluator.load(path)
    assert [(given.name, given.shape, given.dtype) for given in loaded.inputs] == [("image", (1, 3, 72, 48), "fp32")]
    assert [(made.name, made.shape, made.dtype) for made in loaded.outputs] == [("logits", (1, 5), "fp32")]


@pytest.mark.slow
def test_the_edge_volo_in_half_precision_is_near_the_float_model(tmp_path: Path) -> None:
    path = tmp_path / "VOLO.mlpackage"
    lower(exported(edge_model(SMALL, CHANNELS_FIRST)), choose("coreml", None, "fp16", None), path)
    image = pixels(SMALL, 1)
    expected = reference_logits(SMALL, image)
    typed, single = answer(path, image, "typed")[0], answer(path, image)[0]
    assert relative(typed, expected) < 2e-2
    assert relative(single, expected) < 1e-2
    assert relative(typed, single) > 1e-5


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution, an activation and a softmax."""
    return save_program(
        tmp_path_factory.mktemp("whole") / "whole.mlpackage",
        (1, 4, 5, 5),
        lambda mb, x: mb.softmax(
            x=mb.relu(x=mb.conv(x=x, weight=noise(6, 4, 3, 3), bias=noise(6), pad_type="same")), axis=1
        ),
    )


def specification(path: Path) -> Any:
    import coremltools as ct

    return ct.utils.load_spec(str(path))


def operations(specification: Any) -> Any:
    function = specification.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def spoil(package: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy of the package whose operators `change` has edited."""
    path = folder / "spoilt.mlpackage"
    shutil.copytree(package, path)
    edited = specification(path)
    change(operations(edited))
    (path / SPECIFICATION).write_bytes(edited.SerializeToString())
    return path


def other_axis(operations: Any) -> None:
    name = next(operator for operator in operations if operator.type == "softmax").inputs["axis"].arguments[0].name
    constant = next(operator for operator in operations if operator.outputs[0].name == name)
    constant.attributes["val"].immediateValue.tensor.ints.values[0] = 2


def rename(old: str, new: str) -> Callable[[Any], None]:
    def change(operations: Any) -> None:
        next(operator for operator in operations if operator.type == old).type = new

    return change


@pytest.mark.parametrize("change", [other_axis, rename("relu", "tanh")], ids=["an axis", "an operator"])
def test_another_program_answers_otherwise(package: Path, tmp_path: Path, change: Callable[[Any], None]) -> None:
    x = noise(1, 4, 5, 5)
    assert relative(answer(spoil(package, tmp_path, change), x)[0], answer(package, x)[0]) > 1e-2


def test_a_flipped_bit_of_a_weight_answers_otherwise(package: Path, tmp_path: Path) -> None:
    path = tmp_path / "spoilt.mlpackage"
    shutil.copytree(package, path)
    stored = bytearray((path / WEIGHTS).read_bytes())
    place = stored.index(noise(6, 4, 3, 3).tobytes())
    stored[place + 3] ^= 0x04  # of the first weight's exponent
    (path / WEIGHTS).write_bytes(stored)
    x = noise(1, 4, 5, 5)
    assert not np.allclose(answer(path, x)[0], answer(package, x)[0], rtol=1e-3)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        ("no folder", "not a Core ML package"),
        ("no specification", "damaged"),
        ("no weights", "missing"),
        ("truncated weights", "truncated"),
        ("overwritten record", "no fp32 at offset"),
        ("unknown operator", "operator 'no_such_operator' is not one that is evaluated"),
        ("unbound input", "which nothing before it makes"),
        ("other shape", "the program says"),
    ],
)
def test_a_bad_package_is_refused_in_one_line(package: Path, tmp_path: Path, harm: str, says: str) -> None:
    def unbound(operations: Any) -> None:
        next(op for op in operations if op.type == "relu").inputs["x"].arguments[0].name = "nothing"

    def other_shape(operations: Any) -> None:
        next(op for op in operations if op.type == "relu").outputs[0].type.tensorType.dimensions[1].constant.size = 7

    changes: dict[str, Callable[[Any], None]] = {
        "unknown operator": rename("relu", "no_such_operator"),
        "unbound input": unbound,
        "other shape": other_shape,
    }
    path = tmp_path / "spoilt.mlpackage"
    if harm != "no folder":
        spoil(package, tmp_path, changes.get(harm, lambda operations: None))
    if harm == "no specification":
        (path / SPECIFICATION).unlink()
    elif harm == "no weights":
        (path / WEIGHTS).unlink()
    elif harm == "truncated weights":
        (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-400])
    elif harm == "overwritten record":
        stored = (path / WEIGHTS).read_bytes()
        (path / WEIGHTS).write_bytes(stored[:64] + bytes(8) + stored[72:])
    with pytest.raises(RequestError) as caught:
        answer(path, noise(1, 4, 5, 5))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"x": np.zeros((1, 4, 5, 6))}, {"x": np.zeros((1, 4, 5, 5)), "y": np.zeros(1)}])
def test_other_inputs_are_refused(package: Path, given: dict[str, NDArray[Any]]) -> None:
    said = r"the program takes x; given were|input 'x' is of shape \(1, 4, 5, 6\), and the program says \(1, 4, 5, 5\)"
    with pytest.raises(RequestError, match=said):
        evaluator.load(package)(**given)


def test_an_unknown_arithmetic_is_refused(package: Path) -> None:
    with pytest.raises(RequestError, match="typed"):
        evaluator.load(package, "float8")
