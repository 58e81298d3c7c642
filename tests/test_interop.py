"""Graphs for other people's viewers: DOT, Model Explorer's JSON, and readable names in ONNX."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import pytest
from typer.testing import CliRunner

import irconv as ic
from irconv.cli import app
from irconv.graph import Graph
from irconv.interop.model_explorer import collection, model_explorer

HOSTILE = '"><img src=x onerror=alert(1)>\\"; }\n\u202edesrever\x1b[31m\\'
EDGE = re.compile(r"  (\w+) -> (\w+)(?: \[label=\"(?:[^\"\\]|\\.)*\"\])?")
NODE = re.compile(
    r"  (\w+) \[label=(\"(?:[^\"\\]|\\.)*\")(?:, \w+=(?:\w+|\"(?:[^\"\\]|\\.)*\"))*\]"
)


def network(name: str = "first") -> Graph:
    b = ic.Builder("net")
    x = b.input("x", ("N", 3, 16, 16))
    y = b.relu(b.conv(x, 8, kernel=3, pads="same", name=name))
    with b.scope("block"):
        z = b.relu(b.conv(y, 8, kernel=3, pads="same", name="second"))
    b.output(b.add(y, z))
    return b.build()


def dot_of(graph: Graph, **options: Any) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The labels by id, and the edges; every line must be one or the other."""
    head, *lines, end = graph.to_dot(**options).rstrip("\n").split("\n")
    assert re.fullmatch(r'digraph "(?:[^"\\]|\\.)*" \{', head)
    assert end == "}"
    labels: dict[str, str] = {}
    edges = []
    for line in lines[2:]:
        node, edge = NODE.fullmatch(line), EDGE.fullmatch(line)
        assert (node is None) != (edge is None), line
        if node is not None:
            labels[node[1]] = node[2]
        if edge is not None:
            edges.append((edge[1], edge[2]))
    assert {end for edge in edges for end in edge} <= labels.keys()
    return labels, edges


# -- DOT -----------------------------------------------------------------------------------------


def test_dot_has_every_node_and_edge() -> None:
    graph = network()
    labels, edges = dot_of(graph)
    boxes = {f"n{k}": n for k, n in enumerate(graph)}
    assert labels.keys() == {"i0", "o0", *boxes}
    for key, node in boxes.items():
        assert labels[key] == f'"{node.name}\\n{node.op.name}\\n{node.result.type}"'
    ids = {n.name: key for key, n in boxes.items()} | {"x": "i0"}
    network_edges = [
        (ids[a], ids[b]) for a, b in graph.to_networkx().edges() if a in ids and b in ids
    ]
    assert Counter(edges) == Counter([*network_edges, (f"n{len(graph) - 1}", "o0")])


def test_dot_with_parameters() -> None:
    graph = network()
    labels, edges = dot_of(graph, parameters=True)
    assert sum(key.startswith("p") for key in labels) == len(graph.parameters) == 4
    assert sum(a.startswith("p") for a, _ in edges) == 4


def test_dot_escapes_names() -> None:
    labels, _ = dot_of(network(HOSTILE))
    (label,) = (text for text in labels.values() if "img" in text)
    shown = label[1:-1].replace("\\\\", "\\").replace('\\"', '"')
    assert shown.startswith('"><img src=x onerror=alert(1)>\\"; }\\n\\u202edesrever\\x1b[31m\\')
    assert "\n" not in label
    assert "\u202e" not in label


def test_dot_of_long_names_tells_their_length() -> None:
    labels, _ = dot_of(network("n" * 4000))
    assert any("...(4000 characters)" in text for text in labels.values())


def test_dot_is_the_same_text_for_the_same_graph() -> None:
    assert network().to_dot() == network().to_dot()
    assert ic.parse(str(network()), arrays_of(network())).to_dot() == network().to_dot()


def arrays_of(graph: Graph) -> dict[str, Any]:
    return {v.digest: v.array for v in graph.parameters.values()}


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("name", ["first", HOSTILE])
def test_graphviz_draws_it(name: str) -> None:
    done = subprocess.run(
        ["dot", "-Tplain"], input=network(name).to_dot(), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert sum(line.startswith("node ") for line in done.stdout.splitlines()) == 7


# -- Model Explorer ------------------------------------------------------------------------------

# the fields of its graph_builder.py: GraphNode, IncomingEdge, KeyValue, MetadataItem
NODE_FIELDS = {"id", "label", "namespace", "attrs", "incomingEdges", "outputsMetadata"}
EDGE_FIELDS = {"sourceNodeId", "sourceNodeOutputId", "targetNodeInputId"}


def checked(data: dict[str, Any]) -> dict[str, Any]:
    """`data`, once it is what Model Explorer opens: fields, text only, ids unique and known."""
    data = json.loads(json.dumps(data))
    assert data.keys() == {"label", "graphs"}
    titles = [g["id"] for g in data["graphs"]]
    assert len(set(titles)) == len(titles)
    for graph in data["graphs"]:
        assert graph.keys() == {"id", "nodes"}
        ids = [n["id"] for n in graph["nodes"]]
        assert len(set(ids)) == len(ids)
        for node in graph["nodes"]:
            assert node.keys() == NODE_FIELDS
            assert node["id"]
            assert node["label"]
            pairs = [*node["attrs"], *(a for m in node["outputsMetadata"] for a in m["attrs"])]
            assert all(p.keys() == {"key", "value"} for p in pairs)
            assert all(isinstance(text, str) for p in pairs for text in p.values())
            for edge in node["incomingEdges"]:
                assert edge.keys() == EDGE_FIELDS
                assert edge["sourceNodeId"] in ids
    return data


def test_every_stage_is_a_graph_and_nodes_keep_their_ids() -> None:
    data = checked(model_explorer(ic.trace(network(), "fuse,im2col")))
    assert data["label"] == "net"
    assert [g["id"] for g in data["graphs"]] == ["0 source", "1 fuse", "2 im2col"]
    source, fused, _ = ({n["id"]: n for n in g["nodes"]} for g in data["graphs"])
    assert source["x"]["label"] == "input"
    assert source["block.second"]["label"] == "Conv"
    assert source["block.second"]["namespace"] == "block"
    assert source["block.second"]["incomingEdges"] == [
        {"sourceNodeId": "relu1", "sourceNodeOutputId": "0", "targetNodeInputId": "0"}
    ]
    attrs = {a["key"]: a["value"] for a in source["block.second"]["attrs"]}
    assert attrs["kernel_shape"] == "[3, 3]"
    assert attrs["operand w"] == "%block.second.weight: f32[8, 8, 3, 3]"
    assert attrs["multiply-adds"] == str(8 * 8 * 9 * 256)
    made = {a["key"]: a["value"] for a in fused["relu1"]["attrs"]}["made from"]
    assert {"%first", "%relu1"} <= set(made.split(", "))
    assert fused["#output 0"]["label"] == "output"


def test_hostile_names_are_text_and_stay_apart() -> None:
    graph = network(HOSTILE)
    long = "n" * 500
    graph.rename(graph.nodes[1].result, long)
    graph.rename(graph.nodes[2].result, long + "x")
    text = json.dumps(checked(collection("c", [("g", graph)])))
    assert "\\u202e" not in text.replace("\\\\u202e", "")
    assert "...(500 characters)" in text


# -- the command ---------------------------------------------------------------------------------


def test_the_command_writes_them(tmp_path: Path) -> None:
    dot, explorer = tmp_path / "a.dot", tmp_path / "a.json"
    words = ["zoo:lenet5", "-p", "fuse", "--dot", str(dot), "--model-explorer", str(explorer)]
    done = CliRunner().invoke(app, ["opt", *words])
    assert done.exit_code == 0, done.stderr
    lowered = ic.lower(ic.zoo.lenet5(), "fuse")
    assert dot.read_text() == lowered.to_dot()
    data = checked(json.loads(explorer.read_text()))
    assert [len(g["nodes"]) for g in data["graphs"]] == [15, len(lowered) + 2]
    assert "graph @lenet5" not in done.stdout
    piped = CliRunner().invoke(app, ["opt", "zoo:lenet5", "-p", "fuse", "--dot", "-"])
    assert piped.stdout == lowered.to_dot()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--model-explorer", "a.txt"], "expected a name that ends in .json"),
        (["--dot", "-", "--model-explorer", "-"], "only one of --dot and --model-explorer"),
        (["--dot", "-", "--json"], "only one result can go to stdout"),
    ],
)
def test_wrong_requests_get_one_line(words: list[str], line: str) -> None:
    done = CliRunner().invoke(app, ["opt", "zoo:lenet5", *words, "-q"])
    assert done.exit_code == 2
    assert line in done.stderr
    assert done.stdout == ""


# -- ONNX in Netron ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pipeline", ["", "fuse", "im2col", "fuse,conv_matrix", "fuse,conv_matrix{form=literal}"]
)
def test_exported_nodes_have_readable_names(pipeline: str, tmp_path: Path) -> None:
    """Each node is called as its result, and that after the value that it helps to make."""
    graph = ic.lower(network(), pipeline)
    ic.export_onnx(graph, tmp_path / "net.onnx", check=False)
    model = onnx.load(tmp_path / "net.onnx").graph
    names = [n.name for n in model.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert all(n.name == n.output[0] for n in model.node)
    known = {v.name for v in graph.values}
    for node in model.node:
        assert node.name in known or node.name.split("/")[0] in known, node.name
        assert re.fullmatch(r"[\w./]+", node.name)
    assert {i.name.split("/")[0] for i in model.initializer} <= known
    assert [i.name for i in model.input] == ["x"]
    assert {"first", "block.second"} & set(names) or pipeline.startswith("fuse")


def test_the_examples_of_the_page_run() -> None:
    page = (Path(__file__).parent.parent / "docs" / "interop.md").read_text()
    examples = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(example, {})
