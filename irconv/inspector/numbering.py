"""Which values two graphs compute alike, from values that are given to both."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeGuard

from irconv.graph import Graph, Value


class Numbers:
    """Numbers of values: equal where the same ops compute them from the same given values and
    parameters (value numbering). `given`: the names of values whose content is given.
    """

    def __init__(self, given: set[str]) -> None:
        self.given = given
        self._known: dict[Hashable, int] = {}

    def of(self, graph: Graph, names: set[str]) -> dict[str, int]:
        """The number of how each of these values is computed, also of a given one."""
        found: dict[Value, int] = {}
        for node in graph:
            key = (node.op, tuple(self._operand(v, found) for v in node.operands))
            for value in node.results:
                found[value] = self._number((key, value.index))
        return {v.name: number for v, number in found.items() if v.name in names}

    def _operand(self, value: Value | None, found: dict[Value, int]) -> Hashable:
        if value is None:
            return None
        if value.is_parameter:
            return ("parameter", id(value.array)) if value.array is not None else value.digest
        if value.producer is None or value.name in self.given:
            return ("given", value.name)
        return found[value]

    def _number(self, key: Hashable) -> int:
        return self._known.setdefault(key, len(self._known))


def renewable(before: Graph, after: Graph, common: set[str]) -> set[str]:
    """Those of the common values whose content can be given to both graphs: all that comes next
    reads the same of them.
    """
    renewed = set(common)
    while True:
        first, second = (sources(graph, common, renewed) for graph in (before, after))
        apart = (first[n] | second[n] for n in common if first[n] != second[n])
        wrong = frozenset[str]().union(*apart) & renewed
        if not wrong:
            return renewed
        renewed -= wrong


def sources(graph: Graph, common: set[str], renewed: set[str]) -> dict[str, frozenset[str]]:
    """For each common value, the renewed values and inputs that it is computed from next."""
    ends = renewed | {v.name for v in graph.inputs}
    known: dict[str, frozenset[str]] = {}
    for node in graph:
        read = frozenset[str]().union(
            *({v.name} if v.name in ends else known[v.name] for v in node.operands if _is_made(v))
        )
        known |= dict.fromkeys((v.name for v in node.results), read)
    return {name: known[name] for name in common}


def _is_made(value: Value | None) -> TypeGuard[Value]:
    return value is not None and not value.is_parameter
