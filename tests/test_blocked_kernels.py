"""The kernels on values in blocks against `Op.run`, between guard zones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from irconv.backends.numba_cpu.binders.convolution import pool_window
from irconv.backends.numba_cpu.binders.pointwise import PAIRS as PAIR_NAMES
from irconv.backends.numba_cpu.blocked.copy import (
    channels_of,
    concat,
    copy,
    copy_channels,
    stretch,
)
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.lrn import lrn
from irconv.backends.numba_cpu.blocked.pack import pack, unpack
from irconv.backends.numba_cpu.blocked.pointwise import activate, binary, per_channel, scale_shift
from irconv.backends.numba_cpu.blocked.pool import pool
from irconv.backends.numba_cpu.step import Epilogue
from irconv.op import Op
from irconv.ops.activation import PRelu
from irconv.ops.elementwise import Add, Div, Max, Min, Mul, Sub
from irconv.ops.norm import LRN
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from irconv.ops.rearrange import ChannelShuffle
from irconv.types import Array
from tests.blocked_cases import CANARY, guarded, numbers, operand, result, run
from tests.cpu_cases import assert_ulps

HALOS = [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3), (0, 2, 0, 0), (3, 0, 0, 0)]


@pytest.mark.parametrize("halo", HALOS)
@pytest.mark.parametrize(("block", "channels"), [(16, 40), (8, 8), (4, 6), (3, 3), (1, 1)])
def test_clear_halo(block: int, channels: int, halo: tuple[int, ...]) -> None:
    for parts in (1, 2, 3):
        y = result((2, channels, 5, 3), block, halo, extra=(1, 2))
        run(clear_halo(y.blocked), parts)
        y.check_written(halo=0)
        assert (y.stored[y.interior()] == CANARY).all()


def test_clear_halo_of_one_line() -> None:
    y = result((1, 16, 7), 16, (2, 1))
    run(clear_halo(y.blocked))
    y.check_written(halo=0)


SHAPES = [(1, 3, 5, 33), (2, 40, 3, 7), (1, 16, 2, 16), (2, 21, 1, 1), (1, 5, 9, 4), (1, 64, 7, 7)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [16, 8, 4, 3, 1, 5])
def test_pack_and_unpack(block: int, shape: tuple[int, ...]) -> None:
    x = numbers(shape)
    for parts, halo in zip((1, 2, 3), HALOS, strict=False):
        _, held = guarded(shape, np.nan)
        held[...] = x
        y = result(shape, block, halo, extra=(1, 0))
        run(pack(y.blocked, held), parts)
        y.check_written(halo=0 if any(halo) else None)
        np.testing.assert_array_equal(y.load(), x)
        expected = y.layout.store(x)
        np.testing.assert_array_equal(y.stored[:, 1:], expected)  # zeros fill the last block
        space, back = guarded(shape, CANARY)
        run(unpack(back, operand(x, block, halo, extra=(1, 0)).blocked), parts)
        np.testing.assert_array_equal(back, x)
        back[...] = CANARY
        assert (space == CANARY).all()


POOLS = [
    # image, kernel, strides, pads, dilations, ceil_mode
    ((7, 9), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 0),
    ((7, 7), (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), 0),
    ((8, 21), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1), 0),
    ((8, 6), (3, 2), (2, 3), (1, 0, 2, 1), (1, 1), 1),
    ((9, 11), (3, 3), (1, 2), (2, 3, 1, 4), (2, 3), 0),
    ((5, 7), (5, 7), (1, 1), (0, 0, 0, 0), (1, 1), 0),
    ((3, 2), (7, 7), (1, 1), (3, 3, 3, 3), (1, 1), 0),
    ((1, 1), (2, 2), (1, 1), (1, 1, 1, 1), (2, 2), 0),  # a window between its taps
    ((14, 35), (3, 3), (2, 2), (0, 0, 0, 0), (1, 1), 1),
    ((12,), (3,), (2,), (1, 1), (1,), 0),
]


@pytest.mark.parametrize("geometry", POOLS)
@pytest.mark.parametrize("kind", ["max", "inside", "padded"])
def test_pools(kind: str, geometry: tuple) -> None:
    image, kernel, strides, pads, dilations, ceil_mode = geometry
    window = {"strides": strides, "pads": pads, "dilations": dilations, "ceil_mode": ceil_mode}
    op = MaxPool(kernel_shape=kernel, **window)
    if kind != "max":
        op = AveragePool(kernel_shape=kernel, count_include_pad=int(kind == "padded"), **window)
    for block, channels, parts in ((16, 37, 3), (8, 16, 2), (4, 3, 1)):
        halo = (1, 2, 0, 1) if len(image) == 2 else (2, 1)
        check_pool(op, numbers((2, channels, *image)), block, halo, parts)


@pytest.mark.parametrize("op", [GlobalAveragePool(), GlobalMaxPool()])
def test_global_pools(op: Op) -> None:
    for image in ((7, 7), (1, 1), (4, 13), (9,)):
        check_pool(op, numbers((2, 19, *image)), 16, (0,) * (2 * len(image)), 2)


def check_pool(op: Op, x: Array, block: int, halo: tuple[int, ...], parts: int) -> None:
    with np.errstate(all="ignore"):
        (expected,) = op.run([x])
    window = pool_window(op, x.shape[2:])
    held = operand(x, block, halo, extra=(1, 1))
    y = result(expected.shape, block, halo, extra=(0, 2))
    run(pool(y.blocked, held.blocked, window, parts), parts)
    y.check_written()
    np.testing.assert_array_equal(y.load(), expected)


def test_max_pool_keeps_nan_and_infinities() -> None:
    x = numbers((1, 16, 9, 20))
    x[0, 3, 4, 5], x[0, 0, 0, 0], x[0, 15, 8, 19] = np.nan, np.nan, np.nan
    x[0, 7, 2:5, 2:7], x[0, 8, 6, 6] = -np.inf, np.inf
    for strides in ((1, 1), (2, 2)):
        op = MaxPool(kernel_shape=(3, 3), pads=(1, 1, 1, 1), strides=strides)
        check_pool(op, x, 16, (0,) * 4, 1)
        check_pool(op, -x, 16, (0,) * 4, 1)


@pytest.mark.parametrize(("block", "channels"), [(16, 37), (8, 16), (4, 3)])
@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "log"])
def test_functions(name: str, block: int, channels: int) -> None:
    x = numbers((2, channels, 5, 7))
    x[0, 1, 2, 3] = np.nan
    for halo, parts in (((1, 2, 0, 1), 3), ((0, 0, 0, 0), 1)):
        held = operand(x, block, halo, extra=(1, 0))
        y = result(x.shape, block, (1, 1, 1, 1), extra=(0, 1))
        ending = Epilogue(activation=name, alpha=0.5)
        ending = {"relu": Epilogue(0.0), "relu6": Epilogue(0.0, 6.0)}.get(name, ending)
        with np.errstate(all="ignore"):
            expected = {
                "relu": lambda: np.maximum(x, 0),
                "relu6": lambda: np.minimum(np.maximum(x, 0), 6),
                "leaky_relu": lambda: np.where(x < 0, x / 2, x),
                "sigmoid": lambda: 1 / (1 + np.exp(-x.astype(float))),
                "log": lambda: np.log(x.astype(float)),
            }[name]()
        run(activate(y.blocked, held.blocked, ending), parts)
        y.check_written()
        np.testing.assert_allclose(y.load(), expected, rtol=4e-7, atol=1e-44)
        run(activate(held.blocked, held.blocked, ending), parts)  # in place
        np.testing.assert_array_equal(held.load(), y.load())
        assert np.isfinite(held.beyond()).all()


@pytest.mark.parametrize("op", [Add(), Sub(), Mul(), Div(), Max(), Min(), PRelu()])
@pytest.mark.parametrize(("block", "channels"), [(16, 37), (8, 8)])
def test_pairs(op: Op, block: int, channels: int) -> None:
    name = PAIR_NAMES[type(op)]
    a, b = numbers((2, channels, 4, 9)), numbers((2, channels, 4, 9), 1)
    a[0, 3, 1, 1], b[1, 2, 3, 8] = np.nan, np.nan
    others = [b] if isinstance(op, PRelu) else [b, b[:, :, :1, :1], b[:1, :, :, :1], b[:1, :, :1]]
    for parts, other in enumerate(others, 1):
        left, right = operand(a, block, (1, 0, 2, 1)), operand(other, block, (0, 1, 0, 0))
        y = result(a.shape, block, (1, 1, 1, 1), extra=(1, 1))
        with np.errstate(all="ignore"):
            (expected,) = op.run([a, other])
        run(binary(name, y.blocked, left.blocked, right.blocked), parts)
        y.check_written()
        np.testing.assert_array_equal(y.load(), expected)
        run(binary(name, left.blocked, left.blocked, right.blocked, -2.0, 3.0), parts)
        np.testing.assert_array_equal(left.load(), np.minimum(np.maximum(expected, -2), 3))


@pytest.mark.parametrize(("block", "channels"), [(16, 37), (8, 8), (4, 3)])
def test_scale_and_shift(block: int, channels: int) -> None:
    x, scale, shift = numbers((2, channels, 4, 9)), numbers((channels,), 1), numbers((channels,), 2)
    held, y = operand(x, block, (1, 0, 2, 1)), result(x.shape, block, (0, 0, 0, 0), extra=(1, 1))
    run(scale_shift(y.blocked, held.blocked, scale, shift, low=0.0), 2)
    expected = np.maximum(x * scale[:, None, None] + shift[:, None, None], 0)
    y.check_written()
    np.testing.assert_array_equal(y.load(), expected)
    left, other = operand(x, block, (1, 0, 2, 1)), per_channel(scale, block)
    run(binary("mul", y.blocked, other, left.blocked), 3)
    np.testing.assert_array_equal(y.load(), x * scale[:, None, None])
    number = per_channel(np.full(channels, 3, np.float32), block)
    run(binary("sub", y.blocked, left.blocked, number), 1)
    np.testing.assert_array_equal(y.load(), x - 3)


@pytest.mark.parametrize(("block", "channels"), [(16, 37), (8, 8), (4, 3)])
def test_copies(block: int, channels: int) -> None:
    x = numbers((2, channels, 5, 6))
    for halo, parts in (((1, 2, 0, 1), 2), ((0, 0, 0, 0), 3)):
        held = operand(x, block, halo, extra=(2, 0))
        y = result(x.shape, block, (0, 1, 1, 0), extra=(1, 1))
        run(copy(y.blocked, held.blocked), parts)
        y.check_written()
        np.testing.assert_array_equal(y.load(), x)
        y = result((2, channels, 10, 18), block, (0, 1, 1, 0))
        run(stretch(y.blocked, held.blocked, (2, 3)), parts)
        y.check_written()
        np.testing.assert_array_equal(y.load(), x.repeat(2, 2).repeat(3, 3))


@pytest.mark.parametrize("group", [1, 2, 3, 4, 7])
def test_channel_shuffle(group: int) -> None:
    op, x = ChannelShuffle(group), numbers((2, 84, 3, 5))
    for block, parts in ((16, 3), (8, 2)):
        held, y = (
            operand(x, block, (1, 0, 0, 1)),
            result(x.shape, block, (0, 0, 2, 2), extra=(1, 1)),
        )
        run(copy_channels(y.blocked, held.blocked, op.order(84)), parts)
        y.check_written()
        np.testing.assert_array_equal(y.load(), op.run([x])[0])
        assert not y.beyond().any()


@pytest.mark.parametrize("sizes", [(16, 32, 5), (24, 112), (3, 2, 40, 1), (8,), (5, 16, 16)])
def test_concat(sizes: tuple[int, ...]) -> None:
    for block, parts in ((16, 3), (8, 1)):
        arrays = [numbers((2, size, 3, 5), seed) for seed, size in enumerate(sizes)]
        values = [operand(a, block, (0, 1, 0, seed)) for seed, a in enumerate(arrays)]
        expected = np.concatenate(arrays, 1)
        y = result(expected.shape, block, (0, 0, 2, 2), extra=(1, 1))
        run(concat(y.blocked, [v.blocked for v in values]), parts)
        y.check_written()
        np.testing.assert_array_equal(y.load(), expected)
        last = expected[:, 3 : y.shape[1] - 1]
        part = result(last.shape, block, (1, 1, 1, 1))
        run(copy_channels(part.blocked, y.blocked, range(3, y.shape[1] - 1)), parts)
        part.check_written()
        np.testing.assert_array_equal(part.load(), last)


def test_concat_leaves_what_is_in_its_place() -> None:
    y = operand(numbers((1, 48, 2, 2)), 16, (1, 1, 1, 1)).blocked
    assert concat(y, [channels_of(y, 0, 32), channels_of(y, 32, 16)]) == []
    assert len(concat(y, [channels_of(y, 0, 16), channels_of(y, 0, 32)])) == 1


@pytest.mark.parametrize(
    ("size", "beta", "block", "channels"),
    [
        (5, 0.75, 16, 37), (5, 0.75, 8, 37), (5, 0.5, 16, 3), (1, 1.0, 16, 16),
        (4, 0.75, 4, 6), (40, 0.75, 16, 53), (9, 0.75, 4, 21), (5, 0.6, 16, 20),
    ],
)  # fmt: skip
def test_lrn(size: int, beta: float, block: int, channels: int) -> None:
    x = numbers((2, channels, 3, 5))
    op = LRN(size=size, alpha=0.5, beta=beta, bias=2.0)
    (expected,) = op.run([x.astype(np.float64)])
    held = operand(x, block, (1, 0, 2, 1), extra=(1, 1))
    y = result(x.shape, block, (0, 1, 1, 0), extra=(1, 1))
    run(lrn(y.blocked, held.blocked, size, op.alpha, beta, op.bias), 3)
    y.check_written()
    assert_ulps(y.load(), expected, 8, 0.0, str(op))
    assert not y.beyond().any()


def test_channels_in_another_order() -> None:
    x, c = numbers((1, 16, 5, 5)), numbers((16,), 1)
    order = tuple(range(15, -1, -1))
    held = operand(x[:, ::-1], 16, (1,) * 4).blocked
    turned = replace(held, storage=replace(held.storage, order=order))
    y = result(x.shape, 16, (0,) * 4)
    run(copy(y.blocked, turned))
    np.testing.assert_array_equal(y.load(), x)
    z = replace(y.blocked, storage=replace(y.blocked.storage, order=order))
    run(scale_shift(z, turned, c, -c))
    np.testing.assert_array_equal(y.load()[:, ::-1], (x - 1) * c[:, None, None])
    run(binary("mul", z, turned, per_channel(c, 16, order)))
    np.testing.assert_array_equal(y.load()[:, ::-1], x * c[:, None, None])
    with pytest.raises(AssertionError):
        activate(y.blocked, turned, Epilogue(low=0.0))
