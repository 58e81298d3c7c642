"""Where intermediate values lie in one arena: offsets from lifetimes, never sharing bytes while
alive.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from irconv.dim import known
from irconv.graph import Graph, Node, Value
from irconv.types import MatrixType, TensorType

ALIGNMENT = 64  # a cache line, and the widest vector


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A value's buffer: its bytes, and the first and last node (by position) that touch it."""

    value: Value
    nbytes: int
    first: int
    last: int


@dataclass(frozen=True)
class MemoryPlan:
    """The table value -> offset in an arena of `size` bytes.

    `shared`: values that lie in the buffer of another one: see `in_place`.
    """

    offsets: Mapping[Value, int]
    size: int
    shared: Mapping[Value, Value] = field(default_factory=dict)


def lifetimes(graph: Graph, views: Mapping[Value, Value] | None = None) -> list[Lifetime]:
    """The lifetimes of all dense results of known sizes that are not outputs.

    `views` maps a value that is only another view of a buffer (a reshape) to the value that owns
    it: the owner lives as long as its views. A view of an input, a parameter or an output needs no
    room. What a matrix is made of lives as long as the matrix.
    """
    views = views or {}
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    for place, node in enumerate(graph):
        for value in _read(node):
            last[views.get(value, value)] = place
        for value in node.results:
            owner = views.get(value, value)
            first.setdefault(owner, place)
            last[owner] = max(last.get(owner, 0), place)
    outputs = {views.get(v, v) for v in graph.outputs}
    return [
        Lifetime(v, known(v.type.nbytes), start, last[v])
        for v, start in first.items()
        if isinstance(v.type, TensorType)
        and v.type.is_static
        and v.producer is not None
        and v not in outputs
    ]


def in_place(
    graph: Graph,
    overwritable: Callable[[Node], Iterable[Value]],
    views: Mapping[Value, Value] | None = None,
) -> dict[Value, Value]:
    """The results that take the place of an operand which dies there: result -> owner of the bytes.

    `overwritable` tells which operands of a node its kernel could overwrite with the result, the
    best first. One is, where it has as many bytes, where no later node and no other operand reads
    its buffer, and where neither is an input, a parameter or an output.
    """
    owners = dict(views or {})
    last = {b.value: b.last for b in lifetimes(graph, owners)}  # so none of an input or output
    shared: dict[Value, Value] = {}
    for place, node in enumerate(graph):
        if len(node.results) != 1 or node.result in owners or node.result not in last:
            continue
        y = node.result
        read = [shared.get(o, o) for o in (owners.get(v, v) for v in _read(node))]
        for value in overwritable(node):
            given = owners.get(value, value)
            owner = shared.get(given, given)
            dies = last.get(owner) == place and read.count(owner) == 1
            if dies and y.tensor_type.nbytes == owner.tensor_type.nbytes:
                shared[y], last[owner] = owner, last[y]
                break
    return shared


def _read(node: Node) -> Iterator[Value]:
    """The values that running `node` reads; those of a matrix are what its product reads."""
    for value in node.operands:
        if value is not None:
            yield value
            if isinstance(value.type, MatrixType) and value.producer is not None:
                yield from _read(value.producer)


def plan_memory(
    buffers: Iterable[Lifetime],
    alignment: int = ALIGNMENT,
    shared: Mapping[Value, Value] | None = None,
) -> MemoryPlan:
    """Greedy by size: the largest buffer first, each at the lowest offset that is free while it
    lives; then those of `shared` where their owner is.

    (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, section 5.)
    """
    ordered = sorted(buffers, key=lambda b: (-b.nbytes, b.first))
    placed = _Placed(1 + max((b.last for b in ordered), default=0))
    offsets: dict[Value, int] = {}
    size = 0
    for buffer in ordered:
        room = -(-buffer.nbytes // alignment) * alignment
        begin = _lowest_gap(placed.alive_with(buffer), room)
        offsets[buffer.value] = begin
        placed.add(buffer, (begin, begin + room))
        size = max(size, begin + room)
    shared = {value: owner for value, owner in (shared or {}).items() if owner in offsets}
    offsets.update({value: offsets[owner] for value, owner in shared.items()})
    return MemoryPlan(offsets, size, shared)


class _Placed:
    """Places (begin, end) of buffers, found by time: a segment tree over the nodes' positions.

    Two lifetimes meet where one holds the begin of the other.
    """

    def __init__(self, positions: int) -> None:
        self.positions = positions
        self.over: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.starts: list[tuple[int, tuple[int, int]]] = []

    def add(self, buffer: Lifetime, place: tuple[int, int]) -> None:
        low, high = buffer.first + self.positions, buffer.last + self.positions + 1
        while low < high:
            if low & 1:
                self.over[low].append(place)
                low += 1
            if high & 1:
                high -= 1
                self.over[high].append(place)
            low, high = low >> 1, high >> 1
        insort(self.starts, (buffer.first, place))

    def alive_with(self, buffer: Lifetime) -> list[tuple[int, int]]:
        """The places of all buffers that live while `buffer` does, by begin."""
        found: list[tuple[int, int]] = []
        node = buffer.first + self.positions
        while node:
            found += self.over.get(node, ())
            node >>= 1
        first, last = (bisect_left(self.starts, (t + 1,)) for t in (buffer.first, buffer.last))
        found += (place for _, place in self.starts[first:last])
        return sorted(found)


def _lowest_gap(taken: list[tuple[int, int]], room: int) -> int:
    begin = 0
    for start, end in taken:
        if start - begin >= room:
            break
        begin = max(begin, end)
    return begin
