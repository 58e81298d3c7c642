"""The inspector: costs and deltas, errors of passes, bit-equality on integers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import irconv as ic
from irconv.graph import Graph, Node, Value
from irconv.inspector.document import document
from irconv.inspector.integers import check_exact, with_integers
from irconv.inspector.numerics import array_error
from irconv.inspector.pass_table import delta_lines, pass_table, time_lines
from irconv.inspector.samples import seeded_inputs
from irconv.inspector.trace import trace
from irconv.ops.activation import Relu
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Mul
from irconv.pipeline import Pass
from irconv.rewrite import Rewriter, rule


def small() -> Graph:
    b = ic.Builder("small", seed=1)
    x = b.input("x", ("N", 3, 6, 6))
    y = b.relu(b.conv(x, 4, kernel=3, pads=1, name="c1"))
    y = b.relu(b.conv(y, 5, kernel=3, name="c2"), name="r2")
    b.output(b.softmax(b.dense(b.flatten(y), 7)), "prob")
    return b.build()


@rule(Conv)
def turned(node: Node, rewriter: Rewriter) -> Value | None:
    """Conv(x, w) => Conv(x, w upside down), which is wrong."""
    x, w, bias = node.operands
    assert w is not None
    assert w.array is not None
    if w.name.endswith(".turned"):
        return None
    upside_down = rewriter.constant(w.array[:, :, ::-1], "turned")
    return rewriter.emit(node.op, x, upside_down, bias)


@dataclass(frozen=True)
class TurnAround(Pass):
    """Turns the kernels upside down, and says that this changes nothing."""

    exact: ClassVar[bool] = True

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        for node in graph.nodes:
            if node.name == "c2":
                rewriter.attempt(turned, node)


@rule(Relu)
def scaled(node: Node, rewriter: Rewriter) -> Value | None:
    """Relu(x) => Relu(x) * 1.01, which is nearly right."""
    if any(user.op.name == "Mul" for user in node.result.users):
        return None
    factor = rewriter.constant(np.float32(1.01), "factor")
    return rewriter.emit(Mul(), rewriter.emit(Relu(), node.operands[0]), factor)


@dataclass(frozen=True)
class ScaleUp(Pass):
    """Multiplies by 1.01."""

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        for node in graph.nodes:
            if scaled.matches(node):
                rewriter.attempt(scaled, node)


def test_totals_and_deltas() -> None:
    found = trace(small(), "fuse,im2col")
    fuse, im2col = found.passes
    assert fuse.delta == {"Conv": -2, "FusedConv": 2, "Relu": -2}
    assert fuse.before.nodes - fuse.after.nodes == 2
    # 36 pixels of 4 channels from 27 numbers, 16 of 5 from 36, and the dense layer
    assert fuse.before.macs == 36 * 4 * 27 + 16 * 5 * 36 + 80 * 7
    assert im2col.after.macs == fuse.after.macs
    assert [len(g) for g in found.stages] == [
        fuse.before.nodes,
        fuse.after.nodes,
        len(found.result),
    ]
    assert "fuse: -2 Conv  -2 Relu  +2 FusedConv" in delta_lines(found)
    assert pass_table(found).row_count == 2
    assert time_lines(found)[-1].endswith("all passes")


def test_the_source_is_untouched_and_json_is_plain() -> None:
    graph = small()
    before = str(graph)
    found = trace(graph, "fuse,im2col", seeded_inputs(graph, 3, {"N": 2}))
    assert str(graph) == before
    data = json.loads(json.dumps(found.to_json()))
    assert [p["pass"] for p in data["passes"]] == ["fuse", "im2col"]
    assert data["passes"][0]["rules"].keys() == found.passes[0].stage.fired.keys()
    assert data["passes"][1]["numerics"]["exact"]["holds"] is True


def test_an_empty_pipeline() -> None:
    found = trace(small(), "")
    assert found.passes == ()
    assert found.result is found.source


def test_a_trace_is_printed_as_its_table() -> None:
    lines = str(ic.trace(ic.zoo.digits(), "fold_batchnorm,fuse")).splitlines()
    assert lines[:2] == ["digits: fold_batchnorm,fuse", ""]
    assert lines[2].split()[:4] == ["pass", "changed", "matches", "nodes"]
    assert [line.split()[:4] for line in lines[3:5]] == [
        ["fold_batchnorm", "yes", "3", "21->18"],
        ["fuse", "yes", "8", "18->10"],
    ]
    assert lines[5:7] == ["", "fold_batchnorm: -3 BatchNormalization"]
    assert max(map(len, lines)) <= 80
    assert str(ic.trace(ic.zoo.digits(), "")) == "digits: (no passes)"


def test_a_wrong_pass_is_not_exact_and_the_layer_is_named() -> None:
    found = trace(small(), [TurnAround()], numerics=True)
    numerics = found.passes[0].numerics
    assert numerics is not None
    assert numerics.exact is not None
    # only the layer that changed differs: those behind it are fed the same integers again
    assert numerics.exact.differing == ("c2",)
    assert numerics.failed is not None
    assert numerics.error > 1e-3


def test_an_error_is_told_against_the_stage_before_and_the_source() -> None:
    found = trace(small(), ["im2col", ScaleUp(), "fuse"], numerics=True)
    first, second, third = (p.numerics for p in found.passes)
    assert first is not None
    assert second is not None
    assert third is not None
    assert first.error == first.from_source < 1e-12
    assert second.exact is None
    assert second.error > 1e-4
    assert second.error == pytest.approx(second.from_source)
    assert third.error < 1e-12
    assert third.from_source == pytest.approx(second.from_source)


@pytest.mark.parametrize("pipeline", ["im2col", "conv_matrix", "fuse", "conv_matrix{form=literal}"])
def test_exact_passes_are_bit_equal_on_integers(pipeline: str) -> None:
    found = trace(small(), pipeline, numerics=True)
    (traced,) = found.passes
    assert traced.numerics is not None
    exact = traced.numerics.exact
    assert exact is not None
    assert exact.holds
    assert not exact.void
    # bounded by 3 * 3 * 36 and the bias: far below 2^24, so sums in any order are equal
    assert 3 < exact.largest < 9 * 80 + 4


def test_integers_stand_in_for_weights_only() -> None:
    graph = with_integers(small())
    for value in graph.parameters.values():
        if value.type.symbols() or value.array is None or value.array.dtype != np.float32:
            continue
        assert np.array_equal(value.array, np.round(value.array))
        assert np.abs(value.array).max() <= 3
    assert [v.name for v in graph.inputs] == ["x"]
    assert set(graph.parameters) == set(small().parameters)


def test_nothing_in_common_proves_nothing() -> None:
    b = ic.Builder("one")
    b.output(b.relu(b.input("x", (2,))), "y")
    exact = check_exact(b.build(), TurnAround(), {})
    assert exact.compared == 1
    assert exact.holds


def test_outputs_that_do_not_depend_on_the_input_prove_nothing() -> None:
    b = ic.Builder("constant")
    y = b.relu(b.mul(b.input("x", (1, 4)), np.zeros(4, np.float32)))
    b.output(b.softmax(b.add(y, np.ones(4, np.float32))), "y")
    found = trace(b.build(), "fuse", numerics=True)
    numerics = found.passes[0].numerics
    assert numerics is not None
    assert numerics.moved == 0
    assert numerics.void
    assert document(found)["stages"][1]["numerics"]["void"] is True
    sound = trace(small(), "fold_batchnorm", numerics=True).passes[0].numerics
    assert sound is not None
    assert sound.moved > 0.1
    assert not sound.void


def test_the_input_of_a_last_softmax_is_looked_at() -> None:
    b = ic.Builder("one_hot", seed=1)
    y = b.mul(b.dense(b.input("x", (1, 8)), 6), np.float32(1e6))
    b.output(b.softmax(b.relu(y)), "y")
    numerics = trace(b.build(), [ScaleUp()], numerics=True).passes[0].numerics
    assert numerics is not None
    # the result is one-hot before and after, what goes into the Softmax is 1 % larger
    assert numerics.error == pytest.approx(0.01, rel=1e-3)


def test_array_error() -> None:
    y = np.array([1.0, -2.0, np.inf, np.nan])
    assert array_error(y, y) == 0
    assert array_error(np.array([1.0, -2.2, np.inf, np.nan]), y) == pytest.approx(0.1)
    assert array_error(np.array([1.0, -2.0, np.inf, 0.0]), y) == np.inf
    assert array_error(np.array([1.0, np.nan, np.inf, np.nan]), y) == np.inf
    assert array_error(y[:3], y) == np.inf
    assert array_error(np.empty((0, 3)), np.empty((0, 3))) == 0


def test_seeded_inputs() -> None:
    b = ic.Builder("many")
    values = [
        b.input("f", ("N", 3)),
        b.input("i", ("N", 4), "i64"),
        b.input("b", (5,), "bool"),
        b.input("e", ("2*N",)),
    ]
    for value in values:
        b.output(value)
    graph = b.build()
    found = seeded_inputs(graph, 7, {"N": 2})
    assert {n: a.shape for n, a in found.items()} == {
        "f": (2, 3), "i": (2, 4), "b": (5,), "e": (4,)
    }  # fmt: skip
    assert found["i"].dtype == np.int64
    assert 0 <= found["i"].min() <= found["i"].max() < 8
    again, other = seeded_inputs(graph, 7, {"N": 2}), seeded_inputs(graph, 8, {"N": 2})
    assert all(np.array_equal(found[n], again[n]) for n in found)
    assert not np.array_equal(found["f"], other["f"])
