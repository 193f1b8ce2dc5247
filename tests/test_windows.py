"""Unfold and fold, in both forms, against torch's own."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from volo_edge.decompose.windows import (
    Window,
    fold_convolution,
    fold_slices,
    one_hot_kernels,
    own_tokens,
    unfold_convolution,
    unfold_slices,
)

OUTLOOKS = [(3, 1, 2), (3, 1, 1), (5, 2, 2)]


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Any window that torch can unfold: wherever at least one fits into the padded grid."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    kernel, stride = draw(st.sampled_from((1, 3, 5, 7))), draw(st.integers(1, 4))
    least = max(0, -(-(kernel - min(height, width)) // 2))
    return Window(height, width, kernel, draw(st.integers(least, max(kernel // 2, least) + 2)), stride)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def arguments(window: Window) -> dict[str, int]:
    return {"kernel_size": window.kernel, "padding": window.padding, "stride": window.stride}


def unfolded(x: Tensor, window: Window) -> Tensor:
    """torch's unfold of (B, C, H, W): (B, C, taps, rows, columns)."""
    return F.unfold(x, **arguments(window)).reshape(*x.shape[:2], window.taps, window.rows, window.columns)


def folded(x: Tensor, window: Window) -> Tensor:
    """torch's fold of (B, C, taps, rows, columns): (B, C, H, W)."""
    return F.fold(x.flatten(1, 2).flatten(2), (window.height, window.width), **arguments(window))


def assert_same(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


any_window = given(windows(), st.integers(1, 3), st.integers(1, 5))
many = settings(max_examples=200, deadline=None)


@many
@any_window
@example(Window(8, 8, 3, 1, 2), 1, 2)
@example(Window(9, 8, 3, 1, 2), 2, 3)
@example(Window(1, 1, 3, 1, 1), 1, 1)
@example(Window(1, 2, 7, 3, 1), 1, 1)
def test_unfolding_by_slices_is_unfold(window: Window, batch: int, channels: int) -> None:
    x = noise(batch, channels, window.height, window.width)
    taps = unfold_slices(x.permute(0, 2, 3, 1), window)
    assert [tuple(tap.shape) for tap in taps] == [(batch, window.rows, window.columns, channels)] * window.taps
    assert_same(torch.stack(taps, -1).permute(0, 3, 4, 1, 2), unfolded(x, window))


@many
@any_window
@example(Window(8, 8, 3, 1, 2), 1, 2)
@example(Window(9, 8, 3, 1, 2), 2, 3)
@example(Window(2, 5, 5, 2, 2), 1, 1)
@example(Window(5, 6, 3, 1, 4), 1, 1)  # positions that no window has a tap at
@example(Window(1, 1, 5, 2, 1), 1, 1)  # most of the taps are outside the grid in every window
@example(Window(2, 2, 7, 3, 1), 1, 1)
@example(Window(3, 3, 1, 0, 2), 1, 1)  # most of the positions are in no window
@example(Window(1, 1, 1, 1, 4), 1, 1)  # no window has a tap in the grid
def test_folding_by_slices_is_fold(window: Window, batch: int, channels: int) -> None:
    taps = noise(batch, channels, window.taps, window.rows, window.columns)
    found = fold_slices([tap.permute(0, 2, 3, 1) for tap in taps.unbind(2)], window)
    assert found.shape == (batch, window.height, window.width, channels)
    assert_same(found.permute(0, 3, 1, 2), folded(taps, window))


@many
@any_window
def test_unfolding_by_convolution_is_unfold(window: Window, batch: int, channels: int) -> None:
    x = noise(batch, channels, window.height, window.width)
    kernels = one_hot_kernels(channels, window, torch.float64)
    found = unfold_convolution(x, kernels, window)
    assert found.shape == (batch, channels * window.taps, window.rows, window.columns)
    assert_same(found.reshape(batch, channels, window.taps, window.rows, window.columns), unfolded(x, window))


@many
@any_window
def test_folding_by_convolution_is_fold(window: Window, batch: int, channels: int) -> None:
    taps = noise(batch, channels, window.taps, window.rows, window.columns)
    kernels = one_hot_kernels(channels, window, torch.float64)
    assert_same(fold_convolution(taps.flatten(1, 2), kernels, window), folded(taps, window))


@many
@given(windows())
def test_a_window_counts_its_places(window: Window) -> None:
    def places(side: int) -> int:
        return len(range(-window.padding, side + window.padding - window.kernel + 1, window.stride))

    assert (window.rows, window.columns) == (places(window.height), places(window.width))


@pytest.mark.parametrize("outlook", OUTLOOKS)
def test_a_tap_is_the_position_that_it_says(outlook: tuple[int, int, int]) -> None:
    window = Window(7, 6, *outlook)
    x = noise(1, 7, 6, 2)
    for (i, j), tap in zip(itertools.product(range(window.kernel), repeat=2), unfold_slices(x, window), strict=True):
        for y, column in itertools.product(range(window.rows), range(window.columns)):
            at = y * window.stride + i - window.padding, column * window.stride + j - window.padding
            inside = 0 <= at[0] < 7 and 0 <= at[1] < 6
            assert torch.equal(tap[0, y, column], x[0, at[0], at[1]] if inside else torch.zeros(2, dtype=x.dtype))


@pytest.mark.parametrize("outlook", OUTLOOKS)
def test_one_hot_kernels_hold_a_single_one(outlook: tuple[int, int, int]) -> None:
    window = Window(8, 8, *outlook)
    kernels = one_hot_kernels(4, window)
    assert kernels.shape == (4 * window.taps, 1, window.kernel, window.kernel)
    assert kernels.dtype == torch.float32
    assert torch.equal(kernels.flatten(1).argmax(1), torch.arange(window.taps).repeat(4))
    assert torch.equal(kernels.flatten(1).sort(1).values[:, -1], torch.ones(4 * window.taps))
    assert kernels.sum() == 4 * window.taps


class ThereAndBack(nn.Module):
    """Unfolds by slices, scales each tap by a factor of its own, folds."""

    def __init__(self, window: Window) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        return fold_slices([tap * (1 + index) for index, tap in enumerate(unfold_slices(x, self.window))], self.window)


@pytest.mark.parametrize("grid", [(8, 8), (9, 6), (5, 11)])
@pytest.mark.parametrize("outlook", OUTLOOKS)
def test_slices_export_to_operators_that_xnnpack_takes(outlook: tuple[int, int, int], grid: tuple[int, int]) -> None:
    program = torch.export.export(ThereAndBack(Window(*grid, *outlook)), (torch.zeros(1, *grid, 4),))
    nodes = [node for node in program.graph.nodes if node.op == "call_function"]
    called = {str(node.target).removeprefix("aten.").split(".")[0] for node in nodes}
    assert called <= {"slice", "pad", "reshape", "cat", "add", "mul"}
    for node in nodes:
        if node.target is torch.ops.aten.slice.Tensor:
            _, _, start, stop, step = (*node.args, 1)[:5]
            assert step == 1
            assert 0 <= start < stop
        elif node.target is torch.ops.aten.pad.default:
            assert min(node.args[1]) >= 0
            assert len(node.args) == 2  # with zeros


@pytest.mark.parametrize(("stride", "expected"), [(2, [[4, 4, 2], [2, 2, 1]]), (1, [[1] * 5] * 3)])
def test_a_short_window_has_fewer_tokens_of_its_own(stride: int, expected: list[list[int]]) -> None:
    assert own_tokens(Window(3, 5, 3, 1, stride)).tolist() == expected
