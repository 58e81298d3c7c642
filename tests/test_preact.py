"""ScaleShift and PreactConv: meaning, errors, text, the CPU backend, and real dense blocks."""

from __future__ import annotations

import numpy as np
import pytest

from irconv.backends.numba_cpu.binders import BINDERS
from irconv.builder import Builder
from irconv.errors import GraphError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.op import Op
from irconv.ops.activation import Gelu, PRelu, Relu, Sigmoid
from irconv.ops.conv import Conv
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.pool import MaxPool
from irconv.ops.preact import PreactConv, ScaleShift
from irconv.ops.winograd import WinogradConv
from irconv.pipeline import lower
from irconv.text import parse
from irconv.types import Array, TensorType
from tests.cpu_cases import Const, check_exact, check_near, integers, one_node

POINT = FusedConv((1, 1))


def numbers(*shape: int, seed: int = 0) -> Array:
    return integers(np.random.default_rng(seed), shape)


# -- meaning ---------------------------------------------------------------------------------------


def test_the_shift_is_not_seen_by_the_padding() -> None:
    x, scale, shift = numbers(2, 3, 4, 5), numbers(3, seed=1), np.float32([5, 1, 2])
    conv = FusedConv((3, 2), (1, 1), (1, 1, 0, 2), activation=Relu(), pool=MaxPool((2, 2)))
    w, b = numbers(4, 3, 3, 2, seed=2), numbers(4, seed=3)
    seen = np.maximum(x * scale[:, None, None] + shift[:, None, None], 0)
    (found,) = PreactConv(conv, Relu()).run([x, scale, shift, w, b])
    np.testing.assert_array_equal(found, conv.run([seen, w, b])[0])
    assert (found != 0).any()


def test_the_residual_and_the_cost_are_those_of_the_convolution() -> None:
    x, k, w, r = numbers(2, 3, 4, 5), numbers(3), numbers(4, 3, 1, 1), numbers(2, 4, 4, 5, seed=4)
    graph, _ = one_node(PreactConv(POINT), x, Const(k), Const(k), Const(w), None, r)
    plain, _ = one_node(POINT, x, Const(w), None, r)
    node, other = graph.nodes[0], plain.nodes[0]
    types = [v and v.type for v in node.operands]
    assert node.result.type == other.result.type
    assert node.op.macs(types, [node.result.type]) == 2 * 4 * 20 * 3
    (found,) = PreactConv(POINT).run([x, k, k, w, None, r])
    np.testing.assert_array_equal(
        found, POINT.run([x * k[:, None, None] + k[:, None, None], w, None, r])[0]
    )


def test_half_precision_is_rounded_once() -> None:
    x, scale = np.float16([[2048, 1]]), np.float16([1, 1])
    (y,) = ScaleShift().run([x, np.float16([1.5, 1]), scale])
    assert y.dtype == np.float16
    assert y[0, 0] == np.float16(2048 * 1.5 + 1)


@pytest.mark.parametrize(
    ("op", "shapes", "message"),
    [
        (ScaleShift(), [(2, 3, 4), (4,), (3,)], "wrong scale"),
        (ScaleShift(), [(2, 3, 4), (3,), (3, 1)], "wrong shift"),
        (ScaleShift(), [(3,), (3,), (3,)], "rank"),
        (PreactConv(POINT), [(2, 3, 4, 4), (3,), (1,), (2, 3, 1, 1)], "wrong shift"),
        (PreactConv(POINT), [(2, 3, 4, 4), (3,), (3,), (2, 4, 1, 1)], "channels of x and w"),
        (PreactConv(POINT), [(2, 3, 4, 4), (3,), (3,), (2, 3, 1, 1), (3,)], "wrong bias"),
        (PreactConv(POINT), [(2, 3, 4, 4), (3,), (3,)], "number of operands"),
    ],
)
def test_operands_that_do_not_fit_are_refused(
    op: Op, shapes: list[tuple[int, ...]], message: str
) -> None:
    with pytest.raises(GraphError, match=message):
        one_node(op, *(np.zeros(s, np.float32) for s in shapes))


def test_other_attributes_are_refused() -> None:
    with pytest.raises(GraphError, match="not an activation"):
        ScaleShift(Conv((1, 1)))
    with pytest.raises(GraphError, match="not an activation"):
        PreactConv(POINT, PRelu())
    with pytest.raises(GraphError, match="wrong conv"):
        PreactConv(WinogradConv((3, 3)))
    with pytest.raises(GraphError, match="element type"):
        one_node(ScaleShift(), *(np.zeros(s, np.int32) for s in ((2, 3), (3,), (3,))))


def test_the_text_returns() -> None:
    conv = FusedConv((1, 1), activation=Clamp(0.0, 6.0), pool=MaxPool((2, 2)))
    operands = numbers(2, 3, 4, 4), numbers(3), numbers(3), numbers(5, 3, 1, 1)
    graph, _ = one_node(PreactConv(conv, Relu()), *operands)
    assert "conv = FusedConv{kernel_shape = [1, 1], activation = Clamp{" in str(graph)
    assert parse(str(graph)) == graph


# -- the CPU backend -------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [None, Relu(), Clamp(-1.0, 4.0)])
def test_scale_and_shift_on_the_cpu(activation: Op | None) -> None:
    rng = np.random.default_rng(5)
    for trial in range(12):
        shape = [int(n) for n in rng.integers(1, 6, int(rng.integers(2, 6)))]
        parts = [integers(rng, shape[1:2]) for _ in range(2)]
        given = [p if trial % 2 else Const(p) for p in parts]
        check_exact(ScaleShift(activation), integers(rng, shape), *given, threads=1 + trial % 3)


def test_scale_and_shift_in_other_types_and_with_other_activations() -> None:
    rng = np.random.default_rng(6)
    x, scale, shift = (rng.standard_normal(s) for s in ((2, 3, 9), 3, 3))
    check_exact(
        ScaleShift(Relu()), *(integers(rng, s, np.float64) for s in ((2, 3, 9), (3,), (3,)))
    )
    wide = [a.astype(np.float32) for a in (x, scale, shift)]
    check_near(ScaleShift(Sigmoid()), *wide, floor=2.0**-20)
    check_exact(ScaleShift(Gelu()), *wide, fallback=True)
    check_exact(ScaleShift(), *(a.astype(np.float16) for a in (x, scale, shift)), fallback=True)
    odd = np.float32([[[np.nan, np.inf, -np.inf, -0.0]]])
    check_exact(ScaleShift(Relu()), odd, np.float32([2]), np.float32([-1]))
    assert ScaleShift in BINDERS


def test_a_preactivated_convolution_runs_everywhere() -> None:
    x, k, w = numbers(2, 3, 4, 4), numbers(3), numbers(5, 3, 1, 1)
    check_exact(PreactConv(POINT, Relu()), x, Const(k), Const(k), Const(w), fallback=True)


# -- networks --------------------------------------------------------------------------------------


def dense_block(layers: int = 3) -> Graph:
    """A dense block as DenseNet has it, and a transition with an average pool."""
    b = Builder("dense", seed=3)
    x = b.conv(b.input("x", (1, 3, 12, 12)), 8, kernel=3, pads="same", bias=False)
    for _ in range(layers):
        y = b.relu(b.batch_norm(x))
        y = b.relu(b.batch_norm(b.conv(y, 16, kernel=1, bias=False)))
        x = b.concat([x, b.conv(y, 4, kernel=3, pads="same", bias=False)], axis=1)
    y = b.conv(b.relu(b.batch_norm(x)), 10, kernel=1, bias=False)
    y = b.average_pool(y, 2, strides=2)
    b.output(b.global_average_pool(b.relu(b.batch_norm(y))))
    return b.build()


@pytest.mark.parametrize(
    ("last", "convolutions"),
    # on blocks, the pooled convolution takes nothing in
    [("fuse_preactivation{everywhere=true}", 4), ("pack{block=4},fuse_preactivation", 3)],
)
def test_a_dense_block_has_no_batch_normalization_left(last: str, convolutions: int) -> None:
    graph = dense_block()
    before = "canonicalize,fold,fold_batchnorm,fuse,canonicalize"
    after = lower(graph, f"{before},{last}")
    names = [node.op.name for node in after]
    assert names.count("PreactConv") == convolutions
    assert names.count("ScaleShift") == 5 - convolutions
    assert not {"BatchNormalization", "Relu"} & set(names)
    x = {"x": np.random.default_rng(1).standard_normal((1, 3, 12, 12)).astype(np.float32)}
    (expected,), (found,) = (interpret(g, x).values() for g in (graph, after))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected).max() > 0.1


def test_two_readers_keep_the_activated_image() -> None:
    """The first layer of a residual network of version 2: shortcut and branch read the same."""
    b = Builder("v2", seed=1)
    x = b.input("x", (1, 4, 6, 6))
    y = b.relu(b.batch_norm(x))
    b.output(b.conv(y, 8, kernel=1, bias=False) + b.conv(y, 8, kernel=1, bias=False))
    after = lower(b.build(), "fold_batchnorm,fuse,fuse_preactivation")
    assert [n.op.name for n in after] == ["ScaleShift", "Conv", "FusedConv"]


def test_layouts_stay() -> None:
    before = lower(dense_block(), "fold_batchnorm,fuse,pack{block=4}")
    after = lower(before, "fuse_preactivation")
    layouts = {v.name: v.type for v in before.values}
    for node in after:
        kind = node.result.type
        assert isinstance(kind, TensorType)
        assert layouts[node.result.name] == kind
        assert kind.layout is not None or node.op.name == "Unpack"
