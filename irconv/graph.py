"""The one data structure: a graph of nodes whose edges are values, with safe edits."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irconv import compare, listing, nx_bridge
from irconv.dim import Dim, symbol
from irconv.errors import GraphError, printable
from irconv.interop import dot
from irconv.op import UNKNOWN, Op, check_count
from irconv.provenance import Provenance
from irconv.types import Array, TensorType, Type, type_of

if TYPE_CHECKING:
    import networkx as nx

# characters of a name that a file may hold
NAME_LENGTH = 4096
# characters of it that names made from it begin with, so that they too may stand in a file
STEM_LENGTH = NAME_LENGTH - 128

_uids = itertools.count()


class Value:
    """An edge of the graph: an input, a parameter (it holds its array), or a result of a node.

    `name` is for people; identity is the object. Change names and uses only through the graph.
    """

    __slots__ = (
        "_digest",
        "_outputs",
        "_uses",
        "array",
        "index",
        "name",
        "producer",
        "trainable",
        "type",
        "uid",
    )

    def __init__(
        self,
        name: str,
        type: Type,
        *,
        producer: Node | None = None,
        index: int = 0,
        array: Array | None = None,
        trainable: bool = False,
        digest: str | None = None,
        uid: int | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.producer = producer
        self.index = index
        self.array = array
        self.trainable = trainable
        self.uid = next(_uids) if uid is None else uid
        self._digest = digest
        self._uses: dict[tuple[Node, int], None] = {}
        self._outputs = 0

    @property
    def uses(self) -> tuple[tuple[Node, int], ...]:
        """(node, operand index) of each use by a node, in the order in which they came."""
        return tuple(self._uses)

    @property
    def users(self) -> tuple[Node, ...]:
        """The nodes that use this value, each once."""
        return tuple(dict.fromkeys(node for node, _ in self._uses))

    @property
    def is_output(self) -> bool:
        return self._outputs > 0

    @property
    def is_used(self) -> bool:
        """Whether a node or the list of outputs uses this value."""
        return bool(self._uses) or self._outputs > 0

    @property
    def is_parameter(self) -> bool:
        return self.array is not None or self._digest is not None

    @property
    def only_user(self) -> Node | None:
        """The single node that uses this value once, if nothing else (no second use, no output)
        does.
        """
        if len(self._uses) != 1 or self._outputs:
            return None
        return next(iter(self._uses))[0]

    @property
    def digest(self) -> str:
        """A hash of the parameter's dtype, shape and bytes; stands for a big array in a listing."""
        if self._digest is None:
            self._digest = array_digest(self.array)
        return self._digest

    @property
    def tensor_type(self) -> TensorType:
        """The type, which must be a dense tensor."""
        if not isinstance(self.type, TensorType):
            raise GraphError(
                "a dense tensor is needed", where=f"%{printable(self.name)}", got=self.type
            )
        return self.type

    @property
    def shape(self) -> tuple[Dim, ...]:
        return self.tensor_type.shape

    def __repr__(self) -> str:
        return f"<%{printable(self.name)}: {self.type}>"


class Node:
    """One application of an op. It is named by its first result."""

    __slots__ = ("_next", "_previous", "graph", "op", "operands", "results", "uid")

    def __init__(self, graph: Graph, op: Op, operands: tuple[Value | None, ...], uid: int) -> None:
        self.graph: Graph | None = graph
        self.op = op
        self.operands = operands
        self.results: tuple[Value, ...] = ()
        self.uid = uid
        self._previous: Node | None = None
        self._next: Node | None = None

    @property
    def name(self) -> str:
        return self.results[0].name

    @property
    def result(self) -> Value:
        """The only result."""
        if len(self.results) != 1:
            raise GraphError("a node with one result is needed", got=f"{len(self.results)} results")
        return self.results[0]

    @property
    def is_erased(self) -> bool:
        return self.graph is None

    def operand(self, index: int) -> Value | None:
        """Operand `index`, None where it is absent."""
        return self.operands[index] if index < len(self.operands) else None

    def constant(self, index: int) -> Array | None:
        """The array of operand `index` if it is a parameter, else None."""
        value = self.operand(index)
        return value.array if value is not None else None

    def __repr__(self) -> str:
        return f"<{self.op.name} %{printable(self.name)}>"


class Graph:
    """A network: inputs, parameters, nodes in an order that computes, outputs.

    Iterating gives the nodes in order; nodes may be added and erased meanwhile. `==` compares
    structure, names, types, attributes and parameters.
    """

    __hash__ = None  # type: ignore[assignment]  # mutable, compared by content

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self.inputs: tuple[Value, ...] = ()
        self.parameters: dict[str, Value] = {}
        self.provenance = Provenance()
        self._outputs: tuple[Value, ...] = ()
        self._values: dict[str, Value] = {}
        self._suffixes: dict[str, int] = {}
        self._first: Node | None = None
        self._last: Node | None = None
        self._count = 0

    # -- reading ---------------------------------------------------------------------------------

    @property
    def outputs(self) -> tuple[Value, ...]:
        return self._outputs

    def __iter__(self) -> Iterator[Node]:
        node = self._first
        while node is not None:
            # an erased node keeps its link: a loop may erase the node that it stands on
            following = node._next
            if not node.is_erased:
                yield node
                following = node._next
            node = following

    def __len__(self) -> int:
        return self._count

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in order."""
        return tuple(self)

    @property
    def values(self) -> tuple[Value, ...]:
        """Inputs, parameters and results, in the order of the listing."""
        results = (v for node in self for v in node.results)
        return (*self.inputs, *self.parameters.values(), *results)

    def value(self, name: str) -> Value:
        """The value called `name`."""
        if name not in self._values:
            raise GraphError(
                "no such value", where=f"graph @{printable(self.name)}", got=printable(name)
            )
        return self._values[name]

    def node(self, name: str) -> Node:
        """The node that produces the value called `name`."""
        producer = self.value(name).producer
        if producer is None:
            raise GraphError("not the result of a node", where=f"%{printable(name)}")
        return producer

    def __str__(self) -> str:
        return listing.write(self)

    def __repr__(self) -> str:
        return f"<Graph @{printable(self.name)}: {len(self)} nodes>"

    def _repr_html_(self) -> str:
        return listing.write_html(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Graph) and compare.difference(self, other) is None

    def to_networkx(self) -> nx.MultiDiGraph[str]:
        """A MultiDiGraph of value and node names: see `irconv.nx_bridge`."""
        return nx_bridge.to_networkx(self)

    def to_dot(self, parameters: bool = False) -> str:
        """The graph in the language of Graphviz: see `irconv.interop.dot`."""
        return dot.to_dot(self, parameters)

    @classmethod
    def from_networkx(cls, network: nx.MultiDiGraph[str]) -> Graph:
        """The graph that `to_networkx` described."""
        return nx_bridge.from_networkx(network, cls())

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def symbols(self) -> tuple[str, ...]:
        """The names of all symbolic sizes of the inputs, sorted."""
        return tuple(sorted(frozenset().union(*(v.type.symbols() for v in self.inputs))))

    # -- building --------------------------------------------------------------------------------

    def fresh_name(self, name: str | None = None) -> str:
        """`name` if it is free, else `name.1`, `name.2`, ...; a number if none is given."""
        if name and name not in self._values:
            return name
        stem = f"{name}." if name else ""
        count = self._suffixes.get(stem, 1 if name else 0)
        while f"{stem}{count}" in self._values:
            count += 1
        self._suffixes[stem] = count + 1
        return f"{stem}{count}"

    def _register(self, value: Value) -> Value:
        if value.name in self._values:
            raise GraphError("the name is taken", where=f"%{printable(value.name)}")
        self._values[value.name] = value
        return value

    def add_input(self, name: str, type: Type) -> Value:
        value = self._register(Value(name, type))
        self.inputs = (*self.inputs, value)
        return value

    def add_parameter(
        self, name: str, array: Any, *, trainable: bool = True, uid: int | None = None
    ) -> Value:
        """A constant that holds its array (made read-only; not copied when it is an ndarray in the
        native byte order).
        """
        data = np.asarray(array)
        data = data.astype(data.dtype.newbyteorder("="), copy=False)
        view = data.view()
        view.flags.writeable = False
        value = Value(name, type_of(data), array=view, trainable=trainable, uid=uid)
        return self.adopt_parameter(value)

    def adopt_parameter(self, value: Value) -> Value:
        """Adds a parameter made elsewhere (a reader that has a digest but no array, a copy)."""
        self._register(value)
        self.parameters[value.name] = value
        return value

    def add_node(
        self,
        op: Op,
        operands: Sequence[Value | None] = (),
        names: Sequence[str | None] = (),
        *,
        before: Node | None = None,
        types: Sequence[Type] | None = None,
        uid: int | None = None,
    ) -> Node:
        """Appends a node, or inserts it `before` another; infers the types unless given."""
        operands = _trimmed(operands)
        if types is not None:
            check_count(op, [v is not None for v in operands])
        given = list(names) + [None] * (op.n_results - len(names))
        chosen = [self.fresh_name(n) for n in given] if all(given) else self._name_results(given)
        found = tuple(types) if types is not None else infer(op, operands, chosen)
        node = Node(self, op, operands, next(_uids) if uid is None else uid)
        node.results = tuple(
            self._register(Value(n, t, producer=node, index=i))
            for i, (n, t) in enumerate(zip(chosen, found, strict=True))
        )
        for index, value in enumerate(operands):
            if value is not None:
                value._uses[(node, index)] = None
        self._link(node, before)
        return node

    def _name_results(self, given: Sequence[str | None]) -> list[str]:
        chosen: list[str] = []
        for name in given:
            fresh = self.fresh_name(name)
            while fresh in chosen:
                fresh = self.fresh_name(f"{name or fresh}.1")
            chosen.append(fresh)
        return chosen

    def set_outputs(self, values: Iterable[Value]) -> None:
        """Replaces the list of outputs."""
        for value in self._outputs:
            value._outputs -= 1
        self._outputs = tuple(values)
        for value in self._outputs:
            value._outputs += 1

    # -- editing ---------------------------------------------------------------------------------

    def set_operand(self, node: Node, index: int, value: Value | None) -> None:
        """Makes `value` operand `index` of `node`. Types stay: see `infer_again`."""
        padded = [*node.operands, *([None] * (index + 1 - len(node.operands)))]
        old = padded[index]
        if old is not None:
            del old._uses[(node, index)]
        padded[index] = value
        if value is not None:
            value._uses[(node, index)] = None
        node.operands = _trimmed(padded)

    def set_op(self, node: Node, op: Op) -> None:
        """Changes the op of a node in place (same results)."""
        node.op = op

    def replace_uses(self, old: Value, new: Value) -> None:
        """Every use of `old`, by nodes and as output, becomes a use of `new`."""
        for node, index in old.uses:
            self.set_operand(node, index, new)
        if old.is_output:
            self.set_outputs(new if v is old else v for v in self._outputs)

    def rename(self, value: Value, name: str) -> None:
        """Gives `value` a name that is free."""
        if name == value.name:
            return
        if name in self._values:
            raise GraphError("the name is taken", where=f"%{printable(name)}")
        del self._values[value.name]
        if self.parameters.get(value.name) is value:
            self.parameters = {(name if v is value else k): v for k, v in self.parameters.items()}
        value.name = name
        self._values[name] = value

    def swap_names(self, a: Value, b: Value) -> None:
        """Exchanges the names of two results or parameters: a replacement keeps the name."""
        held = [v for v in (a, b) if self.parameters.get(v.name) is v]
        for value in held:
            del self.parameters[value.name]
        self._values[a.name], self._values[b.name] = b, a
        a.name, b.name = b.name, a.name
        for value in held:
            self.parameters[value.name] = value

    def erase(self, node: Node) -> None:
        """Removes a node whose results are not used."""
        for value in node.results:
            if value._uses or value._outputs:
                raise GraphError(
                    "a value that is used cannot be erased", where=f"%{printable(value.name)}"
                )
        for index, operand in enumerate(node.operands):
            if operand is not None:
                del operand._uses[(node, index)]
        for value in node.results:
            del self._values[value.name]
        self._unlink(node)

    def remove_parameter(self, value: Value) -> None:
        """Removes a parameter that is not used."""
        if value._uses or value._outputs:
            raise GraphError(
                "a parameter that is used cannot be removed", where=f"%{printable(value.name)}"
            )
        del self.parameters[value.name]
        del self._values[value.name]

    def infer_again(self) -> None:
        """Infers the types of all results anew, in order."""
        for node in self:
            types = infer(node.op, node.operands, [v.name for v in node.results])
            for value, found in zip(node.results, types, strict=True):
                layout = value.type.layout if isinstance(value.type, TensorType) else None
                value.type = (
                    found.with_layout(layout) if layout and isinstance(found, TensorType) else found
                )

    def move_before(self, node: Node, place: Node) -> None:
        """Moves `node` to stand right before `place`."""
        self._unlink(node)
        node.graph = self
        self._link(node, place)

    def _link(self, node: Node, before: Node | None) -> None:
        previous = self._last if before is None else before._previous
        node._previous, node._next = previous, before
        if previous is None:
            self._first = node
        else:
            previous._next = node
        if before is None:
            self._last = node
        else:
            before._previous = node
        self._count += 1

    def _unlink(self, node: Node) -> None:
        previous, following = node._previous, node._next
        if previous is None:
            self._first = following
        else:
            previous._next = following
        if following is None:
            self._last = previous
        else:
            following._previous = previous
        node.graph = None
        self._count -= 1

    def copy(self) -> Graph:
        """A graph of its own: same structure, names and uids; the arrays are shared."""
        return _copied(self)


def infer(op: Op, operands: Sequence[Value | None], names: Sequence[str]) -> tuple[Type, ...]:
    """Result types of `op` on `operands`; an unknown size becomes a symbol named so.

    Layouts are not inferred: they say how a tensor lies in memory, and are chosen by a pass.
    """
    check_count(op, [v is not None for v in operands])
    types = [_plain(v.type) if v is not None else None for v in operands]
    constants = [v.array if v is not None else None for v in operands]
    return tuple(_named(t, name) for t, name in zip(op.infer(types, constants), names, strict=True))


def _plain(found: Type) -> Type:
    return found.plain if isinstance(found, TensorType) else found


def _named(found: Type, name: str) -> Type:
    if not isinstance(found, TensorType) or UNKNOWN not in found.symbols():
        return found
    return found.with_shape(
        symbol(f"?{name}.{axis}") if d == symbol(UNKNOWN) else d
        for axis, d in enumerate(found.shape)
    )


def _trimmed(operands: Sequence[Value | None]) -> tuple[Value | None, ...]:
    """Without absent operands at the end: there is one way to say that they are absent."""
    count = len(operands)
    while count and operands[count - 1] is None:
        count -= 1
    return tuple(operands[:count])


def _copied(graph: Graph) -> Graph:
    copy = Graph(graph.name)
    copy.provenance = graph.provenance.copy()
    new: dict[Value, Value] = {}
    for value in graph.inputs:
        new[value] = copy._register(Value(value.name, value.type, uid=value.uid))
    copy.inputs = tuple(new[v] for v in graph.inputs)
    for value in graph.parameters.values():
        new[value] = copy.adopt_parameter(
            Value(
                value.name,
                value.type,
                array=value.array,
                trainable=value.trainable,
                digest=value._digest,
                uid=value.uid,
            )
        )
    for node in graph:
        operands = [new[v] if v is not None else None for v in node.operands]
        twin = copy.add_node(
            node.op,
            operands,
            [v.name for v in node.results],
            types=[v.type for v in node.results],
            uid=node.uid,
        )
        for old, value in zip(node.results, twin.results, strict=True):
            value.uid = old.uid
            new[old] = value
    copy.set_outputs(new[v] for v in graph.outputs)
    copy._suffixes = dict(graph._suffixes)
    return copy


def array_digest(array: Array | None) -> str:
    """24 hexadecimal digits of the SHA-256 of an array's dtype, shape and bytes."""
    data = np.ascontiguousarray(array)
    head = hashlib.sha256(f"{data.dtype.name}{data.shape}".encode())
    head.update(data.reshape(-1).view(np.uint8).data if data.size else b"")
    return head.hexdigest()[:24]
