"""Convolutions on blocks whose groups are no whole blocks, and channels in another order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

import numpy as np
import pytest

from irconv.backends.numba_cpu.blocked.convolution import convolution
from irconv.backends.numba_cpu.blocked.group_panels import Depth, panels_of
from irconv.backends.numba_cpu.blocked.launches import Blocked
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.step import NOTHING, Epilogue
from irconv.types import Array
from tests.blocked_cases import Laid, operand, result, run
from tests.test_blocked_convolution import Case, integers
from tests.test_cpu_engine import along_channels, convolved

L = lanes()
RELU6 = Epilogue(0.0, 6.0)


@dataclass(frozen=True)
class Ordered:
    """An operand whose channels lie in another order than their numbers."""

    laid: Laid
    order: tuple[int, ...] | None

    @property
    def blocked(self) -> Blocked:
        held = self.laid.blocked
        return Blocked(held.source, replace(held.storage, order=self.order))


def in_order(array: Array, halo: tuple[int, ...], order: tuple[int, ...] | None) -> Ordered:
    stored = array
    if order is not None:
        stored = np.empty_like(array)
        stored[:, list(order)] = array
    return Ordered(operand(stored, L, halo, around=0.0, extra=(1, 2)), order)


def permutation(channels: int, seed: int = 7) -> tuple[int, ...]:
    return tuple(int(c) for c in np.random.default_rng(seed).permutation(channels))


def check(case: Case, order: tuple[int, ...] | None = None) -> list[str]:
    """The result of every number of parts, exactly; nothing else is written. Kernel names."""
    g = case.geometry
    rank = g.rank
    x, w = integers((case.images, g.in_channels, *g.image), 1), integers(g.weights_shape, 2)
    b = integers((g.out_channels,), 3) if case.bias else None
    shape = (case.images, g.out_channels, *g.out)
    r = integers(shape, 4) * 10 if case.residual else None
    y_halo = case.y_halo if case.y_halo is not None else (0,) * (2 * rank)
    expected = convolved(x, w, g)
    expected = expected if b is None else expected + along_channels(b, rank)
    expected = expected if r is None else expected + r
    expected = np.clip(expected, case.ending.low, case.ending.high)
    source = in_order(x, case.x_halo if case.x_halo is not None else g.pads, order)
    added = operand(r, L, y_halo, extra=case.extra) if r is not None else None
    names: list[str] = []
    for parts in case.parts:
        y = result(shape, L, y_halo, case.extra)
        residual = added.blocked if added is not None else None
        launches = convolution(
            source.blocked, y.blocked, g, w, b, residual, case.ending, max(case.parts)
        )
        assert launches is not None
        run(launches, parts)
        np.testing.assert_array_equal(y.load(), expected)
        y.check_written(halo=0)
        names = [launch.step.name for launch in launches]
    return names


GROUPS = [
    # ShuffleNet's: 28, 34 and 68 channels a group
    Case(24, 112, (5, 6), group=4, ending=RELU6, y_halo=(1, 1, 1, 1), parts=(1, 2, 3)),
    Case(136, 136, (7, 7), group=4, residual=True, parts=(1, 2, 3, 4)),
    Case(136, 136, (14, 14), group=2, bias=False, images=2, parts=(1, 3)),
    # ResNeXt's: several groups in one block
    Case(32, 64, (9, 15), (3, 3), pads=(1, 1, 1, 1), group=8, residual=True),
    Case(40, 20, (9, 9), (3, 3), (2, 2), (1, 1, 1, 1), group=5, images=2, extra=(1, 2)),
    Case(6, 4, (8, 7), (3, 2), (1, 3), (2, 2, 2, 0), (2, 3), group=2, y_halo=(0, 1, 2, 3)),
    Case(50, 30, (1, 1), group=10, parts=(1, 2)),
    Case(12, 150, (2, 1), group=3, images=5, parts=(1, 2)),
    Case(12, 9, (30,), (3,), pads=(1, 1), group=3, y_halo=(1, 2)),
    Case(2 * L, L, (4, 4), group=2),
    Case(5, 15, (6, 6), (3, 3), pads=(1, 1, 1, 1), group=5),
]


@pytest.mark.parametrize("case", GROUPS, ids=str)
@pytest.mark.parametrize("mixed", [False, True])
def test_groups_of_parts_of_blocks(case: Case, mixed: bool) -> None:
    names = check(case, permutation(case.channels) if mixed else None)
    whole = all(n // case.group % L == 0 for n in (case.channels, case.out))
    assert names[-1] == ("convolve_blocks" if whole and not mixed else "convolve_groups")


@pytest.mark.parametrize(
    "case",
    [
        Case(3 * L, 2 * L, (6, 9), (3, 3), pads=(1, 1, 1, 1), parts=(1, 2)),
        Case(L + 5, 7, (5, 5)),
        Case(2 * L, 2 * L, (7, 7), group=2, residual=True, parts=(1, 2)),
    ],
    ids=str,
)
def test_any_order_of_channels(case: Case) -> None:
    names = check(case, permutation(case.channels))
    assert (names[-1] == "convolve_groups") == (case.group > 1)


def random_case(rng: np.random.Generator) -> Case:
    while True:
        rank, group = int(rng.integers(1, 3)), int(rng.integers(2, 9))
        pads = tuple(int(n) for n in rng.integers(0, 3, 2 * rank))
        case = Case(
            group * int(rng.integers(1, 2 * L)),
            group * int(rng.integers(1, 2 * L)),
            tuple(int(n) for n in rng.integers(1, 16, rank)),
            tuple(int(n) for n in rng.integers(1, 4, rank)),
            tuple(int(n) for n in rng.integers(1, 3, rank)),
            pads,
            tuple(int(n) for n in rng.integers(1, 3, rank)),
            group,
            int(rng.integers(1, 3)),
            L,
            tuple(p + int(rng.integers(0, 2)) for p in pads),
            tuple(int(n) for n in rng.integers(0, 2, 2 * rank)),
            (int(rng.integers(0, 2)), int(rng.integers(0, 2))),
            bool(rng.integers(0, 2)),
            bool(rng.integers(0, 2)),
            RELU6 if rng.random() < 0.5 else NOTHING,
            (1, 3),
        )
        if case.geometry._fits():
            return case


@pytest.mark.parametrize("seed", range(8))
def test_random_groups(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = random_case(rng)
    check(case, permutation(case.channels, seed) if seed % 2 else None)


DEPTHWISE = [
    Case(40, 40, (9, 14), (3, 3), pads=(1, 1, 1, 1), group=40, residual=True, parts=(1, 2, 3)),
    Case(L, L, (28, 29), (3, 3), (2, 2), (1, 1, 1, 1), group=L, images=2, y_halo=(1, 1, 1, 1)),
    Case(20, 20, (30,), (5,), (2,), (2, 2), group=20, ending=RELU6),
    Case(20, 20, (11, 30), (5, 2), (2, 3), (2, 2, 2, 2), (2, 1), group=20, bias=False),
    Case(9, 9, (12, 5), (9, 7), pads=(4, 3, 4, 3), group=9, extra=(1, 2), residual=True),
    Case(3 * L, 3 * L, (1, 1), group=3 * L, parts=(1, 4)),
]


@pytest.mark.parametrize("case", DEPTHWISE, ids=str)
def test_each_channel_by_itself(case: Case) -> None:
    assert check(case)[-1] == "convolve_channels"


def test_each_channel_by_itself_keeps_the_order() -> None:
    case = Case(40, 40, (6, 6), (3, 3), pads=(1, 1, 1, 1), group=40)
    x, w = integers((1, 40, 6, 6), 1), integers(case.geometry.weights_shape, 2)
    b, order = integers((40,), 3), permutation(40)
    source, y = in_order(x, (1, 1, 1, 1), order), result((1, 40, 6, 6), L, (0, 0, 0, 0))
    target = Blocked(y.blocked.source, replace(y.blocked.storage, order=order))
    launches = convolution(source.blocked, target, case.geometry, w, b)
    assert launches is not None
    run(launches)
    expected = convolved(x, w, case.geometry) + along_channels(b, 2)
    np.testing.assert_array_equal(y.load()[:, list(order)], expected)
    assert convolution(source.blocked, y.blocked, case.geometry, w, b) is None


def test_an_activation_is_applied_once_where_groups_share_a_block() -> None:
    case = Case(6, 18, (5, 5), group=3, ending=Epilogue(activation="leaky_relu", alpha=0.25))
    x, w = integers((1, 6, 5, 5), 0), integers(case.geometry.weights_shape, 1)
    y = result((1, 18, 5, 5), L, (1, 0, 0, 1))
    source = operand(x, L, (0, 0, 0, 0))
    launches = convolution(source.blocked, y.blocked, case.geometry, w, ending=case.ending)
    assert launches is not None
    run(launches)
    s = convolved(x, w, case.geometry)
    np.testing.assert_array_equal(y.load(), np.where(s < 0, 0.25 * s, s))
    y.check_written(halo=0)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_what_is_no_number_stays_in_its_group(odd: float) -> None:
    case = Case(8, 20, (3, 20), group=4)
    x = np.ones((1, 8, 3, 20), np.float32)
    x[0, 2, 1, 4] = odd
    w = np.ones(case.geometry.weights_shape, np.float32)
    y = result((1, 20, 3, 20), L, (0, 0, 0, 0))
    source = operand(x, L, (0, 0, 0, 0))
    launches = convolution(source.blocked, y.blocked, case.geometry, w, ending=Epilogue(-inf, inf))
    assert launches is not None
    run(launches)
    found = np.isfinite(y.load())
    assert not found[0, 5:10, 1, 4].any()
    assert found.sum() == found.size - 5


def test_panels_write_each_lane_once() -> None:
    for channels, group in ((136, 4), (112, 4), (30, 10), (7, 7), (2 * L, 2), (5 * L, 1)):
        geometry = Case(group, channels, (9, 9), group=group).geometry
        for pixels in (1, 3, 81):
            written = np.zeros(-(-channels // L) * L, int)
            for panel in panels_of(geometry, pixels):
                begin, end = panel.first * L, (panel.first + panel.vectors - 1) * L
                written[begin + panel.skip : end + panel.keep] += 1
            assert (written == 1).all()


def test_pairs_of_channels_where_all_groups_have_them() -> None:
    def run_of(channels: int, group: int, order: tuple[int, ...] | None = None) -> int:
        held = in_order(np.zeros((1, channels, 2, 2), np.float32), (0,) * 4, order).blocked.storage
        return Depth.of(held, group).run

    assert run_of(12, 2) == 2
    assert run_of(7 * 2, 2) == 1
    assert run_of(34 * 4, 4) == 1
    assert run_of(16, 1, tuple(range(16))[::-1]) == 2
    assert run_of(12, 2, (0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11)) == 1
