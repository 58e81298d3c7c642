"""Constants that hold one number per channel, in whatever shape they are broadcast."""

from __future__ import annotations

import numpy as np

from irconv.types import Array


def channel_vector(array: Array, rank: int, channels: int) -> Array | None:
    """`[channels]`: what `array` holds for each channel of a tensor [N, C, ...] of `rank` axes.

    None where it broadcasts along another axis than the second: `[5]` beside [N, C, H, 5] is one
    number per column, not per channel.
    """
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != 1):
        return None
    if shape[1] not in (1, channels):
        return None
    return np.broadcast_to(array.reshape(shape[1]), (channels,)).copy()


def rounded_sum(a: Array, b: Array) -> Array:
    """a + b, broadcast, added in float64 and rounded once."""
    return (a.astype(np.float64) + b.astype(np.float64)).astype(a.dtype)
