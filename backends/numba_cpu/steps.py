"""The steps of the engine, by the names that binders use."""

from __future__ import annotations

from irconv.backends.numba_cpu.blocking import LINE, depth_block, panel_width
from irconv.backends.numba_cpu.convolutions import (
    convolution,
    depthwise_convolution,
    direct_bias,
    direct_weights,
    is_product,
    patch_geometry,
    patch_matrix,
    pooled_convolution,
    pooling,
    transposed_convolution,
    transposed_weights,
)
from irconv.backends.numba_cpu.products import (
    dense_bias,
    dense_layer,
    dense_weights,
    matrix_product,
)
from irconv.backends.numba_cpu.step import Epilogue, PoolWindow, Step, axes

__all__ = [
    "LINE",
    "Epilogue",
    "PoolWindow",
    "Step",
    "axes",
    "convolution",
    "dense_bias",
    "dense_layer",
    "dense_weights",
    "depth_block",
    "depthwise_convolution",
    "direct_bias",
    "direct_weights",
    "is_product",
    "matrix_product",
    "panel_width",
    "patch_geometry",
    "patch_matrix",
    "pooled_convolution",
    "pooling",
    "transposed_convolution",
    "transposed_weights",
]
