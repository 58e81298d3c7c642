"""The tile of the blocked engine against NumPy: exact on integers, between guards."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from irconv.backends.numba_cpu.blocked.tile import TileShape, lanes, most_rows, tile_address
from tests.test_cpu_engine import Guarded

P, I64, F = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
TILE = ctypes.CFUNCTYPE(
    None, P, I64, P, I64, P, P, I64, I64, P, P, I64, I64, I64, F, F, P, I64, I64
)  # fmt: skip
TILES = 3  # one beside the other
SHAPES = [
    TileShape(most_rows(2), 1, 2, lanes(), lanes()),
    TileShape(most_rows(3), 1, 3, lanes(), lanes()),
    TileShape(most_rows(1), 1, 1, 2 * lanes(), lanes()),
    TileShape(3, 2, 2, lanes(), lanes()),
    TileShape(1, 3, 1, 1, 5),
    TileShape(1, 1, 6, lanes(), lanes()),
    TileShape(5, 1, 2, 6, 21),
]


def integers(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-4, 5, shape).astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("extras", [False, True])
def test_the_tile_adds_products_bias_residual_and_what_stood_there(
    shape: TileShape, extras: bool
) -> None:
    rng = np.random.default_rng(shape.rows)
    count, size = 3, shape.vectors * lanes()
    width = shape.width * TILES
    x_line = (width - 1) * shape.pixel_step + shape.run + 2
    each = x_line * shape.lines
    x, segments = Guarded(integers(rng, count, each)), np.array([2 * each, 0, each], np.int64)
    weights = Guarded(integers(rng, count, shape.run, shape.vectors, lanes()))
    bias, out = Guarded(integers(rng, size)), (shape.vectors, shape.lines, width, lanes())
    residual, y = Guarded(integers(rng, *out)), Guarded(integers(rng, *out), written=True)
    y_line = width * lanes()
    y_plane = y_line * shape.lines
    low, high = (-20.0, 30.0) if extras else (-np.inf, np.inf)
    rows = [
        x.array.ravel()[s + n * x_line + w * shape.pixel_step :][: shape.run]
        for s in segments
        for n in range(shape.lines)
        for w in range(width)
    ]
    taken = np.reshape(rows, (count, shape.lines, width, shape.run))
    expected = np.einsum("slwk,skvc->vlwc", taken, weights.array)
    if extras:
        expected += bias.array.reshape(shape.vectors, 1, 1, -1) + residual.array + y.array
    code = tile_address(shape)
    TILE(code)(
        x.address, x_line, segments.ctypes.data, count, weights.address,
        y.address, y_line, y_plane, bias.address if extras else 0,
        residual.address if extras else 0, y_line, y_plane, int(extras),
        low, high, 0, 1 << 20, TILES,
    )  # fmt: skip
    assert np.array_equal(y.array, np.clip(expected, low, high))
    for guarded in (x, weights, bias, residual, y):
        guarded.check()


def test_a_clamp_keeps_nan() -> None:
    shape = SHAPES[0]
    x = np.full((shape.width, lanes()), np.nan, np.float32)
    weights = np.ones((lanes(), shape.vectors, lanes()), np.float32)
    y = np.zeros((shape.vectors, shape.width, lanes()), np.float32)
    segments = np.zeros(1, np.int64)
    code, plane = tile_address(shape), shape.width * lanes()
    TILE(code)(
        x.ctypes.data, 0, segments.ctypes.data, 1, weights.ctypes.data, y.ctypes.data, 0, plane,
        0, 0, 0, 0, 0, 0.0, 6.0, 0, 0, 1,
    )  # fmt: skip
    assert np.isnan(y).all()
