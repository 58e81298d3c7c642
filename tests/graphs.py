"""Random small networks whose arithmetic is exact in float32, and inputs for them.

Every value is a small multiple of a power of two, so that sums in any order are equal, bit for bit:
what two forms of a network compute may be compared with `array_equal`.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from hypothesis import strategies as st

from irconv.graph import Graph, Node, Value
from irconv.op import Op
from irconv.ops.activation import Clip, LeakyRelu, PRelu, Relu
from irconv.ops.cast import Cast
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.elementwise import Add, Mean, Mul, Sub, Sum
from irconv.ops.functions import Abs, Neg
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.identity import Identity
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.norm import BatchNormalization
from irconv.ops.pair import ConvPair
from irconv.ops.pool import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from irconv.ops.preact import PreactConv
from irconv.ops.rearrange import ChannelShuffle, Concat, Gather
from irconv.ops.shape import Flatten, Reshape, Shape, Squeeze, Transpose, Unsqueeze
from irconv.ops.slices import Pad, Slice
from irconv.pipeline import Pass, Stage, lower
from irconv.rewrite import Rule
from irconv.types import Array, TensorType

# largest number of units: partial sums stay below 2^24
LIMIT = 1 << 20
BATCH = 2


Choose: TypeAlias = Callable[[Sequence[Any]], Any]


@dataclass(frozen=True)
class Item:
    """A value of a network, whose numbers are multiples of `unit`, none larger than `bound`."""

    value: Value
    bound: float
    unit: float

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape at the batch size of the tests."""
        return tuple(d if isinstance(d, int) else BATCH for d in self.value.shape)


@dataclass
class Network:
    """A graph that grows by fragments, each drawn from what is there.

    `choose` draws one of a sequence: hypothesis, which makes a failing network small, or a
    generator of random numbers, which is faster and makes larger ones.
    """

    choose: Choose
    graph: Graph
    images: list[Item] = field(default_factory=list)
    ends: list[Value] = field(default_factory=list)

    # -- drawing ---------------------------------------------------------------------------------

    def pick(self, *choices: Any) -> Any:
        return self.choose(choices)

    def image(self) -> Item:
        """One of the images, a late one more often."""
        return self.pick(*self.images, *self.images[-1:] * len(self.images))

    def integers(self, shape: Sequence[int], low: int, high: int) -> Array:
        """Random integers as float32; few bytes of the draw, whatever the shape."""
        seed = self.choose(range(256))
        return np.random.default_rng(seed).integers(low, high + 1, shape).astype(np.float32)

    def parameter(self, name: str, array: Any, trainable: bool = False) -> Value:
        return self.graph.add_parameter(
            self.graph.fresh_name(name), np.asarray(array), trainable=trainable
        )

    def ints(self, name: str, numbers: Sequence[int]) -> Value:
        return self.parameter(name, np.array(numbers, np.int64))

    # -- growing ---------------------------------------------------------------------------------

    def add(self, op: Op, *operands: Value | None) -> Value:
        return self.graph.add_node(op, operands).results[0]

    def keep(self, value: Value, bound: float, unit: float) -> Item | None:
        """Remembers a value, unless its numbers are too fine or too large to compute on."""
        if bound / unit > LIMIT:
            self.ends.append(value)
            return None
        item = Item(value, bound, unit)
        self.images.append(item)
        return item


def conv(net: Network, x: Item | None = None) -> Item | None:
    x = x or net.image()
    channels, *spatial = x.shape[1:]
    kernel = [net.pick(*range(1, min(3, size) + 1)) for size in spatial]
    pads = [net.pick(*range(k)) for k in kernel * 2]
    strides = [net.pick(1, 1, 2) for _ in spatial]
    dilations = [
        net.pick(1, 2) if 2 * (k - 1) < size else 1 for k, size in zip(kernel, spatial, strict=True)
    ]
    group = net.pick(*(g for g in (1, 1, 2, channels) if channels % g == 0))
    out = group * net.pick(1, 2) if group < 3 else group
    w = net.parameter("w", net.integers((out, channels // group, *kernel), -1, 1), trainable=True)
    assert w.array is not None
    reach = float(np.abs(w.array).reshape(out, -1).sum(1).max()) * x.bound
    b = net.parameter("b", net.integers((out,), -3, 3), trainable=True) if net.pick(0, 1) else None
    if (reach + 3) / x.unit > LIMIT:
        return None
    op = Conv(tuple(kernel), tuple(strides), tuple(pads), tuple(dilations), group)
    return net.keep(net.add(op, x.value, w, b), reach + 3, x.unit)


def block(net: Network) -> None:
    """A convolution and some of what usually follows, each on the result of the one before."""
    y = conv(net)
    for following in (batchnorm, channel_arithmetic, fork, activation, pool, activation):
        if y is not None and net.pick(0, 0, 1):
            y = following(net, y)


def fork(net: Network, x: Item | None = None) -> Item | None:
    """The image plus a convolution of it that keeps its shape."""
    x = x or net.image()
    channels, rank = x.shape[1], len(x.shape) - 2
    w = net.parameter("w", net.integers((channels, channels, *(1,) * rank), -1, 1), trainable=True)
    bound = x.bound * (channels + 1)
    if bound / x.unit > LIMIT:
        return None
    y = net.add(Conv((1,) * rank), x.value, w)
    pair = (x.value, y) if net.pick(0, 1) else (y, x.value)
    return net.keep(net.add(Add(), *pair), bound, x.unit)


def conv_transpose(net: Network) -> None:
    x = net.image()
    channels, *spatial = x.shape[1:]
    if math.prod(spatial) > 64:
        return
    kernel = [net.pick(1, 2, 3) for _ in spatial]
    strides = [net.pick(1, 2) for _ in spatial]
    # some pixel of the result must be left
    pads = [
        net.pick(*range(min(k, 2))) if size > 2 else 0
        for k, size in zip(kernel * 2, spatial * 2, strict=True)
    ]
    extra = [net.pick(*range(s)) for s in strides]
    group = net.pick(*(g for g in (1, channels) if channels % g == 0))
    w = net.parameter("w", net.integers((channels, 1, *kernel), -1, 1), trainable=True)
    reach = x.bound * math.prod(kernel) * (channels // group)
    if reach / x.unit > LIMIT:
        return
    op = ConvTranspose(tuple(kernel), tuple(strides), tuple(pads), (), group, tuple(extra))
    net.keep(net.add(op, x.value, w), reach, x.unit)


def batchnorm(net: Network, x: Item | None = None) -> Item | None:
    """With powers of two only, and no epsilon: exact."""
    x = x or net.image()
    channels = x.shape[1]
    scale = net.integers((channels,), 1, 2) * net.pick(1, -1)
    bias, mean = net.integers((channels,), -2, 2) * net.pick(0, 1), net.integers((channels,), -2, 2)
    variance = 4 ** net.integers((channels,), 0, 1)
    operands = [net.parameter("bn", a) for a in (scale, bias, mean * bias, variance)]
    value = net.add(BatchNormalization(epsilon=0.0), x.value, *operands)
    return net.keep(value, (x.bound + 4) * 2 + 2, x.unit / 2)


def batchnorm_before_conv(net: Network) -> None:
    x = batchnorm(net)
    if x is None:
        return
    channels, *spatial = x.shape[1:]
    kernel = tuple(min(2, size) for size in spatial)
    pads = tuple(net.pick(0, 0, k - 1) for k in kernel * 2)
    w = net.parameter("w", net.integers((2, channels, *kernel), -1, 1))
    reach = x.bound * channels * math.prod(kernel)
    if reach / x.unit < LIMIT:
        net.keep(net.add(Conv(kernel, (), pads), x.value, w), reach, x.unit)


def preactivated(net: Network) -> None:
    """Scale, shift and activation in front of a 1x1 convolution, as three nodes, two or one."""
    x: Item | None = net.image()
    assert x is not None
    channels, rank = x.shape[1], len(x.shape) - 2
    if x.bound * 32 * channels / x.unit > LIMIT:
        return
    w = net.parameter("w", net.integers((2, channels, *(1,) * rank), -1, 1), trainable=True)
    conv = FusedConv((1,) * rank)
    if net.pick("fused", "apart") == "fused":
        scale, shift = (net.parameter("k", net.integers((channels,), 1, 2)) for _ in range(2))
        bound = (x.bound * 2 + 2) * channels
        op = net.pick(PreactConv(conv, Relu()), PreactConv(conv))
        net.keep(net.add(op, x.value, scale, shift, w), bound, x.unit)
        return
    for step in net.pick((batchnorm,), (channel_arithmetic,) * 2, (batchnorm, channel_arithmetic)):
        x = x and step(net, x)
    if x is not None:
        y = net.add(Relu(), x.value) if net.pick(0, 1, 1) else x.value
        net.keep(net.add(conv, y, w), x.bound * channels, x.unit)


def pair(net: Network) -> None:
    """A 1x1 convolution and a depthwise one of its result, as two nodes or as one."""
    x = net.image()
    channels, rank = x.shape[1], len(x.shape) - 2
    kernel = tuple(min(2, size) for size in x.shape[2:])
    bound = (x.bound * channels + 3) * math.prod(kernel) + 3
    if bound / x.unit > LIMIT:
        return
    w = net.parameter("w", net.integers((3, channels, *(1,) * rank), -1, 1), trainable=True)
    v = net.parameter("w", net.integers((3, 1, *kernel), -1, 1), trainable=True)
    b = net.parameter("b", net.integers((3,), -3, 3), trainable=True)
    pads = tuple(net.pick(0, k - 1) for k in kernel * 2)
    first = FusedConv((1,) * rank, activation=net.pick(None, Relu()))
    second = FusedConv(kernel, (), pads, (), 3, net.pick(None, Relu()))
    if net.pick("fused", "apart") == "fused":
        net.keep(net.add(ConvPair(first, second), x.value, w, v, b, b), bound, x.unit)
        return
    y = net.add(first, x.value, w, b)
    if net.pick(0, 0, 0, 1):
        net.ends.append(net.add(Relu(), y))
    net.keep(net.add(second, y, v, b), bound, x.unit)


def activation(net: Network, x: Item | None = None) -> Item | None:
    x = x or net.image()
    low, high = net.parameter("low", np.float32(-1)), net.parameter("high", np.float32(6))
    slopes = (
        net.parameter("slope", np.float32([0.5])),
        net.parameter("slope", np.full(x.shape[1:2] + (1,) * (len(x.shape) - 2), 0.25, np.float32)),
    )
    op, operands, unit = net.pick(
        (Relu(), (), x.unit),
        (Relu(), (), x.unit),
        (LeakyRelu(0.5), (), x.unit / 2),
        (Abs(), (), x.unit),
        (Clamp(-2.0, 5.0), (), x.unit),
        (Clip(), (low, high), x.unit),
        (Clip(), (net.parameter("zero", np.float32(0)),), x.unit),
        (PRelu(), (slopes[0],), x.unit / 2),
        (PRelu(), (slopes[1],), x.unit / 4),
    )
    y = net.keep(net.add(op, x.value, *operands), max(x.bound, 6.0), unit)
    if y is not None and net.pick(0, 0, 1) and not operands:
        net.keep(net.add(op, y.value), y.bound, unit / 2 if isinstance(op, LeakyRelu) else unit)
    return y


def pool(net: Network, x: Item | None = None) -> Item | None:
    x = x or net.image()
    spatial = x.shape[2:]
    kernel = tuple(net.pick(*range(1, min(2, size) + 1)) for size in spatial)
    strides = tuple(net.pick(1, 2) for _ in spatial)
    pads = tuple(net.pick(*range(k)) for k in kernel * 2)
    ceil = net.pick(0, 1)
    if net.pick("max", "average") == "max":
        op: Op = MaxPool(kernel, strides, pads, ceil_mode=ceil, n_outputs=net.pick(1, 1, 1, 2))
        return net.keep(net.add(op, x.value), x.bound, x.unit)
    # windows of 1, 2 or 4 pixels: the division is exact
    op = AveragePool(kernel, strides, pads, ceil_mode=ceil, count_include_pad=net.pick(0, 1))
    return net.keep(net.add(op, x.value), x.bound, x.unit / math.prod(kernel))


def averaged(net: Network) -> None:
    """A 1x1 convolution and an average pool of its result."""
    x = net.image()
    channels, spatial = x.shape[1], x.shape[2:]
    if (x.bound * channels + 3) * 4 / x.unit > LIMIT:
        return
    w = net.parameter("w", net.integers((2, channels, *(1,) * len(spatial)), -1, 1))
    bias = [net.parameter("b", net.integers((2,), -3, 3))] if net.pick(0, 1) else []
    kernel = tuple(min(2, size) for size in spatial)
    pads = tuple(net.pick(*range(k)) for k in kernel * 2)
    strides = tuple(net.pick(1, 2) for _ in spatial)
    op = AveragePool(kernel, strides, pads, count_include_pad=net.pick(0, 1))
    y = net.add(Conv((1,) * len(spatial)), x.value, w, *bias)
    net.keep(net.add(op, y), x.bound * channels + 3, x.unit / math.prod(kernel))


def unit_pool(net: Network) -> None:
    x = net.image()
    kernel = (1,) * (len(x.shape) - 2)
    net.keep(net.add(net.pick(MaxPool, AveragePool)(kernel), x.value), x.bound, x.unit)


def residual(net: Network) -> None:
    x = net.image()
    others = [y for y in net.images if y.value.type == x.value.type]
    y = net.pick(*others)
    op, scale = net.pick((Add(), 1), (Sum(), 1), (Mean(), 2), (Sub(), 1))
    value = net.add(op, x.value, y.value)
    net.keep(value, x.bound + y.bound, min(x.unit, y.unit) / scale)


def channel_arithmetic(net: Network, x: Item | None = None) -> Item | None:
    x = x or net.image()
    shape = (x.shape[1], *(1,) * (len(x.shape) - 2))
    wrong = (x.shape[-1],)
    array = net.integers(net.pick(shape, shape, (1, *shape), (), wrong), 1, 3)
    op, bound = net.pick((Add(), x.bound + 3), (Mul(), x.bound * 3))
    constant = net.parameter("k", array)
    operands = (x.value, constant) if net.pick(0, 1) else (constant, x.value)
    value = net.add(op, *operands)
    if value.type == x.value.type:
        return net.keep(value, bound, x.unit)
    net.ends.append(value)
    return None


def nothing(net: Network) -> None:
    """What canonicalize should see through."""
    x = net.image()
    rank = len(x.shape)
    kept = [d if isinstance(d, int) else -1 for d in x.value.shape]
    ends = [1 << 40] * rank
    choices: list[tuple[Op, tuple[Value, ...]]] = [
        (Identity(), ()),
        (Reshape(), (net.ints("shape", kept),)),
        (Cast("f32"), ()),
        (Concat(axis=1), ()),
        (Sum(), ()),
        (Transpose(tuple(range(rank))), ()),
        (Pad(), (net.ints("pads", [0] * (2 * rank)),)),
        (Slice(), (net.ints("starts", [0] * rank), net.ints("ends", ends))),
        (Add(), (net.parameter("zero", np.float32([-0.0])),)),
        (Add(), (net.parameter("zero", np.float32([0.0])),)),
        (Mul(), (net.parameter("one", np.float32([1.0])),)),
    ]
    op, operands = net.pick(*choices)
    net.keep(net.add(op, x.value, *operands), x.bound, x.unit)


def there_and_back(net: Network) -> None:
    x = net.image()
    rank = len(x.shape)
    perm = (0, *range(rank - 1, 0, -1))
    kept = net.ints("shape", [d if isinstance(d, int) else -1 for d in x.value.shape])
    kind = net.pick("transpose", "reshape", "squeeze", "negate", "shuffle", "shuffle")
    if kind == "transpose":
        value = net.add(Transpose(perm), net.add(Transpose(perm), x.value))
        value = net.add(Transpose(tuple(range(rank))), value) if net.pick(0, 1) else value
    elif kind == "reshape":
        value = net.add(Reshape(), net.add(Flatten(), x.value), kept)
    elif kind == "shuffle":
        group = net.pick(*(g for g in (1, 2, x.shape[1]) if x.shape[1] % g == 0))
        split = net.ints("split", [0, group, x.shape[1] // group, *x.shape[2:]])
        turned = net.add(
            Transpose((0, 2, 1, *range(3, rank + 1))), net.add(Reshape(), x.value, split)
        )
        value = net.add(Reshape(), turned, kept)
        value = net.add(ChannelShuffle(group), value) if net.pick(0, 1) else value
    elif kind == "squeeze":
        axes = net.ints("axes", [1])
        value = net.add(Squeeze(), net.add(Unsqueeze(), x.value, axes), axes)
    else:
        value = net.add(Neg(), net.add(Neg(), x.value))
    net.keep(value, x.bound, x.unit)


def twin(net: Network) -> None:
    """A node a second time, and the sum of both."""
    nodes = [i.value.producer for i in net.images if i.value.producer is not None]
    if nodes:
        node: Node = net.pick(*nodes)
        value = net.graph.add_node(node.op, node.operands).results[0]
        item = next(i for i in net.images if i.value.producer is node)
        net.keep(net.add(Add(), item.value, value), 2 * item.bound, item.unit)


def padded(net: Network) -> None:
    """A Pad, and perhaps the convolution that it was written for."""
    x = net.image()
    rank = len(x.shape)
    pads = [0, 0, *(net.pick(0, 1) for _ in range(rank - 2))] * 2
    value = net.pick(
        None, net.parameter("value", np.float32(0)), net.parameter("value", np.float32(2))
    )
    y = net.keep(net.add(Pad(), x.value, net.ints("pads", pads), value), max(x.bound, 2), x.unit)
    if y is not None and y.bound * y.shape[1] / y.unit < LIMIT:
        w = net.parameter("w", net.integers((1, y.shape[1], *(1,) * (rank - 2)), -1, 1))
        net.keep(net.add(Conv((1,) * (rank - 2)), y.value, w), y.bound * y.shape[1], y.unit)


def constants(net: Network) -> None:
    """Arithmetic that fold does ahead: on constants, and on sizes."""
    x = net.image()
    two = net.add(Add(), net.parameter("k", np.float32([1])), net.parameter("k", np.float32([1])))
    scaled = net.keep(net.add(Mul(), x.value, two), x.bound * 2, x.unit)
    if scaled is None or net.pick(0, 1):
        return
    sizes = net.add(Shape(), scaled.value)
    batch = net.add(Gather(), sizes, net.ints("index", [0]))
    rest = net.add(Gather(), sizes, net.ints("index", [1]))
    target = net.add(Concat(axis=0), batch, rest, net.ints("rest", [-1]))
    net.ends.append(net.add(Reshape(), scaled.value, target))


def concat(net: Network) -> None:
    x = net.image()
    y = net.pick(*(i for i in net.images if i.value.type == x.value.type))
    net.keep(net.add(Concat(axis=1), x.value, y.value), max(x.bound, y.bound), min(x.unit, y.unit))


def tail(net: Network) -> None:
    """A classifier's end: global pool or flatten, dense layer, bias, activation."""
    x = net.image()
    kind = net.pick("average", "max", "flatten", "flatten")
    if kind == "average":
        net.ends.append(net.add(GlobalAveragePool(), x.value))
        return
    value = net.add(GlobalMaxPool(), x.value) if kind == "max" else x.value
    value = net.add(Flatten(), value)
    features = int(str(value.shape[1]))
    if x.bound * features / x.unit > LIMIT:
        net.ends.append(value)
        return
    w = net.parameter("w", net.integers((features, 3), -1, 1), trainable=True)
    bias = net.parameter("b", net.integers((3,), -3, 3), trainable=True)
    gemm = net.pick(0, 1)
    value = net.add(Gemm(), value, w, bias) if gemm else net.add(MatMul(), value, w)
    value = value if gemm else net.add(Add(), value, bias)
    if net.pick(0, 1):
        ones = [net.parameter("bn", a) for a in np.float32([[2] * 3, [1] * 3, [0] * 3, [4] * 3])]
        value = net.add(BatchNormalization(epsilon=0.0), value, *ones)
    net.ends.append(net.add(Relu(), value) if net.pick(0, 1) else value)


FRAGMENTS: tuple[Callable[[Network], object], ...] = (
    block,
    block,
    block,
    conv,
    fork,
    conv_transpose,
    batchnorm,
    batchnorm_before_conv,
    preactivated,
    preactivated,
    pair,
    activation,
    activation,
    pool,
    unit_pool,
    residual,
    residual,
    channel_arithmetic,
    nothing,
    nothing,
    nothing,
    there_and_back,
    there_and_back,
    twin,
    padded,
    constants,
    constants,
    concat,
    tail,
)


def wide_graph(choose: Choose) -> Graph:
    """Convolutions of 3x3 over many channels, for passes that leave small ones alone.

    Weights are multiples of 225, so that their transforms by Winograd's G are whole numbers.
    """
    net = Network(choose, Graph("wide"))
    batch = net.pick("N", 1, BATCH, BATCH)
    shape = (net.pick(8, 16, 20), net.pick(6, 10, 13), net.pick(7, 12))
    x = net.graph.add_input("x", TensorType("f32", (batch, *shape)))
    w = 225 * net.integers((net.pick(16, 16, 17), shape[0], 3, 3), -1, 1)
    weights = net.parameter("w", w, trainable=True)
    bias = net.parameter("b", net.integers(w.shape[:1], -3, 3)) if net.pick(0, 1) else None
    for _ in range(net.pick(1, 2)):
        pads = tuple(net.pick(0, 1, 1) for _ in range(4))
        window = ((3, 3), net.pick((), (), (2, 1)), pads)
        y = net.add(Conv(*window), x, weights, bias)
        if net.pick(0, 1):
            kind = net.pick(None, Relu(), Clamp(-50.0, 99.0))
            pooled = net.pick(None, MaxPool((2, 2), (2, 2)), AveragePool((2, 2), (1, 1)))
            residual = net.add(Neg(), y) if net.pick(0, 1) else None
            op = FusedConv(*window, activation=kind, pool=pooled)
            y = net.add(op, x, weights, bias, residual)
        net.ends.append(y)
    net.graph.set_outputs(dict.fromkeys(net.ends))
    return net.graph


def random_graph(
    choose: Choose,
    steps: int = 14,
    fragments: tuple[Callable[[Network], object], ...] = FRAGMENTS,
) -> Graph:
    """A network of one to three spatial axes, of known or symbolic batch, with several outputs."""
    net = Network(choose, Graph("random"))
    spatial = tuple(net.pick(3, 4, 5) for _ in range(net.pick(1, 2, 2, 2, 3)))
    batch = net.pick("N", BATCH)
    x = net.graph.add_input("x", TensorType("f32", (batch, net.pick(1, 2, 4), *spatial)))
    net.images.append(Item(x, 4.0, 1.0))
    for _ in range(choose(range(steps // 3, steps + 1))):
        net.pick(*fragments)(net)
    outputs = net.ends[-2:] + [item.value for item in net.images[-net.pick(1, 1, 2) :]]
    net.graph.set_outputs(dict.fromkeys(outputs))
    return net.graph


@st.composite
def graphs(
    draw: Callable[[st.SearchStrategy[Any]], Any],
    steps: int = 14,
    fragments: tuple[Callable[[Network], object], ...] = FRAGMENTS,
) -> Graph:
    """`random_graph`, drawn by hypothesis."""
    return random_graph(lambda choices: draw(st.sampled_from(choices)), steps, fragments)


@st.composite
def wide_graphs(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Graph:
    """`wide_graph`, drawn by hypothesis."""
    return wide_graph(lambda choices: draw(st.sampled_from(choices)))


def integer_inputs(graph: Graph, seed: int = 0, batch: int = BATCH) -> dict[str, Array]:
    """Integers between -4 and 4 for every input; symbols are `batch`."""
    rng = np.random.default_rng(seed)
    return {
        v.name: rng.integers(-4, 5, [d if isinstance(d, int) else batch for d in v.shape]).astype(
            v.tensor_type.dtype
        )
        for v in graph.inputs
    }


def stage_of(graph: Graph, chosen: Pass | str) -> Stage:
    """What one pass does to a graph."""
    stages: list[Stage] = []
    lower(graph, [chosen], stages.append)
    return stages[0]


def rules_of(cls: type[Pass]) -> set[str]:
    """The names of the rules in a pass's module and in the siblings that it imports."""
    module = sys.modules[cls.__module__]
    siblings = [
        m
        for m in vars(module).values()
        if isinstance(m, ModuleType) and m.__name__.startswith("irconv.passes.")
    ]
    found = [v for m in [module, *siblings] for v in vars(m).values()]
    return {v.name for v in found if isinstance(v, Rule)}
