"""Ops that only move elements: run on the elements' own numbers, they say what moves where."""

from __future__ import annotations

from typing import Any

import numpy as np

from irconv.errors import UsageError, printable
from irconv.graph import Node, Value
from irconv.interpret import content
from irconv.ops.im2col import Im2Col
from irconv.ops.rearrange import (
    ChannelShuffle,
    Concat,
    DepthToSpace,
    Gather,
    SpaceToDepth,
    Split,
)
from irconv.ops.shape import Flatten, Reshape, Squeeze, Transpose, Unsqueeze
from irconv.ops.slices import Pad, Slice
from irconv.types import Array

RESHAPES = (Reshape, Flatten, Squeeze, Unsqueeze)
MOVES = (
    Concat,
    Transpose,
    ChannelShuffle,
    DepthToSpace,
    SpaceToDepth,
    Im2Col,
    Slice,
    Split,
    Pad,
    Gather,
)


def shape_of(node: Node, index: int) -> tuple[int, ...]:
    """The shape of operand `index`, all sizes known."""
    operand = node.operand(index)
    assert operand is not None
    return known_shape(operand)


def known_shape(value: Value) -> tuple[int, ...]:
    """The shape of `value`; raises UsageError where a size is symbolic."""
    shape = value.shape
    if not all(isinstance(size, int) for size in shape):
        raise UsageError(
            "a receptive field needs known sizes",
            where=f"%{printable(value.name)}",
            got=value.type,
        )
    return tuple(int(size) for size in shape if isinstance(size, int))


def moved_numbers(node: Node) -> tuple[tuple[Array, ...], dict[int, int]]:
    """The op itself, run on the numbers of its operands' elements, says what moves where.

    The results' elements are numbers, 0 where an element is no operand's (padding); of each operand
    that holds elements, its index and the number of its first element.
    """
    firsts: dict[int, int] = {}
    arrays: list[Array | None] = [constant(node, i) for i in range(len(node.operands))]
    number = 1
    for i in (i for i in range(len(node.operands)) if _is_data(node, i)):
        count = int(np.prod(shape_of(node, i)))
        arrays[i] = np.arange(number, number + count).reshape(shape_of(node, i))
        firsts[i] = number
        number += count
    if isinstance(node.op, Pad) and len(arrays) > 2:
        arrays[2] = np.zeros((), np.int64)
    return node.op.run(arrays), firsts


def _is_data(node: Node, index: int) -> bool:
    """Whether operand `index` holds the elements that move, not numbers that say whither."""
    return isinstance(node.op, Concat) or index == 0


def constant(node: Node, index: int) -> Any:
    """The array of an operand that says whither, None for one that is absent or holds elements."""
    operand = node.operand(index)
    if operand is None or _is_data(node, index):
        return None
    if not operand.is_parameter:
        raise UsageError(
            f"{node.op.name} moves elements by numbers that are computed",
            where=f"%{printable(node.name)}",
            hint='fold them first: ic.lower(graph, "fold")',
        )
    return content(operand)
