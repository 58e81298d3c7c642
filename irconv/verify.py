"""The whole-graph check: order, names, uses, and every type inferred again and compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from irconv.dim import Dim, symbol, symbols_of
from irconv.errors import BudgetError, GraphError, VerifyError, printable
from irconv.graph import Graph, Node, Value, infer
from irconv.late import Late
from irconv.listing import header, node_line, parameter_line, ref
from irconv.op import check_count
from irconv.types import TensorType, Type, type_of

if TYPE_CHECKING:
    import networkx as nx
else:
    nx = Late("networkx")


def verify(graph: Graph) -> None:
    """Raises VerifyError, with the guilty line marked, unless `graph` is valid."""
    if not isinstance(graph, Graph):
        raise GraphError(
            "not a graph", expected="a Graph", got=printable(graph), hint="irconv.load reads a file"
        )
    defined: set[Value] = set(graph.inputs)
    names: set[str] = set()
    born: set[Dim] = set()
    for value in graph.inputs:
        _check_name(graph, value, names)
        if any(isinstance(d, int) and d < 0 for d in value.shape):
            raise _error(graph, value, f"a size of {ref(value)} is negative", got=value.type)
        born.update(d for d in value.shape if not isinstance(d, int))
    for value in graph.parameters.values():
        _check_name(graph, value, names)
        if value.array is not None and type_of(value.array) != value.type:
            raise _error(graph, value, "the array is not of its type", value.type)
        defined.add(value)
    for node in graph:
        _check_node(graph, node, defined, born)
        for value in node.results:
            _check_name(graph, value, names)
            defined.add(value)
    for value in graph.outputs:
        if value not in defined:
            raise _error(graph, None, f"output {ref(value)} is not produced by this graph")
    _check_borders(graph)
    _check_books(graph)


def _check_borders(graph: Graph) -> None:
    """What comes from outside and goes there lies row by row."""
    for value in (*graph.inputs, *graph.outputs):
        if isinstance(value.type, TensorType) and value.type.layout is not None:
            what = f"{ref(value)} must lie row by row"
            raise _error(graph, value.producer or value, what, got=value.type)


def _check_books(graph: Graph) -> None:
    """That no use is recorded which is not there; those that are there were found recorded."""
    recorded = taken = 0
    for value in (*graph.inputs, *graph.parameters.values()):
        recorded += len(value.uses)
        if value.producer is not None:
            raise _error(graph, value, f"{ref(value)} is not the result of a node")
    for node in graph:
        taken += sum(v is not None for v in node.operands)
        for index, value in enumerate(node.results):
            recorded += len(value.uses)
            if value.producer is not node or value.index != index:
                raise _error(graph, node, f"{ref(value)} is not the result of this node")
    if recorded != taken:
        raise _error(graph, None, "a use is recorded that is not there", taken, recorded)


def _check_name(graph: Graph, value: Value, names: set[str]) -> None:
    if value.name in names or graph.value(value.name) is not value:
        raise _error(graph, value.producer or value, f"{ref(value)} is defined twice")
    names.add(value.name)


def _check_node(graph: Graph, node: Node, defined: set[Value], born: set[Dim]) -> None:
    for index, value in enumerate(node.operands):
        if value is None:
            continue
        if value not in defined:
            raise _error(graph, node, _undefined(graph, node, value))
        if (node, index) not in value._uses:
            raise _error(graph, node, f"the use of {ref(value)} is not recorded")
    try:
        check_count(node.op, [v is not None for v in node.operands])
        types = infer(node.op, node.operands, [v.name for v in node.results])
    except (GraphError, BudgetError) as error:
        raise _error(graph, node, str(error)) from error
    if len(types) != len(node.results):
        raise _error(graph, node, "the number of results differs", len(types))
    for value, found in zip(node.results, types, strict=True):
        if not fits(found, value.type, f"?{value.name}."):
            raise _error(graph, node, f"the type of {ref(value)} is wrong", found, value.type)
        if isinstance(value.type, TensorType) and not value.type.is_static:
            _check_births(graph, node, value, found, born)


def _check_births(graph: Graph, node: Node, value: Value, found: Type, born: set[Dim]) -> None:
    """A size that only the run tells is no other's: rewrites take equal symbols for equal sizes."""
    assert isinstance(found, TensorType)
    taken = {d for v in node.operands if v and isinstance(v.type, TensorType) for d in v.shape}
    for axis, (inferred, declared) in enumerate(zip(found.shape, value.shape, strict=True)):
        if inferred != symbol(f"?{value.name}.{axis}") or inferred in taken:
            continue
        if declared in born:
            what = "a size that only the run tells has the name of another"
            raise _error(graph, node, what, got=declared)
        born.add(declared)


def fits(inferred: Type, declared: Type, fresh: str) -> bool:
    """Whether a declared type is the inferred one; an unknown size may keep the symbol it got at
    birth.
    """
    if inferred == declared:
        return True
    if not isinstance(inferred, TensorType) or not isinstance(declared, TensorType):
        return False
    # a layout is no part of what is inferred: it says how the tensor lies in memory
    if inferred.dtype != declared.dtype or inferred.rank != declared.rank:
        return False
    for a, b in zip(inferred.shape, declared.shape, strict=True):
        unknown = any(s.startswith(fresh) for s in symbols_of(a))
        if a != b and not (unknown and any(s.startswith("?") for s in symbols_of(b))):
            return False
    return True


def _undefined(graph: Graph, node: Node, value: Value) -> str:
    cycle = _cycle(graph)
    if cycle:
        return "the graph has a cycle: " + " -> ".join(f"%{printable(name)}" for name in cycle)
    return f"{ref(value)} is not defined before its use by {ref(node.results[0])}"


def _cycle(graph: Graph) -> list[str]:
    try:
        edges = nx.find_cycle(graph.to_networkx())
    except nx.NetworkXNoCycle:
        return []
    return [*(edge[0] for edge in edges), edges[0][0]]


def _error(
    graph: Graph,
    guilty: Node | Value | None,
    what: str,
    expected: object = None,
    got: object = None,
) -> VerifyError:
    return VerifyError(
        what,
        where=f"graph @{printable(graph.name)}",
        expected=expected,
        got=got,
        listing="\n".join(_marked(graph, guilty)),
    )


def _marked(graph: Graph, guilty: Node | Value | None, around: int = 3) -> Iterator[str]:
    """The lines around that of the guilty node or parameter (or the header), with a mark."""
    things: list[Node | Value | None] = [None, *graph.parameters.values(), *graph]
    place = things.index(guilty) if guilty in things else 0
    if place > around:
        yield "  ..."
    for i in range(max(0, place - around), min(len(things), place + around + 1)):
        line = _line(graph, things[i])
        yield line
        if i == place:
            yield "  " + "^" * min(60, len(line.strip()))


def _line(graph: Graph, thing: Node | Value | None) -> str:
    if thing is None:
        return header(graph)
    return f"  {node_line(thing) if isinstance(thing, Node) else parameter_line(thing)}"
