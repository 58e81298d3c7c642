"""Binds pools, and the adjoint of the patch matrix."""

from __future__ import annotations

from math import prod

from irconv.backends.numba_cpu import steps
from irconv.backends.numba_cpu.binders.convolution import LARGEST_RANK, pool_window
from irconv.backends.numba_cpu.binders.kind import (
    Binder,
    float_type,
    operand,
    result_type,
    shape_of,
    source,
)
from irconv.backends.numba_cpu.launch import Launch, engine
from irconv.backends.numba_cpu.pooling import col2im
from irconv.graph import Node
from irconv.op import Op
from irconv.ops.im2col import Col2Im
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool


def bind_pool(node: Node, threads: int) -> list[Launch] | None:
    """Max and average pools, global ones too; not with indices."""
    x, dtype = operand(node, 0), float_type(node)
    images, channels, *image = shape_of(x)
    if dtype is None or len(node.results) > 1 or len(image) > LARGEST_RANK:
        return None
    window = pool_window(node.op, tuple(image))
    step = steps.pooling(window, tuple(image), images, channels, dtype, threads)
    return [engine(step, X=source(x), Y=node.result)]


def bind_col2im(node: Node, threads: int) -> list[Launch] | None:
    """Col2Im."""
    op, x, dtype = node.op, operand(node, 0), result_type(node)
    assert isinstance(op, Col2Im)
    kernel = node.constant(2)
    images, channels, *image = shape_of(node.result)
    if dtype is None or kernel is None or len(image) > LARGEST_RANK:
        return None
    window = op.window([int(k) for k in kernel])
    windows = tuple(int(str(n)) for n in window.out_sizes(image))
    sizes = {
        "IMAGES": images,
        "GROUPS": 1,
        "ROWS": channels,
        "Y_IMAGE": channels * prod(image),
    }
    sizes |= steps.axes("IN", windows, 1) | steps.axes("OUT", tuple(image), 1)
    sizes |= steps.axes("KERNEL", window.kernel_shape, 1)
    sizes |= steps.axes("STRIDE", window.strides, 1)
    sizes |= steps.axes("DILATION", window.dilations, 1)
    sizes |= steps.axes("PAD", window.pads[: window.rank], 0)
    step = steps.Step("col2im", dtype, threads, 0, sizes, kernel=col2im)
    return [engine(step, X=source(x), Y=node.result)]


BINDERS: dict[type[Op], Binder] = {
    MaxPool: bind_pool,
    AveragePool: bind_pool,
    GlobalAveragePool: bind_pool,
    GlobalMaxPool: bind_pool,
    Col2Im: bind_col2im,
}
