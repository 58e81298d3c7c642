"""The memory plan: values that live at one time never share bytes, and the arena is no larger than
needed."""

from __future__ import annotations

import hypothesis
import numpy as np
from hypothesis import strategies as st

from irconv.backends.numba_cpu.views import find_views
from irconv.dim import known
from irconv.geometry import ConvGeometry
from irconv.graph import Graph, Value
from irconv.matrix_index import tap_index
from irconv.memory_plan import ALIGNMENT, Lifetime, lifetimes, plan_memory
from irconv.ops.conv import Conv
from irconv.ops.functions import Neg
from irconv.ops.pool import MaxPool
from irconv.ops.shape import Flatten
from irconv.ops.sparse import ConvMatrix, SparseMatMul
from irconv.pipeline import lower
from irconv.specialize import specialize
from irconv.types import MatrixType, TensorType
from tests.graphs import BATCH, graphs


def rounded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def meet(a: Lifetime, b: Lifetime) -> bool:
    return a.first <= b.last and b.first <= a.last


def check_plan(buffers: list[Lifetime]) -> int:
    """The plan holds what it promises; its size."""
    plan = plan_memory(buffers)
    assert set(plan.offsets) == {b.value for b in buffers}
    for i, a in enumerate(buffers):
        begin = plan.offsets[a.value]
        assert begin % ALIGNMENT == 0
        assert 0 <= begin <= begin + a.nbytes <= plan.size
        for b in buffers[:i]:
            other = plan.offsets[b.value]
            apart = begin + a.nbytes <= other or other + b.nbytes <= begin
            assert apart or not meet(a, b), (a, b, plan)
    ends = range(1 + max((b.last for b in buffers), default=0))
    peak = max(sum(rounded(b.nbytes) for b in buffers if b.first <= t <= b.last) for t in ends)
    assert peak <= plan.size <= sum(rounded(b.nbytes) for b in buffers)
    return plan.size


def buffer(nbytes: int, first: int, last: int) -> Lifetime:
    return Lifetime(Value("v", TensorType("u8", (nbytes,))), nbytes, first, last)


@hypothesis.given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20), st.integers(0, 20)), max_size=25)
)
def test_any_lifetimes(drawn):
    check_plan([buffer(n, min(a, b), max(a, b)) for n, a, b in drawn])


def test_no_buffers_need_no_room():
    assert plan_memory([]).size == 0
    assert check_plan([buffer(0, 0, 3), buffer(0, 1, 2)]) == 0


def test_a_chain_needs_room_for_two():
    assert check_plan([buffer(100, i, i + 1) for i in range(10)]) == 256


def test_one_after_the_other_share_their_bytes():
    buffers = [buffer(64 * (1 + i % 3), i, i) for i in range(9)]
    assert check_plan(buffers) == 3 * 64


def test_the_plan_does_not_depend_on_the_order():
    rng = np.random.default_rng(1)
    sizes = rng.permutation(50) * 64
    buffers = [buffer(int(n), *sorted(rng.integers(0, 30, 2).tolist())) for n in sizes]
    mixed = [buffers[i] for i in rng.permutation(len(buffers))]
    assert plan_memory(buffers).offsets == plan_memory(mixed).offsets


def naive(graph: Graph, owners: dict[Value, Value]) -> dict[Value, tuple[int, int]]:
    """First and last place at which each buffer is touched, by looking at every node."""
    touched: dict[Value, list[int]] = {}
    for place, node in enumerate(graph):
        values = {v for v in (*node.operands, *node.results) if v is not None}
        for v in list(values):
            if isinstance(v.type, MatrixType) and v.producer not in (None, node):
                values |= {w for w in v.producer.operands if w is not None}
        for v in values:
            touched.setdefault(owners.get(v, v), []).append(place)
    return {v: (min(places), max(places)) for v, places in touched.items()}


@hypothesis.given(
    graph=graphs(), pipeline=st.sampled_from(["", "fold,im2col", "fold,fuse,conv_matrix"])
)
def test_lifetimes_of_random_networks(graph, pipeline):
    fixed = lower(specialize(graph, dict.fromkeys(graph.symbols(), BATCH)), pipeline)
    owners = find_views(fixed).owners
    buffers = lifetimes(fixed, owners)
    wanted = naive(fixed, owners)
    outputs = {owners.get(v, v) for v in fixed.outputs}
    dense = {
        v for n in fixed for v in n.results if isinstance(v.type, TensorType) and v.type.is_static
    }
    assert {b.value for b in buffers} == dense - outputs - set(owners)
    for b in buffers:
        assert (b.first, b.last) == wanted[b.value]
        assert b.nbytes == known(b.value.type.nbytes)
    check_plan(buffers)


def test_outputs_inputs_and_their_views_need_no_room():
    graph = Graph("views")
    x = graph.add_input("x", TensorType("f32", (2, 3)))
    flat = graph.add_node(Flatten(), [x]).result
    y = graph.add_node(Neg(), [flat]).result
    graph.set_outputs([y])
    assert lifetimes(graph, {flat: x}) == []


def test_a_result_that_nobody_reads_has_room_while_it_is_written():
    graph = Graph("unread")
    x = graph.add_input("x", TensorType("f32", (1, 2, 8)))
    a = graph.add_node(Neg(), [x]).result
    pool = graph.add_node(MaxPool((2,), n_outputs=2), [a])
    graph.set_outputs([graph.add_node(Neg(), [pool.results[0]]).result])
    found = {b.value: (b.first, b.last) for b in lifetimes(graph)}
    assert found == {a: (0, 1), pool.results[0]: (1, 2), pool.results[1]: (1, 1)}
    check_plan(lifetimes(graph))


def test_the_weights_of_a_matrix_live_until_its_last_product():
    g = ConvGeometry(1, 1, (4,), (2,), (1,), (0, 0), (1,))
    graph = Graph("matrix")
    w = graph.add_input("w", TensorType("f32", g.weights_shape))
    x = graph.add_input("x", TensorType("f32", (1, 4)))
    doubled = graph.add_node(Neg(), [w]).result
    index = [graph.add_parameter(n, a) for n, a in zip("abc", tap_index(g), strict=True)]
    op = ConvMatrix(g.kernel, g.strides, g.pads, g.dilations, g.image)
    matrix = graph.add_node(op, [doubled, *index]).result
    negated = graph.add_node(Neg(), [x]).result
    graph.set_outputs([graph.add_node(SparseMatMul(), [matrix, negated]).result])
    found = {b.value: (b.first, b.last) for b in lifetimes(graph)}
    assert found == {doubled: (0, 3), negated: (2, 3)}


def test_a_plan_of_a_network_is_near_its_peak():
    graph = Graph("deep")
    x = graph.add_input("x", TensorType("f32", (1, 8, 16, 16)))
    w = graph.add_parameter("w", np.ones((8, 8, 3, 3), np.float32))
    for _ in range(30):
        x = graph.add_node(Conv((3, 3), pads=(1,) * 4), [x, w]).result
    graph.set_outputs([x])
    assert check_plan(lifetimes(graph)) == 2 * 4 * 8 * 16 * 16


def test_many_buffers_are_placed_without_looking_at_all_of_them():
    chain = [buffer(100, i, i + 1) for i in range(20000)]
    assert plan_memory(chain).size == 256
