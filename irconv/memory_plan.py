"""Where intermediate values lie in one arena: offsets from lifetimes, never sharing bytes while
alive.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

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
    """The table value -> offset in an arena of `size` bytes."""

    offsets: Mapping[Value, int]
    size: int


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


def _read(node: Node) -> Iterator[Value]:
    """The values that running `node` reads; those of a matrix are what its product reads."""
    for value in node.operands:
        if value is not None:
            yield value
            if isinstance(value.type, MatrixType) and value.producer is not None:
                yield from _read(value.producer)


def plan_memory(buffers: Iterable[Lifetime], alignment: int = ALIGNMENT) -> MemoryPlan:
    """Greedy by size: the largest buffer first, each at the lowest offset that is free while it
    lives.

    (Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020, section 5.)
    """
    placed: list[tuple[int, int, Lifetime]] = []  # (begin, end, buffer), by begin
    offsets: dict[Value, int] = {}
    size = 0
    for buffer in sorted(buffers, key=lambda b: (-b.nbytes, b.first)):
        room = -(-buffer.nbytes // alignment) * alignment
        begin = _lowest_gap(placed, buffer, room)
        offsets[buffer.value] = begin
        placed.append((begin, begin + room, buffer))
        placed.sort(key=lambda entry: entry[0])
        size = max(size, begin + room)
    return MemoryPlan(offsets, size)


def _lowest_gap(placed: list[tuple[int, int, Lifetime]], buffer: Lifetime, room: int) -> int:
    begin = 0
    for start, end, other in placed:
        if other.last < buffer.first or buffer.last < other.first:
            continue
        if start - begin >= room:
            break
        begin = max(begin, end)
    return begin
