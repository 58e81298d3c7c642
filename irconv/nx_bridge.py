"""Graphs as networkx MultiDiGraphs, for users and for the graph algorithms we do not write
ourselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from irconv.late import Late

if TYPE_CHECKING:
    import networkx as nx

    from irconv.graph import Graph, Node, Value
else:
    nx = Late("networkx")


def to_networkx(graph: Graph) -> nx.MultiDiGraph[str]:
    """Inputs, parameters and nodes become nodes named by their (first) value; edge keys are operand
    indices.

    Node data: `kind` ("input", "parameter", "node"), `op`, `types`, `names` of the results; for a
    parameter `array` and `trainable`. Edge data: `result` (the index of the producer's result) and
    `operand`. Graph data: `name`, `inputs`, `outputs`.
    """
    network: nx.MultiDiGraph[str] = nx.MultiDiGraph()
    network.graph.update(
        name=graph.name,
        inputs=[v.name for v in graph.inputs],
        outputs=[v.name for v in graph.outputs],
    )
    for value in graph.inputs:
        network.add_node(value.name, kind="input", types=[value.type])
    for value in graph.parameters.values():
        network.add_node(
            value.name,
            kind="parameter",
            types=[value.type],
            array=value.array,
            digest=value.digest,
            trainable=value.trainable,
        )
    for node in graph:
        _add(network, node)
    return network


def _add(network: nx.MultiDiGraph[str], node: Node) -> None:
    network.add_node(
        node.name,
        kind="node",
        op=node.op,
        n_operands=len(node.operands),
        names=[v.name for v in node.results],
        types=[v.type for v in node.results],
    )
    for index, value in enumerate(node.operands):
        if value is not None:
            source = value.producer.name if value.producer is not None else value.name
            network.add_edge(source, node.name, key=index, operand=index, result=value.index)


def from_networkx(network: nx.MultiDiGraph[str], graph: Graph) -> Graph:
    """Fills the empty `graph` with what `to_networkx` described, nodes in a topological order."""
    graph.name = network.graph["name"]
    found: dict[str, tuple[Value, ...]] = {}
    for name in network.graph["inputs"]:
        found[name] = (graph.add_input(name, network.nodes[name]["types"][0]),)
    order = {name: place for place, name in enumerate(network.nodes)}
    for name in nx.lexicographical_topological_sort(network, key=order.__getitem__):
        data = network.nodes[name]
        if data["kind"] == "parameter":
            value = graph.add_parameter(name, data["array"], trainable=data["trainable"])
            found[name] = (value,)
        elif data["kind"] == "node":
            found[name] = _add_node(graph, network, name, found).results
    by_name = {value.name: value for values in found.values() for value in values}
    graph.set_outputs(by_name[name] for name in network.graph["outputs"])
    _restore_parameter_order(graph, network)
    return graph


def _add_node(
    graph: Graph, network: nx.MultiDiGraph[str], name: str, found: dict[str, tuple[Value, ...]]
) -> Node:
    data: dict[str, Any] = network.nodes[name]
    operands: list[Value | None] = [None] * data["n_operands"]
    for source, _, edge in network.in_edges(name, data=True):
        operands[edge["operand"]] = found[source][edge["result"]]
    return graph.add_node(data["op"], operands, data["names"], types=data["types"])


def _restore_parameter_order(graph: Graph, network: nx.MultiDiGraph[str]) -> None:
    names = [n for n, data in network.nodes(data=True) if data["kind"] == "parameter"]
    graph.parameters = {n: graph.parameters[n] for n in names}
