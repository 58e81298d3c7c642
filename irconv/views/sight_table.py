"""How far each layer of a network sees in its input: one line for each node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from irconv.dim import symbols_of
from irconv.errors import UsageError, printable
from irconv.graph import Graph, Node, Value
from irconv.specialize import specialize
from irconv.views.moves import known_shape
from irconv.views.seen import Seen, seen_values
from irconv.views.sight import hull


@dataclass(frozen=True)
class LayerSight:
    """One line: how far a node sees along each spatial axis of the input.

    `size` is the number of pixels from the first to the last seen, away from the border; `jump`
    the pixels from what one neuron sees to what its neighbour sees (0: all see the same); `start`
    the first pixel of the first neuron, negative in the padding. `whole`: every neuron sees the
    input from edge to edge. `exact` is False where the size is an upper bound.
    """

    node: str
    op: str
    shape: tuple[int, ...]
    size: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[int, ...]
    whole: bool
    exact: bool


@dataclass(frozen=True)
class SightTable:
    """How far each node of `graph` sees in the input called `of`; printed as a table."""

    graph: str
    of: str
    image: tuple[int, ...]
    rows: tuple[LayerSight, ...]

    def __getitem__(self, node: str) -> LayerSight:
        """The line of the node called `node`."""
        for row in self.rows:
            if row.node == node:
                return row
        raise UsageError("no such node in the table", got=printable(node))

    def __str__(self) -> str:
        head = ("node", "op", "result", "sees", "jump", "start")
        lines = [head, *(_line(row) for row in self.rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
            for line in lines
        )


def _line(row: LayerSight) -> tuple[str, ...]:
    bound = "" if row.exact else "<= "
    sees = bound + times(row.size) + (" (all)" if row.whole else "")
    jump = "-" if not any(row.jump) else times(row.jump)
    name = printable(row.node, 40)
    return name, row.op, times(row.shape), sees, jump, ", ".join(map(str, row.start))


def times(numbers: Sequence[object], sign: str = " x ") -> str:
    """`3 x 5`."""
    return sign.join(map(str, numbers))


def receptive_fields(graph: Graph, of: str | None = None) -> SightTable:
    """How far each node sees in the input called `of` (the first image if None).

    Sizes that are symbols of the batch count as 1. Raises UsageError where the graph has no input
    [N, C, *spatial] of known sizes.
    """
    graph = at_batch_one(graph)
    source = image_input(graph, of)
    image = known_shape(source)[2:]
    seen = seen_values(graph, source)
    rows = [_row(node, seen[node.results[0]], image) for node in graph if node.results[0] in seen]
    return SightTable(graph.name, source.name, image, tuple(rows))


def at_batch_one(graph: Graph) -> Graph:
    """`graph` with every symbolic batch as 1, or itself; other symbols stay."""
    batches = (v.tensor_type.shape[0] for v in graph.inputs if v.tensor_type.rank)
    names = {s for size in batches for s in symbols_of(size)}
    return specialize(graph, dict.fromkeys(names, 1)) if names else graph


def image_input(graph: Graph, of: str | None) -> Value:
    """The input called `of`, or the first that is an image."""
    for value in graph.inputs:
        if value.name == of or (of is None and len(value.shape) > 2):
            return value
    raise UsageError(
        "no such image among the inputs",
        where=f"graph @{printable(graph.name)}",
        expected=", ".join(printable(v.name) for v in graph.inputs) or "an input",
        got=printable(of) if of else "inputs without spatial axes",
    )


def _row(node: Node, seen: Seen, image: tuple[int, ...]) -> LayerSight:
    starts = (hull(sight.at(0) for sight in axis.sights) for axis in seen.axes)
    return LayerSight(
        node.name,
        node.op.name,
        known_shape(node.results[0])[1:],
        tuple(max(sight.size for sight in axis.sights) for axis in seen.axes),
        tuple(max(sight.jump for sight in axis.sights) for axis in seen.axes),
        tuple(0 if start is None else start[0] for start in starts),
        all(set(axis.places) == {(0, n - 1)} for axis, n in zip(seen.axes, image, strict=True)),
        seen.each,
    )
