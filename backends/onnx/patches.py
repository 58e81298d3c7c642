"""The patch matrix and its adjoint in standard operators, axis by axis."""

from __future__ import annotations

from math import prod

import numpy as np

from irconv.backends.onnx.records import Emitter, Site
from irconv.dim import known
from irconv.errors import ExportError
from irconv.ops.im2col import Col2Im, Im2Col
from irconv.types import TensorType
from irconv.window import Windowed


def im2col(out: Emitter, site: Site) -> tuple[str, ...]:
    """Im2Col => Pad; for each axis a strided Slice for each tap and a Concat; Reshape.

    Axis by axis takes kh + kw slices instead of kh * kw. Measured in onnxruntime 1.31 at 224x224
    and 64 channels, this and one Slice a tap take 20 ms, one Gather by a constant index 79 ms, and
    two Gathers, one for each axis, 99 ms.
    """
    op, x = site.op, site.type(0)
    assert isinstance(op, Im2Col)
    spatial = [known(d) for d in x.shape[2:]]
    sizes = [known(d) for d in op.out_sizes(spatial)]
    y = out.pad(site.operand(0), ((0, 0), (0, 0), *op.pad_pairs), x)
    stacked = 0
    # from the last axis to the first: each puts its taps in front of those of the axes after it
    for axis in reversed(range(op.rank)):
        place = 2 + stacked + axis
        kernel, size = op.kernel_shape[axis], sizes[axis]
        stride, dilation = op.strides[axis], op.dilations[axis]
        if kernel == 1 and stride == 1:
            continue
        starts = [tap * dilation for tap in range(kernel)]
        taps = [out.cut(y, place, s, s + (size - 1) * stride + 1, stride) for s in starts]
        y = taps[0]
        if kernel > 1:
            y = out.add("Concat", [out.unsqueeze(tap, 2) for tap in taps], {"axis": 2})
            stacked += 1
    channels = known(x.shape[1])
    depth = channels // op.group * prod(op.kernel_shape)
    return (out.reshape(y, (0, op.group, depth, prod(sizes))),)


def col2im(out: Emitter, site: Site) -> tuple[str, ...]:
    """Col2Im as it stands from opset 18 on; else Pad and Add, axis by axis.

    onnxruntime 1.31 gives wrong numbers for one or three dimensions with dilations
    (microsoft/onnxruntime#18156).
    """
    op = site.op
    assert isinstance(op, Col2Im)
    image, block = site.array(1), site.array(2)
    if image is None or block is None:
        raise ExportError("Col2Im needs constant sizes")
    window = op.window([int(k) for k in block])
    if out.opset >= 18 and (window.rank == 2 or max(window.dilations, default=1) == 1):
        # onnxruntime wants no attribute missing
        attributes = {key: getattr(window, key) for key in ("strides", "pads", "dilations")}
        return (out.add("Col2Im", site.operands, attributes),)
    sizes = tuple(int(d) for d in image)
    windows = tuple(known(d) for d in window.out_sizes(sizes))
    channels = known(site.result().shape[1])
    y = out.reshape(site.operand(0), (0, channels, *window.kernel_shape, *windows))
    for axis in range(window.rank):
        shape = (channels, *window.kernel_shape[axis:], *sizes[:axis], *windows[axis:])
        y = _overlapped(out, y, site.type(0), window, axis, shape, sizes[axis])
    return (y,)


def _overlapped(
    out: Emitter,
    y: str,
    t: TensorType,
    window: Windowed,
    axis: int,
    shape: tuple[int, ...],
    size: int,
) -> str:
    """The taps of `axis`, which stand at axis 2, added where they belong among `size` pixels.

    y is [N, *shape] = [N, C, *taps of this and later axes, *finished axes, *windows of this and
    later].
    """
    stride, dilation, begin = window.strides[axis], window.dilations[axis], window.pads[axis]
    place = 2 + window.rank
    length = shape[place - 1] * stride
    y = _spread(out, y, t, shape, place, stride)
    total = ""
    for tap in range(window.kernel_shape[axis]):
        part = out.add("Gather", [y, out.constant(np.array(tap, np.int64), "tap")], {"axis": 2})
        part = _placed(
            out, part, t, (len(shape), place - 1), tap * dilation - begin, (length, size)
        )
        total = out.add("Add", [total, part]) if total else part
    return total


def _spread(
    out: Emitter, y: str, t: TensorType, shape: tuple[int, ...], place: int, stride: int
) -> str:
    """Zeros between the pixels of axis `place`: each becomes `stride` pixels, itself and zeros."""
    if stride == 1:
        return y
    pairs = [(0, 0)] * (len(shape) + 2)
    pairs[place + 1] = (0, stride - 1)
    wide = out.pad(out.unsqueeze(y, place + 1), pairs, t)
    return out.reshape(wide, (0, *shape[: place - 1], shape[place - 1] * stride, *shape[place:]))


def _placed(
    out: Emitter, y: str, t: TensorType, where: tuple[int, int], first: int, sizes: tuple[int, int]
) -> str:
    """`sizes[0]` pixels become `sizes[1]`: the first comes to place `first`, the rest is cut.

    `where` is the rank of y and the axis of the pixels.
    """
    (rank, axis), (length, size) = where, sizes
    start = min(max(0, -first), length)
    end = max(start, min(length, size - first))
    if (start, end) != (0, length):
        y = out.cut(y, axis, start, end)
    begin = min(max(first, 0), size)
    pairs = [(0, 0)] * rank
    pairs[axis] = (begin, size - begin - (end - start))
    return out.pad(y, pairs, t)
