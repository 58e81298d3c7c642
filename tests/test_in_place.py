"""Results in the place of an operand that dies: where it is allowed, and that no bit changes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import numpy as np
import pytest

import irconv as ic
from irconv.backends import numba_cpu
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.building.handle import Handle
from irconv.graph import Graph, Node, Value
from irconv.memory_plan import in_place, lifetimes, plan_memory
from irconv.ops.activation import Relu
from irconv.ops.elementwise import Add
from irconv.ops.pool import MaxPool
from irconv.ops.shape import Flatten
from irconv.report import Report
from irconv.types import TensorType

# -- the plan --------------------------------------------------------------------------------------


class Line:
    """A graph that grows by nodes of one result."""

    def __init__(self) -> None:
        self.graph = Graph("line")
        self.x = self.graph.add_input("x", TensorType("f32", (1, 2, 8, 8)))

    def relu(self, x: Value) -> Value:
        return self.graph.add_node(Relu(), [x]).result

    def add(self, a: Value, b: Value) -> Value:
        return self.graph.add_node(Add(), [a, b]).result

    def names(self, *outputs: Value, views: dict[Value, Value] | None = None) -> dict[str, str]:
        """The shared values and their owners, all operands being overwritable."""
        self.graph.set_outputs(outputs)
        found = in_place(self.graph, operands, views)
        return {y.name: owner.name for y, owner in found.items()}


def operands(node: Node) -> Iterable[Value]:
    return [v for v in node.operands if v is not None]


def test_a_chain_lies_in_one_buffer() -> None:
    line = Line()
    a = line.relu(line.x)
    b = line.relu(a)
    c = line.relu(b)
    assert line.names(line.relu(c)) == {b.name: a.name, c.name: a.name}
    shared = in_place(line.graph, operands)
    owners = dict(shared)
    plan = plan_memory(lifetimes(line.graph, owners), shared=shared)
    assert plan.shared == shared
    assert plan.offsets == {a: 0, b: 0, c: 0}
    assert plan.size == 1 * 2 * 8 * 8 * 4
    assert plan_memory(lifetimes(line.graph)).size == 2 * plan.size


def test_what_is_read_again_is_not_overwritten() -> None:
    line = Line()
    a = line.relu(line.x)
    b = line.relu(a)
    c = line.add(a, b)  # a lives until here, so b has a place of its own
    assert line.names(line.relu(c)) == {c.name: a.name}


def test_inputs_outputs_and_other_sizes_are_left() -> None:
    line = Line()
    a = line.relu(line.x)
    small = line.graph.add_node(MaxPool((2, 2), strides=(2, 2)), [a]).result
    b = line.relu(small)
    c = line.relu(b)
    assert line.names(c, b) == {}
    assert line.names(line.relu(c)) == {b.name: small.name, c.name: small.name}


def test_an_operand_that_is_read_twice_by_the_node_is_left() -> None:
    line = Line()
    a = line.relu(line.x)
    assert line.names(line.relu(line.add(a, a))) == {}


def test_views_live_with_their_owner() -> None:
    line = Line()
    a = line.relu(line.x)
    flat = line.graph.add_node(Flatten(), [a]).result
    b = line.relu(a)
    late = line.relu(flat)
    assert line.names(line.relu(b), line.relu(late), views={flat: a}) == {late.name: a.name}


# -- the backend -----------------------------------------------------------------------------------


def residual(activation: str) -> Graph:
    """Blocks whose sum is made by a convolution, 1x1 and 3x3 ones."""
    b = ic.Builder("net")
    x = b.relu(b.conv(b.input("x", (2, 3, 13, 17)), 40, kernel=3, pads="same"))
    for kernel in (1, 3, 3):
        y = b.relu(b.conv(x, 40, kernel=3, pads="same"))
        x = b.call(activation, b.add(b.conv(y, 40, kernel=kernel, pads="same"), x))
    b.output(b.global_average_pool(x), "y")
    return b.build()


def pointwise(b: ic.Builder, x: Handle) -> Handle:
    x = b.call("Sigmoid", x)
    z = b.max_pool(x, 3, strides=1, pads=(1, 1, 1, 1))
    x = b.mul(b.add(z, x), np.arange(1, 25, dtype=np.float32).reshape(24, 1, 1))
    return b.call("Clip", b.batch_norm(x), np.float32(-3.0), np.float32(4.0))


def elementwise() -> Graph:
    b = ic.Builder("net")
    x = b.conv(b.input("x", (1, 3, 9, 11)), 24, kernel=3, pads="same")
    b.output(b.conv(pointwise(b, x), 8, kernel=3, pads="same"), "y")
    return b.build()


def compiled(graph: Graph, pipeline: str, threads: int) -> tuple[np.ndarray, Report]:
    executable = ic.compile(graph, pipeline=pipeline, threads=threads)
    (given,) = executable.inputs.items()
    shape = [int(str(d)) for d in given[1].shape]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    first = executable(x)[0]
    assert np.array_equal(executable(x)[0], first)
    return first, executable.report


ASSEMBLE = sys.modules[f"{numba_cpu.__name__}.assemble"]  # a function has this name too
CASES: dict[str, tuple[Callable[[], Graph], str, int]] = {
    "direct": (lambda: residual("Relu"), "fuse", 2),
    "Winograd": (lambda: residual("Relu"), "fuse,winograd{tiles=24042}", 2),
    "another activation": (lambda: residual("Sigmoid"), "fuse", 2),
    "elementwise": (elementwise, "", 3),
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_no_bit_changes(case: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    make, passes, least = CASES[case]
    graph = make()
    pipeline = ",".join(filter(None, (passes, f"pack{{block={lanes()}}}")))
    found, report = compiled(graph, pipeline, threads)
    monkeypatch.setattr(ASSEMBLE, "overwritable", lambda *_: ())
    plain, before = compiled(graph, pipeline, threads)
    assert np.array_equal(found, plain)
    placed = [n for n in report.nodes if n.in_place]
    assert len(placed) >= least
    assert report.memory.in_place >= sum(n.result_bytes for n in placed)
    assert report.memory.arena < before.memory.arena
    assert not any(n.in_place for n in before.nodes)
    assert before.memory.in_place == 0
    assert f"({report.memory.in_place} B in place)" in str(report)
