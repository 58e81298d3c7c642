"""Elements moved, not computed: transposes, parts, paddings, rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from irconv.backends.numba_cuda.broadcasts import broadcast_strides, place, strides_of, table
from irconv.backends.numba_cuda.device import cuda
from irconv.backends.numba_cuda.launch import (
    Argument,
    Binder,
    Bound,
    Launch,
    count_of,
    ints,
    parameter_row,
    required,
    sizes,
)
from irconv.backends.numba_cuda.slots import (
    AFTER,
    COUNT,
    LENGTH,
    MOVE_RANK,
    MOVE_TABLE,
    X_BASE,
    Y_BASE,
)
from irconv.geometry import Ints
from irconv.graph import Node, Value
from irconv.ops.fill import Expand
from irconv.ops.rearrange import ChannelShuffle, Concat, Gather, Split
from irconv.ops.shape import Transpose
from irconv.ops.slices import Pad, Slice
from irconv.types import AnyDType

_PLACES = 3  # slot: how many indices a Gather has
_WIDTHS = (1, 2, 4, 8)  # bytes that kernels move as one unsigned integer
_PARAMETER = np.dtype(np.float32)
_FAULT = Argument(None, np.dtype(np.int32), fault=True)


@cuda.jit
def move(y: Any, x: Any, g: Any, p: Any) -> None:
    """Element i of a box is read and written at its own places."""
    rank = g[MOVE_RANK]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        target = g[Y_BASE] + place(i, g, MOVE_TABLE, rank, 0)
        y[target] = x[g[X_BASE] + place(i, g, MOVE_TABLE, rank, 1)]


@cuda.jit
def clear(y: Any, g: Any, p: Any) -> None:
    """y = 0."""
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        y[i] = 0


@cuda.jit
def gather(y: Any, x: Any, indices: Any, fault: Any, g: Any, p: Any) -> None:
    """x [before, LENGTH, AFTER] -> y [before, places, AFTER]; a wrong index is reported."""
    length, after, places = g[LENGTH], g[AFTER], g[_PLACES]
    for i in range(cuda.grid(1), g[COUNT], cuda.gridsize(1)):
        index = indices[i // after % places]
        if index < 0:
            index += length
        if 0 <= index < length:
            y[i] = x[(i // after // places * length + index) * after + i % after]
        else:
            fault[0] = 1


def _bits(value: Value) -> AnyDType:
    return np.dtype(f"u{value.tensor_type.dtype.itemsize}")


def not_moved(node: Node) -> str | None:
    """Why no kernel moves elements of this node's size, or None."""
    width = node.results[0].tensor_type.dtype.itemsize
    return None if width in _WIDTHS else f"no kernel moves elements of {width} bytes"


def _bit_launch(kernel: Any, values: Sequence[Value], numbers: Sequence[int]) -> Launch:
    arguments = tuple(Argument(value, _bits(value)) for value in values)
    return Launch(kernel, arguments, ints(numbers), parameter_row({}), _PARAMETER)


# base and strides of a box within a buffer
_Places = tuple[int, Ints]


def _moved(y: Value, x: Value, box: Ints, into: _Places, out_of: _Places) -> Launch:
    rank, numbers = table(box, into[1], out_of[1])
    return _bit_launch(move, (y, x), (prod(box), into[0], out_of[0], rank, *numbers))


def _whole(value: Value) -> _Places:
    return 0, strides_of(sizes(value))


def bind_views(node: Node) -> Bound:
    """Transpose, Slice, Split: the op itself tells base and strides, of an array never touched."""
    arrays = [node.constant(i) for i in range(len(node.operands))]
    absent = any(
        v is not None and a is None for v, a in zip(node.operands[1:], arrays[1:], strict=True)
    )
    if absent or not_moved(node) is not None:
        return not_moved(node) or "where to cut is not known at compile time"
    x = required(node, 0)
    probe = np.empty(sizes(x), np.int8)
    parts = node.op.run([probe, *arrays[1:]])
    start = probe.ctypes.data
    return [
        _moved(y, x, sizes(y), _whole(y), (part.ctypes.data - start, part.strides))
        for y, part in zip(node.results, parts, strict=True)
        if part.size
    ]


def bind_channel_shuffle(node: Node) -> Bound:
    """ChannelShuffle: one launch that reads the channels in their new order."""
    op = node.op
    assert isinstance(op, ChannelShuffle)
    reason = not_moved(node)
    if reason is not None:
        return reason
    images, channels, *spatial = sizes(node.result)
    each, pixels = channels // op.group, prod(spatial)
    box = (images, each, op.group, pixels)
    strides = (channels * pixels, pixels, each * pixels, 1)
    return [_moved(node.result, required(node, 0), box, (0, strides_of(box)), (0, strides))]


def bind_concat(node: Node) -> Bound:
    """Concat: one launch for each operand."""
    op = node.op
    assert isinstance(op, Concat)
    reason = not_moved(node)
    if reason is not None:
        return reason
    y = node.result
    strides = strides_of(sizes(y))
    axis, begin, launches = op.axis % len(strides), 0, []
    for index in range(len(node.operands)):
        x = required(node, index)
        base = begin * strides[axis]
        launches.append(_moved(y, x, sizes(x), (base, strides), _whole(x)))
        begin += sizes(x)[axis]
    return launches


def bind_pad(node: Node) -> Bound:
    """Pad with a constant: the result is filled, then the operand (or what is left of it) moved."""
    op = node.op
    assert isinstance(op, Pad)
    pads, axes = node.constant(1), node.constant(3)
    unknown = pads is None or (node.operand(3) is not None and axes is None)
    if not_moved(node) is not None or op.mode != "constant" or unknown:
        return not_moved(node) or "no kernel for this mode, or for pads computed at run time"
    y, x, value = node.result, required(node, 0), node.operand(2)
    shape, strides, own = sizes(x), strides_of(sizes(y)), strides_of(sizes(x))
    pairs = op._pairs([None, pads, None, axes], len(shape))
    cuts = [(max(0, -b), max(0, -e)) for b, e in pairs]
    box = tuple(size - b - e for size, (b, e) in zip(shape, cuts, strict=True))
    into = sum(max(0, b) * s for (b, _), s in zip(pairs, strides, strict=True))
    out_of = sum(b * s for (b, _), s in zip(cuts, own, strict=True))
    if value is None:
        fill = _bit_launch(clear, (y,), (count_of(y),))
    else:
        fill = _moved(y, value, (count_of(y),), (0, (1,)), (0, (0,)))
    return [fill, _moved(y, x, box, (into, strides), (out_of, own))]


def bind_gather(node: Node) -> Bound:
    """Gather: one launch, which reports an index out of range."""
    op = node.op
    assert isinstance(op, Gather)
    reason = not_moved(node)
    if reason is not None:
        return reason
    y, x, indices = node.result, required(node, 0), required(node, 1)
    shape = sizes(x)
    axis = op.axis % len(shape)
    numbers = (count_of(y), shape[axis], prod(shape[axis + 1 :]), count_of(indices))
    read = (
        Argument(y, _bits(y)),
        Argument(x, _bits(x)),
        Argument(indices, indices.tensor_type.dtype),
    )
    return [Launch(gather, (*read, _FAULT), ints(numbers), parameter_row({}), _PARAMETER)]


def bind_expand(node: Node) -> Bound:
    """Expand: one launch that reads each element as often as it occurs."""
    reason = not_moved(node)
    if reason is not None:
        return reason
    y, x = node.result, required(node, 0)
    shape = sizes(y)
    return [_moved(y, x, shape, _whole(y), (0, broadcast_strides(sizes(x), shape)))]


BINDERS: dict[type, Binder] = {
    Transpose: bind_views,
    Slice: bind_views,
    Split: bind_views,
    ChannelShuffle: bind_channel_shuffle,
    Concat: bind_concat,
    Pad: bind_pad,
    Gather: bind_gather,
    Expand: bind_expand,
}
