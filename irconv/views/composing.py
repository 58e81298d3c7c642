"""Two convolutions without an activation between them, as the one convolution that they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from irconv.errors import UsageError, printable
from irconv.geometry import ConvGeometry, Ints
from irconv.graph import Node
from irconv.op import Op
from irconv.ops.activation import ACTIVATIONS
from irconv.ops.conv import Conv, add_bias, convolve
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.identity import Identity
from irconv.types import Array
from irconv.views.layer import ConvLayer


@dataclass(frozen=True, eq=False)
class Composition:
    """second(first(x)) as one convolution of x.

    With kernels k1 and k2, strides s1 and s2, dilations d1 and d2 its kernel spans
    `d1 (k1 - 1) + s1 d2 (k2 - 1) + 1`, its stride is `s1 s2`, its padding `p1 + s1 p2`. Where the
    second layer reads its own padding, it meets zeros that no image would give: there the two
    differ. `exact` says for each axis which outputs are free of that (first, end); all are where
    the second layer has no padding. `between` are the activations that stand between the layers:
    with one the composition is another function.
    """

    first: ConvLayer
    second: ConvLayer
    geometry: ConvGeometry
    weights: Array
    bias: Array
    exact: tuple[tuple[int, int], ...]
    between: tuple[Op, ...]

    @classmethod
    def of(cls, node: Node) -> Composition:
        """The composition of the convolution `node` with the one that its image comes from."""
        second = _plain(node)
        before, between = _first(node)
        first = _plain(before)
        one, two = first.geometry, second.geometry
        return cls(
            first,
            second,
            _composed_geometry(one, two),
            _composed_weights(first, second),
            _composed_bias(first, second),
            tuple(_exact(one, two, axis) for axis in range(one.rank)),
            between,
        )

    @property
    def is_exact(self) -> bool:
        """Whether every output is the same, the border included."""
        return self.exact == tuple((0, n) for n in self.second.geometry.out)

    def inside(self) -> tuple[slice, ...]:
        """The outputs that are free of the second layer's padding."""
        return tuple(slice(first, end) for first, end in self.exact)

    def one_layer(self, x: Array) -> Array:
        """The composed convolution of x [N, C, *spatial]."""
        return _run(self.geometry, x, self.weights, self.bias)

    def two_layers(self, x: Array, activation: Op | None = None) -> Array:
        """The two convolutions of x, with an activation between them if one is given."""
        y = _run(self.first.geometry, x, *_arrays(self.first))
        y = y if activation is None else activation.run([y])[0]
        return _run(self.second.geometry, y, *_arrays(self.second))


def _arrays(layer: ConvLayer) -> tuple[Array, Array | None]:
    bias = None if layer.bias is None else layer.bias.astype(np.float64)
    return layer.weights.astype(np.float64), bias


def _run(geometry: ConvGeometry, x: Array, weights: Array, bias: Array | None) -> Array:
    op = Conv(geometry.kernel, geometry.strides, geometry.pads, geometry.dilations, geometry.group)
    return add_bias(convolve(op, x.astype(np.float64), weights, geometry.group), bias)


def _plain(node: Node) -> ConvLayer:
    layer = ConvLayer.of(node)
    if layer.transposed:
        raise UsageError("a transposed convolution is not composed", where=f"%{layer.title}")
    return layer


def _first(node: Node) -> tuple[Node, tuple[Op, ...]]:
    """The convolution before `node`, and the activations between the two."""
    between: list[Op] = []
    value = node.operand(0)
    while value is not None and value.producer is not None:
        producer = value.producer
        if isinstance(producer.op, Conv | FusedConv):
            return producer, (*_of_fused(producer), *reversed(between))
        if isinstance(producer.op, (*ACTIVATIONS, Clamp)):
            between.append(producer.op)
        elif not isinstance(producer.op, Identity):
            break
        value = producer.operand(0)
    raise UsageError(
        "no convolution stands right before this one",
        where=f"%{printable(node.name)}",
        expected="a convolution whose image another one makes, with at most activations between",
    )


def _of_fused(node: Node) -> tuple[Op, ...]:
    op = node.op
    if not isinstance(op, FusedConv):
        return ()
    if op.pool is not None or node.operand(3) is not None:
        raise UsageError(
            "a pool or a residual stands between the convolutions",
            where=f"%{printable(node.name)}",
        )
    return () if op.activation is None else (op.activation,)


def _composed_geometry(one: ConvGeometry, two: ConvGeometry) -> ConvGeometry:
    spans = [
        (a - 1) * da + (b - 1) * db * sa + 1
        for a, da, b, db, sa in zip(
            one.kernel, one.dilations, two.kernel, two.dilations, one.strides, strict=True
        )
    ]
    strides = [a * b for a, b in zip(one.strides, two.strides, strict=True)]
    pads = [a + s * b for a, s, b in zip(one.pads, one.strides * 2, two.pads, strict=True)]
    ones = (1,) * one.rank
    found = ConvGeometry(
        one.in_channels,
        two.out_channels,
        one.image,
        tuple(spans),
        tuple(strides),
        tuple(pads),
        ones,
    )
    assert found.out == two.out
    return found


def _composed_weights(first: ConvLayer, second: ConvLayer) -> Array:
    """[O, C, *kernel]: for each pair of taps their product, where the two land together."""
    one, two = first.geometry, second.geometry
    w1, w2 = _ungrouped(first), _ungrouped(second)
    composed = np.zeros((two.out_channels, one.in_channels, *_composed_geometry(one, two).kernel))
    for k1 in np.ndindex(*one.kernel):
        for k2 in np.ndindex(*two.kernel):
            place: tuple[Any, ...] = (..., *_landing(one, two, k1, k2))
            composed[place] += w2[(..., *k2)] @ w1[(..., *k1)]
    return composed


def _landing(one: ConvGeometry, two: ConvGeometry, k1: Ints, k2: Ints) -> Ints:
    axes = zip(k1, one.dilations, k2, two.dilations, one.strides, strict=True)
    return tuple(a * da + b * db * s for a, da, b, db, s in axes)


def _ungrouped(layer: ConvLayer) -> Array:
    """The weights [O, C, *kernel] with zeros between channels of different groups."""
    g, per_group = layer.geometry, layer.weights.shape[1]
    full = np.zeros((g.out_channels, g.in_channels, *g.kernel))
    for o in range(g.out_channels):
        start = o // (g.out_channels // g.group) * per_group
        full[o, start : start + per_group] = layer.weights[o]
    return full


def _composed_bias(first: ConvLayer, second: ConvLayer) -> Array:
    """What the second layer makes of the first one's bias, and its own bias."""
    _, b1 = _arrays(first)
    _, b2 = _arrays(second)
    own = np.zeros(second.geometry.out_channels) if b2 is None else b2
    if b1 is None:
        return own
    w2 = _ungrouped(second)
    total: Array = w2.reshape(*w2.shape[:2], prod(w2.shape[2:])).sum(2) @ b1 + own
    return total


def _exact(one: ConvGeometry, two: ConvGeometry, axis: int) -> tuple[int, int]:
    """(first, end) of the outputs whose taps are all pixels of the first layer's result."""
    reads = two.axis_reads(axis)
    whole = np.flatnonzero((reads >= 0).all(1))
    return (int(whole[0]), int(whole[-1]) + 1) if len(whole) else (0, 0)
