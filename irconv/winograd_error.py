"""The error of Winograd's transforms with the weights of a layer, measured on a sample of it."""

from __future__ import annotations

import numpy as np

from irconv.types import Array
from irconv.winograd import KERNEL, convolve

BOUND = 2e-6  # of the largest sum|x||w|, on any data: what the precision class fast allows
SIZE = 8  # of the sampled image
ROWS = 16  # its output channels
# Multiply-adds that NumPy does with one thread: to wake others takes longer, and on a machine
# that has other work a hundred times longer.
ALONE = 1 << 19


def sampled_error(w: Array, tile: int) -> float:
    """The largest difference of F(tile, 3) from float64 / the largest `sum|x||w|`, in the type of
    the weights w [O, C, 3, 3].

    The sample: one image of 8x8 normal numbers in every input channel, always the same, and the
    first 16 output channels. In NumPy, whose sums are in another order than those of a kernel.
    """
    edge = SIZE + KERNEL - 1
    x = np.random.default_rng(0).standard_normal((1, w.shape[1], edge, edge)).astype(w.dtype)
    wide_x = x.astype(np.float64)
    rows = max(ALONE // ((tile + KERNEL - 1) ** 2 * KERNEL**2 * max(w.shape[1], 1)), 1)
    error = largest = 0.0
    for first in range(0, min(ROWS, len(w)), rows):
        part = w[first : min(first + rows, ROWS)]
        wide = part.astype(np.float64)
        difference = np.abs(convolve(x, part, tile) - _direct(wide_x, wide))
        error = max(error, float(difference.max()))
        largest = max(largest, float(_direct(np.abs(wide_x), np.abs(wide)).max()))
    return error / largest if largest else 0.0


def _direct(x: Array, w: Array) -> Array:
    """[1, O, 8, 8], tap by tap."""
    y = np.zeros((len(w), SIZE * SIZE))
    for i, j in np.ndindex(KERNEL, KERNEL):
        y += w[:, :, i, j] @ x[0, :, i : i + SIZE, j : j + SIZE].reshape(-1, SIZE * SIZE)
    return y.reshape(1, len(w), SIZE, SIZE)
