"""The CPU backend's matrix products beside `Op.run`: dense, batched, patches, and sparse ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from irconv.geometry import ConvGeometry
from irconv.graph import Graph
from irconv.matrix_index import literal_index, tap_index
from irconv.ops import activation as act
from irconv.ops.elementwise import Add
from irconv.ops.fused import Clamp, FusedMatMul
from irconv.ops.linear import Gemm, MatMul
from irconv.ops.sparse import ConvMatrix, SparseMatMul
from irconv.report import OP_RUN
from irconv.types import TensorType
from tests.cpu_cases import (
    F32,
    Const,
    assert_within_policy,
    check_exact,
    check_near,
    integers,
    one_node,
    run_both,
)

ACTIVATIONS = [None, act.Relu(), Clamp(-2.0, 9.0), act.LeakyRelu(0.5)]


def sizes(rng: np.random.Generator, count: int, most: int = 40) -> list[int]:
    return [1 if rng.random() < 0.2 else int(n) for n in rng.integers(1, most, count)]


def turned(array: np.ndarray, turn: Any) -> np.ndarray:
    return np.ascontiguousarray(array.swapaxes(-1, -2)) if turn else array


def test_dense_layers():
    rng = np.random.default_rng(1)
    for trial in range(50):
        m, k, n = sizes(rng, 3)
        batch = sizes(rng, int(rng.integers(0, 3)), most=3)
        turn = bool(rng.integers(2))
        a, w = integers(rng, (*batch, m, k)), turned(integers(rng, (k, n)), turn)
        biases = [None, (n,), (1, n), (1,), (), (1,) * (len(batch) + 1) + (n,)]
        shape = biases[int(rng.integers(len(biases)))]
        bias = None if shape is None else Const(integers(rng, shape))
        r = integers(rng, (*batch, m, n)) if rng.random() < 0.4 else None
        op = FusedMatMul(transB=turn, activation=ACTIVATIONS[trial % 4])
        node = check_exact(op, a, Const(w), bias, r, threads=1 + trial % 3)
        assert node.kernel == "dense"


def test_the_product_of_a_patch_matrix():
    rng = np.random.default_rng(2)
    for trial in range(40):
        images, group, rows, depth, pixels = sizes(rng, 5, most=30)
        images, group = min(images, 3), min(group, 3)
        turn = bool(trial % 5 == 4)
        w = turned(integers(rng, (group, rows, depth)), turn)
        columns = integers(rng, (images, group, depth, pixels))
        bias = Const(integers(rng, (group, rows, 1))) if rng.random() < 0.6 else None
        r = integers(rng, (images, group, rows, pixels)) if rng.random() < 0.3 else None
        op = FusedMatMul(transA=turn, activation=ACTIVATIONS[trial % 4])
        node = check_exact(op, Const(w), columns, bias, r, threads=1 + trial % 3)
        assert node.kernel == "convolve"


def test_products_of_two_inputs():
    rng = np.random.default_rng(3)
    for trial in range(60):
        m, k, n = sizes(rng, 3)
        batch = sizes(rng, int(rng.integers(0, 3)), most=3)
        turns = rng.integers(0, 2, 2)
        alone = rng.random(2) < 0.3
        a_batch, b_batch = ([1] * len(batch) if one else batch for one in alone)
        a = turned(integers(rng, (*a_batch, m, k)), turns[0])
        b = turned(integers(rng, (*b_batch, k, n)), turns[1])
        result = (*([1] * len(batch) if alone.all() else batch), m, n)
        biases = [None, (n,), (m, 1), (), (1, n), result]
        shape = biases[int(rng.integers(len(biases)))]
        bias = None if shape is None else Const(integers(rng, shape))
        r = integers(rng, result) if rng.random() < 0.3 and shape != result else None
        op = FusedMatMul(bool(turns[0]), bool(turns[1]), activation=ACTIVATIONS[trial % 4])
        check_exact(op, a, b, bias, r, threads=1 + trial % 3)


def test_matmul():
    rng = np.random.default_rng(4)
    for trial in range(30):
        m, k, n = sizes(rng, 3)
        check_exact(
            MatMul(), integers(rng, (2, m, k)), integers(rng, (k, n)), threads=1 + trial % 3
        )
        check_exact(MatMul(), Const(integers(rng, (m, k))), integers(rng, (3, k, n)))
    wide = integers(rng, (1, 700)), integers(rng, (700, 130))
    check_exact(MatMul(), *wide)
    check_exact(MatMul(), wide[0], Const(wide[1]))
    double = [a.astype(np.float64) for a in wide]
    check_exact(MatMul(), *double)


def test_products_without_a_kernel_fall_back():
    rng = np.random.default_rng(5)
    a, b = integers(rng, (2, 3, 4, 5)), integers(rng, (3, 5, 2))
    check_exact(MatMul(), a, b, fallback=True)
    check_exact(MatMul(), a[0, 0, 0], b[0], fallback=True)
    check_exact(MatMul(), a.astype(np.int32), b.astype(np.int32), fallback=True)
    check_exact(MatMul(), integers(rng, (3, 0)), integers(rng, (0, 4)), fallback=True)
    check_exact(MatMul(), integers(rng, (0, 3)), integers(rng, (3, 4)))
    gemm = a[0, 0], b[0]
    check_exact(Gemm(), *gemm, np.float32([1, 2]), fallback=True)
    check_exact(Gemm(alpha=2.0), *gemm, fallback=True)
    half = [x.astype(np.float16) for x in gemm]
    check_exact(Gemm(), *half, fallback=True)
    check_exact(FusedMatMul(activation=act.Gelu()), *gemm, fallback=True)
    check_exact(FusedMatMul(), a, Const(b[0]), Const(integers(rng, (3, 4, 2))), fallback=True)


def test_gemm():
    rng = np.random.default_rng(6)
    for trial in range(60):
        m, k, n = sizes(rng, 3)
        turns = [int(t) for t in rng.integers(0, 2, 2)]
        a = turned(integers(rng, (m, k)), turns[0])
        b = turned(integers(rng, (k, n)), turns[1])
        shapes = [None, (n,), (1, n), (m, 1), (1, 1), (1,), (), (m, n)]
        shape = shapes[trial % len(shapes)]
        c = None if shape is None else Const(integers(rng, shape))
        weights = Const(b) if rng.random() < 0.6 else b
        alpha = float(rng.choice([1, 0.5, -2])) if isinstance(weights, Const) else 1.0
        op = Gemm(alpha, float(rng.choice([1, 0.25, -1])), *turns)
        # a bias a row beside a scaled product has no kernel
        known = turns[0] == 0 or alpha == 1
        node = check_exact(op, a, weights, c, threads=1 + trial % 3, fallback=None)
        assert not known or node.kernel != OP_RUN or shape == (m, 1)
    c = integers(rng, (4, 6))
    assert check_exact(Gemm(), integers(rng, (4, 3)), integers(rng, (3, 6)), c).kernel == "product"
    check_exact(Gemm(), integers(rng, (4, 3)), Const(integers(rng, (3, 6))), c)
    check_exact(Gemm(beta=0.5), integers(rng, (4, 3)), integers(rng, (3, 6)), c, fallback=True)


def test_every_activation_after_a_product():
    rng = np.random.default_rng(7)
    a, b = integers(rng, (5, 20)), integers(rng, (20, 30), most=2)
    for op in (act.Sigmoid(), act.Tanh(), act.Elu(), act.Softplus(), act.HardSwish()):
        fused = FusedMatMul(activation=op)
        check_near(fused, a / 8, b, ulps=6, floor=2.0**-24)
        check_near(fused, a / 8, Const(b), ulps=6, floor=2.0**-24)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("constant", [True, False])
def test_rounding_stays_within_the_policy(dtype, constant):
    rng = np.random.default_rng(8)
    a = rng.standard_normal((9, 700)).astype(dtype)
    b = rng.standard_normal((700, 45)).astype(dtype)
    bias, r = rng.standard_normal(45).astype(dtype), rng.standard_normal((9, 45)).astype(dtype)
    op = FusedMatMul()
    (y,), _, _ = run_both(*one_node(op, a, Const(b) if constant else b, Const(bias), r), threads=2)
    wide = [np.longdouble(v) for v in (a, b, bias, r)]
    (y64,), (size,) = op.run(wide), op.run([abs(v) for v in wide])
    assert_within_policy(y, y64, size, 700, str(op))


# -- products with the matrix of a convolution ----------------------------------------------------


def a_geometry(rng: np.random.Generator, rank: int) -> ConvGeometry:
    while True:
        group = int(rng.choice([1, 1, 2, 3]))
        g = ConvGeometry(
            group * int(rng.integers(1, 5)),
            group * int(rng.integers(1, 11)),
            tuple(int(n) for n in rng.integers(1, (60, 12, 6)[rank - 1], rank)),
            tuple(int(n) for n in rng.integers(1, 4, rank)),
            tuple(int(n) for n in rng.integers(1, 3, rank)),
            tuple(int(n) for n in rng.integers(0, 3, 2 * rank)),
            tuple(int(n) for n in rng.integers(1, 3, rank)),
            group,
        )
        if g._fits():
            return g


def sparse_graph(
    op: ConvMatrix, w: np.ndarray, index: tuple, activation: Any, extra: dict[str, np.ndarray]
) -> Graph:
    """`SparseMatMul(ConvMatrix(w, *index), x, b, r)`; b is a parameter, x and r are inputs."""
    graph = Graph("sparse")
    names = ("w", "indptr", "columns", "entries")
    parts = [graph.add_parameter(n, a) for n, a in zip(names, (w, *index), strict=True)]
    matrix = graph.add_node(op, parts).result
    x = graph.add_input("x", TensorType("f32", extra["x"].shape))
    b = graph.add_parameter("b", extra["b"]) if "b" in extra else None
    r = graph.add_input("r", TensorType("f32", extra["r"].shape)) if "r" in extra else None
    graph.set_outputs([graph.add_node(SparseMatMul(activation), [matrix, x, b, r]).result])
    return graph


def sparse_op(g: ConvGeometry, transposed: bool, form: str) -> ConvMatrix:
    return ConvMatrix(g.kernel, g.strides, g.pads, g.dilations, g.image, g.group, transposed, form)


@pytest.mark.parametrize("form", ["tap", "literal"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_sparse_products(rank, transposed, form):
    rng = np.random.default_rng([9, rank, transposed])
    kernels = set()
    for trial in range(20):
        g = a_geometry(rng, rank)
        index = (tap_index if form == "tap" else literal_index)(g, transposed)
        if trial % 4 == 3:  # any permutation of the entries is a matrix too
            index = (*index[:2], rng.permutation(index[2]))
        op = sparse_op(g, transposed, form)
        w = integers(rng, g.weights_shape)
        rows, columns = (g.columns, g.rows) if transposed else (g.rows, g.columns)
        channels = g.in_channels if transposed else g.out_channels
        images = int(rng.integers(0, 4))
        inputs = {"x": integers(rng, (images, columns))}
        if rng.random() < 0.7:
            inputs["b"] = integers(rng, (channels,))
        if rng.random() < 0.4:
            inputs["r"] = integers(rng, (images, rows))
        graph = sparse_graph(op, w, index, ACTIVATIONS[trial % 4], inputs)
        named = {v.name: inputs[v.name] for v in graph.inputs}
        (found,), (expected,), nodes = run_both(graph, named, threads=1 + trial % 3)
        np.testing.assert_array_equal(found, expected, err_msg=f"{graph}")
        assert nodes[0].kernel == "index"
        kernels.add(nodes[1].kernel)
    assert kernels - {"nothing"} == (
        {"tap_product", "channels_last+sliced_product"}
        if form == "tap"
        else {"channels_last+sliced_product", "literal_product"}
    )


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("group", "inner", "outs"), [(1, 3, 37), (2, 4, 17), (5, 1, 1), (1, 1, 16)]
)
def test_literal_products_by_slices_of_rows(group, inner, outs, transposed):
    rng = np.random.default_rng([group, inner, outs, transposed])
    g = ConvGeometry(
        group * inner, group * outs, (7, 5), (3, 2), (2, 1), (1, 0, 1, 2), (1, 2), group
    )
    w, op = integers(rng, g.weights_shape), sparse_op(g, transposed, "literal")
    rows, columns = (g.columns, g.rows) if transposed else (g.rows, g.columns)
    channels = g.in_channels if transposed else g.out_channels
    inputs = {"x": integers(rng, (2, columns)), "b": integers(rng, (channels,))}
    inputs["r"] = integers(rng, (2, rows))
    index = literal_index(g, transposed)
    # the second time the rows of a slice differ: in columns, or in the order of their entries
    turned = [np.copy(a) for a in index]
    row = slice(*index[0][rows - 2 : rows])
    turned[1][row] = turned[1][row][::-1]
    for given, images in ((index, 2), (tuple(turned), 2), (index, 0), (index, 1)):
        some = {k: v if k == "b" else v[:images] for k, v in inputs.items()}
        graph = sparse_graph(op, w, given, act.HardSwish() if images == 1 else act.Relu(), some)
        named = {v.name: some[v.name] for v in graph.inputs}
        (found,), (expected,), nodes = run_both(graph, named, threads=3)
        if images == 1:
            np.testing.assert_allclose(found, expected, rtol=4 * 2.0**-23, atol=1e-6)
        else:
            np.testing.assert_array_equal(found, expected)
        assert nodes[1].kernel == ("channels_last+sliced_product" if images else "nothing")


def test_a_tap_twice_in_a_row_makes_the_matrix_literal():
    g = ConvGeometry(2, 3, (4,), (2,), (1,), (0, 0), (1,))
    indptr, columns, entries = tap_index(g)
    entries = np.zeros_like(entries)
    rng = np.random.default_rng(10)
    inputs = {"x": integers(rng, (2, g.columns)), "b": integers(rng, (3,))}
    graph = sparse_graph(
        sparse_op(g, False, "tap"), integers(rng, g.weights_shape), (indptr, columns, entries),
        act.Sigmoid(), inputs,
    )  # fmt: skip
    (found,), (expected,), nodes = run_both(graph, {"x": inputs["x"]})
    np.testing.assert_allclose(found, expected, rtol=4 * 2.0**-23)
    assert nodes[1].kernel == "channels_last+sliced_product"


def test_a_matrix_of_weights_that_are_computed_falls_back():
    g = ConvGeometry(2, 3, (5, 4), (2, 2), (1, 1), (0,) * 4, (1, 1))
    rng = np.random.default_rng(11)
    graph = Graph("computed")
    w = graph.add_input("w", TensorType("f32", g.weights_shape))
    x = graph.add_input("x", TensorType("f32", (2, g.columns)))
    doubled = graph.add_node(Add(), [w, w]).result
    index = [graph.add_parameter(n, a) for n, a in zip("abc", tap_index(g), strict=True)]
    matrix = graph.add_node(sparse_op(g, False, "tap"), [doubled, *index]).result
    # these want room while the weights must still be there
    between = graph.add_node(Add(), [x, x]).result
    between = graph.add_node(Add(), [between, x]).result
    y = graph.add_node(SparseMatMul(), [matrix, between]).result
    graph.set_outputs([y])
    inputs = {"w": integers(rng, g.weights_shape), "x": integers(rng, (2, g.columns))}
    (found,), (expected,), nodes = run_both(graph, inputs)
    np.testing.assert_array_equal(found, expected)
    assert nodes[-1].kernel == OP_RUN
    assert found.dtype == F32
