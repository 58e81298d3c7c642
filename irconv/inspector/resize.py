"""Smaller versions of a graph: a smaller batch, image, or number of channels, all else as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from irconv.errors import IrconvError
from irconv.graph import Graph, Node, Value
from irconv.inspector.subgraph import Inputs, rebuild
from irconv.interpret import content
from irconv.op import Op
from irconv.ops.conv import Conv
from irconv.ops.fused import FusedConv
from irconv.types import Array, TensorType

# the sizes that are tried, the smallest first
SIZES = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def smaller(graph: Graph, inputs: Inputs | None) -> Iterator[tuple[Graph, Inputs | None]]:
    """Versions of `graph` with smaller tensors that have fitting types, and inputs for them.

    Numbers are cut off at the end of each axis: what stays is what was there.
    """
    for resize in (*_batches(graph), *_images(graph), *_channels(graph)):
        try:
            yield resize.applied(graph, inputs)
        except IrconvError:
            continue  # the sizes do not fit: a Reshape says so, or a residual


@dataclass(frozen=True)
class _Resize:
    """New sizes: of an axis of an input, and of a parameter's channels by their number."""

    of_input: Callable[[int, int], int]
    channels: Mapping[int, int] = field(default_factory=dict)

    def applied(self, graph: Graph, inputs: Inputs | None) -> tuple[Graph, Inputs | None]:
        types = {v.name: self._type(v) for v in graph.inputs}
        arrays = None
        if inputs is not None:
            arrays = {n: _corner(a, _sizes(types[n], a.shape)) for n, a in inputs.items()}
        return rebuild(graph, types, array=self._parameter, op=_regrouped), arrays

    def _type(self, value: Value) -> TensorType:
        shape = [
            self.of_input(axis, d) if isinstance(d, int) else d
            for axis, d in enumerate(value.shape)
        ]
        return value.tensor_type.with_shape(shape)

    def _parameter(self, value: Value) -> Array:
        array = content(value)
        if not self.channels or array.dtype.kind not in "fcV":
            return array
        # the first two axes of weights are channels, the rest is their window
        shape = [self.channels.get(n, n) if axis < 2 else n for axis, n in enumerate(array.shape)]
        return _corner(array, shape)


def _batches(graph: Graph) -> list[_Resize]:
    largest = _largest(graph, lambda shape: shape[:1])
    return [_Resize(lambda axis, n: 1 if axis == 0 else n)] if largest > 1 else []


def _images(graph: Graph) -> list[_Resize]:
    largest = _largest(graph, lambda shape: shape[2:])

    def to(size: int) -> _Resize:
        # all inputs alike: a residual is smaller by the strides between them
        return _Resize(lambda axis, n: -(-n * size // largest) if axis > 1 else n)

    return [to(size) for size in SIZES if size < largest]


def _channels(graph: Graph) -> list[_Resize]:
    sizes = {d for shape in _shapes(graph) for d in shape[1:2]}
    sizes |= {n for v in graph.parameters.values() for n in content(v).shape[:2]}

    def to(old: int, new: int) -> _Resize:
        return _Resize(lambda axis, n: new if axis == 1 and n == old else n, {old: new})

    return [to(n, size) for n in sorted(sizes, reverse=True) for size in SIZES if size < n]


def _shapes(graph: Graph) -> list[tuple[int, ...]]:
    """The shapes of the inputs; a symbol, which stays, counts as 1."""
    return [tuple(d if isinstance(d, int) else 1 for d in v.shape) for v in graph.inputs]


def _largest(graph: Graph, axes: Callable[[tuple[int, ...]], Sequence[int]]) -> int:
    return max((d for shape in _shapes(graph) for d in axes(shape)), default=0)


def _sizes(kind: TensorType, present: Sequence[int]) -> list[int]:
    return [d if isinstance(d, int) else n for d, n in zip(kind.shape, present, strict=True)]


def _corner(array: Array, shape: Sequence[int]) -> Array:
    return np.ascontiguousarray(array[tuple(slice(n) for n in shape)])


def _regrouped(node: Node, operands: Sequence[Value | None]) -> Op:
    """A convolution in groups has as many as its channels now make."""
    op = node.op
    if not isinstance(op, Conv | FusedConv) or op.group == 1:
        return op
    x, w = operands[0], operands[1]
    assert x is not None
    assert w is not None
    channels, per_group = x.shape[1], w.shape[1]
    if not isinstance(channels, int) or not isinstance(per_group, int) or channels % per_group:
        return op
    return replace(op, group=channels // per_group)
