"""Runs graphs that are alike, one after the other: what was computed before is not run again."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Any

import numpy as np

from irconv.errors import GraphError, IrconvError, printable
from irconv.graph import Graph, Node, Value
from irconv.inputs import check_inputs
from irconv.interpret import content
from irconv.listing import attributes_text
from irconv.types import Array

BUDGET = 1 << 30


class Evaluator:
    """Runs graphs by `Op.run` on the same inputs, in float64 or as they are.

    Two results are the same where the same op has the same operands; and where a value has the name
    and, bit for bit, the numbers of one of the graph that `keep` was called for, what follows is
    known too. At most `budget` bytes are remembered.
    """

    def __init__(
        self, inputs: Mapping[str, Array], *, float64: bool = True, budget: int = BUDGET
    ) -> None:
        self.inputs = dict(inputs)
        self._float64 = float64
        self._budget = budget
        self._keys: dict[Hashable, int] = {}
        self._arrays: dict[int, Any] = {}
        self._parameters: dict[int, tuple[Array, int]] = {}
        self._bytes = 0
        self._named: dict[str, int] = {}
        self._base: dict[str, int] = {}

    def run(self, graph: Graph, wanted: Collection[str] = ()) -> dict[str, Array]:
        """The outputs of `graph` by name, and the values called `wanted` that it has.

        Raises what `irconv.interpret` raises.
        """
        run = _Run(self, graph)
        named = {v.name: v for v in graph.outputs} | {
            n: graph.value(n) for n in wanted if n in graph
        }
        found = run.values(set(named.values()))
        self._named = {v.name: key for v, key in run.keys.items() if v.producer is not None}
        self._forget()
        return {name: found[value] for name, value in named.items()}

    def keep(self) -> None:
        """The graph that ran last is what the next ones are compared with."""
        self._base = self._named

    def key(self, what: Hashable) -> int:
        """The number of a computation."""
        return self._keys.setdefault(what, len(self._keys))

    def parameter_key(self, value: Value) -> int:
        """The number of a parameter: of its array, or of an equal one."""
        array = content(value)
        if id(array) not in self._parameters:
            # the array is held, so that no other one gets its id
            self._parameters[id(array)] = array, self.key(("parameter", value.digest))
        return self._parameters[id(array)][1]

    def remembered(self, key: int) -> Any:
        """What was computed under this number, or None."""
        return self._arrays.get(key)

    def remember(self, key: int, array: Any) -> None:
        """Keeps a result while there is room."""
        size = array.nbytes if isinstance(array, np.ndarray) else 0
        if key not in self._arrays and self._bytes + size <= self._budget:
            self._arrays[key] = array
            self._bytes += size

    def known(self, value: Value, array: Any, key: int) -> int:
        """`key`, or that of the namesake in the kept graph where the numbers are equal."""
        base = self._base.get(value.name)
        if base is None or base == key:
            return key
        before = self._arrays.get(base)
        if not isinstance(before, np.ndarray) or not isinstance(array, np.ndarray):
            return key
        alike = (before.shape, before.dtype) == (array.shape, array.dtype)
        return base if alike and _equal(before, array) else key

    def widened(self, array: Array) -> Array:
        """Float32 numbers as float64, where that is asked for."""
        wide = self._float64 and array.dtype == np.float32
        return array.astype(np.float64) if wide else array

    def _forget(self) -> None:
        """What neither the kept graph nor the last one holds."""
        used = {*self._base.values(), *self._named.values()}
        for key in self._arrays.keys() - used:
            array = self._arrays.pop(key)
            self._bytes -= array.nbytes if isinstance(array, np.ndarray) else 0


class _Run:
    """One run of one graph; `keys` are the numbers of its values."""

    def __init__(self, evaluator: Evaluator, graph: Graph) -> None:
        self.evaluator = evaluator
        self.graph = graph
        self.keys: dict[Value, int] = {}
        self.alive: dict[Value, Any] = {}

    def values(self, wanted: set[Value]) -> dict[Value, Array]:
        evaluator = self.evaluator
        arrays = check_inputs(self.graph.inputs, evaluator.inputs)
        for value, array in zip(self.graph.inputs, arrays, strict=True):
            self.keys[value] = evaluator.key(("input", value.name))
            self.alive[value] = evaluator.widened(array)
        left = {v: len(v.uses) for v in self.graph.values}
        for node in self.graph:
            self._node(node)
            for operand in filter(None, node.operands):
                left[operand] -= 1
                if not left[operand] and operand not in wanted:
                    self.alive.pop(operand, None)
        return {v: self.alive[v] if v in self.alive else self._parameter(v) for v in wanted}

    def _node(self, node: Node) -> None:
        evaluator = self.evaluator
        operands = tuple(None if v is None else self._key(v) for v in node.operands)
        what = (node.op.name, attributes_text(node.op), operands)
        keys = [evaluator.key((*what, i)) for i in range(len(node.results))]
        arrays = [evaluator.remembered(key) for key in keys]
        if any(a is None for a in arrays):
            arrays = list(self._computed(node))
        for value, array, key in zip(node.results, arrays, keys, strict=True):
            own = evaluator.known(value, array, key)
            evaluator.remember(own, array)
            self.keys[value] = own
            self.alive[value] = array

    def _key(self, value: Value) -> int:
        return self.keys[value] if value in self.keys else self.evaluator.parameter_key(value)

    def _parameter(self, value: Value) -> Array:
        return self.evaluator.widened(content(value))

    def _computed(self, node: Node) -> tuple[Any, ...]:
        arrays = [
            None if v is None else self.alive[v] if v in self.alive else self._parameter(v)
            for v in node.operands
        ]
        try:
            with np.errstate(all="ignore"):
                return node.op.run(arrays)
        except (IrconvError, MemoryError):
            raise
        except Exception as error:
            raise GraphError(
                f"{node.op.name} failed: {printable(error)}", where=f"%{printable(node.name)}"
            ) from error


def _equal(a: Array, b: Array) -> bool:
    """Bit for bit: a negative zero is another number, to a division."""
    first, second = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (a, b))
    return np.array_equal(first, second)
