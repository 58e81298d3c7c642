"""The places of a product step: one row of int64 that tells a kernel all it needs."""

from __future__ import annotations

# fmt: off
(
    KERNEL, TILE, FINISH,                       # addresses of compiled code
    X, WEIGHTS, BIAS, RESIDUAL, Y, SCRATCH,     # addresses of data; bias and residual may be 0
    SCRATCH_EACH,                               # scratch elements of one part
    IMAGES, GROUPS, CHANNELS, ROWS,             # channels and rows of one group
    X_IMAGE, Y_IMAGE,                           # elements from one image to the next
    IN_D, IN_H, IN_W,
    OUT_D, OUT_H, OUT_W,
    KERNEL_D, KERNEL_H, KERNEL_W,
    STRIDE_D, STRIDE_H, STRIDE_W,
    DILATION_D, DILATION_H, DILATION_W,
    PAD_D, PAD_H, PAD_W,                        # zeros before the first element
    LOW, HIGH,                                  # clamp bounds, as bits of a float64
    ACTIVATION, ALPHA, BETA,                    # second pass, 0 for none; bits of a float64
    DEPTH_BLOCK, COLUMN_BLOCK, SPLIT_ROWS,      # cache blocking, how parts share the work
    POOL_KIND, POOL_BAND,                       # 0 max, 1 average, 2 average of what is inside
    POOL_IN_ROWS,
    POOLED_D, POOLED_H, POOLED_W,
    POOL_D, POOL_H, POOL_W,
    POOL_STRIDE_D, POOL_STRIDE_H, POOL_STRIDE_W,
    POOL_DILATION_D, POOL_DILATION_H, POOL_DILATION_W,
    POOL_PAD_D, POOL_PAD_H, POOL_PAD_W,
    POOL_END_D, POOL_END_H, POOL_END_W,
    COUNT,
) = range(64)
# fmt: on
