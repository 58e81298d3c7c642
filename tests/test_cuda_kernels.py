"""The CUDA kernels against Op.run: under the simulator (see test_cuda.py), or on a device."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from irconv import executable
from irconv.errors import GraphError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops import activation as act
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.elementwise import Add
from irconv.ops.fused import FusedConv
from irconv.ops.pool import MaxPool
from irconv.ops.rearrange import Concat, Gather
from irconv.ops.reduce import CumSum
from irconv.ops.shape import Flatten
from irconv.ops.slices import Slice
from irconv.ops.sparse import SparseMatMul
from irconv.pipeline import lower
from irconv.types import Array, TensorType
from irconv.zoo import lenet5, text_cnn
from tests.cuda_cases import Case, cases, floats

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in {"", "0"}
pytestmark = [] if SIMULATED else [pytest.mark.gpu]

FORMS = ("fuse", "im2col", "fuse,im2col", "conv_matrix", "conv_matrix{form=literal}")


def cuda(graph: Graph, pipeline: str = "") -> executable.Executable:
    return executable.compile(graph, backend="numba_cuda", pipeline=pipeline)


def assert_same(found: dict[str, Array], expected: dict[str, Array], ulp: int | None) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        if ulp is None:
            assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f")
        else:
            assert np.array_equal(np.isfinite(found[name]), np.isfinite(array))
            kept = np.isfinite(array)
            np.testing.assert_array_max_ulp(found[name][kept], array[kept], ulp)
            assert np.array_equal(found[name][~kept], array[~kept], equal_nan=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_kernel_computes_what_the_op_says(case: Case, dtype: str) -> None:
    graph, inputs = case.build(dtype)
    program = cuda(graph)
    assert not program.report.fallbacks, program.report.nodes[0].note
    expected = interpret(graph, inputs, float64=case.ulp is not None)
    types = {v.name: v.tensor_type.dtype for v in graph.outputs}
    narrowed = {name: array.astype(types[name]) for name, array in expected.items()}
    assert_same(program.run(inputs), narrowed, case.ulp)


# -- the lowered forms ----------------------------------------------------------------------------

RELU, HALVES = act.Relu(), MaxPool((2, 2), (2, 2))
# op, shape of x, shape of w
LAYERS = {
    "2d": (
        FusedConv((3, 3), (2, 1), (1, 0, 1, 2), activation=RELU), (2, 4, 6, 5), (6, 4, 3, 3)
    ),
    "groups": (FusedConv((2, 3), dilations=(2, 1), group=2), (1, 4, 5, 5), (6, 2, 2, 3)),
    "depthwise": (Conv((3, 3), group=3), (2, 3, 5, 5), (3, 1, 3, 3)),
    "1d": (Conv((3,), (2,), (1, 1)), (2, 3, 8), (4, 3, 3)),
    "3d": (Conv((2, 2, 2)), (1, 2, 3, 4, 3), (3, 2, 2, 2, 2)),
    "pool": (FusedConv((3, 3), activation=RELU, pool=HALVES), (1, 2, 6, 6), (3, 2, 3, 3)),
    "transposed": (
        ConvTranspose((3, 2), (2, 1), (1, 0, 0, 1), group=2), (2, 4, 3, 4), (4, 3, 3, 2)
    ),
}  # fmt: skip


def layer(name: str, residual: bool = False) -> tuple[Graph, dict[str, Array]]:
    """A graph of one convolution on whole numbers."""
    op, shape, weights = LAYERS[name]
    graph = Graph("layer")
    x = graph.add_input("x", TensorType("f32", shape))
    channels = weights[1] * op.group if isinstance(op, ConvTranspose) else weights[0]
    operands = [x, graph.add_parameter("w", floats(*weights).astype(np.float32))]
    operands.append(graph.add_parameter("b", floats(channels).astype(np.float32)))
    rng = np.random.default_rng(3)
    inputs = {"x": rng.integers(-4, 5, shape).astype(np.float32)}
    if residual:
        operands.append(graph.add_input("r", op.conv_type([v.type for v in operands])))
        inputs["r"] = rng.integers(-4, 5, operands[3].shape).astype(np.float32)
    graph.set_outputs([graph.add_node(op, operands, ["y"]).result])
    return graph, inputs


@pytest.mark.parametrize("pipeline", FORMS)
@pytest.mark.parametrize("name", LAYERS)
def test_lowered_convolutions_are_bit_equal(name: str, pipeline: str) -> None:
    graph, inputs = layer(name)
    program = cuda(graph, pipeline)
    assert not program.report.fallbacks
    assert_same(program.run(inputs), interpret(graph, inputs), None)


@pytest.mark.parametrize("pipeline", FORMS)
def test_a_residual_survives_every_lowering(pipeline: str) -> None:
    graph, inputs = layer("2d", residual=True)
    assert_same(cuda(graph, pipeline).run(inputs), interpret(graph, inputs), None)


@pytest.mark.parametrize("form", ["tap", "literal"])
def test_the_matrix_is_executed_from_its_index(form: str) -> None:
    graph, inputs = layer("1d")
    lowered = lower(graph, f"conv_matrix{{form={form}}}")
    before = cuda(lowered).run(inputs)["y"]
    node = next(n for n in lowered if n.op.name == "ConvMatrix")
    entries = node.constant(3)
    assert entries is not None
    size = (3, 36)[form == "literal"]
    other = lowered.add_parameter("other", ((entries + 1) % size).astype(np.int32))
    lowered.set_operand(node, 3, other)
    after = cuda(lowered).run(inputs)["y"]
    assert not np.array_equal(before, after)
    assert np.array_equal(after, interpret(lowered, inputs)["y"])


def test_a_pooled_convolution_has_no_buffer_before_the_pool() -> None:
    graph, _ = layer("pool")
    report = cuda(graph).report
    assert report.memory.arena == 0
    assert [n.kernel for n in report.nodes] == ["convolve"]
    unfused = cuda(graph, "im2col").report
    assert unfused.memory.arena >= 3 * 4 * 4 * 4


# -- networks -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lenet() -> tuple[Graph, dict[str, Array], dict[str, Array]]:
    graph = lenet5(batch=1)
    image = np.random.default_rng(0).normal(size=(1, 1, 28, 28)).astype(np.float32)
    return graph, {"image": image}, interpret(graph, {"image": image}, float64=True)


@pytest.mark.parametrize(
    "pipeline",
    [
        "fold,fuse",
        "fold,fuse,im2col",
        "fold,fuse,conv_matrix",
        "fold,fuse,conv_matrix{form=literal}",
    ],
)
def test_lenet_in_every_form(
    lenet: tuple[Graph, dict[str, Array], dict[str, Array]], pipeline: str
) -> None:
    graph, inputs, expected = lenet
    program = cuda(graph, pipeline)
    assert not program.report.fallbacks
    found = program.run(inputs)["prob"]
    assert np.abs(found - expected["prob"]).max() <= 1e-6
    assert not any(v.name in program.source for v in graph.inputs + graph.outputs)


def test_text_network_with_its_default_pipeline() -> None:
    graph = text_cnn(batch="N", words=7, vocabulary=11, width=3)
    tokens = np.random.default_rng(0).integers(0, 11, (2, 7))
    program = executable.compile(graph, backend="numba_cuda")
    found = program(tokens)[0]
    assert not program.report.fallbacks
    expected = interpret(graph, {"tokens": tokens}, float64=True)["prob"]
    assert np.abs(found - expected).max() <= 1e-6


# -- what is not a kernel -------------------------------------------------------------------------


def test_what_has_no_kernel_runs_by_op_run_and_is_named() -> None:
    graph = Graph("mixed")
    x = graph.add_input("secret name", TensorType("f32", (2, 3)))
    one = graph.add_parameter("one", np.float32([1, 2, 3]))
    axis = graph.add_parameter("axis", np.array(1))
    y = graph.add_node(Add(), [x, one]).result
    y = graph.add_node(CumSum(), [y, axis]).result
    graph.set_outputs([graph.add_node(act.Relu(), [y]).result])
    program = cuda(graph)
    assert [n.op for n in program.report.fallbacks] == ["CumSum"]
    assert program.report.fallbacks[0].note == "no kernel for this op"
    assert "host CumSum" in program.source
    assert "secret" not in program.source
    array = np.float32([[1, -2, 3], [-4, 5, -6]])
    assert np.array_equal(
        program(array)[0], np.maximum(np.cumsum(array + np.float32([1, 2, 3]), 1), 0)
    )


def test_the_places_of_a_max_pool_run_by_op_run() -> None:
    graph = Graph("places")
    x = graph.add_input("x", TensorType("f32", (1, 1, 4)))
    graph.set_outputs(graph.add_node(MaxPool((2,), (2,), n_outputs=2), [x]).results)
    found = cuda(graph)(np.float32([[[1, 5, 3, 2]]]))
    assert [array.tolist() for array in found] == [[[[5, 3]]], [[[1, 2]]]]


def test_sizes_that_only_the_run_knows() -> None:
    graph = Graph("cut")
    x = graph.add_input("x", TensorType("f32", (4,)))
    ends = graph.add_input("ends", TensorType("i64", (1,)))
    zero = graph.add_parameter("zero", np.array([0]))
    cut = graph.add_node(Slice(), [x, zero, ends]).result
    graph.set_outputs(
        [graph.add_node(act.Relu(), [cut]).result, graph.add_node(act.Relu(), [x]).result]
    )
    program = cuda(graph)
    assert len(program.report.fallbacks) == 2
    array = np.float32([-1, 2, -3, 4])
    assert program(array, np.array([3]))[0].tolist() == [0, 2, 0]
    assert program(array, np.array([2]))[0].tolist() == [0, 2]
    assert program(array, np.array([2]))[1].tolist() == [0, 2, 0, 4]


def test_a_matrix_whose_index_is_computed() -> None:
    graph = Graph("computed")
    lowered = lower(layer("1d")[0], "conv_matrix")
    node = next(n for n in lowered if n.op.name == "ConvMatrix")
    x = graph.add_input("x", TensorType("f32", (2, 24)))
    operands = [graph.add_parameter("w", node.constant(0))]
    inputs = {"x": np.arange(48, dtype=np.float32).reshape(2, 24)}
    for place in (1, 2, 3):
        array = node.constant(place)
        assert array is not None
        inputs[f"index{place}"] = array
        given = graph.add_input(f"index{place}", TensorType("i32", array.shape))
        computed = graph.add_node(Concat(0), [given]).result
        operands.append(computed)
    matrix = graph.add_node(node.op, operands).result
    graph.set_outputs([graph.add_node(SparseMatMul(), [matrix, x], ["y"]).result])
    program = cuda(graph)
    assert [n.op for n in program.report.fallbacks] == ["ConvMatrix", "SparseMatMul"]
    assert_same(program.run(inputs), interpret(graph, inputs), None)


def test_an_index_out_of_range_is_an_error_and_the_next_call_works() -> None:
    graph = Graph("rows")
    table = graph.add_parameter("table", np.arange(6, dtype=np.float32).reshape(3, 2))
    x = graph.add_input("x", TensorType("i64", (2,)))
    graph.set_outputs([graph.add_node(Gather(), [table, x], ["rows"]).result])
    program = cuda(graph)
    with pytest.raises(GraphError, match="%rows: Gather: an index is out of range"):
        program(np.array([0, 3]))
    assert program(np.array([-1, 0]))[0].tolist() == [[4, 5], [0, 1]]


# -- calls ----------------------------------------------------------------------------------------


def test_outputs_are_fresh_and_may_be_inputs_parameters_or_twice_the_same() -> None:
    graph = Graph("ends")
    x = graph.add_input("x", TensorType("f32", (2, 2)))
    w = graph.add_parameter("w", np.float32([7]))
    y = graph.add_node(act.Relu(), [x]).result
    flat = graph.add_node(Flatten(0), [y]).result
    graph.set_outputs([x, w, y, flat, y])
    program = cuda(graph)
    array = np.float32([[1, -2], [3, -4]])
    first = program(array)
    kept = [a.copy() for a in first]
    second = program(array * 2)
    assert all(np.array_equal(a, b) for a, b in zip(first, kept, strict=True))
    assert second[2].tolist() == [[2, 0], [6, 0]]
    assert second[3].tolist() == [[2, 0, 6, 0]]
    for a in first:
        a.fill(0)  # the caller owns them
    assert program(array)[1].tolist() == [7]
    assert array.tolist() == [[1, -2], [3, -4]]


def test_several_threads_may_call_one_program() -> None:
    graph, inputs = layer("pool")
    program = cuda(graph)
    arrays = [inputs["x"] + i for i in range(6)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda x: program(x)[0], arrays))
    for x, y in zip(arrays, found, strict=True):
        assert np.array_equal(y, interpret(graph, {"x": x})["y"])


def test_the_source_has_a_line_for_each_launch() -> None:
    graph, _ = layer("2d")
    lines = cuda(graph, "im2col").source.splitlines()
    assert [line.split("[")[0] for line in lines if "](" in line] == ["im2col", "product"]
    assert lines[0].startswith("# arena ")
    assert lines[-1].startswith("return v")
