"""Which nodes work on blocks of channels, and how many zeros each value needs around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import networkx as nx
import numpy as np

from irconv.channels import channel_vector
from irconv.dim import known
from irconv.graph import Graph, Node, Value
from irconv.layout import Layout
from irconv.op import Op
from irconv.ops import activation as act
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add, Mul, Sum
from irconv.ops.fused import POOLS, Clamp, FusedConv
from irconv.ops.norm import LRN, BatchNormalization
from irconv.ops.pool import AveragePool, MaxPool
from irconv.ops.rearrange import ChannelShuffle, Concat
from irconv.ops.sparse import SparseMatMul
from irconv.ops.winograd import WinogradConv
from irconv.passes.matrix_images import image_place, is_on_images, matrix_refusal, window_of
from irconv.types import TensorType

# a value and the size of its blocks: a plain value may be packed in two ways
Key: TypeAlias = "tuple[str, int]"

LEAST_ROWS = 4  # output channels of a group
CONVOLUTIONS = (Conv, FusedConv)  # WinogradConv is a FusedConv
ACTIVATIONS: tuple[type[Op], ...] = (
    act.Relu,
    Clamp,
    act.LeakyRelu,
    act.ThresholdedRelu,
    act.Sigmoid,
    act.Tanh,
    act.HardSigmoid,
    act.HardSwish,
    act.Elu,
    act.Selu,
    act.Softplus,
    act.Softsign,
    act.Swish,
    act.Mish,
)
FOLLOWERS: tuple[type[Op], ...] = (
    *ACTIVATIONS,
    *POOLS,
    Add,
    Mul,
    Sum,
    BatchNormalization,
    LRN,
    Concat,
    ChannelShuffle,
)


def is_block_op(node: Node) -> bool:
    """Whether the op has kernels on blocks of channels."""
    return isinstance(node.op, CONVOLUTIONS) or type(node.op) in FOLLOWERS or is_on_images(node)


@dataclass(frozen=True)
class Choice:
    """The names of the nodes that will work on blocks, and the layouts of their values."""

    nodes: frozenset[str]
    layouts: Mapping[Key, Layout]


def choose_layouts(graph: Graph, block: int) -> Choice:
    """Which nodes of `graph` will work on blocks, and the layouts of their values.

    A value has as many zeros around it as any of its readers needs. All operands of a
    concatenation have those of its result, so that they can lie in it; so has that of a shuffle.
    """
    inside: set[Value] = set()
    halos: defaultdict[Key, list[tuple[int, ...]]] = defaultdict(list)
    same: nx.utils.UnionFind[Key] = nx.utils.UnionFind()
    for node in graph:
        if not _joins(node, inside, block):
            continue
        inside.add(node.result)
        result = (node.name, block)
        halos[result].append((0,) * (2 * (node.result.tensor_type.rank - 2)))
        for index, value in _read(node):
            key = (value.name, _block_of(node, index, inside, block))
            halos[key].append(_zeros_around(node, index, value))
            if isinstance(node.op, Concat | ChannelShuffle):
                same.union(result, key)
    whole: defaultdict[Key, list[tuple[int, ...]]] = defaultdict(list)
    for key, needs in halos.items():
        whole[same[key]] += needs
    merged = {key: tuple(map(max, *needs, needs[0])) for key, needs in whole.items()}
    layouts = {key: Layout(key[1], merged[same[key]]) for key in halos}
    return Choice(frozenset(value.name for value in inside), layouts)


def _joins(node: Node, inside: set[Value], block: int) -> bool:
    if not is_block_op(node) or refusal(node, block) is not None:
        return False
    return _is_dense(node) or any(v in inside for v in node.operands)


def _is_dense(node: Node) -> bool:
    """Whether it is a convolution with so much work that its operand is worth packing."""
    geometry = window_of(node)
    return geometry is not None and (geometry.group == 1 or geometry.in_channels != geometry.group)


def _read(node: Node) -> Iterator[tuple[int, Value]]:
    for index, value in enumerate(node.operands):
        if value is not None and not value.is_parameter and isinstance(value.type, TensorType):
            yield index, value


def _block_of(node: Node, index: int, inside: set[Value], block: int) -> int:
    """A picture of few channels keeps them side by side: its blocks are as small."""
    value = node.operands[index]
    assert value is not None
    channels = known(value.shape[1])
    geometry = window_of(node) if index == image_place(node) else None
    stem = geometry is not None and geometry.group == 1
    return channels if stem and value not in inside and channels < block else block


def block_of(node: Node, index: int, block: int) -> int:
    """The size of the blocks in which `node` reads an operand that is not in blocks yet."""
    return _block_of(node, index, set(), block)


def _zeros_around(node: Node, index: int, value: Value) -> tuple[int, ...]:
    """How far the windows of `node` reach out of the image, at begins and ends."""
    rank = value.tensor_type.rank - 2
    g = window_of(node) if index == image_place(node) else None
    if g is None:
        return (0,) * (2 * rank)
    begins = g.pads[:rank]
    ends = []
    for axis, out in enumerate(g.out):
        span = (g.kernel[axis] - 1) * g.dilations[axis] + 1
        last = (out - 1) * g.strides[axis] - begins[axis] + span
        ends.append(max(last - g.image[axis], 0))
    return (*begins, *ends)


def refusal(node: Node, block: int) -> str | None:
    """Why no kernel runs this node on blocks of channels, None where one does."""
    if len(node.results) != 1:
        return "it has more than one result"
    for value in (node.result, *(v for _, v in _read(node))):
        kind = value.type
        if not isinstance(kind, TensorType) or kind.rank not in (3, 4):
            return "not all that it reads and makes are images of one or two axes"
        if kind.dtype != np.float32:
            return "it is not of f32"
        if not kind.is_static or 0 in kind.shape:
            return "its sizes are not known"
    if isinstance(node.op, CONVOLUTIONS):
        return _convolution_refusal(node)
    if isinstance(node.op, SparseMatMul):
        return matrix_refusal(node, block) or _activation_refusal(node.op.activation)
    if isinstance(node.op, Concat):
        return _concat_refusal(node)
    if isinstance(node.op, Add | Sum | Mul | BatchNormalization):
        return _pointwise_refusal(node)
    return None


def makes_pool(node: Node, block: int) -> bool:
    """Whether a kernel makes the pool of a fused convolution while it makes the convolution."""
    op, weights = node.op, node.operand(1)
    assert isinstance(op, FusedConv)
    if isinstance(op, WinogradConv):
        clamps = op.activation is None or isinstance(op.activation, act.Relu | Clamp)
        return clamps and _is_halving(op.pool)
    rows, depth = (known(d) for d in weights.shape[:2]) if weights is not None else (1, 1)
    return op.group == 1 or depth % block == rows // op.group % block == 0


def _is_halving(pool: Op | None) -> bool:
    """Whether it is a pool of 2x2 with stride 2 and no padding."""
    if not isinstance(pool, MaxPool | AveragePool):
        return False
    window = (pool.kernel_shape, pool.strides, pool.dilations, pool.pads)
    return window == ((2, 2), (2, 2), (1, 1), (0, 0, 0, 0)) and not pool.ceil_mode


def _convolution_refusal(node: Node) -> str | None:
    op = node.op
    assert isinstance(op, Conv | FusedConv)
    if any(v is not None and not v.is_parameter for v in node.operands[1:3]):
        return "its weights are not constant"
    reason = _activation_refusal(op.activation if isinstance(op, FusedConv) else None)
    if reason is not None:
        return reason
    weights = node.operand(1)
    assert weights is not None
    rows, depth = (known(d) for d in weights.shape[:2])
    if op.group == 1:
        return None
    if depth == 1 and rows == op.group:
        return None
    if rows // op.group < LEAST_ROWS:
        return f"its groups of {rows // op.group} output channels leave most of a block empty"
    return None


def _activation_refusal(activation: Op | None) -> str | None:
    if activation is None or isinstance(activation, ACTIVATIONS):
        return None
    return f"no kernel on blocks ends with {activation.name}"


def _concat_refusal(node: Node) -> str | None:
    op = node.op
    assert isinstance(op, Concat)
    rank = node.result.tensor_type.rank
    if op.axis % rank != 1:
        return "it does not join channels"
    if any(v is None or v.is_parameter for v in node.operands):
        return "it joins constants"
    return None


def _pointwise_refusal(node: Node) -> str | None:
    if isinstance(node.op, BatchNormalization):
        constant = all(v is None or v.is_parameter for v in node.operands[1:])
        return None if constant else "its statistics are not constant"
    shape = node.result.tensor_type
    if len(node.operands) != 2:
        return "it does not have two operands"
    for value in node.operands:
        assert value is not None
        if value.array is not None:
            if channel_vector(value.array, shape.rank, known(shape.shape[1])) is None:
                return "its constant is not one number per channel"
        elif value.shape[1] != shape.shape[1]:
            return "it broadcasts along channels"
    return None
