"""Whole graphs on the CPU backend: views, outputs, fallbacks, random networks, between guards."""

from __future__ import annotations

import gc
import random
import weakref
from collections import Counter

import numpy as np
import pytest

from irconv.backend import Options
from irconv.backends.numba_cpu import NumbaCpu, pipeline_for
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.errors import GraphError, InputError
from irconv.executable import compile as build
from irconv.graph import Graph, Value
from irconv.interpret import interpret
from irconv.op import Op
from irconv.ops import activation as act
from irconv.ops.cast import Cast
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add, Mul
from irconv.ops.functions import Neg
from irconv.ops.generic import Generic
from irconv.ops.identity import Identity
from irconv.ops.logic import Equal, Not
from irconv.ops.pool import MaxPool
from irconv.ops.rearrange import Concat, Gather
from irconv.ops.shape import Flatten, Reshape, Shape, Squeeze, Transpose, Unsqueeze
from irconv.pipeline import lower
from irconv.report import OP_RUN
from irconv.specialize import specialize
from irconv.types import TensorType
from tests.cpu_cases import F32, compiled, integers, run_both, run_guarded
from tests.graphs import BATCH, integer_inputs, random_graph

PIPELINES = (
    "",
    pipeline_for(Options("strict")),
    "canonicalize,fold,fold_batchnorm,fuse,canonicalize",
    "fold,im2col",
    "fold,fuse,conv_matrix",
    "fuse,conv_matrix{form=literal}",
    f"fold,fuse,conv_matrix,canonicalize,pack{{block={lanes()}}}",
    "canonicalize,fold,fold_batchnorm,fuse,im2col,canonicalize,fold",
)


# what the random networks must reach; a convolution with its pool is rare among them
EXPECTED_KERNELS = {
    "clear_halo+convolve_blocks",
    "clear_halo+pack",
    "convolve",
    "convolve_blocks",
    "convolve_transposed",
    "depthwise",
    "im2col",
    "pool",
    "tap_product",
    "tap_blocks",
    "channels_last+sliced_product",
    "dense",
    "copy",
    "view",
    "index",
    OP_RUN,
}


class Sketch:
    """A graph that is written quickly."""

    def __init__(self, shape: tuple[int, ...] = (2, 3, 4), dtype: str = "f32") -> None:
        self.graph = Graph("sketch")
        self.x = self.graph.add_input("x", TensorType(dtype, shape))

    def add(self, op: Op, *operands: Value | None) -> Value:
        return self.graph.add_node(op, operands).results[0]

    def param(self, array: object) -> Value:
        return self.graph.add_parameter(self.graph.fresh_name("p"), np.asarray(array))

    def reshape(self, x: Value, *shape: int) -> Value:
        return self.add(Reshape(), x, self.param(np.int64(shape)))

    def check(self, *outputs: Value, threads: int = 2) -> Counter[str]:
        """The outputs are right, and the kernels that ran."""
        self.graph.set_outputs(outputs)
        rng = np.random.default_rng(0)
        inputs = {v.name: integers(rng, v.shape, v.type.dtype) for v in self.graph.inputs}
        found, expected, nodes = run_both(self.graph, inputs, threads)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=str(self.graph))
        return Counter(n.kernel for n in nodes)


# -- outputs --------------------------------------------------------------------------------------


def test_an_input_as_output_even_twice():
    s = Sketch()
    assert s.check(s.x, s.x) == {}


def test_a_parameter_as_output():
    s = Sketch()
    p = s.param(np.float32([[1, 2], [3, 4]]))
    s.check(p, s.x, p)


def test_one_value_as_several_outputs():
    s = Sketch()
    y = s.add(Neg(), s.x)
    s.check(y, y, y)
    s = Sketch()
    y = s.add(Flatten(), s.add(Neg(), s.x))
    s.check(y, y)


def test_views_of_inputs_parameters_and_other_outputs_as_outputs():
    s = Sketch()
    a = s.add(Identity(), s.x)
    b = s.add(Identity(), a)
    c = s.reshape(b, 6, 4)
    p = s.reshape(s.param(np.arange(6, dtype=F32)), 2, 3)
    kernels = s.check(a, b, c, p, s.add(Identity(), c), s.x)
    assert kernels == {"copy": 5}


def test_a_result_and_its_views_as_outputs():
    s = Sketch()
    y = s.add(Neg(), s.x)
    v = s.add(Flatten(), y)
    w = s.add(Unsqueeze(), v, s.param(np.int64([0])))
    s.check(y, v, w)
    s.check(w, v, y)
    s.check(v, w)
    s.check(w)
    assert s.check(v) == {"neg": 1, "view": 2}


def test_an_output_that_is_used_again():
    s = Sketch()
    y = s.add(Neg(), s.x)
    z = s.add(Add(), y, s.x)
    v = s.reshape(z, 24)
    u = s.add(Mul(), v, v)
    s.check(y, v, s.add(Neg(), u))
    s.check(u, y)


def test_chains_of_views():
    s = Sketch()
    v = s.add(Neg(), s.x)
    for shape in ((24,), (4, 6), (1, 24, 1), (2, 12)):
        v = s.reshape(v, *shape)
    v = s.add(Squeeze(), s.add(Unsqueeze(), v, s.param(np.int64([0, 3]))))
    kernels = s.check(s.add(Neg(), s.add(Identity(), v)))
    assert kernels == {"neg": 2, "view": 7}


def test_a_view_keeps_its_buffer_alive():
    s = Sketch()
    y = s.add(Neg(), s.x)
    v = s.reshape(y, 24)
    others = [s.add(Neg(), s.add(Add(), s.x, s.x)) for _ in range(3)]
    late = s.add(Neg(), v)
    s.check(*(s.add(Neg(), o) for o in others), late)


def test_a_view_of_a_parameter_is_an_operand_of_kernels_and_of_numpy():
    s = Sketch((2, 3))
    p = s.reshape(s.param(np.arange(6, dtype=F32)), 2, 3)
    kernels = s.check(s.add(Add(), s.x, p), s.add(Cast("f64"), p), s.add(Transpose(), p))
    assert kernels["add"] == 1
    assert kernels[OP_RUN] == 1


def test_inputs_nodes_and_parameters_that_nothing_uses():
    s = Sketch()
    s.graph.add_input("unused", TensorType("f32", (5,)))
    s.param(np.ones(3, F32))
    s.add(Neg(), s.x)
    s.add(MaxPool((2,), n_outputs=2), s.x)
    s.check(s.add(act.Relu(), s.x))


def test_a_graph_without_nodes_inputs_or_outputs():
    s = Sketch()
    s.check()
    empty = Graph("empty")
    assert run_guarded(compiled(empty), []) == []
    p = empty.add_parameter("p", np.float32(3))
    empty.set_outputs([p])
    (y,) = run_guarded(compiled(empty), [])
    assert y == 3
    assert y.shape == ()


def test_a_graph_that_folds_to_constants():
    graph = Graph("folded")
    one = graph.add_parameter("one", np.float32([1, 2]))
    y = graph.add_node(Add(), [one, one]).result
    graph.set_outputs([y, y])
    executable = build(graph, pipeline="fold,canonicalize")
    assert not executable.report.fallbacks
    for result in executable():
        np.testing.assert_array_equal(result, np.float32([2, 4]))


def test_scalars_and_empty_tensors():
    s = Sketch(())
    s.check(s.add(Neg(), s.x), s.reshape(s.x, 1, 1), s.x)
    s = Sketch((0, 3))
    s.check(
        s.add(Neg(), s.x),
        s.add(Reshape(1), s.x, s.param(np.int64([3, 0]))),
        s.x,
        s.add(Concat(axis=0), s.x, s.x),
    )


# -- fallbacks ------------------------------------------------------------------------------------


def test_ops_on_integers_and_booleans_fall_back_between_kernels():
    s = Sketch((3, 4))
    y = s.add(Neg(), s.x)
    same = s.add(Equal(), y, s.x)
    number = s.add(Cast("f32"), s.add(Not(), same))
    kernels = s.check(s.add(Add(), number, y), same, s.reshape(same, 12))
    assert kernels[OP_RUN] == 4
    assert kernels["add"] == kernels["neg"] == 1


def test_a_generic_op_falls_back_by_name():
    s = Sketch((3, 4))
    y = s.add(Generic("Einsum", 12, onnx_attributes=(("equation", "ij->ji"),)), s.add(Neg(), s.x))
    s.check(s.add(Neg(), y))
    report = compiled(s.graph).report
    assert [n.op for n in report.fallbacks] == ["onnx.Einsum"]
    assert "fallback: %" in str(report)


def test_both_results_of_a_pool_with_places():
    s = Sketch((1, 2, 6))
    places = s.graph.add_node(MaxPool((2,), n_outputs=2), [s.add(Neg(), s.x)])
    flat = s.reshape(s.x, 12)
    s.check(*places.results, s.add(Gather(), flat, places.results[1]))


def test_an_op_that_fails_in_numpy_is_named():
    s = Sketch((3,))
    index = s.graph.add_input("i", TensorType("i64", (2,)))
    s.graph.set_outputs([s.add(Gather(), s.add(Cast("u8"), s.x), index)])
    program = compiled(s.graph)
    with pytest.raises(InputError, match=r"^%\d: Gather: an index is out of range"):
        program([np.zeros(3, F32), np.int64([0, 3])])


def test_a_parameter_without_content_is_refused():
    s = Sketch((3,))
    s.graph.set_outputs([s.add(Add(), s.x, s.param(np.ones(3, F32)))])
    s.graph.parameters["p"].digest  # noqa: B018 - remembers the digest
    s.graph.parameters["p"].array = None
    with pytest.raises(GraphError, match=r"%p: a parameter has no content"):
        build(s.graph)


def test_numpy_never_writes_what_it_reads(monkeypatch):
    s = Sketch((3,))
    s.graph.set_outputs([s.add(Cast("f64"), s.x)])
    seen = []
    run = Cast.run
    monkeypatch.setattr(Cast, "run", lambda op, arrays: seen.append(arrays[0]) or run(op, arrays))
    x = np.ones(3, F32)
    compiled(s.graph)([x])
    assert not seen[0].flags.writeable
    assert x.flags.writeable


# -- sizes that only the run tells ----------------------------------------------------------------


def test_sizes_that_are_computed():
    s = Sketch((2, 3))
    shape = s.graph.add_input("shape", TensorType("i64", (2,)))
    y = s.add(Reshape(), s.add(Neg(), s.x), shape)
    z = s.add(Neg(), y)
    s.graph.set_outputs([z, s.add(Shape(), z), y])
    program = compiled(s.graph)
    x = integers(np.random.default_rng(1), (2, 3))
    for target in ((6, 1), (1, 6), (3, 2)):
        found = program([x, np.int64(target)])
        expected = interpret(s.graph, {"x": x, "shape": np.int64(target)})
        for a, b in zip(found, expected.values(), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(InputError, match="Reshape"):
        program([x, np.int64([4, 4])])


# -- memory ---------------------------------------------------------------------------------------


def test_a_released_executable_lets_the_weights_go():
    s = Sketch((1, 16, 5, 5))
    array = integers(np.random.default_rng(2), (24, 16, 3, 3))
    w = s.graph.add_parameter("w", array)
    s.graph.set_outputs([s.add(Conv((3, 3)), s.x, w)])
    executable = build(s.graph, pipeline="")
    x = integers(np.random.default_rng(3), (1, 16, 5, 5))
    expected = executable(x)[0]
    executable.release()
    gone = weakref.ref(array)
    del s, w, array
    gc.collect()
    assert gone() is None
    np.testing.assert_array_equal(executable(x)[0], expected)


def test_a_fused_pool_needs_no_buffer_of_the_size_before_it():
    graph = Graph("vgg")
    x = graph.add_input("x", TensorType("f32", (1, 64, 112, 112)))
    w = graph.add_parameter("w", np.ones((64, 64, 3, 3), F32))
    y = graph.add_node(Conv((3, 3), pads=(1,) * 4), [x, w]).result
    y = graph.add_node(act.Relu(), [y]).result
    y = graph.add_node(MaxPool((2, 2), strides=(2, 2)), [y]).result
    graph.set_outputs([y])
    for threads in (1, 2):
        program = NumbaCpu().compile(lower(graph, "fuse"), Options(threads=threads), "fuse")
        (node,) = program.report.nodes
        before = 4 * 64 * 112 * 112
        assert node.kernel == "convolve_pool"
        assert node.result_bytes == before // 4
        memory = program.report.memory
        assert memory.outputs == node.result_bytes
        assert program.arena_bytes == memory.arena + memory.scratch
        assert program.arena_bytes < before
        assert node.scratch_bytes <= memory.scratch


# -- random networks ------------------------------------------------------------------------------


def test_random_networks_by_every_pipeline():
    kernels: Counter[str] = Counter()

    for seed in range(35):
        graph, threads = random_graph(random.Random(seed).choice), 1 + seed % 3
        inputs = integer_inputs(graph)
        expected = interpret(graph, inputs)
        fixed = specialize(graph, dict.fromkeys(graph.symbols(), BATCH))
        for pipeline in PIPELINES:
            program = compiled(lower(fixed, pipeline), threads)
            found = run_guarded(program, [inputs[v.name] for v in graph.inputs])
            for value, array in zip(graph.outputs, found, strict=True):
                wanted = expected[value.name]
                np.testing.assert_array_equal(array, wanted, err_msg=f"{pipeline}\n{graph}")
            kernels.update(n.kernel for n in program.report.nodes)
    assert set(kernels) >= EXPECTED_KERNELS, kernels
