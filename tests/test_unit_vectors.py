"""Every form of small convolutions, on every pair of unit vectors, against the definition itself.

A convolution is bilinear in image and weights: what holds for all pairs of unit vectors holds for
all images and weights of these sizes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import pytest

from irconv.executable import compile as build
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops.conv import Conv, ConvTranspose
from irconv.pipeline import lower
from irconv.types import Array, TensorType


@dataclass(frozen=True)
class Layer:
    """The sizes of one convolution; `image` and `kernel` have its spatial axes only."""

    channels: int
    outputs: int
    image: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int = 1

    @property
    def weights(self) -> tuple[int, ...]:
        return (self.outputs, self.channels // self.group, *self.kernel)

    @property
    def window(self) -> tuple[tuple[int, ...], ...]:
        return (self.kernel, self.strides, self.pads, self.dilations)

    @property
    def result(self) -> tuple[int, ...]:
        axes = zip(self.image, self.kernel, self.strides, self.pads, self.dilations, strict=False)
        rest = self.pads[len(self.image) :]
        return tuple(
            (size + low + high - d * (k - 1) - 1) // s + 1
            for (size, k, s, low, d), high in zip(axes, rest, strict=True)
        )

    def places(self, tap: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """(output pixel, the input pixel that this tap reads there), where it is in the image."""
        for out in itertools.product(*map(range, self.result)):
            pixel = tuple(
                o * s - p + t * d
                for o, s, p, t, d in zip(
                    out, self.strides, self.pads, tap, self.dilations, strict=False
                )
            )
            if all(0 <= q < size for q, size in zip(pixel, self.image, strict=True)):
                yield out, pixel


LAYERS = {
    "1-D": Layer(2, 3, (5,), (3,), (1,), (1, 0), (1,)),
    "2-D": Layer(2, 2, (4, 3), (2, 2), (1, 1), (0, 0, 0, 0), (1, 1)),
    "uneven pads": Layer(1, 2, (4, 5), (3, 2), (1, 1), (2, 0, 1, 1), (1, 1)),
    "strides": Layer(2, 1, (5, 6), (3, 3), (2, 3), (1, 1, 1, 1), (1, 1)),
    "dilations": Layer(1, 2, (6, 5), (2, 3), (1, 2), (1, 2, 0, 2), (3, 2)),
    "groups": Layer(4, 4, (3, 3), (2, 2), (1, 1), (1, 0, 0, 1), (1, 1), 2),
    "depthwise": Layer(3, 3, (4, 4), (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3),
    "1x1": Layer(3, 2, (2, 2), (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
    "3-D": Layer(1, 2, (3, 2, 3), (2, 2, 2), (1, 1, 2), (0, 1, 0, 1, 0, 1), (1, 1, 1)),
}
PIPELINES = ("", "fold,im2col", "conv_matrix", "conv_matrix{form=literal}")
FORMS = [
    *(("numba_cpu", pipeline) for pipeline in (None, *PIPELINES)),
    *(("onnx", pipeline) for pipeline in PIPELINES),
    *(("interpret", pipeline) for pipeline in PIPELINES),
]


def unit_weights(layer: Layer) -> Iterator[tuple[tuple[int, ...], Array]]:
    """(output channel, channel in its group, *tap) and the weights that are 1 there."""
    for place in itertools.product(*map(range, layer.weights)):
        weights = np.zeros(layer.weights, np.float32)
        weights[place] = 1
        yield place, weights


def graph_of(layer: Layer, weights: Array, batch: int, transposed: bool) -> Graph:
    graph = Graph("layer")
    channels, pixels = (layer.channels, layer.image)
    if transposed:
        channels, pixels = layer.outputs, layer.result
    x = graph.add_input("x", TensorType("f32", (batch, channels, *pixels)))
    w = graph.add_parameter("w", weights)
    op = (ConvTranspose if transposed else Conv)(*layer.window, layer.group)
    graph.set_outputs([graph.add_node(op, [x, w], ["y"]).result])
    return graph


def defined(layer: Layer, place: tuple[int, ...], transposed: bool) -> Array:
    """[input element, output element]: 1 where the definition reads that element there."""
    out_channel, inner, *tap = place
    channel = (
        out_channel // (layer.outputs // layer.group) * (layer.channels // layer.group) + inner
    )
    matrix = np.zeros((layer.channels, *layer.image, layer.outputs, *layer.result), np.float32)
    for out, pixel in layer.places(tuple(tap)):
        matrix[(channel, *pixel, out_channel, *out)] = 1
    rows = layer.channels * prod(layer.image)
    found = matrix.reshape(rows, -1)
    return found.T if transposed else found


def spatial(layer: Layer, transposed: bool) -> tuple[int, ...]:
    return (layer.channels, *layer.image) if transposed else (layer.outputs, *layer.result)


@pytest.mark.parametrize(("backend", "pipeline"), FORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_a_convolution_is_its_definition(name: str, backend: str, pipeline: str | None) -> None:
    check(LAYERS[name], backend, pipeline, transposed=False)


@pytest.mark.parametrize(("backend", "pipeline"), FORMS)
@pytest.mark.parametrize("name", ["1-D", "2-D", "uneven pads", "groups", "1x1"])
def test_a_transposed_convolution_is_the_adjoint(
    name: str, backend: str, pipeline: str | None
) -> None:
    # its result has the image's size only where the strides leave nothing over: these do not
    check(LAYERS[name], backend, pipeline, transposed=True)


def check(layer: Layer, backend: str, pipeline: str | None, transposed: bool) -> None:
    """Each unit weight at once with all unit images, as one batch."""
    shape = (layer.outputs, *layer.result) if transposed else (layer.channels, *layer.image)
    units = np.eye(prod(shape), dtype=np.float32).reshape(-1, *shape)
    for place, weights in unit_weights(layer):
        graph = graph_of(layer, weights, len(units), transposed)
        if backend == "interpret":
            found = interpret(lower(graph, pipeline or ""), {"x": units})["y"]
        else:
            (found,) = build(graph, backend, pipeline, precision="strict", threads=1)(units)
        assert found.shape[1:] == spatial(layer, transposed)
        expected = defined(layer, place, transposed)
        np.testing.assert_array_equal(found.reshape(len(units), -1), expected, err_msg=str(place))
