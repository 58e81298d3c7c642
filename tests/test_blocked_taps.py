"""Tap products on blocks against the interpreter's: exact on integers, between guard zones."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime as ort
import pytest

import irconv as ic
from irconv.backends.numba_cpu.binders.matrix import tap_table
from irconv.backends.numba_cpu.blocked.convolve_row import Operands
from irconv.backends.numba_cpu.blocked.layer import Layer, of_two_axes
from irconv.backends.numba_cpu.blocked.taps import tap_convolution
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.step import Epilogue
from irconv.errors import BackendError, GraphError
from irconv.layout import Layout
from irconv.matrix import SharedMatrix
from irconv.ops.activation import Relu
from irconv.ops.layout import Pack, Unpack
from irconv.ops.sparse import ConvMatrix, SparseMatMul
from irconv.types import Array, TensorType
from tests.blocked_cases import Laid, operand, result, run
from tests.test_blocked_convolution import CASES as DIRECT
from tests.test_blocked_convolution import RELU, Case, integers
from tests.test_cpu_engine import along_channels

L = lanes()
CASES = [
    *(c for c in DIRECT if c.group == 1 or not (c.channels // c.group) % L),
    Case(2 * L, 2 * L, (56, 56), (3, 3), pads=(1, 1, 1, 1), parts=(1, 2)),
    Case(L, 4 * L, (30, 40), images=2, parts=(1, 2, 3), ending=Epilogue(-3.0, inf)),
    Case(3, 2 * L, (20, 30), (3, 3), (2, 2), (1, 1, 1, 1), (2, 2), block=3),
]  # fmt: skip


def launches_of(
    case: Case, matrix: SharedMatrix, x: Laid, y: Laid, b: Array | None, r: Laid | None
) -> list[Launch] | None:
    residual = r.blocked if r is not None else None
    layer = Layer(
        of_two_axes(case.geometry),
        x.blocked.storage,
        y.blocked.storage,
        residual.storage if residual is not None else None,
        case.ending,
    )
    operands = Operands(x.blocked, y.blocked, matrix.weights, b, residual)
    table = tap_table(matrix)
    assert table is not None
    return tap_convolution(layer, operands, table, max(case.parts))


def check(case: Case, matrix: SharedMatrix) -> None:
    """The result of every number of parts, exactly; nothing else is written."""
    g = case.geometry
    x = integers((case.images, g.in_channels, *g.image), 1)
    b = integers((g.out_channels,), 3) if case.bias else None
    shape = (case.images, g.out_channels, *g.out)
    r = integers(shape, 4) * 10 if case.residual else None
    halo = case.x_halo if case.x_halo is not None else g.pads
    y_halo = case.y_halo if case.y_halo is not None else (0,) * (2 * g.rank)
    source = operand(x, case.block, halo, around=0.0, extra=(1, 1))
    added = operand(r, L, y_halo, extra=case.extra) if r is not None else None
    expected = matrix.matmul(x.reshape(case.images, -1)).reshape(shape)
    expected = expected + (along_channels(b, g.rank) if b is not None else 0)
    expected = np.clip(expected + (r if r is not None else 0), case.ending.low, case.ending.high)
    for parts in case.parts:
        y = result(shape, L, y_halo, case.extra)
        launches = launches_of(case, matrix, source, y, b, added)
        assert launches is not None
        run(launches, parts)
        np.testing.assert_array_equal(y.load(), expected)
        y.check_written(halo=0)


def matrix_of(case: Case) -> SharedMatrix:
    return SharedMatrix.of(case.geometry, integers(case.geometry.weights_shape, 2))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_matrix_of_a_convolution(case: Case) -> None:
    check(case, matrix_of(case))


def without(matrix: SharedMatrix, gone: Array) -> SharedMatrix:
    """The matrix with other fixed zeros: without some entries of its index."""
    row = np.repeat(np.arange(len(matrix.indptr) - 1), np.diff(matrix.indptr))
    counts = np.bincount(row[~gone], minlength=len(matrix.indptr) - 1)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    kept = {name: getattr(matrix, name)[~gone] for name in ("columns", "entries")}
    return replace(matrix, indptr=indptr, **kept)


OTHERS = [
    Case(L, 2 * L, (9, 14), (3, 3), pads=(1, 1, 1, 1), residual=True, ending=RELU, parts=(1, 2)),
    Case(2 * L, 3 * L, (7, 7), (3, 3), pads=(1, 1, 1, 1), y_halo=(1, 1, 1, 1), parts=(1, 2)),
    Case(L + L // 2, 2 * L, (60, 31), images=2, parts=(1, 3)),
    Case(3, 2 * L, (17, 19), (5, 3), (2, 1), (2, 1, 2, 1), block=3, parts=(1, 2)),
    Case(L, L, (16, 15), (3, 2), (2, 2), (1, 1, 1, 1), (1, 2)),
    Case(2 * L, 4 * L, (5, 6), (2, 3), (1, 1), (1, 1, 0, 1), group=2, images=2),
    Case(2 * L, 7 * L, (50,), (3,), pads=(1, 1)),
]


@pytest.mark.parametrize("case", OTHERS, ids=str)
def test_it_is_executed_from_its_index(case: Case) -> None:
    """Of any index: nothing but the order of the work is derived from the geometry."""
    matrix, rng = matrix_of(case), np.random.default_rng(5)
    # another input pixel for all entries; for those of one row; the taps of a row in another order
    moved = rng.permutation(matrix.columns.max() + 1).astype(np.int32)[matrix.columns]
    check(case, replace(matrix, columns=moved))
    columns, entries = matrix.columns.copy(), matrix.entries.copy()
    some = slice(*matrix.indptr[[3, 4]])
    columns[some] = columns[some][::-1]
    entries[slice(*matrix.indptr[[1, 2]])] = rng.permutation(entries[slice(*matrix.indptr[[1, 2]])])
    check(case, replace(matrix, columns=columns, entries=entries))
    # fixed zeros where the convolution has weights
    check(case, without(matrix, rng.random(len(matrix.entries)) < 0.1))
    check(case, without(matrix, matrix.entries == 0))


def test_groups_that_are_no_blocks_have_no_kernel() -> None:
    case = Case(2 * (L // 2), 2 * L, (4, 4), group=2)
    x = operand(integers((1, 2 * (L // 2), 4, 4), 0), L, (0, 0, 0, 0))
    y = result((1, 2 * L, 4, 4), L, (0, 0, 0, 0))
    assert launches_of(case, matrix_of(case), x, y, None, None) is None


# -- whole networks ------------------------------------------------------------------------------


def network() -> ic.Graph:
    """A stem, a residual, two branches, a pool, groups that no kernel takes; whole numbers."""
    b = ic.Builder("net")
    x = b.input("x", (2, 3, 20, 18))
    stem = b.relu(b.conv(x, 2 * L, kernel=3, strides=2, pads="same"))
    inner = b.relu(b.add(b.conv(stem, 2 * L, kernel=3, pads="same"), stem))
    both = b.concat([b.conv(inner, L, kernel=1), b.conv(inner, L + 4, kernel=3, pads="same")])
    pooled = b.max_pool(both, kernel=2)
    b.output(b.conv(pooled, 2 * L + 4, kernel=3, pads="same", group=2 * L + 4))
    graph = b.build()
    rng = np.random.default_rng(0)
    for value in graph.parameters.values():
        value.array = rng.integers(-1, 2, value.shape).astype(np.float32)
    return graph


@pytest.mark.parametrize("threads", [1, 2])
def test_a_lowered_network_runs_on_blocks_by_default(threads: int) -> None:
    lowered = ic.lower(network(), "fold,fuse,conv_matrix")
    exe = ic.compile(lowered, threads=threads)
    kernels = [n.kernel for n in exe.report.nodes if n.op == "SparseMatMul"]
    assert [k.split("+")[-1] for k in kernels] == ["tap_blocks"] * 4 + ["tap_product"]
    x = integers((2, 3, 20, 18), 6)
    (expected,) = ic.interpret(lowered, {"x": x}).values()
    np.testing.assert_array_equal(exe(x)[0], expected)
    listing = str(ic.lower(lowered, f"canonicalize,pack{{block={L}}}"))
    assert f"f32[2, {2 * L}, 10, 9]{{block = {L}, halo = [1, 1, 1, 1]}}" in listing
    assert [listing.count(f" = {name}(") for name in ("Pack", "Unpack", "Reshape")] == [1, 1, 2]


def test_a_lowered_network_in_blocks_is_exported() -> None:
    packed = ic.lower(network(), f"fold,fuse,conv_matrix,canonicalize,pack{{block={L}}}")
    x = integers((2, 3, 20, 18), 7)
    (expected,) = ic.interpret(packed, {"x": x}).values()
    np.testing.assert_array_equal(by_onnxruntime(packed, {"x": x}), expected)


def by_onnxruntime(graph: ic.Graph, inputs: dict[str, Array]) -> Array:
    with TemporaryDirectory() as folder:
        ic.export_onnx(graph, f"{folder}/m.onnx")
        session = ort.InferenceSession(f"{folder}/m.onnx", providers=["CPUExecutionProvider"])
    found: Array = session.run(None, inputs)[0]
    return found


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("form", ["tap", "literal"])
def test_products_with_images_that_lie_row_by_row(form: str, transposed: bool) -> None:
    g = Case(4, 6, (5, 7), (3, 2), (2, 1), (1, 0, 1, 1)).geometry
    graph = ic.Graph("images")
    matrix = SharedMatrix.of(g, integers(g.weights_shape, 8), transposed, form)
    arrays = {"w": matrix.weights, "i": matrix.indptr, "c": matrix.columns, "e": matrix.entries}
    parts = [graph.add_parameter(name, array) for name, array in arrays.items()]
    op = ConvMatrix(g.kernel, g.strides, g.pads, g.dilations, g.image, 1, transposed, form)
    inputs = {
        "x": integers((2, *matrix.type.image), 9),
        "r": integers((2, *matrix.type.result_image), 10),
    }
    x, r = (graph.add_input(n, TensorType("f32", a.shape)) for n, a in inputs.items())
    b = graph.add_parameter("b", integers((matrix.type.channels,), 11))
    product = [graph.add_node(op, parts).result, x, b, r]
    graph.set_outputs([graph.add_node(SparseMatMul(Relu()), product).result])
    (expected,) = ic.interpret(graph, inputs).values()
    flat = matrix.matmul(inputs["x"].reshape(2, -1)).reshape(expected.shape)
    flat = flat + integers((matrix.type.channels,), 11)[:, None, None] + inputs["r"]
    np.testing.assert_array_equal(expected, np.maximum(flat, 0))
    for pipeline in ("", None):
        found = ic.compile(graph, pipeline=pipeline).run(inputs)
        np.testing.assert_array_equal(next(iter(found.values())), expected)
    np.testing.assert_array_equal(by_onnxruntime(graph, inputs), expected)


def test_images_of_another_shape_are_refused() -> None:
    g = Case(4, 6, (5, 7)).geometry
    kind = SharedMatrix.of(g, integers(g.weights_shape, 8)).type
    with pytest.raises(GraphError, match=r"expected \[N, 140\] or \[N, 4, 5, 7\]"):
        SparseMatMul().infer([kind, TensorType("f32", (1, 4, 7, 5)), None, None], [None] * 4)


@pytest.mark.parametrize("what", ["literal", "a tap twice", "transposed", "constant images"])
def test_what_no_kernel_multiplies_on_blocks_is_refused(what: str) -> None:
    g = Case(L, L, (5,), (3,), pads=(1, 1)).geometry
    form, transposed = "literal" if what == "literal" else "tap", what == "transposed"
    matrix = SharedMatrix.of(g, integers(g.weights_shape, 8), transposed, form)
    entries = np.zeros_like(matrix.entries) if what == "a tap twice" else matrix.entries
    graph, layout = ic.Graph("refused"), Layout(L, (1, 1))
    arrays = {"w": matrix.weights, "i": matrix.indptr, "c": matrix.columns, "e": entries}
    parts = [graph.add_parameter(name, array) for name, array in arrays.items()]
    op = ConvMatrix(g.kernel, g.strides, g.pads, g.dilations, g.image, 1, transposed, form)
    product = graph.add_node(op, parts).result
    x = graph.add_input("x", TensorType("f32", (1, L, 5)))
    read = graph.add_node(Pack(layout.block, layout.halo), [x]).result
    if what == "constant images":
        read = graph.add_parameter("k", integers((1, L, 5), 1))
    y = graph.add_node(SparseMatMul(), [product, read]).result
    y.type = y.tensor_type.with_layout(layout)
    graph.set_outputs([graph.add_node(Unpack(), [y]).result])
    with pytest.raises(BackendError, match="no kernel runs this SparseMatMul on blocks"):
        ic.compile(graph, pipeline="")
