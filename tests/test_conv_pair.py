"""ConvPair: meaning, errors, and the kernel on blocks that holds only a band of what is between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import irconv as ic
from irconv.backends.numba_cpu.blocked.convolve_row import Operands
from irconv.backends.numba_cpu.blocked.pair import Pair, convolution_pair
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.step import Epilogue
from irconv.builder import Builder
from irconv.errors import GraphError
from irconv.interpret import interpret
from irconv.ops.activation import Relu
from irconv.ops.fused import FusedConv
from irconv.ops.pair import ConvPair
from irconv.ops.pool import MaxPool
from irconv.ops.winograd import WinogradConv
from irconv.pipeline import lower
from irconv.text import parse
from irconv.types import Array
from tests.blocked_cases import operand, result, run
from tests.cpu_cases import Const, check_exact, one_node
from tests.test_blocked_convolution import Case, integers
from tests.test_cpu_engine import along_channels, convolved

L = lanes()
FIRST = FusedConv((1, 1), activation=Relu())


def depthwise(channels: int, **attributes: tuple[int, ...]) -> FusedConv:
    return FusedConv((3, 3), **attributes, group=channels)


def arrays(*shapes: tuple[int, ...]) -> list[Array]:
    return [integers(shape, seed) for seed, shape in enumerate(shapes)]


# -- the op ----------------------------------------------------------------------------------------


def test_it_means_one_after_the_other() -> None:
    x, w, v, b, c, r = arrays((2, 3, 6, 7), (4, 3, 1, 1), (4, 1, 3, 3), (4,), (4,), (2, 4, 3, 4))
    second = depthwise(4, strides=(2, 2), pads=(1, 1, 1, 1))
    op = ConvPair(FIRST, second)
    (between,) = FIRST.run([x, w, b])
    (expected,) = second.run([between, v, c, r])
    np.testing.assert_array_equal(op.run([x, w, v, b, c, r])[0], expected)
    graph, _ = one_node(op, x, Const(w), Const(v), Const(b), Const(c), r)
    node = graph.nodes[0]
    types = [u and u.type for u in node.operands]
    assert node.result.shape == (2, 4, 3, 4)
    assert op.macs(types, [node.result.type]) == 2 * 4 * (42 * 3 + 12 * 9)
    assert parse(str(graph), {u.digest: u.array for u in graph.parameters.values()}) == graph


def test_what_does_not_fit_is_refused() -> None:
    second = depthwise(4)
    with pytest.raises(GraphError, match="wrong first"):
        ConvPair(WinogradConv((3, 3)), second)
    with pytest.raises(GraphError, match="has a pool"):
        ConvPair(FusedConv((1, 1), pool=MaxPool((2, 2))), second)
    with pytest.raises(GraphError, match="channels of x and w"):
        one_node(ConvPair(FIRST, second), *arrays((2, 3, 6, 7), (5, 3, 1, 1), (4, 1, 3, 3)))
    x, w, v, r = arrays((2, 3, 6, 7), (4, 3, 1, 1), (4, 1, 3, 3), (2, 4, 6, 7))
    with pytest.raises(GraphError, match="wrong residual"):
        one_node(ConvPair(FIRST, second), x, w, v, None, None, r)


def test_row_by_row_it_runs_as_the_op_says() -> None:
    x, w, v = arrays((1, 3, 6, 7), (4, 3, 1, 1), (4, 1, 3, 3))
    check_exact(ConvPair(FIRST, depthwise(4)), x, Const(w), Const(v), fallback=True)


# -- the kernel ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shape:
    channels: int
    between: int
    image: tuple[int, int]
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilations: tuple[int, int] = (1, 1)
    images: int = 1
    residual: bool = False
    y_halo: tuple[int, int, int, int] = (0, 0, 0, 0)


SHAPES = [
    Shape(24, 40, (9, 12)),
    Shape(24, 96, (40, 60), (3, 3), (2, 2), (1, 1, 0, 0), (1, 1), 2, True, (1, 1, 1, 1)),
    Shape(5, 20, (11, 14), (5, 4), (1, 1), (2, 2, 2, 1), (2, 1), y_halo=(0, 2, 1, 0)),
    Shape(L, 5 * L, (7, 7), images=3, residual=True),
    Shape(L + 1, L, (6, 30), (1, 5), (1, 3), (0, 2, 0, 0)),
    Shape(3, 7, (1, 1), (3, 3)),
    Shape(2 * L, 2 * L, (112, 112)),  # several bands
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_kernel_is_exact_on_integers(shape: Shape) -> None:
    mid, s = shape.between, shape
    first = Case(s.channels, mid, s.image).geometry
    second = Case(mid, mid, s.image, s.kernel, s.strides, s.pads, s.dilations, mid).geometry
    x, w, b, v, c = arrays(
        (s.images, s.channels, *s.image), first.weights_shape, (mid,), second.weights_shape, (mid,)
    )
    size = (s.images, mid, *second.out)
    r = integers(size, 6) if s.residual else None
    between = np.clip(convolved(x, w, first) + along_channels(b, 2), 0, 60)
    expected = convolved(between, v, second) + along_channels(c, 2)
    expected = np.clip(expected if r is None else expected + r, -50, 200)
    source = operand(x, L, (0, 1, 0, 0), extra=(1, 1)).blocked
    added = operand(r, L, s.y_halo).blocked if r is not None else None
    pair = Pair(first, second, v, c, Epilogue(0.0, 60.0), Epilogue(-50.0, 200.0))
    for parts in (1, 2, 3):
        y = result(size, L, s.y_halo, (1, 1))
        launches = convolution_pair(pair, Operands(source, y.blocked, w, b, added), 3)
        assert launches is not None
        run(launches, parts)
        np.testing.assert_array_equal(y.load(), expected)
        y.check_written(halo=0)


# -- networks --------------------------------------------------------------------------------------


def test_an_inverted_residual_in_blocks() -> None:
    b = Builder("block", seed=5)
    x = b.input("x", (2, 16, 20, 20))
    y = b.hard_swish(b.conv(x, 24, kernel=1))
    y = b.sigmoid(b.depthwise_conv(y, kernel=5, pads=2))
    y = b.conv(y, 16, kernel=1) + x
    z = b.relu(b.depthwise_conv(b.conv(b.relu(y), 40, kernel=1), kernel=3, strides=2, pads=1))
    b.output(b.global_average_pool(z))
    graph = b.build()
    pipeline = f"canonicalize,fuse,pack{{block={L}}},fuse_pairs"
    names = [node.op.name for node in lower(graph, pipeline)]
    assert names.count("ConvPair") == 2
    x = np.random.default_rng(7).standard_normal((2, 16, 20, 20)).astype(np.float32)
    (expected,) = interpret(graph, {"x": x}).values()
    for threads in (1, 2):
        executable = ic.compile(graph, pipeline=pipeline, threads=threads)
        kernels = {n.kernel for n in executable.report.nodes if n.op == "ConvPair"}
        assert all("convolve_pair" in kernel for kernel in kernels)
        np.testing.assert_allclose(executable(x)[0], expected, rtol=1e-4, atol=1e-5)
