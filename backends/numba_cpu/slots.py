"""The places of a kernel's step: one row of int64 that tells it all it needs."""

from __future__ import annotations

# fmt: off
(
    KERNEL, TILE, FINISH,                       # addresses of code; FINISH 0: no second pass
    X, WEIGHTS, BIAS, RESIDUAL, Y, SCRATCH,     # addresses of data; BIAS, RESIDUAL may be 0
    SCRATCH_EACH,                               # scratch elements of one part
    IMAGES, GROUPS, CHANNELS, ROWS,             # channels and rows (output channels) of one group
    X_IMAGE, Y_IMAGE,                           # elements from one image to the next
    IN_D, IN_H, IN_W,
    OUT_D, OUT_H, OUT_W,
    KERNEL_D, KERNEL_H, KERNEL_W,
    STRIDE_D, STRIDE_H, STRIDE_W,
    DILATION_D, DILATION_H, DILATION_W,
    PAD_D, PAD_H, PAD_W,                        # zeros before the first element
    LOW, HIGH, ALPHA, BETA,                     # bits of float64: clamp bounds, FINISH's two
    DEPTH_BLOCK, COLUMN_BLOCK, SPLIT_ROWS,      # cache blocking; whether parts share the rows
    POOL_KIND, BAND, ROW_BLOCK, SEGMENTS,       # see `pooled`
    POOL_SCRATCH, POOL_WHOLE,                   # its place; whether one window holds all
    POOLED_D, POOLED_H, POOLED_W,
    POOL_D, POOL_H, POOL_W,
    POOL_STRIDE_D, POOL_STRIDE_H, POOL_STRIDE_W,
    POOL_DILATION_D, POOL_DILATION_H, POOL_DILATION_W,
    POOL_PAD_D, POOL_PAD_H, POOL_PAD_W,
    POOL_END_D, POOL_END_H, POOL_END_W,         # padding after the last element
    IS_PRODUCT,                                 # the image itself is the patch matrix
    SAME_LINES,                                 # stride 1, lines of the output as in the image
    STREAMS,                                    # whether stores go past the caches
    COUNT,
) = range(69)

# A product of two matrices (`product`, `dense`) shares the places before IMAGES and the numbers.
(
    BATCH, M, N, K,
    A_BATCH, A_ROW, A_DEPTH,                    # elements from one to the next
    B_BATCH, B_DEPTH, B_COLUMN,
    Y_BATCH, BIAS_PER,                          # 0: one bias a row, 1: one a column
) = range(10, 22)
# fmt: on

MAX, AVERAGE, AVERAGE_INSIDE = range(3)
A, B = X, WEIGHTS
