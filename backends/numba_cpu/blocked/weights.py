"""Weights as the tiles of the blocked engine read them; made at compile time."""

from __future__ import annotations

import numpy as np

from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.blocked.tile import F32, lanes
from irconv.backends.numba_cpu.blocked.tiling import Panels
from irconv.backends.numba_cpu.packing import aligned
from irconv.geometry import ConvGeometry
from irconv.types import Array


def in_stored_order(weights: Array, x: Storage) -> Array:
    """`[out, channels of x, ...]` with the channels as they are stored; without groups."""
    if x.order is None:
        return weights
    stored = np.empty_like(weights)
    stored[:, list(x.order)] = weights
    return stored


def pack_weights(weights: Array, group: int, block: int, panels: Panels) -> Array:
    """[out, in / group, kh, kw] as [group][panel][block of in][kh][kw][block][vectors * lanes].

    `block` counts the channels of one block of the input, or of a part of it that is read by
    itself. Channels that fill up a block, of the input or of the output, have weights 0.
    """
    out, channels, *kernel = weights.shape
    blocks, rows = -(-channels // block), out // group
    filled = np.zeros((group, panels.blocks * lanes(), blocks * block, *kernel), F32)
    filled[:, :rows, :channels] = weights.reshape(group, rows, channels, *kernel)
    split = filled.reshape(group, panels.blocks * lanes(), blocks, block, *kernel)
    matrix = split.transpose(0, 2, 4, 5, 3, 1).reshape(group, -1, panels.blocks * lanes())
    packed = aligned(matrix.size, F32)
    place = 0
    for of_group in matrix:
        first = 0
        for vectors in panels.each():
            width = vectors * lanes()
            size = len(of_group) * width
            target = packed[place : place + size].reshape(-1, width)
            target[...] = of_group[:, first : first + width]
            place, first = place + size, first + width
    return packed


def pack_bias(bias: Array | None, channels: int) -> Array:
    """`[channels]` and zeros to fill the last block; nothing where there is no bias."""
    if bias is None:
        return np.zeros(0, F32)
    filled = aligned(-(-channels // lanes()) * lanes(), F32)
    filled[:channels] = bias
    filled[channels:] = 0
    return filled


def channels_at_once(x: Storage, channels: int) -> int:
    """How many channels of one pixel a segment reads: a block, or half of one where the last half
    block of all has no channels.
    """
    half = x.block // 2
    if x.block < lanes() or -(-channels // half) * half == -(-channels // x.block) * x.block:
        return x.block
    return half


def segments(x: Storage, geometry: ConvGeometry) -> tuple[Array, int]:
    """Where the segments of K begin, from the first tap of an output pixel on, and their length.

    The taps of one line of the kernel lie side by side. Blocks that fill no vector, as those of a
    picture, are read in such lines; others one by one, so that kernels of all sizes share tiles.
    """
    joined = geometry.dilations[1] == 1 and x.block < lanes()
    starts, run = block_starts(x, geometry)
    (high, wide), (down, across) = geometry.kernel, geometry.dilations
    taps = np.zeros(1, np.int64) if joined else np.arange(wide) * (across * x.block)
    lines = np.arange(high, dtype=np.int64) * (down * x.line)
    table = starts[:, None, None] + lines[:, None] + taps
    return np.ascontiguousarray(table.reshape(-1)), wide * x.block if joined else run


def block_starts(x: Storage, geometry: ConvGeometry) -> tuple[Array, int]:
    """Where the channels of a pixel that are read at once begin, and how many these are."""
    channels = geometry.in_channels // geometry.group
    each = channels_at_once(x, channels)
    first = np.arange(-(-channels // each), dtype=np.int64) * each
    return first // x.block * x.plane + first % x.block, each
