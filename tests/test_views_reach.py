"""What an element is computed from, against brute force: which inputs, made NaN, make it NaN."""

from __future__ import annotations

import random
from collections import Counter

import networkx as nx
import numpy as np
import pytest

import irconv as ic
from irconv.errors import UsageError
from irconv.geometry import ConvGeometry
from irconv.graph import Graph, Value
from irconv.interpret import interpret
from irconv.matrix import SharedMatrix
from irconv.specialize import specialize
from irconv.types import Array
from irconv.views.reach import elements_read
from irconv.views.seen import seen_values
from irconv.views.sight import hull
from tests.graphs import FRAGMENTS, integer_inputs, pair, preactivated, random_graph, tail

SAMPLED = 15
MIXED = (*FRAGMENTS, pair, preactivated, tail, tail)
seen: Counter[str] = Counter()


def one(value: Value, flat: int) -> Array:
    mask = np.zeros(value.shape, np.bool_)
    mask.reshape(-1)[flat] = True
    return mask


def made_nan(graph: Graph, value: Value, flat: int, places: Array) -> list[bool]:
    """For each flat place of the input, whether NaN there makes element `flat` of `value` NaN."""
    found: list[bool] = []

    def watch(result: Value, array: Array) -> None:
        if result is value:
            found.append(bool(np.isnan(array.reshape(-1)[flat])))

    for place in places:
        inputs = {name: np.array(a) for name, a in integer_inputs(graph, batch=1).items()}
        next(iter(inputs.values())).reshape(-1)[place] = np.nan
        interpret(graph, inputs, watch=watch)
    return found


def static(graph: Graph) -> Graph:
    return ic.lower(specialize(graph, dict.fromkeys(graph.symbols(), 1)), "fold")


@pytest.mark.parametrize("seed", range(70))
def test_random_graphs_against_nan(seed: int) -> None:
    pick = np.random.default_rng(seed)
    graph = static(random_graph(random.Random(seed).choice, steps=8, fragments=MIXED))
    results = [v for node in graph for v in node.results if v.tensor_type.is_static]
    floats = [v for v in results if v.type.dtype == np.float32]
    if not floats:
        return
    value = floats[int(pick.integers(len(floats) // 2, len(floats)))]
    flat = int(pick.integers(np.prod(value.shape)))
    read = elements_read(graph, value, one(value, flat)).get(graph.inputs[0])
    seen.update({node.op.name for node in graph})
    size = int(np.prod(graph.inputs[0].shape))
    expected = np.zeros(size, np.bool_) if read is None else read.reshape(-1)
    inside = np.flatnonzero(expected)
    sampled = [pick.permutation(inside)[:SAMPLED], pick.integers(0, size, SAMPLED)]
    places = np.unique(np.concatenate(sampled))
    assert made_nan(graph, value, flat, places) == expected[places].tolist()


def test_the_random_graphs_had_the_ops() -> None:
    print(dict(seen))
    needed = {"Conv", "MaxPool", "AveragePool", "Add", "Concat", "Reshape", "FusedConv"}
    needed |= {"ConvTranspose", "ConvPair", "PreactConv", "BatchNormalization", "Transpose"}
    assert len(seen) > 20
    assert needed - set(seen) == set()


compared: Counter[str] = Counter()


@pytest.mark.parametrize("seed", range(70))
def test_intervals_are_the_hull_of_the_exact_set(seed: int) -> None:
    pick = np.random.default_rng(seed)
    graph = static(random_graph(random.Random(seed).choice, steps=8, fragments=MIXED))
    source = graph.inputs[0]
    for value, found in seen_values(graph, source).items():
        if not value.tensor_type.is_static:
            continue
        flat = int(pick.integers(np.prod(value.shape)))
        mask = elements_read(graph, value, one(value, flat)).get(source)
        place = np.unravel_index(flat, value.shape)[2:]
        axes = range(len(source.shape) - 2)
        at = (0,) * len(axes) if found.mixed else place
        stated = [axis.places[p] for axis, p in zip(found.axes, at, strict=True)]
        if mask is None:
            assert None in stated or not found.each or not found.together
            compared["nothing"] += 1
            continue
        for axis, interval in zip(axes, stated, strict=True):
            inside = np.flatnonzero(mask.any(tuple(i for i in range(mask.ndim) if i != axis + 2)))
            exact = (int(inside[0]), int(inside[-1]))
            assert hull([interval, exact]) == interval
            assert interval == exact or not found.each
            compared["mixed" if found.mixed else "placed"] += 1
            compared["each"] += found.each


def test_the_intervals_were_compared() -> None:
    print(dict(compared))
    assert compared["placed"] > 300
    assert compared["mixed"] > 50
    assert compared["each"] > 300


def test_channels_put_together_see_unlike_parts() -> None:
    b = ic.Builder("inception", seed=0)
    x = b.input("x", (1, 2, 9, 9))
    both = b.concat([b.conv(x, 2, kernel=1), b.conv(x, 2, kernel=3, pads="same")], name="both")
    b.output(b.depthwise_conv(both, kernel=3, name="each"))
    b.output(b.conv(both, 2, kernel=3, name="all"))
    graph = b.build()
    found = {v.name: s for v, s in seen_values(graph, graph.inputs[0]).items()}
    assert [found[n].each for n in ("both", "each", "all")] == [False, False, True]
    assert all(found[n].together for n in ("both", "each", "all"))
    for name, channel, width in (("each", 0, 3), ("each", 3, 5), ("all", 0, 5)):
        value = graph.value(name)
        mask = one(value, int(np.ravel_multi_index((0, channel, 3, 3), value.shape)))
        assert elements_read(graph, value, mask)[graph.inputs[0]].sum() == 2 * width**2


def test_the_exact_set_of_a_layer_is_a_row_of_its_matrix() -> None:
    geometry = ConvGeometry(2, 4, (6, 5), (3, 2), (2, 1), (1, 0, 2, 1), (1, 2), 2)
    weights = np.ones(geometry.weights_shape, np.float32)
    matrix = SharedMatrix.of(geometry, weights)
    b = ic.Builder("one")
    x = b.input("x", (1, 2, 6, 5))
    window = {"strides": (2, 1), "pads": (1, 0, 2, 1), "dilations": (1, 2), "group": 2}
    b.output(b.conv(x, w=weights, bias=False, **window, name="y"))
    graph = b.build()
    value = graph.value("y")
    for row in range(matrix.shape[0]):
        found = elements_read(graph, value, one(value, row)).get(graph.inputs[0])
        assert np.array_equal(
            matrix.row(row) != 0, np.zeros(60, bool) if found is None else found.reshape(-1)
        )


def test_through_a_residual_network_by_networkx() -> None:
    """One element-level edge for each entry of each matrix; what reaches an output is its field."""
    b = ic.Builder("net", seed=1)
    x = b.input("x", (1, 1, 12))
    y = b.relu(b.conv(x, 1, kernel=3, strides=2, pads=(1, 0), name="a"))
    z = b.conv(y, 1, kernel=3, dilations=2, pads=2, name="b")
    b.output(b.add(y, z, name="sum"))
    graph = b.build()
    edges: nx.DiGraph[tuple[str, int]] = nx.DiGraph()
    for name, source, geometry in (
        ("a", "x", ConvGeometry(1, 1, (12,), (3,), (2,), (1, 0), (1,))),
        ("b", "a", ConvGeometry(1, 1, (6,), (3,), (1,), (2, 2), (2,))),
    ):
        dense = SharedMatrix.of(geometry, np.ones((1, 1, 3), np.float32)).dense()
        edges.add_edges_from(((source, int(i)), (name, int(o))) for o, i in np.argwhere(dense))
    edges.add_edges_from(((n, i), ("sum", i)) for n in "ab" for i in range(6))
    value = graph.value("sum")
    for place in range(6):
        found = elements_read(graph, value, one(value, place))[graph.inputs[0]]
        reached = {i for n, i in nx.ancestors(edges, ("sum", place)) if n == "x"}
        assert set(np.flatnonzero(found.reshape(-1)).tolist()) == reached


def test_an_op_that_is_not_known_is_refused_by_name() -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 2, 4))
    b.output(b.call("CumSum", x, np.array(2), name="y"))
    graph = b.build()
    value = graph.value("y")
    with pytest.raises(UsageError, match="CumSum"):
        elements_read(graph, value, one(value, 0))


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("LayerNormalization", {"axis": 2}),
        ("RMSNormalization", {"axis": -1}),
        ("GroupNormalization", {"num_groups": 2}),
        ("InstanceNormalization", {}),
    ],
)
def test_normalisations_against_nan(op: str, options: dict[str, int]) -> None:
    shape = (1, 4, 3, 2)
    scale = {2: shape[2:], -1: shape[3:]}.get(options.get("axis", 0), (4,))
    b = ic.Builder("net")
    x = b.input("x", shape)
    one_, zero = np.ones(scale, np.float32), np.zeros(scale, np.float32)
    operands = [x, one_] if op == "RMSNormalization" else [x, one_, zero]
    b.output(b.call(op, *operands, name="y", **options))
    graph = b.build()
    value = graph.value("y")
    for flat in range(24):
        read = elements_read(graph, value, one(value, flat))[graph.inputs[0]].reshape(-1)
        assert made_nan(graph, value, flat, np.arange(24)) == read.tolist()
