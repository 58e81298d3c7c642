"""The patch matrix of a convolution and its adjoint, one element a thread."""

from __future__ import annotations

from math import prod
from typing import Any

from irconv.backends.numba_cuda import slots
from irconv.backends.numba_cuda.convolution import covered_pixel
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.launch import (
    Binder,
    Bound,
    Numbers,
    float_launch,
    not_computed,
    number_row,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import COUNT, DILATION, IN, KERNEL, OUT, PAD, STRIDE
from irconv.backends.numba_cuda.windows import MOST_AXES, three, window_slots
from irconv.dim import known
from irconv.graph import Node
from irconv.ops.im2col import Col2Im, Im2Col


@cuda.jit
def im2col(y: Any, x: Any, g: Any, p: Any) -> None:
    """x [N, C, *IN] -> y [N, group, C/group * taps, pixels of OUT], zeros in the padding."""
    n0, n1, n2 = g[IN], g[IN + 1], g[IN + 2]
    o1, o2 = g[OUT + 1], g[OUT + 2]
    pixels = g[OUT] * o1 * o2
    taps = g[KERNEL] * g[KERNEL + 1] * g[KERNEL + 2]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        pixel, tap = i % pixels, i // pixels % taps
        plane = i // pixels // taps
        rest = tap // g[KERNEL + 2]
        i0 = pixel // (o1 * o2) * g[STRIDE] - g[PAD] + rest // g[KERNEL + 1] * g[DILATION]
        i1 = pixel // o2 % o1 * g[STRIDE + 1] - g[PAD + 1] + rest % g[KERNEL + 1] * g[DILATION + 1]
        i2 = pixel % o2 * g[STRIDE + 2] - g[PAD + 2] + tap % g[KERNEL + 2] * g[DILATION + 2]
        if 0 <= i0 < n0 and 0 <= i1 < n1 and 0 <= i2 < n2:
            y[i] = x[((plane * n0 + i0) * n1 + i1) * n2 + i2]
        else:
            y[i] = p.dtype.type(0)


@cuda.jit
def col2im(y: Any, x: Any, g: Any, p: Any) -> None:
    """x [N, C * taps, pixels of IN] summed into y [N, C, *OUT]."""
    n0, n1, n2 = g[OUT], g[OUT + 1], g[OUT + 2]
    windows = g[IN] * g[IN + 1] * g[IN + 2]
    taps = g[KERNEL] * g[KERNEL + 1] * g[KERNEL + 2]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        plane = i // (n0 * n1 * n2)
        total = p.dtype.type(0)
        for tap in range(taps):
            read = covered_pixel(g, i // (n1 * n2) % n0, i // n2 % n1, i % n2, tap)
            if read >= 0:
                total += x[(plane * taps + tap) * windows + read]
        y[i] = total


def bind_im2col(node: Node) -> Bound:
    """Im2Col: one launch."""
    op = node.op
    assert isinstance(op, Im2Col)
    reason = not_computed(node)
    if reason is not None or op.rank > MOST_AXES:
        return reason or f"no kernel for {op.rank} axes"
    x = required(node, 0)
    image = sizes(x)[2:]
    numbers: Numbers = {
        COUNT: prod(sizes(node.result)),
        IN: three(image, 1),
        OUT: three([known(size) for size in op.out_sizes(image)], 1),
        **window_slots(op),
    }
    return [float_launch(im2col, (node.result, x), number_row(numbers, slots.WINDOW_SLOTS))]


def bind_col2im(node: Node) -> Bound:
    """Col2Im: one launch."""
    op = node.op
    assert isinstance(op, Col2Im)
    x, block = required(node, 0), node.constant(2)
    reason = not_computed(node, (x, node.result))
    if reason is not None or block is None or block.size > MOST_AXES:
        return reason or "the block is no constant of one to three sizes"
    window, image = op.window(block.tolist()), sizes(node.result)[2:]
    numbers: Numbers = {
        COUNT: prod(sizes(node.result)),
        IN: three([known(size) for size in window.out_sizes(image)], 1),
        OUT: three(image, 1),
        **window_slots(window),
    }
    return [float_launch(col2im, (node.result, x), number_row(numbers, slots.WINDOW_SLOTS))]


BINDERS: dict[type, Binder] = {Im2Col: bind_im2col, Col2Im: bind_col2im}
