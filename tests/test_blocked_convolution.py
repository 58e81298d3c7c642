"""Convolutions on blocks against NumPy: exact on integers, every buffer between guard zones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from math import inf

import numpy as np
import pytest

from irconv.backends.numba_cpu import slots
from irconv.backends.numba_cpu.binders.convolution import pool_window
from irconv.backends.numba_cpu.blocked.convolution import convolution
from irconv.backends.numba_cpu.blocked.preactivation import Preactivation
from irconv.backends.numba_cpu.blocked.tile import lanes, most_rows
from irconv.backends.numba_cpu.blocked.tiling import Panels, Pieces, Rectangle, Tiling
from irconv.backends.numba_cpu.step import NOTHING, Epilogue
from irconv.geometry import ConvGeometry
from irconv.op import Op
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from irconv.types import Array
from tests.blocked_cases import operand, result, run
from tests.test_cpu_engine import along_channels, convolved

L = lanes()


@dataclass(frozen=True)
class Case:
    """A convolution, and what stands around it."""

    channels: int
    out: int
    image: tuple[int, ...]
    kernel: tuple[int, ...] = (1, 1)
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    group: int = 1
    images: int = 1
    block: int = L
    x_halo: tuple[int, ...] | None = None  # as large as the padding
    y_halo: tuple[int, ...] | None = None  # none
    extra: tuple[int, int] = (0, 0)  # blocks of other values around y and the residual
    residual: bool = False
    bias: bool = True
    ending: Epilogue = NOTHING
    parts: tuple[int, ...] = (1,)

    @property
    def geometry(self) -> ConvGeometry:
        rank = len(self.image)
        ones = (1,) * rank
        return ConvGeometry(
            self.channels,
            self.out,
            self.image,
            self.kernel,
            self.strides or ones,
            self.pads or (0,) * (2 * rank),
            self.dilations or ones,
            self.group,
        )


def integers(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(np.float32)


def check(
    case: Case,
    mapped: Callable[[Array], Array] = lambda x: x,
    before: Preactivation | None = None,
    pool: Op | None = None,
) -> None:
    """The result of every number of parts, exactly; nothing else is written."""
    g = case.geometry
    rank = g.rank
    x = integers((case.images, g.in_channels, *g.image), 1)
    w = integers(g.weights_shape, 2)
    b = integers((g.out_channels,), 3) if case.bias else None
    shape: tuple[int, ...] = (case.images, g.out_channels, *g.out)
    r = integers(shape, 4) * 10 if case.residual else None
    halo = case.x_halo if case.x_halo is not None else g.pads
    source = operand(x, case.block, halo, around=0.0, extra=(1, 1))
    y_halo = case.y_halo if case.y_halo is not None else (0,) * (2 * rank)
    added = operand(r, L, y_halo, extra=case.extra) if r is not None else None
    expected = convolved(mapped(x), w, g)
    if b is not None:
        expected = expected + along_channels(b, rank)
    if r is not None:
        expected = expected + r
    expected = np.clip(expected, case.ending.low, case.ending.high)
    window = pool_window(pool, g.out) if pool is not None else None
    if pool is not None:
        expected = pool.run([expected.astype(np.float32)])[0]
        shape = expected.shape
    for parts in case.parts:
        y = result(shape, L, y_halo, case.extra)
        launches = convolution(
            source.blocked,
            y.blocked,
            g,
            w,
            b,
            added.blocked if added is not None else None,
            case.ending,
            max(case.parts),
            before,
            window,
        )
        assert launches is not None
        run(launches, parts)
        if window is not None and window.kind != slots.MAX:  # a quotient may be rounded otherwise
            np.testing.assert_allclose(y.load(), expected, rtol=1e-6)
        else:
            np.testing.assert_array_equal(y.load(), expected)
        y.check_written(halo=0)


RELU, RELU6 = Epilogue(0.0, inf), Epilogue(0.0, 6.0)
CASES = [
    Case(3 * L, 2 * L, (9, 14), (3, 3), pads=(1, 1, 1, 1), residual=True, ending=RELU),
    Case(L, 3 * L, (5, 23), (3, 3), pads=(1, 1, 1, 1), parts=(1, 2, 3), ending=RELU6),
    Case(2 * L, 7 * L, (7, 7), (3, 3), pads=(1, 1, 1, 1), parts=(1, 2, 3), y_halo=(1, 1, 1, 1)),
    Case(L, 5 * L, (7, 7), (1, 1), residual=True, parts=(1, 2, 3, 4, 5)),
    Case(L, L, (13, 13), (1, 1), images=3, parts=(1, 2, 3)),
    Case(L, 2 * L, (30, 31), (1, 1), y_halo=(2, 1, 0, 1), extra=(1, 2), residual=True),
    Case(L + 3, L + 5, (6, 6), (3, 3), pads=(1, 1, 1, 1), extra=(2, 0)),
    Case(3, 2 * L, (33, 29), (7, 7), (2, 2), (3, 3, 2, 3), block=3),
    Case(3, L + 1, (24, 24), (5, 3), (4, 1), (0, 2, 1, 0), (1, 2), block=3, parts=(1, 2)),
    Case(1, 2 * L, (28, 28), (5, 5), pads=(2, 2, 2, 2), block=1, ending=RELU),
    Case(2 * L, 2 * L, (14, 14), (1, 1), (2, 2), parts=(1, 2), x_halo=(1, 1, 1, 1)),
    Case(L, L, (16, 15), (3, 3), (2, 2), (1, 1, 1, 1), residual=True),
    Case(L, 2 * L, (12, 17), (3, 2), (1, 3), (2, 2, 2, 0), (2, 3), y_halo=(0, 1, 2, 3)),
    Case(2 * L, 4 * L, (9, 10), (3, 3), pads=(1, 1, 1, 1), group=2, parts=(1, 2, 3)),
    Case(3 * L, 9 * L, (4, 4), (1, 1), group=3, images=2, residual=True, parts=(1, 2, 3)),
    Case(2 * L, 11 * L, (1, 1), images=5, parts=(1, 2, 3), ending=RELU),
    Case(2 * L, 6 * L, (2, 2), (3, 3), pads=(1, 1, 1, 1), images=2),
    Case(2 * L, 4 * L, (3, 3), (3, 3), pads=(1, 1, 1, 1)),
    Case(2 * L, 6 * L, (6, 6), (6, 6)),
    Case(L, 2 * L, (5, 1), (3, 1), pads=(1, 0, 1, 0)),
    Case(L, 2 * L, (40,), (3,), pads=(1, 1), parts=(1, 2)),
    Case(2 * L, L, (50,), (1,), y_halo=(1, 1), residual=True),
    Case(4, L, (40,), (5,), (2,), pads=(0, 3), block=4),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_convolution_is_exact_on_integers(case: Case) -> None:
    check(case)


def random_case(rng: np.random.Generator) -> Case:
    """Any small convolution whose groups are whole blocks."""
    while True:
        rank = int(rng.integers(1, 3))
        group = int(rng.integers(1, 3))
        stem = group == 1 and rng.random() < 0.3
        channels = int(rng.integers(1, 5)) if stem else group * L * int(rng.integers(1, 3))
        out = group * L * int(rng.integers(1, 5))
        ragged = group == 1 and rng.random() < 0.3
        halo = tuple(int(n) for n in rng.integers(0, 3, 2 * rank))
        pads = tuple(int(n) for n in rng.integers(0, 3, 2 * rank))
        case = Case(
            channels if stem else channels - int(ragged),
            out - int(ragged) * 3,
            tuple(int(n) for n in rng.integers(1, 20 * (3 - rank), rank)),
            tuple(int(n) for n in rng.integers(1, 5, rank)),
            tuple(int(n) for n in rng.integers(1, 4, rank)),
            pads,
            tuple(int(n) for n in rng.integers(1, 3, rank)),
            group,
            int(rng.integers(1, 4)),
            channels if stem else L,
            tuple(p + h for p, h in zip(pads, halo, strict=True)),
            tuple(int(n) for n in rng.integers(0, 2, 2 * rank)),
            (int(rng.integers(0, 2)), int(rng.integers(0, 2))),
            bool(rng.integers(0, 2)),
            bool(rng.integers(0, 2)),
            RELU if rng.random() < 0.5 else NOTHING,
            (1, 2, 3),
        )
        if case.geometry._fits():
            return case


@pytest.mark.parametrize("seed", range(8))
def test_random_convolutions(seed: int) -> None:
    check(random_case(np.random.default_rng(seed)))


@pytest.mark.parametrize("name", ["sigmoid", "leaky_relu", "hard_swish"])
@pytest.mark.parametrize("image", [(7, 7), (9, 20)])
def test_activations(name: str, image: tuple[int, int]) -> None:
    ending = Epilogue(activation=name, alpha=0.25, beta=0.5)
    x, w = integers((2, L, *image), 0), integers((3 * L, L, 1, 1), 1) / 8
    geometry = Case(L, 3 * L, image).geometry
    y = result((2, 3 * L, *image), L, (1, 0, 0, 1))
    source = operand(x, L, (0, 0, 0, 0))
    launches = convolution(source.blocked, y.blocked, geometry, w, ending=ending, parts=2)
    assert launches is not None
    run(launches, 2)
    s = convolved(x, w, geometry)
    expected = {
        "sigmoid": 1 / (1 + np.exp(-s)),
        "leaky_relu": np.where(s < 0, 0.25 * s, s),
        "hard_swish": s * np.clip(0.25 * s + 0.5, 0, 1),
    }[name]
    np.testing.assert_allclose(y.load(), expected, rtol=1e-6, atol=1e-6)
    y.check_written(halo=0)


def test_a_halo_that_is_too_small_is_refused() -> None:
    case = Case(L, L, (8, 8), (3, 3), pads=(1, 1, 1, 1))
    for halo, fits in [((1, 1, 1, 1), True), ((0, 1, 1, 1), False), ((1, 1, 1, 0), False)]:
        x = operand(integers((1, L, 8, 8), 0), L, halo, around=0.0)
        y = result((1, L, 8, 8), L, (0, 0, 0, 0))
        w = integers((L, L, 3, 3), 1)
        assert (convolution(x.blocked, y.blocked, case.geometry, w) is not None) == fits


def test_a_nan_stays() -> None:
    x = np.ones((1, L, 5, 20), np.float32)
    x[0, 0, 2, 3] = np.nan
    y = result((1, L, 5, 20), L, (0, 0, 0, 0))
    case = Case(L, L, (5, 20))
    w = np.ones((L, L, 1, 1), np.float32)
    source = operand(x, L, (0, 0, 0, 0))
    launches = convolution(source.blocked, y.blocked, case.geometry, w, ending=RELU6)
    assert launches is not None
    run(launches)
    assert np.isnan(y.load()[0, :, 2, 3]).all()
    assert np.isnan(y.load()).sum() == L


def test_pieces_differ_by_one_at_most() -> None:
    for total in range(1, 60):
        for most in range(1, 20):
            pieces = Pieces.most(total, most)
            assert sum(pieces.each()) == total
            assert max(pieces.each()) <= most
            assert max(pieces.each()) - min(pieces.each()) <= 1
            assert set(pieces.each()) == set(pieces.sizes)
            assert min(pieces.each()) >= 1


def test_panels_hold_all_blocks() -> None:
    for blocks in range(1, 40):
        for rows in (1, 2, 4, 49):
            panels = Panels.of(blocks, rows)
            assert sum(panels.each()) == panels.blocks == blocks
            assert len(panels.each()) == panels.count


@pytest.mark.parametrize("repeats", [1, 3])
def test_shares_cover_all_items_evenly(repeats: int) -> None:
    tiling = Tiling(Pieces(56, 56), 56, False, 7, Panels.of(9, 3136), 576)
    items = 56 * tiling.panels.count * repeats
    shares = tiling.shares(repeats, 5)
    costs = np.tile(tiling._costs, repeats)
    for parts in range(1, 6):
        bounds = shares[(parts - 1) * (parts + 2) // 2 :][: parts + 1]
        assert bounds[0] == 0
        assert bounds[-1] == items
        sums = [costs[a:b].sum() for a, b in pairwise(bounds)]
        assert max(sums) - min(sums) <= 2 * costs.max()


def test_a_rectangle_stacks_short_lines() -> None:
    assert Rectangle.of(2, most_rows(2) // 2, 2).tiles == 1
    rows = most_rows(2)
    assert Rectangle.of(1, 4 * rows, 2).pixels.each() == [rows] * 4


MAPPED = [
    Case(3 * L, 2 * L, (9, 14), x_halo=(1, 1, 0, 2), y_halo=(1, 1, 1, 1), residual=True),
    Case(2 * L, 5 * L, (30, 31), images=2, ending=RELU, parts=(1, 2, 3)),
    Case(L + 5, 3 * L, (7, 7), x_halo=(0, 0, 0, 0), extra=(1, 0), parts=(1, 2, 3, 9)),
    Case(L, L, (14, 15), strides=(2, 2), parts=(1, 2)),
    Case(2 * L, 2 * L, (13, 12), x_halo=(2, 1, 0, 0), images=3, parts=(1, 2, 3)),
    Case(2 * L, L, (60,), (1,), x_halo=(1, 2)),
    Case(40 * L, 2 * L, (20, 20), parts=(1, 2)),
]


@pytest.mark.parametrize("case", MAPPED, ids=str)
@pytest.mark.parametrize("bounds", [(0.0, inf), (-inf, inf), (-1.0, 4.0)])
def test_the_input_is_mapped_on_the_way(case: Case, bounds: tuple[float, float]) -> None:
    g = case.geometry
    scale, shift = integers((g.in_channels,), 5), integers((g.in_channels,), 6)

    def mapped(x: Array) -> Array:
        y = x * along_channels(scale, g.rank) + along_channels(shift, g.rank)
        return np.clip(y, *bounds)

    check(case, mapped, Preactivation(scale, shift, *bounds))


def test_only_pointwise_convolutions_map_their_input() -> None:
    case = Case(L, L, (8, 8), (3, 3), pads=(1, 1, 1, 1))
    x = operand(integers((1, L, 8, 8), 0), L, (1, 1, 1, 1), around=0.0)
    y = result((1, L, 8, 8), L, (0, 0, 0, 0))
    before = Preactivation(np.ones(L, np.float32), np.ones(L, np.float32))
    w = integers((L, L, 3, 3), 1)
    assert convolution(x.blocked, y.blocked, case.geometry, w, before=before) is None


HALVED = MaxPool(kernel_shape=(2, 2), strides=(2, 2))
STEM = MaxPool(kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
AVERAGE = AveragePool(kernel_shape=(3, 2), strides=(2, 2), pads=(1, 0, 0, 1))
AROUND = AveragePool(kernel_shape=(3, 3), pads=(1, 1, 1, 1), count_include_pad=1)
SPARSE = MaxPool(kernel_shape=(2, 3), strides=(3, 2), pads=(0, 1, 1, 2), dilations=(2, 2))
POOLED = [
    (Case(3, 3 * L, (64, 62), (7, 7), (2, 2), (3, 3, 3, 3), block=3, ending=RELU), STEM),
    (Case(2 * L, 2 * L, (12, 30), (3, 3), pads=(1, 1, 1, 1), y_halo=(1, 1, 1, 1)), HALVED),
    (Case(L, 5 * L, (13, 13), (3, 3), pads=(1, 1, 1, 1), residual=True, extra=(1, 1)), STEM),
    (Case(L, 3 * L + 2, (9, 7), images=2, ending=RELU6), AVERAGE),
    (Case(L, 2 * L, (21, 6), residual=True, images=2), AROUND),
    (Case(2 * L, 4 * L, (14, 11), group=2, images=2), SPARSE),
    (Case(L, 4 * L, (7, 7), ending=RELU, residual=True), GlobalAveragePool()),
    (Case(L, 3 * L, (10, 40), (3, 3), pads=(1, 1, 1, 1)), GlobalMaxPool()),
    (Case(L, 2 * L, (300, 40)), MaxPool(kernel_shape=(3, 3), strides=(2, 2))),
    (Case(L, 2 * L, (50,), (3,), pads=(1, 1)), MaxPool(kernel_shape=(3,), strides=(2,))),
    (Case(L, 2 * L, (9, 9)), MaxPool(kernel_shape=(1, 2), strides=(4, 3))),
]


@pytest.mark.parametrize(("case", "pool"), POOLED, ids=str)
def test_the_pool_is_part_of_the_kernel(case: Case, pool: Op) -> None:
    check(replace(case, parts=(1, 2, 3)), pool=pool)


@pytest.mark.parametrize("kind", [MaxPool, AveragePool])
def test_an_activation_stands_before_the_pool(kind: type[MaxPool | AveragePool]) -> None:
    pool = kind(kernel_shape=(3, 3), strides=(2, 2), pads=(1, 1, 1, 1))
    case = Case(L, 3 * L, (30, 21))
    x, w = integers((1, L, 30, 21), 0), integers((3 * L, L, 1, 1), 1)
    s = convolved(x, w, case.geometry)
    expected = pool.run([np.where(s < 0, 0.25 * s, s).astype(np.float32)])[0]
    y = result(expected.shape, L, (0, 0, 0, 0))
    source = operand(x, L, (0, 0, 0, 0))
    window, ending = pool_window(pool, (30, 21)), Epilogue(activation="leaky_relu", alpha=0.25)
    launches = convolution(
        source.blocked, y.blocked, case.geometry, w, ending=ending, pool=window, parts=2
    )
    assert launches is not None
    run(launches, 2)
    np.testing.assert_allclose(y.load(), expected, rtol=1e-6)


def test_what_stands_before_a_pool_is_small() -> None:
    case = Case(L, 8 * L, (112, 112))
    y = result((1, 8 * L, 56, 56), L, (0, 0, 0, 0))
    x = operand(integers((1, L, 112, 112), 0), L, (0, 0, 0, 0))
    w = integers((8 * L, L, 1, 1), 1)
    window = pool_window(HALVED, (112, 112))
    launches = convolution(x.blocked, y.blocked, case.geometry, w, pool=window)
    assert launches is not None
    assert max(launch.step.scratch_bytes for launch in launches) < 256 << 10
