"""The verifier: every broken graph is refused with the guilty line marked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from irconv.errors import VerifyError
from irconv.graph import Graph
from irconv.ops.activation import Relu
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add
from irconv.pipeline import lower
from irconv.types import TensorType
from irconv.verify import verify


def valid() -> Graph:
    graph = Graph("net")
    x = graph.add_input("x", TensorType("f32", ("N", 1, 4, 4)))
    w = graph.add_parameter("w", np.ones((1, 1, 3, 3), np.float32))
    c = graph.add_node(Conv((3, 3), pads=(1, 1, 1, 1)), [x, w], ["c"]).result
    r = graph.add_node(Relu(), [c], ["r"]).result
    graph.set_outputs([graph.add_node(Add(), [r, c], ["y"]).result])
    return graph


def wrong_type(graph: Graph) -> None:
    graph.value("r").type = TensorType("f32", ("N", 1, 4, 5))


def wrong_array(graph: Graph) -> None:
    graph.value("w").array = np.ones((1, 1, 3, 4), np.float32)


def wrong_order(graph: Graph) -> None:
    graph.move_before(graph.node("r"), graph.node("c"))


def cycle(graph: Graph) -> None:
    graph.set_operand(graph.node("c"), 0, graph.value("y"))


def foreign_operand(graph: Graph) -> None:
    graph.set_operand(graph.node("r"), 0, Graph("other").add_input("z", TensorType("f32", (1,))))


def missing_operand(graph: Graph) -> None:
    graph.set_operand(graph.node("c"), 1, None)


def foreign_output(graph: Graph) -> None:
    graph.set_outputs([Graph("other").add_input("z", TensorType("f32", (1,)))])


def wrong_attribute(graph: Graph) -> None:
    graph.set_op(graph.node("c"), Conv((3, 3), pads=(0, 0, 0, 0)))


def wrong_name(graph: Graph) -> None:
    graph.value("r").name = "c"


def lost_use(graph: Graph) -> None:
    graph.value("c")._uses.clear()


@pytest.mark.parametrize(
    ("spoil", "message", "marked"),
    [
        (wrong_type, "the type of %r is wrong: expected f32.N, 1, 4, 4., got", "%r = Relu"),
        (wrong_array, "the array is not of its type", "param %w"),
        (wrong_order, "%c is not defined before its use by %r", "%r = Relu"),
        (cycle, "the graph has a cycle: .*%c -> .*%y", "%c = Conv"),
        (foreign_operand, "%z is not defined before its use by %r", "%r = Relu"),
        (missing_operand, "Conv has the wrong number of operands", "%c = Conv"),
        (foreign_output, "output %z is not produced", "graph @net"),
        (wrong_attribute, "the type of %c is wrong", "%c = Conv"),
        (wrong_name, "%c is defined twice", "%c = Relu"),
        (lost_use, "the use of %c is not recorded", "%r = Relu"),
    ],
)
def test_a_broken_graph_is_refused(
    spoil: Callable[[Graph], None], message: str, marked: str
) -> None:
    graph = valid()
    verify(graph)
    spoil(graph)
    with pytest.raises(VerifyError, match=message) as caught:
        verify(graph)
    assert str(caught.value).startswith("graph @net: ")
    lines = (caught.value.listing or "").splitlines()
    place = next(i for i, line in enumerate(lines) if line.strip().startswith("^"))
    assert lines[place - 1].strip().startswith(marked)


@pytest.mark.parametrize(("operand", "entry"), [("indptr", 99), ("columns", -1), ("entries", 4)])
def test_an_index_that_leaves_its_matrix_is_refused(operand: str, entry: int) -> None:
    graph = Graph("net")
    x = graph.add_input("x", TensorType("f32", (1, 1, 3, 3)))
    w = graph.add_parameter("w", np.ones((1, 1, 2, 2), np.float32))
    graph.set_outputs([graph.add_node(Conv((2, 2)), [x, w], ["y"]).result])
    lowered = lower(graph, "conv_matrix")
    value = lowered.value(f"y.{operand}")
    array = np.array(value.array)
    array[1] = entry
    value.array = array
    with pytest.raises(VerifyError, match="the index of a matrix points outside it"):
        verify(lowered)
