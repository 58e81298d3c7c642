"""Shrinking: a failing case becomes small, and still fails in the same way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from irconv.builder import Builder
from irconv.graph import Graph
from irconv.inspector.bisect import bisect
from irconv.inspector.fault import Case
from irconv.inspector.reproducer import reproduce
from irconv.inspector.resize import smaller
from irconv.inspector.samples import seeded_inputs
from irconv.inspector.shrink import Shrinker
from irconv.inspector.subgraph import cut
from irconv.interpret import interpret
from irconv.pipeline import Pass, lower
from irconv.verify import verify
from tests.bisect_cases import network
from tests.wrong_passes import BreakTypes, ForgetRelu, HalveBias, LeakAfterAdd, RefuseStride


@pytest.fixture(scope="module")
def graph() -> Graph:
    return network()


def shrunk(graph: Graph, pipeline: Sequence[Pass | str]) -> Case:
    finding = bisect(graph, pipeline).finding
    assert finding is not None
    case, replays = reproduce(finding)
    assert replays
    verify(case.graph)
    assert case.inputs is not None
    found = Case(case.graph, case.pass_, case.inputs).fault()
    assert found is not None
    assert found.is_like(finding.fault, finding.rule)
    return case


CASES: dict[str, tuple[list[Pass | str], list[str]]] = {
    "wrong numbers": (["canonicalize", ForgetRelu()], ["Conv", "Relu"]),
    "three nodes": ([LeakAfterAdd()], ["MaxPool", "Add", "Relu"]),
    "raises": (["fold", RefuseStride()], ["Relu", "Conv"]),
    "does not verify": ([BreakTypes()], ["MaxPool"]),
    "no rewrite": ([HalveBias()], ["Conv"]),
}


@pytest.mark.parametrize(("pipeline", "ops"), CASES.values(), ids=CASES)
def test_a_fault_is_left_with_its_own_nodes(
    graph: Graph, pipeline: list[Pass | str], ops: list[str]
) -> None:
    case = shrunk(graph, pipeline)
    assert [n.op.name for n in case.graph] == ops
    assert len(case.graph.outputs) == 1
    assert all(math.prod(map(int, map(str, v.shape))) <= 16 for v in case.graph.inputs)


def test_names_stay(graph: Graph) -> None:
    case = shrunk(graph, [ForgetRelu()])
    assert [n.name for n in case.graph] == ["conv2", "relu2"]
    assert [v.name for v in case.graph.inputs] == ["out1"]


def test_inputs_are_what_the_nodes_saw(graph: Graph) -> None:
    """No random numbers: a fault may hang on the ones that were there."""
    static = lower(network(batch=2), "")
    inputs = seeded_inputs(static)
    seen: dict[str, np.ndarray] = {}
    outputs = interpret(
        static, inputs, watch=lambda value, array: seen.setdefault(value.name, array) is None
    )
    kept = [static.node(n) for n in ("narrow3", "sum3", "out3", "flat", "logits", "prob")]
    found = cut(static, inputs, kept)
    assert found is not None
    small, given = found
    verify(small)
    assert given is not None
    assert sorted(given) == ["out2", "relu3"]
    for name, array in given.items():
        np.testing.assert_array_equal(array, seen[name])
    np.testing.assert_array_equal(interpret(small, given)["prob"], outputs["prob"])


def test_a_cut_gives_what_others_read(graph: Graph) -> None:
    found = cut(graph, None, [graph.node("stem_relu"), graph.node("pool"), graph.node("conv0")])
    assert found is not None
    assert [v.name for v in found[0].outputs] == ["pool", "conv0"]
    assert found[1] is None


@pytest.mark.parametrize("group", [1, 2, 8])
def test_smaller_versions_are_valid_and_run(group: int) -> None:
    b = Builder("grouped", seed=0)
    x, r = b.input("x", (4, 8, 9, 9)), b.input("r", (4, 16, 5, 5))
    y = b.conv(x, 16, kernel=3, pads=1, strides=2, group=group)
    b.output(b.relu(b.add(y, r)))
    graph = b.build()
    sizes = set()
    for small, inputs in smaller(graph, seeded_inputs(graph)):
        verify(small)
        assert inputs is not None
        interpret(small, inputs)
        sizes.add(tuple(small.inputs[0].shape))
    assert (1, 8, 9, 9) in sizes, "the batch"
    assert any(shape[2:] < (9, 9) for shape in sizes), "the image, and the residual with it"
    assert any(shape[1] != 8 for shape in sizes), "the channels, and the groups with them"


def test_an_error_that_builds_up_is_not_shrunk_to_nothing(graph: Graph) -> None:
    """A case counts only if it fails as the whole did; else the whole graph is the answer."""
    finding = bisect(graph, [ForgetRelu()]).finding
    assert finding is not None
    other = replace(finding, fault=replace(finding.fault, kind="verify"))
    case, replays = reproduce(other)
    assert not replays
    assert len(case.graph) == len(graph)
    assert case.inputs is not None


def test_no_time_means_no_shrinking(graph: Graph) -> None:
    finding = bisect(graph, [ForgetRelu()]).finding
    assert finding is not None
    case, replays = reproduce(finding, seconds=0)
    assert not replays
    assert len(case.graph) == len(graph)


def test_symbolic_sizes_become_numbers(graph: Graph) -> None:
    assert graph.symbols() == ("N",)
    assert shrunk(graph, [ForgetRelu()]).graph.symbols() == ()


def test_a_fault_of_a_symbol_keeps_it() -> None:
    """A pass that is wrong only while a size is unknown fails only in such a graph."""

    class Symbolic(ForgetRelu):
        def run(self, graph: Graph, rewriter: object) -> None:
            if graph.symbols():
                super().run(graph, rewriter)  # type: ignore[arg-type]

    case = shrunk(network(), [Symbolic()])
    assert case.graph.symbols() == ("N",)
    assert [n.name for n in case.graph] == ["conv2", "relu2"]


def test_a_shrinker_knows_another_fault(graph: Graph) -> None:
    fault = Case(graph, ForgetRelu(), seeded_inputs(graph)).fault()
    assert fault is not None
    later: Callable[[str], Shrinker] = lambda rule: Shrinker(fault, rule, time.monotonic() + 60)  # noqa: E731
    case = Case(graph, ForgetRelu(), seeded_inputs(graph))
    assert later("fuse_relu").fails(case)
    assert not later("another_rule").fails(case)
    assert not later("fuse_relu").fails(replace(case, pass_=LeakAfterAdd()))
    assert not Shrinker(fault, "fuse_relu", time.monotonic() - 1).fails(case)
