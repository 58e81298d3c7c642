"""Which elements of the input an element of the network is computed from, exactly, through any
graph.
"""

from __future__ import annotations

from collections.abc import Mapping

from irconv.graph import Graph, Node, Value
from irconv.views.reach_rules import Mask, pull


def elements_read(graph: Graph, value: Value, mask: Mask) -> dict[Value, Mask]:
    """For each input and each result of `graph`, which of its elements those in `mask` are computed
    from.

    `graph` has known sizes; `mask` is shaped like `value`. A weight counts whatever number it
    holds, so a filter's zeros are read too. Values that are not read at all are left out. Raises
    UsageError at an op whose reading is not known, rather than guess.
    """
    needed: dict[Value, Mask] = {value: mask}
    for node in reversed(graph.nodes):
        if any(result in needed for result in node.results):
            for operand, part in _operands_read(node, needed):
                needed[operand] = needed[operand] | part if operand in needed else part
    return needed


def _operands_read(node: Node, needed: Mapping[Value, Mask]) -> list[tuple[Value, Mask]]:
    found: list[tuple[Value, Mask]] = []
    for index, result in enumerate(node.results):
        if result in needed:
            pulled = pull(node, index, needed[result])
            pairs = zip(node.operands, pulled, strict=False)
            found += [(v, p) for v, p in pairs if v is not None and p is not None and p.any()]
    return [(v, p) for v, p in found if not v.is_parameter]
