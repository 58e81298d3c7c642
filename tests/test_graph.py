"""Graphs: names, uses, edits, copies, equality, networkx, provenance of copies."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from irconv.compare import difference
from irconv.errors import GraphError
from irconv.graph import Graph
from irconv.ops.activation import Relu
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add
from irconv.types import TensorType
from irconv.verify import verify


def small_graph() -> Graph:
    graph = Graph("small")
    x = graph.add_input("x", TensorType("f32", ("N", 2, 4, 4)))
    w = graph.add_parameter("w", np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3))
    c = graph.add_node(Conv((3, 3), pads=(1, 1, 1, 1)), [x, w], ["c"]).result
    y = graph.add_node(Add(), [graph.add_node(Relu(), [c]).result, c], ["y"]).result
    graph.set_outputs([y])
    return graph


def test_types_are_inferred_and_uses_recorded() -> None:
    graph = small_graph()
    c = graph.value("c")
    assert str(c.type) == "f32[N, 2, 4, 4]"
    assert [(n.op.name, i) for n, i in c.uses] == [("Relu", 0), ("Add", 1)]
    assert c.only_user is None
    assert graph.value("w").only_user is graph.node("c")
    verify(graph)


def test_unnamed_values_are_numbered_and_taken_names_get_a_suffix() -> None:
    graph = small_graph()
    assert graph.fresh_name() == "1"
    assert graph.fresh_name("c") == "c.1"
    assert graph.nodes[1].name == "0"


def test_a_copy_is_equal_and_independent() -> None:
    graph = small_graph()
    copy = graph.copy()
    assert copy == graph
    assert copy.value("w").array is graph.value("w").array
    copy.rename(copy.value("c"), "other")
    assert graph.value("c").name == "c"
    assert difference(graph, copy) is not None


def test_the_first_difference_is_named() -> None:
    graph, other = small_graph(), small_graph()
    array = np.array(other.value("w").array)
    array[0, 0, 0, 0] = 5
    other.value("w").array = array
    assert difference(graph, other) is not None
    assert "param %w" in str(difference(graph, other))
    third = small_graph()
    third.set_op(third.nodes[0], Conv((3, 3), pads=(1, 1, 1, 1), group=1, dilations=(1, 1)))
    assert difference(graph, third) is None


def test_erasing_what_is_used_is_refused() -> None:
    graph = small_graph()
    with pytest.raises(GraphError, match="%c: a value that is used cannot be erased"):
        graph.erase(graph.node("c"))


def test_erasing_while_iterating() -> None:
    graph = Graph()
    x = graph.add_input("x", TensorType("f32", (3,)))
    for _ in range(5):
        graph.add_node(Relu(), [x])
    seen = 0
    for node in graph:
        graph.erase(node)
        seen += 1
    assert (seen, len(graph)) == (5, 0)


def test_replacing_uses_reaches_nodes_and_outputs() -> None:
    graph = small_graph()
    y, x = graph.value("y"), graph.value("x")
    graph.replace_uses(y, x)
    assert graph.outputs == (x,)
    assert not y.is_output


def test_networkx_round_trip() -> None:
    graph = small_graph()
    network = graph.to_networkx()
    assert isinstance(network, nx.MultiDiGraph)
    assert set(network["c"]["y"]) == {1}
    assert list(nx.topological_sort(network))[-1] == "y"
    assert Graph.from_networkx(network) == graph


def test_parameters_are_read_only() -> None:
    array = small_graph().value("w").array
    assert array is not None
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_html_is_escaped() -> None:
    graph = Graph('"><img src=x onerror=alert(1)>')
    assert "<img" not in graph._repr_html_()


def test_wrong_operands_are_refused() -> None:
    graph = small_graph()
    with pytest.raises(GraphError, match=r"Conv has the wrong number of operands.*\(x, w, b\?\)"):
        graph.add_node(Conv((3, 3)), [graph.value("x")])
    with pytest.raises(GraphError, match="channels of x and w do not match"):
        graph.add_node(Conv((3, 3), group=2), [graph.value("x"), graph.value("w")])
    w = graph.add_parameter("w2", np.zeros((2, 2, 5, 5), np.float32))
    with pytest.raises(GraphError, match="kernel is larger than the padded image"):
        graph.add_node(Conv((5, 5)), [graph.value("x"), w])
