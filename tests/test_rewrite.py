"""The driver of rewrites: names, outputs, provenance, remarks, and rules that never end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from irconv.errors import GraphError, PassError
from irconv.graph import Graph, Node, Value
from irconv.ops.activation import Relu, Sigmoid, Tanh
from irconv.ops.elementwise import Add, Mul
from irconv.ops.functions import Neg
from irconv.ops.identity import Identity
from irconv.ops.shape import Flatten
from irconv.pipeline import Pass, lower
from irconv.rewrite import Replacement, Rewriter, Rule, rule
from irconv.text import parse
from irconv.verify import verify

T = "f32[N, 2]"


def network(*lines: str, outputs: Sequence[str] = ("y",)) -> Graph:
    shown = ", ".join(f"%{o}: {T}" for o in outputs)
    body = "\n".join(f"  {line}" for line in lines)
    return parse(f"graph @t(%x: {T}) -> ({shown}) {{\n{body}\n}}")


def applied(graph: Graph, *rules: Rule) -> Rewriter:
    rewriter = Rewriter(graph, "test")
    rewriter.apply(rules)
    verify(graph)
    return rewriter


@rule(Relu)
def relu_to_tanh(node: Node, rewriter: Rewriter) -> Value | None:
    return rewriter.emit(Tanh(), node.operand(0))


@rule(Relu)
def relu_to_two(node: Node, rewriter: Rewriter) -> Value | None:
    inner = rewriter.emit(Sigmoid(), node.operand(0), name="inner")
    return rewriter.emit(Tanh(), inner)


@rule(Relu)
def relu_to_operand(node: Node, rewriter: Rewriter) -> Value | None:
    return node.operand(0)


@rule(Neg)
def neg_to_constant(node: Node, rewriter: Rewriter) -> Value | None:
    array = node.constant(0)
    return None if array is None else rewriter.constant(-array, "value")


def test_the_replacement_takes_the_name_and_the_rest_is_named_after_it() -> None:
    graph = network(f"%a = Relu(%x) : {T}", f"%y = Neg(%a) : {T}")
    applied(graph, relu_to_two)
    assert [(n.name, n.op.name) for n in graph] == [
        ("a.inner", "Sigmoid"),
        ("a", "Tanh"),
        ("y", "Neg"),
    ]


def test_a_made_constant_takes_the_name_too() -> None:
    graph = network(
        "const %k: f32[2] = [1.0, 2.0]", "%n = Neg(%k) : f32[2]", f"%y = Add(%x, %n) : {T}"
    )
    applied(graph, neg_to_constant)
    assert list(graph.parameters) == ["n"]
    assert graph.parameters["n"] is graph.value("n")
    np.testing.assert_array_equal(graph.value("n").array, [-1.0, -2.0])


def test_an_output_keeps_its_name_when_an_inner_value_replaces_it() -> None:
    graph = network(f"%a = Neg(%x) : {T}", f"%y = Relu(%a) : {T}")
    applied(graph, relu_to_operand)
    assert [(n.name, n.op.name) for n in graph] == [("y", "Neg")]


def test_an_output_keeps_its_name_when_an_input_replaces_it() -> None:
    graph = network(f"%y = Relu(%x) : {T}", f"%z = Neg(%y) : {T}", outputs=("y", "z"))
    applied(graph, relu_to_operand)
    assert isinstance(graph.node("y").op, Identity)
    # only the output needs the name
    assert graph.node("z").operand(0) is graph.value("x")


def test_two_outputs_that_become_one_value_keep_their_names() -> None:
    graph = network(f"%a = Neg(%x) : {T}", f"%y = Relu(%a) : {T}", outputs=("a", "y"))
    applied(graph, relu_to_operand)
    assert [(n.name, n.op.name) for n in graph] == [("a", "Neg"), ("y", "Identity")]


def test_what_a_rule_made_and_did_not_use_is_dropped() -> None:
    @rule(Relu)
    def waste(node: Node, rewriter: Rewriter) -> Value | None:
        rewriter.emit(Neg(), rewriter.constant(np.float32([1]), "k"))
        return rewriter.emit(Tanh(), node.operand(0)) if node.name == "y" else None

    graph = network(f"%a = Relu(%x) : {T}", f"%y = Relu(%a) : {T}")
    applied(graph, waste)
    assert [n.op.name for n in graph] == ["Relu", "Tanh"]
    assert not graph.parameters


def test_dead_operands_and_their_parameters_go_with_the_node() -> None:
    graph = network(
        "const %k: f32[2] = [1.0, 2.0]",
        f"%a = Mul(%x, %k) : {T}",
        f"%b = Neg(%a) : {T}",
        f"%y = Relu(%x) : {T}",
        f"%z = Add(%b, %y) : {T}",
        outputs=("y", "z"),
    )

    @rule(Add)
    def right(node: Node, rewriter: Rewriter) -> Value | None:
        return node.operand(1)

    rewriter = applied(graph, right)
    assert [n.name for n in graph] == ["y", "z"]
    assert not graph.parameters
    (record,) = graph.provenance
    assert {r.name for r in record.old if r.kind == "node"} == {"z", "b", "a"}
    assert {r.name for r in record.old if r.kind == "parameter"} == {"k"}
    assert rewriter.fired == {"right": 1}


def test_provenance_leads_through_several_rewrites() -> None:
    graph = network(f"%a = Relu(%x) : {T}", f"%y = Neg(%a) : {T}")
    original = graph.node("a").uid

    @rule(Tanh)
    def tanh_to_flatten(node: Node, rewriter: Rewriter) -> Value | None:
        return rewriter.emit(Flatten(), node.operand(0))

    applied(graph, relu_to_two, tanh_to_flatten)
    assert [r.name for r in graph.provenance.originals([graph.node("a").uid])] == ["a"]
    assert "Flatten" in {r.op for r in graph.provenance.descendants([original])}
    record = graph.provenance.records[0]
    assert (record.pass_name, record.rule) == ("test", "relu_to_two")
    assert record.source.startswith("tests/test_rewrite.py:")


def test_what_becomes_an_input_or_a_constant_leaves_a_trace() -> None:
    graph = network(f"%a = Relu(%x) : {T}", f"%y = Neg(%a) : {T}")
    gone = graph.node("a").uid
    applied(graph, relu_to_operand)
    assert [r.name for r in graph.provenance.descendants([gone])] == ["x"]
    graph = network(
        "const %k: f32[2] = [1.0, 2.0]", "%n = Neg(%k) : f32[2]", f"%y = Add(%x, %n) : {T}"
    )
    gone = graph.node("n").uid
    applied(graph, neg_to_constant)
    assert [(r.name, r.kind) for r in graph.provenance.descendants([gone])] == [("n", "parameter")]


def test_a_remark_is_kept_once_and_names_rule_node_and_condition() -> None:
    @rule(Relu)
    def shy(node: Node, rewriter: Rewriter) -> Value | None:
        return rewriter.declined(node, "it is Friday")

    graph = network(f"%y = Relu(%x) : {T}")
    rewriter = applied(graph, shy)
    rewriter.apply([shy])
    assert [str(r) for r in rewriter.remarks] == ["%y: shy declined: it is Friday"]
    rewriter.new_round()
    assert rewriter.remarks == []


def test_a_rule_sees_its_own_ops_and_not_what_inherits_from_them() -> None:
    graph = network(f"%a = Sum(%x, %x) : {T}", f"%y = Mean(%a, %x) : {T}")
    (mean,) = [n for n in graph if n.op.name == "Mean"]
    sums = type(graph.node("a").op)

    @rule(sums)
    def to_mul(node: Node, rewriter: Rewriter) -> Value | None:
        return rewriter.emit(Mul(), *node.operands)

    applied(graph, to_mul)
    assert graph.node("y") is mean
    assert isinstance(graph.node("a").op, Mul)


def test_an_empty_replacement_erases_a_dead_node_only() -> None:
    @rule(Relu)
    def erase(node: Node, rewriter: Rewriter) -> Replacement:
        return ()

    graph = network(f"%a = Relu(%x) : {T}", f"%y = Neg(%x) : {T}")
    applied(graph, erase)
    assert [n.name for n in graph] == ["y"]
    with pytest.raises(GraphError, match="every result: expected 1, got 0"):
        applied(network(f"%y = Relu(%x) : {T}"), erase)


def test_a_rule_may_not_change_a_type() -> None:
    @rule(Relu)
    def narrow(node: Node, rewriter: Rewriter) -> Value | None:
        return rewriter.constant(np.float32([1, 2]), "k")

    with pytest.raises(GraphError, match=r"%y: rule narrow changes a type: expected f32\[N, 2\]"):
        applied(network(f"%y = Relu(%x) : {T}"), narrow)


def test_rules_that_undo_each_other_are_stopped() -> None:
    @rule(Tanh)
    def tanh_to_relu(node: Node, rewriter: Rewriter) -> Value | None:
        return rewriter.emit(Relu(), node.operand(0))

    with pytest.raises(PassError, match="the rules do not come to an end"):
        applied(network(f"%y = Relu(%x) : {T}"), relu_to_tanh, tanh_to_relu)


def test_sizes_that_become_known_reach_the_nodes_after() -> None:
    graph = parse(
        f"graph @t(%x: {T}) -> (%z: f32[?y.0, ?y.1]) {{\n"
        "  const %k: i64[2] = [1, -2]\n"
        "  %s = Neg(%k) : i64[2]\n"
        "  %y = Reshape(%x, %s) : f32[?y.0, ?y.1]\n"
        "  %z = Relu(%y) : f32[?y.0, ?y.1]\n}"
    )
    applied(graph, neg_to_constant)
    assert str(graph.outputs[0].type) == "f32[N, 2]"


def test_a_pass_that_raises_leaves_its_input_as_it_was() -> None:
    class Broken(Pass):
        def run(self, graph: Graph, rewriter: Rewriter) -> None:
            rewriter.apply([relu_to_tanh])
            raise ValueError("no")

    graph = network(f"%y = Relu(%x) : {T}")
    text = str(graph)
    with pytest.raises(PassError, match="pass broken after no other pass: the pass failed: no"):
        lower(graph, [Broken()])
    assert str(graph) == text
