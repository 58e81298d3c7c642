"""Laws of all passes, found by the registry; long chains; hash seeds."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.listing import write
from irconv.ops.activation import Relu
from irconv.ops.identity import Identity
from irconv.pipeline import Stage, lower
from irconv.registry import passes
from irconv.text import parse
from irconv.types import TensorType
from irconv.verify import verify
from tests.graphs import (
    Choose,
    activation,
    averaged,
    graphs,
    integer_inputs,
    pool,
    random_graph,
    rules_of,
    stage_of,
    wide_graph,
)

ROOT = Path(__file__).parent.parent
EXAMPLES = 200


# -- laws ----------------------------------------------------------------------------------------


# what a pass is tried on where random small networks would show it nothing
NETWORKS: dict[str, Callable[[Choose], Graph]] = {
    "winograd": wide_graph,
    "hoist_pool": lambda choose: random_graph(choose, 6, (averaged, activation, pool)),
    "pack": lambda choose: lower(random_graph(choose), choose(("", "conv_matrix"))),
}
# options under which a pass does what it else does only on blocks of channels
OPTIONS = {"fuse_preactivation": {"everywhere": True}, "fuse_pairs": {"everywhere": True}}


@pytest.mark.parametrize("name", sorted(passes()))
def test_a_pass_keeps_the_laws_on_random_graphs(name: str) -> None:
    cls = passes()[name]
    chosen = cls(**OPTIONS.get(name, {}))
    fired: Counter[str] = Counter()
    declined: Counter[str] = Counter()

    for seed in range(EXAMPLES):
        graph = NETWORKS.get(name, random_graph)(random.Random(seed).choice)
        stage = stage_of(graph, chosen)
        fired.update(stage.fired)
        declined.update(remark.rule for remark in stage.remarks)
        check_stage(graph, stage)
    for rule in sorted(rules_of(cls)):
        print(f"{name:16} {rule:28} fired {fired[rule]:5}  declined {declined[rule]:5}")
    assert rules_of(cls) - set(fired) == set(), "a rule never fired: the test says nothing of it"


def check_stage(graph: Graph, stage: Stage) -> None:
    """Every law, for one graph and one pass."""
    chosen = stage.pass_
    text = str(graph)
    verify(stage.after)
    assert [(v.name, v.type) for v in stage.after.inputs] == [
        (v.name, v.type) for v in graph.inputs
    ]
    assert [v.name for v in stage.after.outputs] == [v.name for v in graph.outputs]
    assert str(graph) == text, "a pass changed its input graph"
    assert stage.changed == (stage.after != graph)
    assert bool(stage.fired) == stage.changed
    check_provenance(stage)
    check_result(graph, stage.after, chosen.exact)
    again = stage_of(stage.after, chosen)
    if chosen.repeatable is True:
        assert not again.changed, f"a second run fired {dict(again.fired)}"
    else:
        assert isinstance(chosen.repeatable, str)
        assert chosen.repeatable


def check_result(before: Graph, after: Graph, exact: bool) -> None:
    inputs = integer_inputs(before)
    expected, found = interpret(before, inputs), interpret(after, inputs)
    for name, array in expected.items():
        assert array.dtype == found[name].dtype
        if exact:
            np.testing.assert_array_equal(found[name], array)
        else:
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def check_provenance(stage: Stage) -> None:
    """What vanished has descendants or was dead; what is new has originals."""
    log = stage.after.provenance
    old = {n.uid: n for n in stage.before}
    new = {n.uid: n for n in stage.after}
    dead = {r.uid for record in stage.records if not record.new for r in record.old}
    for uid in old.keys() - new.keys():
        assert uid in dead or log.descendants([uid]), f"%{old[uid].name} vanished without a trace"
    for uid in new.keys() - old.keys():
        assert log.originals([uid]), f"%{new[uid].name} comes from nowhere"
    for record in stage.records:
        assert record.pass_name == stage.pass_.name
        assert record.source.startswith("passes/")


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_the_usual_pipelines_are_exact(graph: Graph) -> None:
    for lowering in ("im2col", "conv_matrix", "conv_matrix{form=literal}"):
        pipeline = f"canonicalize,fold,fold_batchnorm,canonicalize,fuse,{lowering},canonicalize"
        check_result(graph, lower(graph, pipeline), exact=True)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(graphs())
def test_what_a_pass_gives_reads_back(graph: Graph) -> None:
    after = lower(graph, "fold,fuse,canonicalize")
    arrays = {v.digest: v.array for v in after.parameters.values() if v.array is not None}
    assert parse(str(after), arrays) == after


# -- scale and repetition --------------------------------------------------------------------------


def test_a_chain_of_100_000_nodes_is_canonicalized() -> None:
    graph = Graph("chain")
    value = graph.add_input("x", TensorType("f32", ("N", 4)))
    for i in range(100_000):
        value = graph.add_node(Relu() if i % 3 else Identity(), [value]).result
    graph.set_outputs([value])
    after = lower(graph, "canonicalize")
    assert [n.op.name for n in after] == ["Relu"]
    assert after.outputs[0].name == value.name


SCRIPT = """
from hypothesis import HealthCheck, given, settings
from irconv.listing import write
from irconv.pipeline import lower
from tests.graphs import graphs

@settings(max_examples=15, derandomize=True, deadline=None, database=None)
@given(graphs())
def show(graph):
    stages = []
    after = lower(graph, "canonicalize,fold,fold_batchnorm,fuse,im2col", stages.append)
    print(write(after, provenance=True))
    for stage in stages:
        print(stage.pass_, dict(stage.fired), *map(str, stage.remarks), sep="\\n")

show()
"""


def test_another_hash_seed_gives_the_same_text() -> None:
    texts = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "77")
    }
    (text,) = texts
    assert "from [" in text
    assert write(Graph("empty")) == "graph @empty() -> () {\n}"
