"""Graphs on the CPU backend in which some sizes are only known when they run."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from irconv.backends.numba_cpu import NumbaCpu
from irconv.dim import symbol
from irconv.errors import BackendError, InputError
from irconv.executable import compile as build
from irconv.graph import Graph, Value
from irconv.interpret import interpret
from irconv.op import UNKNOWN, Op
from irconv.ops.activation import Relu
from irconv.ops.elementwise import Add, Mul
from irconv.ops.generic import Generic
from irconv.ops.identity import Identity
from irconv.ops.rearrange import Concat
from irconv.ops.reduce import ReduceSum
from irconv.ops.shape import Reshape, Shape
from irconv.ops.slices import Slice
from irconv.report import OP_RUN
from irconv.types import Array, TensorType, Type
from tests.cpu_cases import compiled, integers, run_guarded


def graph_of(build_nodes: Callable[[Graph, Value, Value], tuple[Value, ...]]) -> Graph:
    """A graph of an image and a shape, whose outputs `build_nodes` gives."""
    graph = Graph("unknown")
    x = graph.add_input("x", TensorType("f32", [2, 3, 4]))
    shape = graph.add_input("shape", TensorType("i64", [2]))
    graph.set_outputs(build_nodes(graph, x, shape))
    return graph


def image(seed: int) -> Array:
    return integers(np.random.default_rng(seed), [2, 3, 4])


def add(graph: Graph, op: Op, *operands: Value | None) -> Value:
    return graph.add_node(op, operands).results[0]


def chain(graph: Graph, x: Value, shape: Value) -> tuple[Value, ...]:
    """Kernels before and after, an output of a known size, one twice, one whose input is copied."""
    y = add(graph, Reshape(), add(graph, Relu(), x), shape)
    twice = add(graph, Add(), y, y)
    sizes = add(graph, Shape(), twice)
    one = graph.add_parameter("one", np.array([1, 1], np.int64))
    known = add(graph, Mul(), add(graph, Add(), sizes, one), shape)
    copy = add(graph, Identity(), y)
    back = add(graph, Reshape(), twice, graph.add_parameter("back", np.array([2, 3, 4], np.int64)))
    whole = add(graph, Mul(), add(graph, Relu(), back), x)
    return twice, twice, copy, known, whole, shape


def check(graph: Graph, x: Array, shape: list[int], pipeline: str = "") -> None:
    inputs = {"x": x, "shape": np.array(shape, np.int64)}
    wanted = list(interpret(graph, inputs).values())
    exe = build(graph, pipeline=pipeline, threads=2)
    for found in (exe(*inputs.values()), run_guarded(compiled(graph), list(inputs.values()))):
        assert len(found) == len(graph.outputs)
        for value, array in zip(graph.outputs, found, strict=True):
            name = list(dict.fromkeys(v.name for v in graph.outputs)).index(value.name)
            np.testing.assert_array_equal(array, wanted[name])
            assert array.dtype == wanted[name].dtype


@pytest.mark.parametrize("shape", [[6, 4], [4, 6], [1, 24], [-1, 2], [2, -1]])
@pytest.mark.parametrize("pipeline", ["", NumbaCpu.default_pipeline])
def test_a_chain_through_unknown_sizes(shape: list[int], pipeline: str) -> None:
    check(graph_of(chain), image(1), shape, pipeline)


def test_one_program_runs_many_sizes() -> None:
    graph = graph_of(chain)
    exe = pickle.loads(pickle.dumps(build(graph)))
    for seed, shape in enumerate([[6, 4], [1, 24], [24, 1], [3, 8], [6, 4]]):
        x = image(seed)
        found = exe(x, np.array(shape, np.int64))
        np.testing.assert_array_equal(found[0], 2 * np.maximum(x, 0).reshape(shape))


def test_the_report_names_the_nodes() -> None:
    report = build(graph_of(chain), pipeline="").report
    kernels = [(n.op, n.kernel == OP_RUN, n.result_bytes > 0) for n in report.nodes]
    assert kernels[0] == ("Relu", False, True)
    assert kernels[1] == ("Reshape", True, False)
    assert {op for op, fallback, _ in kernels if fallback} >= {"Reshape", "Add", "Shape"}
    # of the outputs those of known sizes: known, whole and shape
    assert report.memory.outputs == 16 + 96 + 16
    source = build(graph_of(chain), pipeline="").source
    assert "host[0]" in source


def test_outputs_are_the_callers_own() -> None:
    exe = build(graph_of(chain), pipeline="")
    x, shape = image(1), np.array([6, 4], np.int64)
    first = exe(x, shape)
    kept = [a.copy() for a in first]
    for array in first:
        assert array.flags.writeable
        assert not np.shares_memory(array, x)
        array[...] = -7
    assert not np.shares_memory(first[0], first[1])
    for array, before in zip(exe(x, shape), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_a_view_of_the_arena_is_kept_apart() -> None:
    """The room of Relu's result is used again before its reshaped form is read."""

    def nodes(graph: Graph, x: Value, shape: Value) -> tuple[Value, ...]:
        y = add(graph, Reshape(), add(graph, Relu(), x), shape)
        other = add(graph, Relu(), add(graph, Mul(), x, x))
        return add(graph, Relu(), add(graph, Add(), other, x)), add(graph, Add(), y, y)

    check(graph_of(nodes), image(2), [8, 3])


def test_sizes_down_to_none() -> None:
    def nodes(graph: Graph, x: Value, shape: Value) -> tuple[Value, ...]:
        zero = graph.add_parameter("zero", np.array([0, 0], np.int64))
        axes = graph.add_parameter("axes", np.array([0, 2], np.int64))
        part = add(graph, Slice(), x, zero, shape, axes)
        total = add(graph, ReduceSum(keepdims=0), part)
        return part, add(graph, Concat(axis=2), part, part), total

    graph = graph_of(nodes)
    for shape in ([2, 4], [1, 2], [0, 3], [0, 0]):
        check(graph, image(3), shape)


def test_an_op_of_onnx_whose_result_depends_on_the_numbers() -> None:
    def nodes(graph: Graph, x: Value, shape: Value) -> tuple[Value, ...]:
        places = add(graph, Generic("NonZero", 13), x)
        return (add(graph, Mul(), places, places),)

    for seed in range(3):
        check(graph_of(nodes), np.maximum(image(seed), 0), [1, 1])


@pytest.mark.parametrize("backend", ["interpret", "onnx"])
def test_the_other_backends_agree(backend: str) -> None:
    graph = graph_of(chain)
    inputs = image(4), np.array([8, 3], np.int64)
    exe = build(graph, backend)
    for mine, theirs in zip(exe(*inputs), build(graph)(*inputs), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert exe.report.memory.outputs == 16 + 96 + 16


def test_what_does_not_fit_is_the_inputs_fault() -> None:
    exe = build(graph_of(chain), pipeline="")
    for _ in range(2):
        with pytest.raises(InputError, match="Reshape"):
            exe(image(1), np.array([5, 5], np.int64))
        exe(image(1), np.array([6, 4], np.int64))


@dataclass(frozen=True)
class Wrong(Op):
    """Says one size and gives another."""

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (TensorType("f32", [symbol(UNKNOWN), 3]),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (np.zeros((5, 4), np.float32),)


def test_results_of_another_shape_than_was_inferred() -> None:
    graph = graph_of(lambda graph, x, shape: (add(graph, Wrong(), x),))
    with pytest.raises(BackendError, match=r"expected \[\?.*, 3\], got \[5, 4\]"):
        compiled(graph)([image(1), np.array([1, 1], np.int64)])


def test_calls_at_once_keep_their_sizes() -> None:
    exe = build(graph_of(chain), threads=1)
    x = image(1)
    shapes = [[24, 1], [12, 2], [8, 3], [6, 4]] * 8

    def call(shape: list[int]) -> bool:
        found = exe(x, np.array(shape, np.int64))[0]
        return np.array_equal(found, 2 * np.maximum(x, 0).reshape(shape))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, shapes))
