"""The kernels on values in blocks against `Op.run`, between guard zones."""

from __future__ import annotations

import numpy as np
import pytest

from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.pack import pack, unpack
from tests.blocked_cases import CANARY, guarded, numbers, operand, result, run

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
