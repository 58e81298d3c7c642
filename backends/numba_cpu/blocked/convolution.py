"""Launches of direct convolutions of values in blocks."""

from __future__ import annotations

from irconv.backends.numba_cpu.blocked.convolve import convolve
from irconv.backends.numba_cpu.blocked.convolve_row import Operands, convolve_row
from irconv.backends.numba_cpu.blocked.depthwise import depthwise_convolution
from irconv.backends.numba_cpu.blocked.grouped import grouped_convolution
from irconv.backends.numba_cpu.blocked.halo import clear_halo
from irconv.backends.numba_cpu.blocked.launches import Blocked
from irconv.backends.numba_cpu.blocked.layer import Layer, of_two_axes
from irconv.backends.numba_cpu.blocked.pooled import pooled_convolution
from irconv.backends.numba_cpu.blocked.preactivation import Preactivation, mapped_convolution
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.step import NOTHING, Epilogue, PoolWindow
from irconv.geometry import ConvGeometry
from irconv.types import Array


def convolution(
    x: Blocked,
    y: Blocked,
    geometry: ConvGeometry,
    weights: Array,
    bias: Array | None = None,
    residual: Blocked | None = None,
    ending: Epilogue = NOTHING,
    parts: int = 1,
    before: Preactivation | None = None,
    pool: PoolWindow | None = None,
) -> list[Launch] | None:
    """y = pool(activation(conv(x, weights) + bias + residual)), and the halo of y.

    `weights` are float32 `[out_channels, in_channels / group, *kernel]`, of one or two axes;
    `parts` is the most threads that will run it. The channels of x may have any order. None where
    no kernel does: the halo of x must hold the padding, y and the residual have blocks of one
    vector, and their channels lie in order (where each is by itself: as those of x).

    `before` maps x on the way; only 1x1 kernels without padding, groups and pool take it. What
    stands before the pool never exists as a whole; groups must be whole blocks.
    """
    geometry = of_two_axes(geometry)
    layer = Layer(
        geometry, x.storage, y.storage, residual.storage if residual is not None else None, ending
    )
    if not layer.is_possible():
        return None
    operands = Operands(x, y, weights, bias, residual)
    if before is not None:
        if not layer.is_pointwise() or pool is not None:
            return None
        return mapped_convolution(layer, operands, before, parts)
    if pool is not None:
        whole = layer.has_whole_groups() and not layer.is_depthwise()
        return pooled_convolution(layer, operands, pool, parts) if whole else None
    if layer.is_depthwise():
        return depthwise_convolution(x, y, geometry, weights, bias, residual, ending)
    if not layer.has_whole_groups():
        flat = layer.is_flat()
        return grouped_convolution(
            x, y, geometry, weights, bias, residual, ending, parts, flat=flat
        )
    row = convolve_row(layer, layer.tiling(parts), operands, parts)
    return [*clear_halo(y), row.launch("convolve_blocks", convolve, ending.activation)]
