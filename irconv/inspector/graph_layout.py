"""Places for the nodes of a graph: rows by longest path, few crossings, straight main lines.

Sugiyama, Tagawa, Toda: Methods for visual understanding of hierarchical system structures (1981):
rows, points on the way for long edges, barycentres; then x by isotonic regression, row by row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import networkx as nx

# pixels from the middle of a node to that of its neighbour; a passing edge needs less
NODE_GAP = 212
EDGE_GAP = 26
# an edge over more rows than this runs in a lane of its own beside the graph
LONGEST = 48
LANE_GAP = 10
SWEEPS = 4
# what an edge pulls with: a passing edge wants to be straight, then the line of first operands
STRAIGHT, FIRST, OTHER = 8.0, 6.0, 1.0
# and where several edges meet, so that long graphs do not drift away from their middle
MIDDLE = 0.4

Vertex: TypeAlias = "int | tuple[int, int, int]"  # a node, or a point on the way of an edge


@dataclass(frozen=True)
class Layout:
    """Where each node lies: `places[id]` is (x of its middle in pixels, row).

    `edges` are (producer, user, x in each row between); one x for many rows is a lane. Ids below
    zero are the graph's inputs: -1 - index.
    """

    places: dict[int, tuple[int, int]]
    edges: tuple[tuple[int, int, tuple[int, ...]], ...]
    width: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for the page."""
        return {
            "width": self.width,
            "rows": self.rows,
            "places": [[i, x, row] for i, (x, row) in self.places.items()],
            "edges": [[a, b, list(xs)] for a, b, xs in self.edges],
        }


def layout(nodes: Iterable[Mapping[str, Any]], keep: set[int] | None = None) -> Layout:
    """Lays out the nodes of one stage (mappings with `id` and `inputs`, as in the document).

    `keep`: only these ids, where a graph is too big to be drawn whole. Ties are broken by the order
    of the nodes, so that what a pass left alone lies as it lay before.
    """
    edges = _edges(nodes, keep)
    network: nx.DiGraph[int] = nx.DiGraph()
    network.add_nodes_from(edges)
    network.add_edges_from((a, b) for b, operands in edges.items() for a in operands)
    if not network:
        return Layout({}, (), NODE_GAP, 0)
    return _Drawing(network, edges, _rows(network)).layout()


def _edges(nodes: Iterable[Mapping[str, Any]], keep: set[int] | None) -> dict[int, list[int]]:
    """The distinct operands of each node."""
    edges: dict[int, list[int]] = {}
    for node in nodes:
        own = int(node["id"])
        if keep is None or own in keep:
            edges[own] = list(dict.fromkeys(int(i) for i in node["inputs"] if int(i) != own))
    shown = set(edges)
    for operands in edges.values():
        operands[:] = [i for i in operands if i in shown or (i < 0 and keep is None)]
    return edges


def _rows(network: nx.DiGraph[int]) -> dict[int, int]:
    """The row of each node: one below its lowest operand; a source stands right above its use."""
    rows = {n: r for r, layer in enumerate(nx.topological_generations(network)) for n in layer}
    for node in network:
        users = list(network.successors(node))
        if users and not network.in_degree(node):
            rows[node] = min(rows[u] for u in users) - 1
    return rows


@dataclass
class _Drawing:
    network: nx.DiGraph[int]
    operands: dict[int, list[int]]
    row_of: dict[int, int]
    rows: list[list[Vertex]] = field(default_factory=list)
    above: dict[Vertex, list[tuple[Vertex, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    below: dict[Vertex, list[tuple[Vertex, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    ways: dict[tuple[int, int], list[Vertex]] = field(default_factory=dict)
    x: dict[Vertex, float] = field(default_factory=dict)

    def layout(self) -> Layout:
        self.rows = [[] for _ in range(1 + max(self.row_of.values()))]
        for node in self.network:
            self.rows[self.row_of[node]].append(node)
        for user, operands in self.operands.items():
            for place, operand in enumerate(operands):
                main = place == 0 and len(operands) <= 2
                self._connect(operand, user, FIRST if main else OTHER)
        self._order()
        self._place()
        return self._result()

    def _connect(self, operand: int, user: int, pull: float) -> None:
        first, last = self.row_of[operand] + 1, self.row_of[user]
        if last - first > LONGEST:
            return
        way: list[Vertex] = [(operand, user, row) for row in range(first, last)]
        for point, row in zip(way, range(first, last), strict=True):
            self.rows[row].append(point)
        self.ways[operand, user] = way
        chain: list[Vertex] = [operand, *way, user]
        for upper, lower in pairwise(chain):
            inner = isinstance(upper, tuple) and isinstance(lower, tuple)
            weight = STRAIGHT if inner else pull
            self.below[upper].append((lower, weight))
            self.above[lower].append((upper, weight))

    # -- the order in each row ---------------------------------------------------------------

    def _order(self) -> None:
        self._start()
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(2 * SWEEPS):
            if not fewest:
                break
            down = sweep % 2 == 0
            self._sweep(self.above if down else self.below, down)
            count = self._crossings()
            if count < fewest:
                best, fewest = [list(row) for row in self.rows], count
        self.rows = best

    def _start(self) -> None:
        """Each row in the order of what stands above."""
        for row in self.rows:
            wish = {}
            for index, vertex in enumerate(row):
                uppers = [self.x[u] for u, _ in self.above[vertex]]
                wish[vertex] = sum(uppers) / len(uppers) if uppers else float(index * NODE_GAP)
            row.sort(key=wish.__getitem__)
            self._spread(row)

    def _spread(self, row: Sequence[Vertex]) -> None:
        for vertex, x in zip(row, _offsets(row), strict=True):
            self.x[vertex] = x

    def _sweep(self, links: Mapping[Vertex, list[tuple[Vertex, float]]], down: bool) -> None:
        place = {v: float(i) for row in self.rows for i, v in enumerate(row)}
        for row in self.rows if down else reversed(self.rows):
            if len(row) < 2:
                continue
            wish = {}
            for vertex in row:
                near = [place[u] for u, _ in links.get(vertex, ())]
                wish[vertex] = sum(near) / len(near) if near else place[vertex]
            row.sort(key=wish.__getitem__)
            place.update((v, float(i)) for i, v in enumerate(row))

    def _crossings(self) -> int:
        return sum(self._crossings_below(*pair) for pair in pairwise(self.rows))

    def _crossings_below(self, upper: Sequence[Vertex], lower: Sequence[Vertex]) -> int:
        if len(upper) < 2 or len(lower) < 2:
            return 0
        place = {v: i for i, v in enumerate(lower)}
        ends: list[int] = []
        for vertex in upper:
            ends += sorted(place[u] for u, _ in self.below.get(vertex, ()))
        return sum(
            1 for i, end in enumerate(ends) for other in ends[max(0, i - 64) : i] if other > end
        )

    # -- x ---------------------------------------------------------------------------------------

    def _place(self) -> None:
        for row in self.rows:
            self._spread(row)
            middle = (self.x[row[0]] + self.x[row[-1]]) / 2
            self.x.update((v, self.x[v] - middle) for v in row)
        for _ in range(SWEEPS):
            for row in self.rows:
                self._align(row, self.above)
            for row in reversed(self.rows):
                self._align(row, self.below)
        for row in self.rows:
            self._align(row, self.above)

    def _align(
        self, row: Sequence[Vertex], links: Mapping[Vertex, list[tuple[Vertex, float]]]
    ) -> None:
        wishes, weights = [], []
        for vertex in row:
            near = links.get(vertex, ())
            total = sum(w for _, w in near) * (1 + MIDDLE * (len(near) > 1))
            wish = sum(self.x[u] * w for u, w in near) / total if total else self.x[vertex]
            wishes.append(wish)
            weights.append(total or MIDDLE)
        for vertex, x in zip(row, _isotonic(wishes, weights, _offsets(row)), strict=True):
            self.x[vertex] = x

    # -- the result ------------------------------------------------------------------------------

    def _result(self) -> Layout:
        nodes = [v for row in self.rows for v in row if isinstance(v, int)]
        left = min(self.x.values()) - NODE_GAP / 2
        right = max(self.x.values()) + NODE_GAP / 2 - left
        places = {n: (round(self.x[n] - left), self.row_of[n]) for n in nodes}
        edges: list[tuple[int, int, tuple[int, ...]]] = []
        lanes = 0
        for user, operands in self.operands.items():
            for operand in operands:
                way = self.ways.get((operand, user))
                if way is None:
                    lanes += 1
                    points: tuple[int, ...] = (round(right + lanes % 12 * LANE_GAP),)
                else:
                    points = tuple(round(self.x[p] - left) for p in way)
                edges.append((operand, user, points))
        extra = (min(lanes, 12) + 1) * LANE_GAP if lanes else 0
        return Layout(places, tuple(edges), round(right + extra), len(self.rows))


def _offsets(row: Sequence[Vertex]) -> list[float]:
    """The least x of each vertex of a row, if the first is at 0."""
    offsets = [0.0]
    for left, right in pairwise(row):
        narrow = sum(isinstance(v, tuple) for v in (left, right))
        gap = (NODE_GAP, (NODE_GAP + EDGE_GAP) / 2, EDGE_GAP)[narrow]
        offsets.append(offsets[-1] + gap)
    return offsets[: len(row)]


def _isotonic(
    wishes: Sequence[float], weights: Sequence[float], offsets: Sequence[float]
) -> list[float]:
    """The x nearest to `wishes` (weighted least squares) that keep the order and the gaps.

    Pool adjacent violators: Barlow et al., Statistical inference under order restrictions (1972).
    """
    blocks: list[tuple[float, float, int]] = []  # mean, weight, count
    for wish, weight, offset in zip(wishes, weights, offsets, strict=True):
        mean, total, count = wish - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            other, its_weight, its_count = blocks.pop()
            mean = (mean * total + other * its_weight) / (total + its_weight)
            total, count = total + its_weight, count + its_count
        blocks.append((mean, total, count))
    means = [mean for mean, _, count in blocks for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
