"""Builds the steps of convolutions: direct, pooled, depthwise, transposed, patch matrix."""

from __future__ import annotations

from math import gcd, prod

import numpy as np

from irconv.backends.numba_cpu import machine, packing
from irconv.backends.numba_cpu.blocking import (
    LARGE,
    LINE,
    band_rows,
    column_block,
    depth_block,
    pool_scratch,
    round_up,
    row_block,
    split_rows,
)
from irconv.backends.numba_cpu.convolve import convolve
from irconv.backends.numba_cpu.depthwise import depthwise
from irconv.backends.numba_cpu.im2col import im2col
from irconv.backends.numba_cpu.pooled import convolve_pool
from irconv.backends.numba_cpu.pooling import pool as pool_kernel
from irconv.backends.numba_cpu.same_lines import MOST_PIXELS
from irconv.backends.numba_cpu.shifted import WIDE
from irconv.backends.numba_cpu.step import NOTHING, Epilogue, PoolWindow, Step, axes, three
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.backends.numba_cpu.transposed import convolve_transposed
from irconv.geometry import ConvGeometry, Ints


def _conv_sizes(geometry: ConvGeometry, images: int, flat: bool) -> dict[str, int]:
    image, out, kernel = geometry.image, geometry.out, geometry.kernel
    channels = geometry.in_channels // geometry.group
    sizes = {
        "IMAGES": images,
        "GROUPS": geometry.group,
        "CHANNELS": channels,
        "ROWS": geometry.out_channels // geometry.group,
        "X_IMAGE": geometry.columns,
        "Y_IMAGE": geometry.rows,
    }
    if flat:
        image = out = (prod(out),)
        sizes["IS_PRODUCT"] = 1
    rank = len(image)
    same = set(geometry.strides) == {1} and out[-1] == image[-1] and three(kernel, 1)[0] == 1
    if same and three(image, 1)[0] == three(out, 1)[0] == 1 and prod(out) <= MOST_PIXELS:
        sizes["SAME_LINES"] = 1
    sizes |= axes("IN", image, 1) | axes("OUT", out, 1)
    sizes |= axes("KERNEL", kernel[:rank], 1) | axes("STRIDE", geometry.strides[:rank], 1)
    sizes |= axes("DILATION", geometry.dilations[:rank], 1)
    return sizes | axes("PAD", geometry.pads[: len(kernel)][:rank], 0)


def is_product(geometry: ConvGeometry) -> bool:
    """Whether the image itself is the patch matrix: kernel 1, stride 1, no padding."""
    return geometry.taps == 1 and set(geometry.strides) == {1} and not any(geometry.pads)


def convolution(
    geometry: ConvGeometry,
    images: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = NOTHING,
) -> Step:
    """Direct convolution. Slots to bind: X, WEIGHTS, Y, SCRATCH and maybe BIAS, RESIDUAL.

    WEIGHTS is `direct_weights(weights, geometry)`, BIAS `direct_bias(bias, geometry)`.
    """
    depth = depth_block(geometry.in_channels // geometry.group * geometry.taps, dtype)
    columns = column_block(prod(geometry.out), dtype)
    rows = geometry.out_channels // geometry.group
    by_rows = parts > 1 and split_rows(
        prod(geometry.out), columns, images * geometry.group, rows, parts, dtype
    )
    sizes = _conv_sizes(geometry, images, is_product(geometry)) | {
        "DEPTH_BLOCK": depth,
        "COLUMN_BLOCK": columns,
        "SPLIT_ROWS": int(by_rows),
    }
    scratch = round_up(depth * columns, dtype)
    return Step("convolve", dtype, parts, scratch, sizes, epilogue, convolve)


def direct_weights(weights: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """[out_channels, channels, *kernel] packed for `convolution`, depth as (tap, channel)."""
    rows = geometry.out_channels // geometry.group
    shape = (geometry.group, rows, geometry.in_channels // geometry.group, geometry.taps)
    matrix = weights.reshape(shape).swapaxes(2, 3).reshape(geometry.group, rows, -1)
    return packing.pack_rows(matrix, ROWS, depth_block(matrix.shape[2], weights.dtype))


def direct_bias(bias: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """[out_channels] padded as the packed rows are."""
    return packing.pack_bias(bias, geometry.group, ROWS)


def pooled_convolution(
    geometry: ConvGeometry,
    pool: PoolWindow,
    images: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = NOTHING,
) -> Step:
    """Convolution, epilogue and pool in one kernel. Binds as `convolution` does.

    Y is [images, out_channels, *pool.out]. The rows before the pool live in the scratch only: at
    most half of one image before the pool, where that has more than one row of channels.
    """
    depth = depth_block(geometry.in_channels // geometry.group * geometry.taps, dtype)
    rows = geometry.out_channels // geometry.group
    _, out_h, out_w = three(geometry.out, 1)
    height = three(pool.out, 1)[1]
    stride = three(pool.strides, 1)[1]
    band = band_rows(out_h, max(out_w, 1), stride, rows, dtype)
    columns = column_block(band * out_w, dtype)
    block = row_block(rows, band * out_w, geometry.rows // geometry.group, dtype, parts)
    units = images * geometry.group * -(-rows // block) * three(pool.out, 1)[0]
    segments = 1 if units % parts == 0 or units >= 4 * parts else min(parts, max(height, 1))
    sizes = _conv_sizes(geometry, images, flat=False) | {
        "Y_IMAGE": geometry.out_channels * prod(pool.out),
        "DEPTH_BLOCK": depth,
        "COLUMN_BLOCK": columns,
        "BAND": band,
        "ROW_BLOCK": block,
        "SEGMENTS": segments,
    }
    panels = round_up(depth * columns, dtype) + LINE // dtype.itemsize
    scratch = round_up(block * band * out_w, dtype) + panels
    sizes |= _pool_sizes(pool, geometry.out) | {"POOL_SCRATCH": scratch}
    scratch += pool_scratch(pool, band, dtype)
    return Step("convolve_pool", dtype, parts, scratch, sizes, epilogue, convolve_pool)


def _pool_sizes(pool: PoolWindow, image: Ints) -> dict[str, int]:
    rank = len(pool.kernel)
    kernel, dilations = three(pool.kernel, 1)[1:], three(pool.dilations, 1)[1:]
    pads = three(pool.pads[:rank], 0)
    whole = (
        three(pool.out, 1)[1:] == (1, 1)
        and all(d == 1 or k == 1 for d, k in zip(dilations, kernel, strict=True))
        and all(k - p >= n for k, p, n in zip(kernel, pads[1:], three(image, 1)[1:], strict=True))
    )
    sizes = {"POOL_KIND": pool.kind, "POOL_WHOLE": int(whole)}
    sizes |= axes("POOLED", pool.out, 1) | axes("POOL", pool.kernel, 1)
    sizes |= axes("POOL_STRIDE", pool.strides, 1) | axes("POOL_DILATION", pool.dilations, 1)
    return sizes | axes("POOL_PAD", pool.pads[:rank], 0) | axes("POOL_END", pool.pads[rank:], 0)


def pooling(
    pool: PoolWindow, image: Ints, images: int, channels: int, dtype: np.dtype, parts: int = 1
) -> Step:
    """A pool of [images, channels, *image]. Slots to bind: X, Y and SCRATCH."""
    sizes = {"IMAGES": images, "ROWS": channels} | axes("OUT", image, 1)
    sizes |= _pool_sizes(pool, image)
    scratch = pool_scratch(pool, three(image, 1)[1], dtype)
    return Step("pool", dtype, parts, scratch, sizes, NOTHING, pool_kernel)


def depthwise_convolution(
    geometry: ConvGeometry,
    images: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = NOTHING,
) -> Step:
    """Convolution with one input channel per group. WEIGHTS, BIAS are the plain arrays."""
    rank = geometry.rank
    strides = prod(geometry.strides)
    run = prod(
        geometry.out[a] + (geometry.kernel[a] - 1) * geometry.dilations[a] // geometry.strides[a]
        for a in range(rank)
    )
    slack = WIDE * machine.tile(dtype).lanes
    table = geometry.taps * 8 // dtype.itemsize + LINE // dtype.itemsize
    scratch = round_up(run + slack + strides * run + slack + table, dtype)
    sizes = _conv_sizes(geometry, images, flat=False)
    return Step("depthwise", dtype, parts, scratch, sizes, epilogue, depthwise)


def transposed_convolution(
    geometry: ConvGeometry,
    images: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = NOTHING,
) -> Step:
    """The transpose of the convolution `geometry` (whose image is this kernel's output).

    WEIGHTS is `transposed_weights(weights, geometry)`, BIAS the plain array. The input has
    geometry.out_channels, the output geometry.in_channels channels.
    """
    pixels, taps = prod(geometry.out), geometry.taps
    rows = geometry.in_channels // geometry.group
    inside = ConvGeometry(
        geometry.out_channels,
        geometry.in_channels * taps,
        (pixels,),
        (1,),
        (1,),
        (0, 0),
        (1,),
        geometry.group,
    )
    product_step = convolution(inside, images, dtype)
    whole = ROWS // gcd(taps, ROWS)
    block = max((128 << 10) // dtype.itemsize // (taps * pixels) // whole * whole, whole)
    block = min(block, -(-rows // whole) * whole)
    sizes = _conv_sizes(geometry, images, flat=False) | {
        "CHANNELS": geometry.out_channels // geometry.group,
        "ROWS": rows,
        "X_IMAGE": geometry.rows,
        "Y_IMAGE": geometry.columns,
        "COLUMN_BLOCK": product_step.sizes["COLUMN_BLOCK"],
        "ROW_BLOCK": block,
    }
    sizes |= axes("IN", geometry.out, 1) | axes("OUT", geometry.image, 1)
    scratch = round_up(block * taps * pixels, dtype) + product_step.scratch
    return Step(
        "convolve_transposed",
        dtype,
        parts,
        scratch,
        sizes,
        epilogue,
        convolve_transposed,
        product_step,
    )


def transposed_weights(weights: np.ndarray, geometry: ConvGeometry) -> np.ndarray:
    """[in, out / group, *kernel] (ONNX's ConvTranspose) packed for `transposed_convolution`."""
    depth = geometry.out_channels // geometry.group
    matrix = weights.reshape(geometry.group, depth, -1).swapaxes(1, 2)
    return packing.pack_rows(matrix, ROWS, depth_block(depth, weights.dtype))


def patch_matrix(geometry: ConvGeometry, images: int, dtype: np.dtype, parts: int = 1) -> Step:
    """im2col: X is the image, Y is [images, group, channels / group * taps, prod(out)]."""
    sizes = _conv_sizes(geometry, images, flat=False)
    sizes["Y_IMAGE"] = geometry.in_channels * geometry.taps * prod(geometry.out)
    sizes["STREAMS"] = int(images * sizes["Y_IMAGE"] * dtype.itemsize > LARGE)
    return Step("im2col", dtype, parts, 0, sizes, NOTHING, im2col)


def patch_geometry(geometry: ConvGeometry) -> ConvGeometry:
    """The convolution that multiplies weights with the patch matrix of `geometry`."""
    return ConvGeometry(
        geometry.in_channels * geometry.taps,
        geometry.out_channels,
        (prod(geometry.out),),
        (1,),
        (1,),
        (0, 0),
        (1,),
        geometry.group,
    )
