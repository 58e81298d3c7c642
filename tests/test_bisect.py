"""Bisection: the first pass, then the first rewrite, that breaks a graph."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from irconv.errors import NumericsError, PassError
from irconv.graph import Graph, Node, Value
from irconv.inspector.bisect import bisect, bisect_failure
from irconv.inspector.evaluator import Evaluator
from irconv.inspector.samples import seeded_inputs
from irconv.interpret import interpret
from irconv.ops.activation import Relu, Sigmoid
from irconv.pipeline import Pass, lower, run_pass
from irconv.registry import passes
from irconv.rewrite import Rewriter, rule
from irconv.verify import verify
from tests.bisect_cases import network
from tests.graphs import graphs, integer_inputs, pair, random_graph
from tests.test_passes import NETWORKS, OPTIONS, check_result
from tests.wrong_passes import BreakTypes, ForgetRelu, HalveBias, LeakAfterAdd, RefuseStride

# random graphs for each pass, and how many with two rewrites are enough
SEEDS, ENOUGH = 300, 20
# networks in which a pass rewrites more than once
OF_SEVERAL = NETWORKS | {"fuse_pairs": lambda choose: random_graph(choose, 4, (pair,))}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return network()


def test_a_right_pipeline_has_no_fault(graph: Graph) -> None:
    found = bisect(graph, "canonicalize,fold,fuse,im2col")
    assert found.finding is None
    assert [name for name, _ in found.errors] == ["canonicalize", "fold", "fuse", "im2col"]
    assert all(error < 1e-12 for _, error in found.errors)
    assert found.moved > 0.1
    assert not found.void


def test_the_first_wrong_rewrite_is_found(graph: Graph) -> None:
    found = bisect(graph, ["canonicalize", ForgetRelu(), "canonicalize"])
    finding = found.finding
    assert finding is not None
    assert (finding.index, str(finding.pass_)) == (2, "forget_relu")
    assert (finding.rule, finding.node) == ("fuse_relu", "relu2")
    assert finding.source.startswith("tests/wrong_passes.py:")
    assert (finding.rewrite, finding.rewrites) == (4, 6)
    assert finding.fault.kind == "numerics"
    assert finding.fault.error is not None
    assert finding.fault.error > 1e-3
    assert finding.error_before is not None
    assert finding.error_before < 1e-12
    # the graph right before it: three rewrites are done, this one is not
    ops = {n.name: n.op.name for n in finding.case.graph}
    assert (ops["relu1"], ops["relu2"]) == ("FusedConv", "Relu")
    assert {n.name for n in finding.case.graph if n.uid in finding.seeds} == {"conv2", "relu2"}


def test_errors_are_told_up_to_the_wrong_pass(graph: Graph) -> None:
    found = bisect(graph, ["fold", LeakAfterAdd(), "canonicalize"])
    assert [name for name, _ in found.errors] == ["fold", "leak_after_add"]
    assert found.errors[0][1] == 0.0
    assert found.errors[1][1] > 1e-3


def test_a_rule_that_raises_is_found(graph: Graph) -> None:
    finding = bisect(graph, ["canonicalize", RefuseStride()]).finding
    assert finding is not None
    assert finding.fault.kind == "raises"
    assert (finding.rule, finding.node) == ("name_conv", "conv2")
    assert finding.fault.message == "no kernel for this stride: got (2, 2)"
    assert [n.name for n in finding.case.graph if n.uid in finding.seeds] == ["conv2"]


def test_a_graph_that_does_not_verify_is_found(graph: Graph) -> None:
    finding = bisect(graph, [BreakTypes()]).finding
    assert finding is not None
    assert finding.fault.kind == "verify"
    assert (finding.rule, finding.node, finding.rewrite) == ("widen_pool", "pool", 1)


def test_a_change_without_a_rewrite_is_the_pass_own(graph: Graph) -> None:
    finding = bisect(graph, ["canonicalize", HalveBias(), "fuse"]).finding
    assert finding is not None
    assert (finding.index, finding.rewrite, finding.rule) == (2, None, "")
    assert finding.fault.kind == "numerics"


def test_rules_without_an_end_are_found() -> None:
    @rule(Relu)
    def to_sigmoid(node: Node, rewriter: Rewriter) -> Value | None:
        return rewriter.emit(Sigmoid(), node.operand(0))

    @rule(Sigmoid)
    def to_relu(node: Node, rewriter: Rewriter) -> Value | None:
        return rewriter.emit(Relu(), node.operand(0))

    @dataclass(frozen=True)
    class Endless(Pass):
        def run(self, graph: Graph, rewriter: Rewriter) -> None:
            rewriter.apply([to_sigmoid, to_relu])

    small = network(blocks=1)
    with pytest.raises(PassError, match="the rules do not come to an end") as caught:
        lower(small, [Endless()])
    finding = bisect_failure(caught.value)
    assert finding.fault.kind == "raises"
    assert "the rules do not come to an end" in finding.fault.message
    assert finding.rewrite is not None
    assert finding.rewrite > 1000


def test_a_reference_that_differs_before_the_first_pass_is_told(graph: Graph) -> None:
    inputs = seeded_inputs(graph)
    expected = {n: 1.5 * y for n, y in interpret(graph, inputs).items()}
    with pytest.raises(NumericsError, match="before the first pass: expected an error of at most"):
        bisect(graph, "fold", inputs, expected=expected)


def test_a_softmax_does_not_hide_its_input() -> None:
    """With large logits the probabilities are a one and zeros, whatever a pass does to the rest."""
    big = network()
    logits = next(v for v in big.parameters.values() if v.shape == (5,))
    assert logits.array is not None
    loud = big.add_parameter("loud", logits.array + np.float32([900, 0, 0, 0, 0]))
    big.set_operand(big.node("logits"), 2, loud)
    verify(big)
    finding = bisect(big, [ForgetRelu()], tolerance=1e-4).finding
    assert finding is not None
    inputs = seeded_inputs(big)
    prob, same = interpret(big, inputs)["prob"], interpret(lower(big, [ForgetRelu()]), inputs)
    np.testing.assert_array_equal(prob, same["prob"])
    assert finding.node == "relu2"


def test_a_check_that_proves_nothing_is_void() -> None:
    flat = network(blocks=1)
    zero = flat.add_parameter(
        "zero", np.zeros(flat.value("logits").producer.operands[1].shape, "f")
    )  # type: ignore[union-attr]
    flat.set_operand(flat.node("logits"), 1, zero)
    assert bisect(flat, "fold").void


def test_an_error_tells_its_attempt_and_a_pickle_leaves_it_out(graph: Graph) -> None:
    with pytest.raises(PassError) as caught:
        lower(graph, [RefuseStride()])
    assert caught.value.attempt.before is graph
    assert [r.rule for r in caught.value.attempt.records] == ["name_conv"] * 5
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.attempt) == (str(caught.value), None)
    with pytest.raises(PassError, match="no kernel for this stride"):
        bisect_failure(again)


# -- the first rewrites of a pass ------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(passes()))
def test_the_first_rewrites_of_a_pass_keep_the_result(name: str) -> None:
    """What bisection rests on: after any number of rewrites the graph is valid and right."""
    chosen = passes()[name](**OPTIONS.get(name, {}))
    tried = 0
    for seed in range(SEEDS):
        source = random.Random(seed)
        graph = OF_SEVERAL.get(name, random_graph)(source.choice)
        whole = run_pass(graph, chosen)
        if whole.fired.total() < 2:
            continue
        tried += 1
        count = source.randint(1, whole.fired.total() - 1)
        some = run_pass(graph, chosen, at_most=count)
        assert some.fired.total() == count
        first = [(r.rule, r.old[0].name) for r in whole.records[:count]]
        assert [(r.rule, r.old[0].name) for r in some.records] == first
        check_result(graph, some.after, chosen.exact)
        if tried == ENOUGH:
            break
    print(f"{name:20} {tried} times with some of the rewrites")
    assert tried


# -- running again only what changed ---------------------------------------------------------------


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_an_evaluator_gives_what_the_interpreter_gives(graph: Graph) -> None:
    inputs = integer_inputs(graph)
    for budget in (1 << 30, 1000):
        evaluator = Evaluator(inputs, budget=budget)
        for stage in ("", "canonicalize", "canonicalize,fuse", "fuse,im2col", ""):
            lowered = lower(graph, stage)
            expected = interpret(lowered, inputs, float64=True)
            for name, array in evaluator.run(lowered).items():
                np.testing.assert_array_equal(array, expected[name])
            evaluator.keep()


def test_an_evaluator_runs_what_changed_and_no_more(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    plain = type(graph.node("conv0").op).run

    def noted(op: object, arrays: object) -> object:
        ran.append("Conv")
        return plain(op, arrays)  # type: ignore[arg-type]

    monkeypatch.setattr(type(graph.node("conv0").op), "run", noted)
    evaluator = Evaluator(seeded_inputs(graph))
    evaluator.run(graph)
    evaluator.keep()
    assert len(ran) == 9
    fused = run_pass(graph, ForgetRelu(), at_most=3).after
    evaluator.run(fused)
    assert len(ran) == 9, "what follows an equal value is known"
    evaluator.run(run_pass(graph, ForgetRelu(), at_most=4).after)
    assert len(ran) == 9 + 3, "what follows the wrong rewrite is run: two narrow ones and conv3"


def test_the_number_of_rewrites_may_be_zero(graph: Graph) -> None:
    stage = run_pass(graph, ForgetRelu(), at_most=0)
    assert not stage.changed
    assert stage.after == graph
