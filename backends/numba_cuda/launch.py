"""One launch of a kernel, before it has addresses: its operands, its integers, its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from irconv.backends.numba_cuda import slots
from irconv.dim import known
from irconv.graph import Node, Value
from irconv.op import static_shape
from irconv.types import AnyDType, TensorType

COMPUTED = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Argument:
    """An array that a kernel gets, flat, seen as `dtype`.

    Without a value it is one unused element, or with `fault` the place where a kernel reports a
    wrong index.
    """

    value: Value | None
    dtype: AnyDType
    fault: bool = False


@dataclass(frozen=True)
class Launch:
    """`kernel(*arguments, g, p)`: the result first, then what is read. `g[0]` counts threads' work.

    `numbers` becomes g (int64), `parameters` becomes p in `dtype`.
    """

    kernel: Any
    arguments: tuple[Argument, ...]
    numbers: tuple[int, ...]
    parameters: tuple[float, ...]
    dtype: AnyDType

    @property
    def count(self) -> int:
        """The number of result elements (or vectors) that the threads share."""
        return self.numbers[slots.COUNT]

    @property
    def name(self) -> str:
        """The kernel's name."""
        return str(self.kernel.__name__)


# what a binder gives: the launches that compute a node, or why it has no kernel for it
Bound: TypeAlias = "Sequence[Launch] | str"
# integers, or consecutive integers, by first slot
Numbers: TypeAlias = "dict[int, int | Sequence[int]]"
Binder: TypeAlias = Callable[[Node], Bound]


def float_launch(
    kernel: Any,
    values: Sequence[Value | None],
    numbers: Sequence[int],
    parameters: Mapping[int, float] | None = None,
) -> Launch:
    """A launch whose present arguments all have the element type of the first."""
    assert values[0] is not None
    dtype = values[0].tensor_type.dtype
    arguments = tuple(Argument(v, v.tensor_type.dtype if v else dtype) for v in values)
    return Launch(kernel, arguments, ints(numbers), parameter_row(parameters or {}), dtype)


def ints(numbers: Sequence[int]) -> tuple[int, ...]:
    """`numbers` as plain integers."""
    return tuple(int(n) for n in numbers)


def parameter_row(given: Mapping[int, float]) -> tuple[float, ...]:
    """The row p, from numbers by slot."""
    return tuple(float(given.get(slot, 0.0)) for slot in range(slots.PARAMETERS))


def number_row(given: Numbers, length: int) -> list[int]:
    """The row g, from numbers, or consecutive numbers, by first slot."""
    row = [0] * length
    for slot, value in given.items():
        values = [value] if isinstance(value, int) else list(value)
        row[slot : slot + len(values)] = values
    return row


def sizes(value: Value) -> tuple[int, ...]:
    """The shape of a value whose sizes are all known."""
    return static_shape(value.tensor_type, "a kernel's operand")


def count_of(value: Value) -> int:
    """The number of elements of a value whose sizes are all known."""
    return known(value.tensor_type.size)


def required(node: Node, index: int) -> Value:
    """Operand `index`, which the op requires."""
    value = node.operand(index)
    assert value is not None
    return value


def not_computed(node: Node, values: Sequence[Value | None] | None = None) -> str | None:
    """Why no kernel computes on the element types of this node (or of these values), or None."""
    chosen = (*node.operands, *node.results) if values is None else values
    found = {v.type.dtype for v in chosen if v is not None and isinstance(v.type, TensorType)}
    if len(found) == 1 and found <= set(COMPUTED):
        return None
    return "kernels compute in f32 or f64, one element type a node"
