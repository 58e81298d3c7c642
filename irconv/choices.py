"""Puts what passes chose for a layer to the node of the report that computes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from irconv.algorithms import AlgorithmChoice, owners
from irconv.graph import Graph
from irconv.ops.winograd import WinogradConv
from irconv.report import NodeReport
from irconv.winograd_error import BOUND, sampled_error


def with_choices(
    nodes: Sequence[NodeReport],
    lowered: Graph,
    choices: Mapping[str, AlgorithmChoice],
    former: Sequence[str],
) -> tuple[NodeReport, ...]:
    """The nodes of the report of `lowered`, with the choices for nodes of the graph before.

    `former` names the nodes of that graph. What later passes made of a layer is several nodes; the
    one with most work has the choice.
    """
    owner = owners((n.node for n in nodes), former)
    heavy: dict[str, NodeReport] = {}
    for node in nodes:
        layer = owner.get(node.node, "")
        if layer in choices and (layer not in heavy or node.macs > heavy[layer].macs):
            heavy[layer] = node
    found = {node.node: choices[layer] for layer, node in heavy.items()}
    return tuple(
        replace(n, choice=with_error(lowered, n.node, found[n.node])) if n.node in found else n
        for n in nodes
    )


def with_error(lowered: Graph, name: str, choice: AlgorithmChoice) -> AlgorithmChoice:
    """The choice, with its error where it is a transform."""
    node = lowered.node(name)
    weights = node.constant(1)
    if not isinstance(node.op, WinogradConv) or weights is None:
        return choice
    return replace(choice, error=sampled_error(weights, node.op.tile), error_bound=BOUND)
