"""The document of a trace: its parts fit together, hostile names are harmless, weights shared."""

from __future__ import annotations

import base64
import json
import unicodedata
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import irconv as ic
from irconv.backends.onnx import shown
from irconv.errors import IrconvError, ModelError, ParseError
from irconv.graph import NAME_LENGTH, Graph
from irconv.inspector.document import VERSION, document
from irconv.inspector.trace import Trace, trace
from irconv.light_models import load_light
from irconv.pipeline import lower
from irconv.text import parse

CPU = "canonicalize,fold,fold_batchnorm,hoist_pool,fuse,winograd,pack,fuse_preactivation,fuse_pairs"
HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "</script><script>alert(1)</script>",
    "a\nb\r\x1b[31m\x00",
    "abc\u202e\u2066txt",
    "'; drop table; --",
    "%s {{ 7*7 }} ${x}",
    "\u2028\U000e0041",
)


def network() -> Graph:
    b = ic.Builder("net", seed=3)
    x = b.input("x", (1, 3, 8, 8))
    y = b.relu(b.batch_norm(b.conv(x, 4, kernel=3, pads=1, name="c1"), name="n1"), name="r1")
    z = b.conv(y, 4, kernel=1, name="c2")
    y = b.relu(b.add(y, z, name="s"), name="r2")
    b.output(b.softmax(b.dense(b.flatten(b.max_pool(y, kernel=2)), 5, name="d")), "prob")
    return b.build()


@pytest.fixture(scope="module")
def whole() -> Trace:
    return trace(network(), "fold_batchnorm,fuse", numerics=True, backend="numba_cpu", export=True)


def texts(data: Any) -> Iterator[str]:
    """All texts of a document but sources of kernels, which have lines."""
    match data:
        case dict():
            for key, value in data.items():
                yield key
                if key != "python":
                    yield from texts(value)
        case list():
            for value in data:
                yield from texts(value)
        case str():
            yield data


def test_the_stages_and_their_parts_fit_together(whole: Trace) -> None:
    data = json.loads(json.dumps(document(whole), allow_nan=False))
    assert data["version"] == VERSION
    kinds = [s["kind"] for s in data["stages"]]
    assert kinds == ["source", "pass", "pass", "program", "onnx", "onnxruntime"]
    assert [s["index"] for s in data["stages"]] == list(range(6))
    for stage in data["stages"]:
        made = {n["id"] for n in stage["nodes"]}
        parameters = {p["id"] for p in stage["parameters"]}
        assert len(made) == len(stage["nodes"]) > 0
        for node in stage["nodes"]:
            assert set(node["inputs"]) <= made | {-1}
            assert stage["kind"] == "program" or set(node["parameters"]) <= parameters
            if stage["kind"] in ("source", "pass", "onnx"):
                assert f"%{node['name']}" in stage["lines"][node["line"]]
        for parameter in stage["parameters"]:
            assert parameter["name"] in stage["lines"][parameter["line"]]
        assert set(stage["outputs"]) <= made
    for (first, second), pairs in zip(pairwise(data["stages"]), data["links"], strict=True):
        old, new = (
            {i["id"] for i in (*s["nodes"], *s["parameters"], *whole_parameters(data, s))} | {-1}
            for s in (first, second)
        )
        assert {a for a, _ in pairs} <= old
        assert {b for _, b in pairs} <= new


def whole_parameters(data: Any, stage: Any) -> list[Any]:
    """A program shows no parameters: those of the last pass are behind it."""
    return data["stages"][2]["parameters"] if stage["kind"] == "program" else []


def test_a_convolution_is_followed_to_its_kernel_and_to_onnxruntime_and_back(whole: Trace) -> None:
    data = document(whole)
    names = [{n["id"]: n["name"] for n in stage["nodes"]} for stage in data["stages"]]
    (conv,) = (i for i, name in names[0].items() if name == "c1")
    reached = {conv}
    found = []
    for place, pairs in enumerate(data["links"]):
        there = names[place + 1]
        became = {b for a, b in pairs if a in reached and b in there}
        reached = became | (reached & there.keys())
        found.append(sorted(there[i] for i in reached))
    assert found[:4] == [["n1"], ["r1"], ["r1"], ["r1", "r1/Conv"]]
    assert any(name.startswith("r1") for name in found[4])
    program = data["stages"][3]
    (node,) = (n for n in program["nodes"] if n["name"] == "r1")
    kernel = data["kernels"][node["kernel"]]
    assert "def " in kernel["python"]
    assert set(kernel["calls"]) <= data["kernels"].keys()
    assert program["lines"][node["line"]].strip().startswith("0  ")
    back = {conv_id for conv_id, _ in data["links"][0] if conv_id in names[0]}
    assert conv in back


def test_every_exported_node_is_ours_and_every_optimised_one_exported(whole: Trace) -> None:
    exported, optimised = whole.shown[-2:]
    written, kept = whole.links[-2:]
    assert {new for _, new in written} == exported.by_id.keys()
    assert {old for old, _ in written} == {n.id for n in whole.shown[-3].nodes}
    assert {new for _, new in kept} == optimised.by_id.keys()
    assert {old for old, _ in kept} == exported.by_id.keys()
    # whatever layout this machine has, onnxruntime computes a convolution with its Relu
    assert {"r1/Conv", "r1"} in [exported_of(whole, i) for i in optimised.by_id]


def exported_of(found: Trace, id_: int) -> set[str]:
    return {found.shown[-2].by_id[old].name for old, new in found.links[-1] if new == id_}


def test_since_says_what_is_unchanged_between_any_two_stages(whole: Trace) -> None:
    data = document(whole)
    for a in range(3):
        for b in range(a + 1, 3):
            same = {new for old, new in whole.diff(a, b).unchanged if old == new}
            there = {n["id"] for n in data["stages"][a]["nodes"]}
            told = {
                n["id"] for n in data["stages"][b]["nodes"] if n["id"] in there and n["since"] <= a
            }
            assert told == same


def test_numbers_of_stages_and_of_values(whole: Trace) -> None:
    data = document(whole)
    folded, fused, program, _, session = data["stages"][1:]
    assert 0 < folded["numerics"]["from_source"] < 1e-6
    assert fused["numerics"]["exact"] == "exact"
    assert fused["numerics"]["compared"] == len(fused["nodes"])
    errors = {n["name"]: n["error"] for n in folded["nodes"]}
    assert 0 < errors["n1"] < 1e-6
    assert program["numerics"]["from_source"] < 1e-5
    assert session["numerics"]["from_source"] < 1e-5
    first, last = data["stages"][0]["totals"], fused["totals"]
    assert last["nodes"] < first["nodes"]
    assert last["parameters"] < first["parameters"]
    assert 0 < last["peak_bytes"] <= first["peak_bytes"]
    assert last["free_parameters"] == 4 * 27 + 4 + 16 + 4 + 64 * 5 + 5


def test_weights_are_shared_between_stages_not_copied() -> None:
    graph = network()
    found = trace(graph, "canonicalize,fuse,im2col,conv_matrix", numerics=True)
    stages = found.stages
    weights = {v.uid: v.array for v in graph.parameters.values()}
    for stage in stages[1:]:
        kept = [v for v in stage.parameters.values() if v.uid in weights]
        assert kept
        for value in kept:
            assert value.array is not None
            assert np.shares_memory(value.array, weights[value.uid])
    document(found)
    assert all(v.array is weights[v.uid] for v in graph.parameters.values())


def test_rewrites_are_kept_only_for_who_watches() -> None:
    kept: list[int] = []
    lower(network(), "fuse", lambda stage: kept.append(len(stage.rewrites)))
    assert kept == [0]
    (traced,) = trace(network(), "fuse").passes
    assert len(traced.stage.rewrites) == len(traced.stage.records) > 0


def test_a_rewrite_tells_nodes_that_no_stage_holds() -> None:
    found = trace(network(), "fold_batchnorm,fuse")
    stage = document(found)["stages"][2]
    ids = {n["id"] for s in document(found)["stages"] for n in s["nodes"]}
    between = [
        (line, rewrite["rule"])
        for rewrite in stage["rewrites"]
        for id_, line in zip(rewrite["after"], rewrite["after_lines"], strict=True)
        if id_ not in ids
    ]
    assert (
        "%s = FusedConv(%r1, %c2.weight, %c2.bias, %r1) {kernel_shape = [1, 1]} : f32[1, 4, 8, 8]",
        "fuse_residual",
    ) in between
    assert all(r["source"].startswith("passes/fuse.py:") for r in stage["rewrites"])


def hostile(names: tuple[str, ...]) -> Graph:
    b = ic.Builder(names[0], seed=0)
    y = b.input(names[0], (1, 4, 8, 8))
    for name in names[1:-1]:
        y = b.relu(b.conv(y, 4, kernel=3, pads=1), name=name)
    b.output(y, names[-1])
    return b.build()


def test_hostile_names_are_printable_text() -> None:
    found = trace(hostile(HOSTILE), CPU, backend="numba_cpu", export=True)
    for text in texts(document(found)):
        bad = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp", "Co"}}
        assert not bad, repr(text)
    names = [n["name"] for n in document(found)["stages"][0]["nodes"]]
    assert "</script><script>alert(1)</script>" in names
    assert "abc\\u202e\\u2066txt" in names


def test_long_names_are_shortened_and_their_length_is_told() -> None:
    names = tuple(f"{i}{'x' * (NAME_LENGTH - 1)}" for i in range(6))
    graph = hostile(names)
    found = trace(graph, CPU, backend="numba_cpu", export=True)
    data = document(found)
    assert max(map(len, texts(data))) < 2000
    assert f"...({NAME_LENGTH} characters)" in data["stages"][0]["nodes"][1]["name"]
    # what a pass makes of such names may stand in a file, too
    for stage in found.stages:
        arrays = {v.digest: v.array for v in stage.parameters.values() if v.array is not None}
        assert parse(str(stage), arrays) == stage


def test_longer_names_are_refused_at_load() -> None:
    name = "y" * (NAME_LENGTH + 1)
    with pytest.raises(ParseError, match=r"a name is too long.*at most 4096 characters, got 4097"):
        parse(f"graph @g(%x: f32[1]) -> (%{name}: f32[1]) {{\n  %{name} = Relu(%x) : f32[1]\n}}")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", name)]
    nodes = [helper.make_node("Relu", ["x"], [name])]
    model = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:]))
    with pytest.raises(ModelError):
        ic.load(model)
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in ("x", name[1:])]
    nodes = [helper.make_node("Relu", ["x"], [name[1:]])]
    assert len(ic.load(helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:])))) == 1


def test_names_made_by_the_reader_end_too() -> None:
    """A name of the greatest length, and the model's own names where a made one would go."""
    label = "a" * NAME_LENGTH
    taken = [f"{label[:-128]}.{stem}" for stem in ("min", "max", "const", "shape", "axes")]
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    nodes = [helper.make_node("Identity", ["x"], [t]) for t in taken]
    nodes.append(helper.make_node("Squeeze", ["x"], [label], axes=[0]))
    nodes.append(helper.make_node("Unsqueeze", [label], ["y"], axes=[0]))
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:]),
        opset_imports=[helper.make_opsetid("", 11)],
    )
    graph = ic.load(model)
    assert parse(str(graph)) == graph


def test_machine_code_is_told_when_asked_for() -> None:
    b = ic.Builder("small")
    b.output(b.relu(b.input("x", (1, 8))), "y")
    data = document(trace(b.build(), "", backend="numba_cpu"), llvm=True, assembly=True)
    told = [k for k in data["kernels"].values() if k["llvm"]]
    assert told
    assert all(k["asm"] for k in told)
    assert b"define" in zlib.decompress(base64.b64decode(told[0]["llvm"]))


@pytest.mark.parametrize("name", ["resnet50", "densenet121"])
def test_the_size_of_real_networks(name: str) -> None:
    found = trace(load_light(name), CPU, export=True)
    data = document(found)
    assert len(json.dumps(data, separators=(",", ":"))) < 4_000_000
    unlinked = found.shown[-1].by_id.keys() - {new for _, new in found.links[-1]}
    assert not unlinked
    # no node stands for a large part of the network: all values are known
    most = max(sum(new == n.id for _, new in found.links[-1]) for n in found.shown[-1].nodes)
    assert most < 12


def test_a_model_that_onnxruntime_cannot_load_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(model: object) -> object:
        raise IrconvError("no such kernel")

    monkeypatch.setattr(shown, "optimised_graph", refuse)
    found = trace(network(), "", export=True)
    assert [s.shown.kind for s in found.later] == ["onnx"]
    (remark,) = document(found)["stages"][-1]["remarks"]
    assert remark["condition"] == "no such kernel"
    assert onnx.__version__ in document(found)["versions"].values()
