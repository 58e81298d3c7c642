"""The verifier: every broken graph is refused with the guilty line marked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from irconv.errors import GraphError, VerifyError
from irconv.graph import Graph, Node
from irconv.ops.activation import Relu
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add
from irconv.pipeline import lower
from irconv.text import parse
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


def test_two_unknown_sizes_have_two_names() -> None:
    text = """graph @g(%x: f32[N], %y: f32[M], %p: f32[K], %q: f32[L]) -> (%a: f32[?a.0]) {
      %a = Add(%x, %y) : f32[?a.0]
      %b = Add(%p, %q) : f32[?a.0]
    }"""
    with pytest.raises(VerifyError, match="has the name of another"):
        verify(parse(text))
    verify(parse(text.replace("%q) : f32[?a.0]", "%q) : f32[?z]")))


def test_books_that_do_not_agree_are_refused() -> None:
    def chain() -> tuple[Graph, Node, Node]:
        graph = Graph("g")
        first = graph.add_node(Relu(), [graph.add_input("x", TensorType("f32", (2,)))])
        second = graph.add_node(Relu(), [first.result])
        graph.set_outputs(second.results)
        return graph, first, second

    graph, first, second = chain()
    first.operands[0]._uses[second, 0] = None  # type: ignore[union-attr]
    with pytest.raises(VerifyError, match="a use is recorded that is not there"):
        verify(graph)
    graph, first, second = chain()
    first.result.producer = second
    with pytest.raises(VerifyError, match="is not the result of this node"):
        verify(graph)


def test_a_negative_size_is_refused() -> None:
    graph = Graph("g")
    graph.set_outputs([graph.add_input("x", TensorType("f32", (-1, 2)))])
    with pytest.raises(VerifyError, match="is negative"):
        verify(graph)


def test_what_is_no_graph_is_refused_with_a_hint() -> None:
    with pytest.raises(GraphError, match=r"not a graph.*got model\.onnx.*irconv\.load"):
        lower("model.onnx", "fold")  # type: ignore[arg-type]
