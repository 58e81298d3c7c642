"""Winograd's minimal filtering F(m, 3): its matrices, exactly, and the whole algorithm in NumPy.

A tile of m x m outputs of a 3x3 convolution is `A^T [(G w G^T) * (B^T d B)] A` with (m+2) x (m+2)
products instead of 9 m^2. S. Winograd, "Arithmetic Complexity of Computations", 1980; A. Lavin and
S. Gray, "Fast Algorithms for Convolutional Neural Networks", 2015; the points with small errors are
those of B. Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution for
Deep Neural Networks", 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import prod
from typing import Any, TypeAlias

import numpy as np

from irconv.types import Array

KERNEL = 3
# Products that are added one after the other: the sums of such pieces are added in the end. More
# would make the errors of long sums larger than those of the transforms.
MOST_ADDED = 128
# where the polynomials are evaluated, beside infinity; by the outputs of a tile along one axis
POINTS: dict[int, tuple[Fraction, ...]] = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(-2)),
}
Rows: TypeAlias = "tuple[tuple[Fraction, ...], ...]"
# scale * a + b, rounded once where the machine can
Fma: TypeAlias = "Callable[[float, Any, Any], Any]"


@dataclass(frozen=True)
class Matrices:
    """The rows of A^T [tile, points], B^T [points, points] and G [points, 3] of one axis."""

    output: Rows
    input: Rows
    weights: Rows


@cache
def matrices(tile: int) -> Matrices:
    """The exact matrices of F(tile, 3), by the Toom-Cook construction over the points of `tile`.

    Row i of B^T holds the coefficients of prod(x - p_j, j != i), the last those of the whole
    product; G takes their scale, so that B and A need only halves, whole numbers and sums.
    """
    points = POINTS[tile]
    whole = _from_roots(points)
    rows = [_from_roots([q for q in points if q != p]) for p in points]
    weights = [
        tuple(p**k / prod((p - q for q in points if q != p), start=Fraction(1)) for k in range(3))
        for p in points
    ]
    output = [(*(p**j for p in points), Fraction(j == tile - 1)) for j in range(tile)]
    zero, one = Fraction(0), Fraction(1)
    return Matrices(
        tuple(output),
        (*((*row, zero) for row in rows), whole),
        (*weights, (zero, zero, one)),
    )


def _from_roots(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """The coefficients of prod(x - root), the constant first."""
    found: tuple[Fraction, ...] = (Fraction(1),)
    for root in roots:
        shifted, scaled = (Fraction(0), *found), (*(-root * c for c in found), Fraction(0))
        found = tuple(a + b for a, b in zip(shifted, scaled, strict=True))
    return found


# -- the transforms of one line, as few operations ------------------------------------------------


def input_line(tile: int, d: Sequence[Any], fma: Fma) -> tuple[Any, ...]:
    """B^T d for a line of tile + 2 numbers, arrays or registers: 4 operations for a tile of 2, 14
    for one of 4.
    """
    if tile == 2:
        return d[2] - d[0], d[1] + d[2], d[2] - d[1], d[3] - d[1]
    # x^2 - 1 divides five of the six polynomials, x^2 + 3/2 x - 1 four of them
    f1, f2 = d[3] - d[1], d[4] - d[2]
    e1, e2 = fma(1.5, d[2], f1), fma(1.5, d[3], f2)
    return (
        fma(1.5, f1, f2 - (d[2] - d[0])),
        e2 + e1,
        e2 - e1,
        fma(2.0, f1, f2),
        fma(-0.5, f1, f2),
        fma(1.5, f2, (d[5] - d[3]) - f1),
    )


def output_line(tile: int, m: Sequence[Any], fma: Fma) -> tuple[Any, ...]:
    """A^T m for a line of tile + 2 products: 4 operations for a tile of 2, 12 for one of 4."""
    total, difference = m[1] + m[2], m[1] - m[2]
    if tile == 2:
        return m[0] + total, difference + m[3]
    return (
        (m[0] + m[3]) + (total + m[4]),
        fma(-2.0, m[4], fma(0.5, m[3], difference)),
        fma(4.0, m[4], fma(0.25, m[3], total)),
        fma(-8.0, m[4], fma(0.125, m[3], difference + m[5])),
    )


# -- in NumPy --------------------------------------------------------------------------------------


def transform_taps(taps: Sequence[Sequence[Array]], tile: int) -> list[Array]:
    """G w G^T of kernels whose taps w[i][j] are arrays: (tile + 2)^2 arrays, row by row."""
    rows = [[float(x) for x in row] for row in matrices(tile).weights]
    columns = [[_combined(g, [line[j] for line in taps]) for j in range(KERNEL)] for g in rows]
    return [_combined(g, line) for line in columns for g in rows]


def _combined(factors: Sequence[float], arrays: Sequence[Array]) -> Array:
    """The sum of arrays times factors, not all of which are 0."""
    terms = [f * a for f, a in zip(factors, arrays, strict=True) if f]
    return sum(terms[1:], terms[0])


def weight_transform(w: Array, tile: int) -> Array:
    """G w G^T of weights [O, C, 3, 3]: [(tile + 2)^2, O, C], computed in float64 and rounded once
    to the type of `w`.
    """
    wide = w.astype(np.float64).transpose(2, 3, 0, 1)
    return np.stack(transform_taps(list(wide), tile)).astype(w.dtype)


def convolve(x: Array, w: Array, tile: int) -> Array:
    """The 3x3 convolution of the padded image x [N, C, H + 2, W + 2] with w [O, C, 3, 3], by the
    transforms of `tile`, in the type of x: [N, O, H, W].
    """
    images, channels, *padded = x.shape
    height, width = (max(size - KERNEL + 1, 0) for size in padded)
    rows, columns = (max(-(-size // tile), 1) for size in (height, width))
    span = tile + KERNEL - 1
    end = [n * tile + KERNEL - 1 - size for n, size in zip((rows, columns), padded, strict=True)]
    filled = np.pad(x, ((0, 0), (0, 0), (0, end[0]), (0, end[1])))
    tiles = np.lib.stride_tricks.sliding_window_view(filled, (span, span), (2, 3))
    patches = np.moveaxis(tiles[:, :, ::tile, ::tile], (4, 5), (0, 1))
    points = _both_axes(input_line, patches, tile)  # [span][span] of [N, C, rows, columns]
    found = np.stack([p.transpose(1, 0, 2, 3).reshape(channels, -1) for p in points])
    summed = _products(weight_transform(w, tile), found)
    products = summed.reshape(span, span, w.shape[0], images, rows, columns)
    outputs = np.stack(_both_axes(output_line, products, tile))
    y = outputs.reshape(tile, tile, w.shape[0], images, rows, columns).transpose(3, 2, 4, 0, 5, 1)
    return y.reshape(images, w.shape[0], rows * tile, columns * tile)[:, :, :height, :width]


def _products(weights: Array, found: Array) -> Array:
    """weights @ found, by sums of at most MOST_ADDED products.

    How a library sums is its own choice, and the bound of the errors must not depend on it.
    """
    parts = range(0, max(found.shape[1], 1), MOST_ADDED)
    return sum(  # type: ignore[return-value]  # at least one part
        weights[:, :, i : i + MOST_ADDED] @ found[:, i : i + MOST_ADDED] for i in parts
    )


def _both_axes(line: Callable[..., tuple[Any, ...]], square: Any, tile: int) -> list[Any]:
    """A transform of the first axis of a square of arrays, then of the second; row by row."""
    first = line(tile, square, _fma)
    return [value for row in first for value in line(tile, row, _fma)]


def _fma(scale: float, a: Any, b: Any) -> Any:
    return scale * a + b
