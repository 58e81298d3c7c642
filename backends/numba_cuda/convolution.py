"""Direct convolution with bias, residual, activation and pool in one kernel, and its transpose."""

from __future__ import annotations

from math import prod
from typing import Any

from irconv.backends.numba_cuda import slots
from irconv.backends.numba_cuda.activations import activate, activation_code
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
from irconv.backends.numba_cuda.slots import (
    CHANNELS,
    CODE,
    COUNT,
    DILATION,
    HAS_BIAS,
    HAS_RESIDUAL,
    IN,
    KERNEL,
    MEMBERS,
    OUT,
    PAD,
    POOL,
    POOL_KIND,
    POOLED,
    STRIDE,
)
from irconv.backends.numba_cuda.windows import (
    MOST_AXES,
    counted_padding,
    in_image,
    pool_finish,
    pool_join,
    pool_pixel,
    pool_slots,
    pool_start,
    three,
    window_slots,
)
from irconv.graph import Node
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv
from irconv.ops.winograd import WinogradConv


@cuda.jit
def convolve(y: Any, x: Any, w: Any, b: Any, r: Any, g: Any, p: Any) -> None:
    """y = pool(activation(conv(x, w) + b + r)); a thread computes whole elements after the pool.

    x [N, C, *IN], w [O, C/group, *KERNEL], b [O], r [N, O, *OUT], y [N, O, *POOLED].
    """
    pixels = g[POOLED] * g[POOLED + 1] * g[POOLED + 2]
    taps = g[POOL] * g[POOL + 1] * g[POOL + 2]
    kind = g[POOL_KIND]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        plane = i // pixels
        total = pool_start(kind, p)
        count = 0
        for tap in range(taps):
            c0, c1, c2 = pool_pixel(g, i % pixels, tap)
            if in_image(g, c0, c1, c2):
                total = pool_join(kind, total, _before_pool(x, w, b, r, g, p, plane, c0, c1, c2), p)
                count += 1
            else:
                count += counted_padding(g, kind, c0, c1, c2)
        y[i] = pool_finish(kind, total, count, p)


@cuda.jit(device=True)
def _before_pool(
    x: Any, w: Any, b: Any, r: Any, g: Any, p: Any, plane: Any, c0: Any, c1: Any, c2: Any
) -> Any:
    """One element before the pool; plane numbers (image, channel)."""
    channel = plane % g[slots.OUT_CHANNELS]
    v = _convolved(x, w, g, p, plane // g[slots.OUT_CHANNELS], channel, c0, c1, c2)
    if g[HAS_BIAS]:
        v += b[channel]
    if g[HAS_RESIDUAL]:
        v += r[((plane * g[OUT] + c0) * g[OUT + 1] + c1) * g[OUT + 2] + c2]
    return activate(g[CODE], v, p)


@cuda.jit(device=True)
def _convolved(
    x: Any, w: Any, g: Any, p: Any, image: Any, channel: Any, c0: Any, c1: Any, c2: Any
) -> Any:
    """The sum over channels and taps at one pixel; a line is the taps along the last axis."""
    n0, n1, n2 = g[IN], g[IN + 1], g[IN + 2]
    k1, k2 = g[KERNEL + 1], g[KERNEL + 2]
    d0, d1, d2 = g[DILATION], g[DILATION + 1], g[DILATION + 2]
    first0 = c0 * g[STRIDE] - g[PAD]
    first1 = c1 * g[STRIDE + 1] - g[PAD + 1]
    first2 = c2 * g[STRIDE + 2] - g[PAD + 2]
    planes, group = g[CHANNELS], channel // g[MEMBERS]
    lines = g[KERNEL] * k1
    start = (image * (g[slots.OUT_CHANNELS] // g[MEMBERS]) + group) * planes
    total = p.dtype.type(0)
    for line in range(planes * lines):
        i0 = first0 + line % lines // k1 * d0
        i1 = first1 + line % k1 * d1
        if 0 <= i0 < n0 and 0 <= i1 < n1:
            row = (((start + line // lines) * n0 + i0) * n1 + i1) * n2
            tap = (channel * planes * lines + line) * k2
            for t in range(k2):
                i2 = first2 + t * d2
                if 0 <= i2 < n2:
                    total += x[row + i2] * w[tap + t]
    return total


@cuda.jit
def convolve_transposed(y: Any, x: Any, w: Any, b: Any, g: Any, p: Any) -> None:
    """y = transposed convolution: each result pixel gathers the pixels whose windows cover it.

    x [N, C, *IN], w [C, O/group, *KERNEL], b [O], y [N, O, *OUT].
    """
    n0, n1, n2 = g[OUT], g[OUT + 1], g[OUT + 2]
    pixels = n0 * n1 * n2
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        plane = i // pixels
        channel = plane % g[slots.OUT_CHANNELS]
        v = p.dtype.type(0)
        taps = g[KERNEL] * g[KERNEL + 1] * g[KERNEL + 2]
        for tap in range(taps):
            read = covered_pixel(g, i // (n1 * n2) % n0, i // n2 % n1, i % n2, tap)
            if read >= 0:
                v += _one_tap(x, w, g, p, plane, read, tap)
        if g[HAS_BIAS]:
            v += b[channel]
        y[i] = v


@cuda.jit(device=True)
def _one_tap(x: Any, w: Any, g: Any, p: Any, plane: Any, pixel: Any, tap: Any) -> Any:
    """The sum over the channels of one group, of an operand's pixel through one tap."""
    channel = plane % g[slots.OUT_CHANNELS]
    group, member = channel // g[MEMBERS], channel % g[MEMBERS]
    groups, channels = g[slots.OUT_CHANNELS] // g[MEMBERS], g[CHANNELS]
    taps = g[KERNEL] * g[KERNEL + 1] * g[KERNEL + 2]
    pixels = g[IN] * g[IN + 1] * g[IN + 2]
    image = plane // g[slots.OUT_CHANNELS]
    total = p.dtype.type(0)
    for c in range(channels):
        row = (group * channels + c) * g[MEMBERS] + member
        source = (image * groups + group) * channels + c
        total += x[source * pixels + pixel] * w[row * taps + tap]
    return total


@cuda.jit(device=True)
def covered_pixel(g: Any, j0: Any, j1: Any, j2: Any, tap: Any) -> Any:
    """The number of the pixel of IN whose window's tap lies on pixel j of OUT, or -1."""
    rest = tap // g[KERNEL + 2]
    a0 = j0 + g[PAD] - rest // g[KERNEL + 1] * g[DILATION]
    a1 = j1 + g[PAD + 1] - rest % g[KERNEL + 1] * g[DILATION + 1]
    a2 = j2 + g[PAD + 2] - tap % g[KERNEL + 2] * g[DILATION + 2]
    if a0 < 0 or a1 < 0 or a2 < 0:
        return -1
    s0, s1, s2 = g[STRIDE], g[STRIDE + 1], g[STRIDE + 2]
    if a0 % s0 or a1 % s1 or a2 % s2:
        return -1
    i0, i1, i2 = a0 // s0, a1 // s1, a2 // s2
    if i0 >= g[IN] or i1 >= g[IN + 1] or i2 >= g[IN + 2]:
        return -1
    return (i0 * g[IN + 1] + i1) * g[IN + 2] + i2


def bind_convolution(node: Node) -> Bound:
    """Conv and FusedConv: one launch."""
    op = node.op
    assert isinstance(op, Conv | FusedConv)
    fused = op if isinstance(op, FusedConv) else None
    code = activation_code(fused.activation if fused else None)
    reason = not_computed(node)
    if reason is not None or code is None or op.rank > MOST_AXES:
        return reason or f"no kernel for this activation or for {op.rank} axes"
    x, w = required(node, 0), required(node, 1)
    image = sizes(x)[2:]
    out_channels, per_group, *_ = sizes(w)
    geometry = op.conv_geometry(x.tensor_type, out_channels, op.group)
    bias, residual = node.operand(2), node.operand(3)
    numbers: Numbers = {
        COUNT: prod(sizes(node.result)),
        CODE: code[0],
        HAS_BIAS: int(bias is not None),
        HAS_RESIDUAL: int(residual is not None),
        CHANNELS: per_group,
        MEMBERS: out_channels // op.group,
        slots.OUT_CHANNELS: out_channels,
        IN: three(image, 1),
        **window_slots(op),
        **pool_slots(fused.pool if fused else None, geometry.out),
    }
    row = number_row(numbers, slots.WINDOW_SLOTS)
    return [float_launch(convolve, (node.result, x, w, bias, residual), row, code[1])]


def bind_transposed(node: Node) -> Bound:
    """ConvTranspose: one launch."""
    op = node.op
    assert isinstance(op, ConvTranspose)
    reason = not_computed(node)
    if reason is not None or op.rank > MOST_AXES:
        return reason or f"no kernel for {op.rank} axes"
    x, w, bias = required(node, 0), required(node, 1), node.operand(2)
    _, channels, *image = sizes(x)
    _, members, *_ = sizes(w)
    numbers: Numbers = {
        COUNT: prod(sizes(node.result)),
        HAS_BIAS: int(bias is not None),
        CHANNELS: channels // op.group,
        MEMBERS: members,
        slots.OUT_CHANNELS: members * op.group,
        IN: three(image, 1),
        OUT: three(sizes(node.result)[2:], 1),
        **window_slots(op),
    }
    row = number_row(numbers, slots.WINDOW_SLOTS)
    return [float_launch(convolve_transposed, (node.result, x, w, bias), row)]


BINDERS: dict[type, Binder] = {
    Conv: bind_convolution,
    FusedConv: bind_convolution,
    WinogradConv: bind_convolution,
    ConvTranspose: bind_transposed,
}
