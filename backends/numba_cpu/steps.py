"""Builds the step of a kernel: its code, its sizes, its cache blocking, the scratch it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import gcd, inf, prod
from typing import Any

import numpy as np

from irconv.backends.numba_cpu import machine, native, packing, slots
from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.convolve import VECTORS, convolve
from irconv.backends.numba_cpu.depthwise import depthwise
from irconv.backends.numba_cpu.gemm import dense, product
from irconv.backends.numba_cpu.im2col import im2col
from irconv.backends.numba_cpu.pooled import convolve_pool
from irconv.backends.numba_cpu.shifted import WIDE
from irconv.backends.numba_cpu.tiles import ROWS, tile_code
from irconv.backends.numba_cpu.transposed import convolve_transposed
from irconv.geometry import ConvGeometry, Ints

LINE = 64  # bytes of a cache line


@dataclass(frozen=True)
class Epilogue:
    """What follows a product: clamp to low .. high, then an activation named in `activations`."""

    low: float = -inf
    high: float = inf
    activation: str | None = None
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True)
class PoolWindow:
    """A pool: `kind` is one of slots.MAX, AVERAGE, AVERAGE_INSIDE; `out` its output sizes."""

    kind: int
    kernel: Ints
    strides: Ints
    pads: Ints
    dilations: Ints
    out: Ints


@dataclass(frozen=True)
class Step:
    """One launch of a kernel by `parts` threads.

    `bind` gives the row that the kernel reads. `scratch` counts elements of one part; the
    scratch of all parts lies in one buffer that starts on a cache line.
    """

    name: str
    dtype: np.dtype
    parts: int
    scratch: int
    sizes: dict[str, int]
    epilogue: Epilogue = Epilogue()
    kernel: Callable[..., None] = field(default=convolve, repr=False)
    inner: Step | None = None

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch of all parts."""
        return self.scratch * self.parts * self.dtype.itemsize

    def bind(self, plain: bool = False, **addresses: int) -> np.ndarray:
        """The row of int64: sizes, code, and the addresses given by slot name (absent ones are 0).

        `plain` takes the loop nest in place of the vector tile.
        """
        inner = self.inner.bind(plain) if self.inner is not None else np.zeros(0, np.int64)
        row = np.zeros(slots.COUNT, np.int64)
        values = self.sizes | addresses | {"SCRATCH_EACH": self.scratch}
        values["KERNEL"] = native.address(self.kernel, self.dtype)
        values["TILE"] = tile_code(self.dtype, plain)
        if self.epilogue.activation is not None:
            values["FINISH"] = pass_code(self.epilogue.activation, self.dtype)
        for name, value in values.items():
            row[getattr(slots, name)] = value
        for name in ("LOW", "HIGH", "ALPHA", "BETA"):
            value = getattr(self.epilogue, name.lower())
            row[getattr(slots, name)] = np.float64(value).view(np.int64)
        return np.concatenate([row, inner])


def _three(values: Ints, fill: int) -> Ints:
    return (fill,) * (3 - len(values)) + tuple(values)


def axes(name: str, values: Ints, fill: int) -> dict[str, int]:
    """The slots NAME_D, NAME_H, NAME_W of up to three values; `fill` in front of fewer."""
    padded = _three(values, fill)
    return {f"{name}_{axis}": int(v) for axis, v in zip("DHW", padded, strict=True)}


def _round_up(count: int, dtype: np.dtype) -> int:
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
    rank = len(image)
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
    epilogue: Epilogue = Epilogue(),
) -> Step:
    """Direct convolution. Slots to bind: X, WEIGHTS, Y, SCRATCH and maybe BIAS, RESIDUAL.

    WEIGHTS is `direct_weights(weights, geometry)`, BIAS `direct_bias(bias, geometry)`.
    """
    depth = depth_block(geometry.in_channels // geometry.group * geometry.taps, dtype)
    columns = column_block(prod(geometry.out), dtype)
    rows = geometry.out_channels // geometry.group
    blocks = images * geometry.group * -(-prod(geometry.out) // columns)
    sizes = _conv_sizes(geometry, images, is_product(geometry)) | {
        "DEPTH_BLOCK": depth,
        "COLUMN_BLOCK": columns,
        "SPLIT_ROWS": int(_split_rows(blocks, -(-rows // ROWS), parts)),
    }
    scratch = _round_up(depth * columns, dtype)
    return Step("convolve", dtype, parts, scratch, sizes, epilogue, convolve)


def _split_rows(blocks: int, panels: int, parts: int) -> bool:
    """Whether parts share the rows rather than the columns: where that is better balanced."""

    def waste(items: int) -> float:
        return -(-items // parts) * parts / max(items, 1)

    # Splitting rows packs every patch once per part; allow for that.
    return waste(blocks) > waste(panels) + 0.03


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
    epilogue: Epilogue = Epilogue(),
) -> Step:
    """Convolution, epilogue and pool in one kernel. Binds as `convolution` does.

    Y is [images, out_channels, *pool.out]. The rows before the pool live in the scratch only: at
    most half of one image before the pool, where that has more than one row of channels.
    """
    depth = depth_block(geometry.in_channels // geometry.group * geometry.taps, dtype)
    rows = geometry.out_channels // geometry.group
    _, out_h, out_w = _three(geometry.out, 1)
    height = _three(pool.out, 1)[1]
    stride = _three(pool.strides, 1)[1]
    band = min(out_h, -(-2 * panel_width(dtype) // (max(out_w, 1) * stride)) * stride)
    columns = column_block(band * out_w, dtype)
    block = _row_block(rows, band * out_w, geometry.rows // geometry.group, dtype)
    units = images * geometry.group * -(-rows // block) * _three(pool.out, 1)[0]
    segments = 1 if units % parts == 0 or units >= 4 * parts else min(parts, max(height, 1))
    sizes = _conv_sizes(geometry, images, flat=False) | {
        "Y_IMAGE": geometry.out_channels * prod(pool.out),
        "DEPTH_BLOCK": depth,
        "COLUMN_BLOCK": columns,
        "POOL_KIND": pool.kind,
        "BAND": band,
        "ROW_BLOCK": block,
        "SEGMENTS": segments,
    }
    rank = len(pool.kernel)
    sizes |= axes("POOLED", pool.out, 1) | axes("POOL", pool.kernel, 1)
    sizes |= axes("POOL_STRIDE", pool.strides, 1) | axes("POOL_DILATION", pool.dilations, 1)
    sizes |= axes("POOL_PAD", pool.pads[:rank], 0) | axes("POOL_END", pool.pads[rank:], 0)
    panels = _round_up(depth * columns, dtype) + LINE // dtype.itemsize
    scratch = _round_up(block * band * out_w, dtype) + panels
    return Step("convolve_pool", dtype, parts, scratch, sizes, epilogue, convolve_pool)


def _row_block(rows: int, columns: int, before: int, dtype: np.dtype) -> int:
    """Channels of one band: some 256 KB, and no more than half of what stood before the pool."""
    most = min((256 << 10) // dtype.itemsize, before // 2)
    block = max(most // max(columns, 1) // ROWS * ROWS, ROWS)
    return min(block, -(-rows // ROWS) * ROWS)


def depthwise_convolution(
    geometry: ConvGeometry,
    images: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = Epilogue(),
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
    scratch = _round_up(run + slack + strides * run + slack + table, dtype)
    sizes = _conv_sizes(geometry, images, flat=False)
    return Step("depthwise", dtype, parts, scratch, sizes, epilogue, depthwise)


def transposed_convolution(
    geometry: ConvGeometry,
    images: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = Epilogue(),
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
    scratch = _round_up(block * taps * pixels, dtype) + product_step.scratch
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
    return Step("im2col", dtype, parts, 0, sizes, Epilogue(), im2col)


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


def dense_layer(
    rows: int,
    columns: int,
    depth: int,
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = Epilogue(),
) -> Step:
    """Y[rows, columns] = A[rows, depth] @ B, with B = `dense_weights` of [depth, columns].

    BIAS is one value a column, RESIDUAL [rows, columns].
    """
    sizes = {
        "M": rows,
        "N": columns,
        "K": depth,
        "A_ROW": depth,
        "A_DEPTH": 1,
        "BIAS_PER": 1,
        "DEPTH_BLOCK": depth_block(depth, dtype),
    }
    high = -(-rows // ROWS) * ROWS if rows > 1 else 0
    scratch = _round_up(high * depth, dtype)
    return Step("dense", dtype, parts, scratch, sizes, epilogue, dense)


def dense_weights(weights: np.ndarray) -> np.ndarray:
    """[depth, columns] packed for `dense_layer`."""
    return packing.pack_columns(weights, panel_width(weights.dtype))


def matrix_product(
    batch: int,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    parts: int = 1,
    epilogue: Epilogue = Epilogue(),
    **strides: Any,
) -> Step:
    """Y[batch, M, N] = A[batch, M, K] @ B[batch, K, N] for shape = (M, N, K).

    `strides` overrides A_BATCH, A_ROW, A_DEPTH, B_BATCH, B_DEPTH, B_COLUMN (in elements; those of
    C-contiguous arrays otherwise), BIAS_PER (0: `packing.pack_bias(bias, 1, ROWS)`; 1: a column).
    """
    m, n, k = shape
    depth, columns = depth_block(k, dtype), column_block(n, dtype)
    sizes = {
        "BATCH": batch,
        "M": m,
        "N": n,
        "K": k,
        "A_BATCH": m * k,
        "A_ROW": k,
        "A_DEPTH": 1,
        "B_BATCH": k * n,
        "B_DEPTH": n,
        "B_COLUMN": 1,
        "Y_BATCH": m * n,
        "BIAS_PER": 0,
        "DEPTH_BLOCK": depth,
        "COLUMN_BLOCK": columns,
    } | strides
    scratch = _round_up(-(-m // ROWS) * ROWS * k, dtype) + _round_up(depth * columns, dtype)
    return Step("product", dtype, parts, scratch, sizes, epilogue, product)
