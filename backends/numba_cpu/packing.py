"""Lays weights out as the micro-kernel reads them; done once, ahead of every run."""

from __future__ import annotations

import numpy as np


def aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """An uninitialised flat array that starts on a cache line."""
    space = np.empty(count * dtype.itemsize + 64, np.uint8)
    start = -space.ctypes.data % 64
    return space[start : start + count * dtype.itemsize].view(dtype)


def pack_rows(matrix: np.ndarray, height: int) -> np.ndarray:
    """[groups, rows, depth] as [groups][ceil(rows / height)][depth][height], padded with zeros."""
    groups, rows, depth = matrix.shape
    panels = -(-rows // height)
    packed = aligned(groups * panels * depth * height, matrix.dtype)
    packed = packed.reshape(groups, panels, depth, height)
    whole = rows // height
    top = matrix[:, : whole * height].reshape(groups, whole, height, depth)
    packed[:, :whole] = top.swapaxes(2, 3)
    if whole < panels:
        packed[:, whole] = 0
        packed[:, whole, :, : rows - whole * height] = matrix[:, whole * height :].swapaxes(1, 2)
    return packed.reshape(-1)


def pack_bias(bias: np.ndarray, groups: int, height: int) -> np.ndarray:
    """[groups * rows] as [groups][rows, padded with zeros to a multiple of `height`]."""
    rows = bias.size // groups
    padded = np.zeros((groups, -(-rows // height) * height), bias.dtype)
    padded[:, :rows] = bias.reshape(groups, rows)
    return padded.reshape(-1)
