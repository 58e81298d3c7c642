"""Binds ops that only move data, as strided copies."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from irconv.backends.numba_cpu.binders.kind import (
    Binder,
    merged,
    operand,
    shape_of,
    source,
    strides_of,
    word_type,
)
from irconv.backends.numba_cpu.launch import STATUS, Launch, plain
from irconv.backends.numba_cpu.movement import AXES, copy_strided, fill, gather
from irconv.backends.numba_cpu.views import VIEWS
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.fill import Expand, Tile
from irconv.ops.rearrange import (
    ChannelShuffle,
    Concat,
    DepthToSpace,
    Gather,
    SpaceToDepth,
    Split,
)
from irconv.ops.shape import Transpose
from irconv.ops.slices import Pad, Slice


def strided(
    y: Value,
    x: Value,
    sizes: Sequence[int],
    from_x: Sequence[int],
    to_y: Sequence[int],
    start_x: int = 0,
    start_y: int = 0,
) -> list[Launch] | None:
    """A copy of `sizes` elements between strides, from `start` elements on."""
    dtype = word_type(y)
    if prod(sizes) == 0:
        return []
    axes = merged(sizes, from_x, to_y, axes=AXES)
    if dtype is None or axes is None:
        return None
    numbers = (*axes[0], *axes[1], *axes[2])
    offsets = {1: start_y * dtype.itemsize, 2: start_x * dtype.itemsize}
    return [plain("copy", copy_strided, dtype, (y, source(x)), numbers, offsets)]


def bind_copy(node: Node, threads: int) -> list[Launch] | None:
    """A view that must be a copy: its operand's buffer belongs to somebody else."""
    count = prod(shape_of(node.result))
    return strided(node.result, operand(node, 0), [count], [1], [1])


def bind_transpose(node: Node, threads: int) -> list[Launch] | None:
    """Transpose."""
    op, x = node.op, operand(node, 0)
    assert isinstance(op, Transpose)
    perm = op.perm or tuple(range(len(x.shape)))[::-1]
    steps, out = strides_of(shape_of(x)), shape_of(node.result)
    return strided(node.result, x, out, [steps[a] for a in perm], strides_of(out))


def bind_concat(node: Node, threads: int) -> list[Launch] | None:
    """Concat: one copy for each operand."""
    op, out = node.op, shape_of(node.result)
    assert isinstance(op, Concat)
    axis = op.axis % len(out)
    inner = prod(out[axis + 1 :])
    launches: list[Launch] = []
    place = 0
    for part in (v for v in node.operands if v is not None):
        run = shape_of(part)[axis] * inner
        sizes = (prod(out[:axis]), run)
        copies = strided(node.result, part, sizes, (run, 1), (out[axis] * inner, 1), 0, place)
        if copies is None:
            return None
        launches += copies
        place += run
    return launches


def bind_split(node: Node, threads: int) -> list[Launch] | None:
    """Split: one copy for each result."""
    op, x = node.op, operand(node, 0)
    assert isinstance(op, Split)
    shape = shape_of(x)
    axis = op.axis % len(shape)
    inner = prod(shape[axis + 1 :])
    launches: list[Launch] = []
    place = 0
    for part in node.results:
        run = shape_of(part)[axis] * inner
        sizes = (prod(shape[:axis]), run)
        copies = strided(part, x, sizes, (shape[axis] * inner, 1), (run, 1), place)
        if copies is None:
            return None
        launches += copies
        place += run
    return launches


def bind_slice(node: Node, threads: int) -> list[Launch] | None:
    """Slice with constant bounds."""
    x = operand(node, 0)
    if any(v is not None and v.array is None for v in node.operands[1:]):
        return None
    shape, out = shape_of(x), shape_of(node.result)
    starts, _, axes, by = (node.constant(i) for i in range(1, 5))
    assert starts is not None
    chosen = range(len(starts)) if axes is None else [int(a) % len(shape) for a in axes]
    steps, begin = strides_of(shape), 0
    for i, axis in enumerate(chosen):
        jump = 1 if by is None else int(by[i])
        start = int(starts[i]) + shape[axis] * (int(starts[i]) < 0)
        first = min(max(start, 0), shape[axis] - 1)  # the result has elements, so it is no limit
        begin += first * strides_of(shape)[axis]
        steps[axis] *= jump
    return strided(node.result, x, out, steps, strides_of(out), begin)


def bind_expand(node: Node, threads: int) -> list[Launch] | None:
    """Expand."""
    x, out = operand(node, 0), shape_of(node.result)
    shape = (1,) * (len(out) - len(x.shape)) + shape_of(x)
    steps = [0 if n == 1 else s for n, s in zip(shape, strides_of(shape), strict=True)]
    return strided(node.result, x, out, steps, strides_of(out))


def bind_tile(node: Node, threads: int) -> list[Launch] | None:
    """Tile: each axis becomes (repeats, size)."""
    x, out = operand(node, 0), shape_of(node.result)
    shape = shape_of(x)
    sizes, from_x, to_y = [], [], []
    for axis, size in enumerate(shape):
        sizes += [out[axis] // size if size else 0, size]
        from_x += [0, strides_of(shape)[axis]]
        to_y += [strides_of(out)[axis] * size, strides_of(out)[axis]]
    return strided(node.result, x, sizes, from_x, to_y)


def bind_pad(node: Node, threads: int) -> list[Launch] | None:
    """Pad with a constant; negative pads crop."""
    op, x, dtype = node.op, operand(node, 0), word_type(node.result)
    assert isinstance(op, Pad)
    pads, value, axes = (node.constant(i) for i in range(1, 4))
    constant = all(v is None or v.array is not None for v in node.operands[1:])
    is_float = node.result.tensor_type.dtype == dtype
    if pads is None or not constant or dtype is None or not is_float or op.mode != "constant":
        return None
    shape, out = shape_of(x), shape_of(node.result)
    chosen = range(len(shape)) if axes is None else [int(a) % len(shape) for a in axes]
    before = dict.fromkeys(range(len(shape)), 0)
    before |= {axis: int(pads[i]) for i, axis in enumerate(chosen)}
    # the part of x that stays, and where it begins in x and in the result
    first = [max(-before[a], 0) for a in range(len(shape))]
    target = [max(before[a], 0) for a in range(len(shape))]
    sizes = [max(min(shape[a] - first[a], out[a] - target[a]), 0) for a in range(len(shape))]
    start_x = sum(f * s for f, s in zip(first, strides_of(shape), strict=True))
    start_y = sum(t * s for t, s in zip(target, strides_of(out), strict=True))
    copies = strided(node.result, x, sizes, strides_of(shape), strides_of(out), start_x, start_y)
    if copies is None:
        return None
    number = 0.0 if value is None else float(np.asarray(value).reshape(()))
    return [plain("fill", fill, dtype, (node.result,), (prod(out), number)), *copies]


def bind_depth_to_space(node: Node, threads: int) -> list[Launch] | None:
    """DepthToSpace and SpaceToDepth: a transposition of blocks."""
    op, x = node.op, operand(node, 0)
    assert isinstance(op, DepthToSpace | SpaceToDepth)
    n, c, h, w = shape_of(x)
    b = op.blocksize
    if isinstance(op, SpaceToDepth):
        split = (n, c, h // b, b, w // b, b)
        perm = (0, 3, 5, 1, 2, 4) if op.mode == "DCR" else (0, 1, 3, 5, 2, 4)
    elif op.mode == "DCR":
        split, perm = (n, b, b, c // (b * b), h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, perm = (n, c // (b * b), b, b, h, w), (0, 1, 4, 2, 5, 3)
    steps = strides_of(split)
    sizes = [split[a] for a in perm]
    return strided(node.result, x, sizes, [steps[a] for a in perm], strides_of(sizes))


def bind_channel_shuffle(node: Node, threads: int) -> list[Launch] | None:
    """ChannelShuffle: a transposition of groups and the channels in them."""
    op = node.op
    assert isinstance(op, ChannelShuffle)
    images, channels, *spatial = shape_of(node.result)
    each, pixels = channels // op.group, prod(spatial)
    sizes = (images, each, op.group, pixels)
    from_x = (channels * pixels, pixels, each * pixels, 1)
    return strided(node.result, operand(node, 0), sizes, from_x, strides_of(sizes))


def bind_gather(node: Node, threads: int) -> list[Launch] | None:
    """Gather; an index that is out of range makes the call fail."""
    op, x, index = node.op, operand(node, 0), operand(node, 1)
    assert isinstance(op, Gather)
    dtype, shape = word_type(x), shape_of(x)
    if dtype is None:
        return None
    axis = op.axis % len(shape)
    count = prod(shape_of(index))
    wide = int(index.tensor_type.dtype == np.int64)
    numbers = (prod(shape[:axis]), shape[axis], count, prod(shape[axis + 1 :]), wide)
    return [
        plain("gather", gather, dtype, (node.result, source(x), source(index), STATUS), numbers)
    ]


BINDERS: dict[type[Op], Binder] = {
    **dict.fromkeys(VIEWS, bind_copy),
    Transpose: bind_transpose,
    Concat: bind_concat,
    Split: bind_split,
    Slice: bind_slice,
    Expand: bind_expand,
    Tile: bind_tile,
    Pad: bind_pad,
    DepthToSpace: bind_depth_to_space,
    SpaceToDepth: bind_depth_to_space,
    ChannelShuffle: bind_channel_shuffle,
    Gather: bind_gather,
}
