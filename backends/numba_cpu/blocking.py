"""How large the blocks of a kernel are, so that what it reads again stays in a cache."""

from __future__ import annotations

import numpy as np

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.convolve import VECTORS
from irconv.backends.numba_cpu.shifted import WIDE
from irconv.backends.numba_cpu.step import PoolWindow, three
from irconv.backends.numba_cpu.tiles import ROWS

LINE = 64  # bytes of a cache line
BAND_BYTES = 256 << 10  # of what a fused pool reads
LARGE = 24 << 20  # bytes of a result that no cache keeps until it is read


def round_up(count: int, dtype: np.dtype) -> int:
    """Elements in the whole cache lines that hold `count`."""
    line = LINE // dtype.itemsize
    return -(-count // line) * line


def panel_width(dtype: np.dtype) -> int:
    """Columns of one packed panel."""
    return VECTORS * machine.tile(dtype).lanes


def depth_block(depth: int, dtype: np.dtype) -> int:
    """Depth of one cache block: at most some 100 KB of packed panel, blocks of equal size."""
    most = 640 * 4 // dtype.itemsize
    return max(-(-depth // -(-depth // most)), 1)


def column_block(columns: int, dtype: np.dtype) -> int:
    """Columns of one cache block: two or three panels, so that none has a few columns only.

    Every block reads all the weights again, however narrow it is.
    """
    width = panel_width(dtype)
    panels = max(-(-columns // width), 1)
    return -(-panels // max(panels // 2, 1)) * width


def band_rows(height: int, width: int, stride: int, channels: int, dtype: np.dtype) -> int:
    """Rows before a pool that are computed at a time: two panels at least, BAND_BYTES at most."""
    least = -(-2 * panel_width(dtype) // (width * stride)) * stride
    fitting = BAND_BYTES // dtype.itemsize // (width * max(channels, 1)) // stride * stride
    if height * width <= 8 * panel_width(dtype):
        return height
    return min(height, max(least, fitting))


def row_block(rows: int, columns: int, before: int, dtype: np.dtype, parts: int) -> int:
    """Channels of one band: at most BAND_BYTES, at most half of what stood before the pool.

    Each block packs its patches anew, so where lines are long, it may be larger than that.
    """
    columns = max(columns, 1)
    most = max(BAND_BYTES // dtype.itemsize, 8 * ROWS * columns)
    block = max(min(most, before // 2) // columns // ROWS, 1)
    panels = -(-rows // ROWS)
    cuts = -(-panels // block)
    if cuts > 1:
        cuts = -(-cuts // parts) * parts  # blocks of equal size, as many for each part
    return -(-panels // cuts) * ROWS


def split_rows(
    columns: int, block: int, repeats: int, rows: int, parts: int, dtype: np.dtype
) -> bool:
    """Whether parts share the rows rather than the blocks of columns: where that is less work.

    `repeats` counts the images and groups, each of which has all the blocks.
    """
    width = panel_width(dtype)
    last = (columns - 1) % block + 1
    # A narrow last panel costs a fraction of a whole one.
    tail = min((last - 1) % width + 1, width) / width
    cost = [block / width] * (-(-columns // block) - 1) + [(last - 1) // width + max(tail, 0.2)]
    items = cost * repeats
    shares = [items[len(items) * p // parts : len(items) * (p + 1) // parts] for p in range(parts)]
    panels = -(-rows // ROWS)
    # Where rows are split, each part packs all patches: some half of a panel of rows.
    by_rows = (-(-panels // parts) + 0.5) / (panels + 0.5) * sum(items)
    return by_rows < max(sum(share) for share in shares)


def pool_scratch(pool: PoolWindow, rows: int, dtype: np.dtype) -> int:
    """Elements of scratch of a pool that reads bands of `rows` rows: results, phases, shifts."""
    (_, kernel_h, kernel_w), (_, stride_h, stride_w) = three(pool.kernel, 1), three(pool.strides, 1)
    _, dilation_h, dilation_w = three(pool.dilations, 1)
    _, out_h, out_w = three(pool.out, 1)
    span = (kernel_h - 1) * dilation_h
    height = min(out_h, (rows + span) // stride_h + 1) + span // stride_h
    width = out_w + (kernel_w - 1) * dilation_w // stride_w
    slack = WIDE * machine.tile(dtype).lanes
    shifts = (kernel_h * kernel_w + 1) * 8 // dtype.itemsize
    run = height * width
    return round_up(run + slack + stride_h * stride_w * run + slack + shifts, dtype)
