"""Lays weights out as the micro-kernel reads them; done once, ahead of every run."""

from __future__ import annotations

import numpy as np

from irconv.backends.numba_cpu.memory import aligned

__all__ = ["aligned", "pack_bias", "pack_columns", "pack_rows"]


def pack_rows(matrix: np.ndarray, height: int, depth_block: int) -> np.ndarray:
    """[groups, rows, depth] as [groups][block of depth][ceil(rows / height)][depth][height].

    Each block has `depth_block` of the depth, the last what is left; rows are padded with zeros.
    So the kernel reads the weights of one block from front to back.
    """
    groups, rows, depth = matrix.shape
    panels = -(-rows // height)
    packed = aligned(groups * panels * depth * height, matrix.dtype)
    by_group = packed.reshape(groups, -1)
    for first in range(0, depth, depth_block):
        count = min(depth_block, depth - first)
        start = first * panels * height
        block = by_group[:, start : start + count * panels * height]
        _fill_panels(
            block.reshape(groups, panels, count, height), matrix[:, :, first:][:, :, :count]
        )
    return packed


def _fill_panels(panels: np.ndarray, matrix: np.ndarray) -> None:
    groups, rows, depth = matrix.shape
    height = panels.shape[3]
    whole = rows // height
    top = matrix[:, : whole * height].reshape(groups, whole, height, depth)
    panels[:, :whole] = top.swapaxes(2, 3)
    if whole < panels.shape[1]:
        panels[:, whole] = 0
        panels[:, whole, :, : rows - whole * height] = matrix[:, whole * height :].swapaxes(1, 2)


def pack_bias(bias: np.ndarray, groups: int, height: int) -> np.ndarray:
    """[groups * rows] as [groups][rows, padded with zeros to a multiple of `height`]."""
    rows = bias.size // groups
    padded = np.zeros((groups, -(-rows // height) * height), bias.dtype)
    padded[:, :rows] = bias.reshape(groups, rows)
    return padded.reshape(-1)


def pack_columns(matrix: np.ndarray, width: int) -> np.ndarray:
    """[depth, columns] as [ceil(columns / width)][depth][width], padded with zeros."""
    depth, columns = matrix.shape
    panels = -(-columns // width)
    packed = aligned(panels * depth * width, matrix.dtype).reshape(panels, depth, width)
    for panel in range(panels):
        part = matrix[:, panel * width : (panel + 1) * width]
        packed[panel, :, : part.shape[1]] = part
        packed[panel, :, part.shape[1] :] = 0
    return packed.reshape(-1)
