"""Shape rules that many ops share: broadcasting, axes, sizes that agree, the budget of a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeAlias

from irconv.dim import Atom, Dim, symbol
from irconv.errors import BudgetError, GraphError
from irconv.op import UNKNOWN, Op
from irconv.types import Array, TensorType

# no single result may be larger: bombs are refused where their shape is inferred
BYTES_LIMIT = 1 << 40

Sizes: TypeAlias = "tuple[Dim, ...]"


def unknown() -> Dim:
    """A size that is not known until run time; the graph names it after its value."""
    return symbol(UNKNOWN)


def differ(a: Dim, b: Dim) -> bool:
    """Whether two sizes are different whatever their symbols stand for."""
    gap = a - b
    return isinstance(gap, int) and gap != 0


def lower_bound(dim: Dim) -> int | None:
    """A number that `dim` is never below, or None where none is known; symbols are not negative."""
    if isinstance(dim, int):
        return dim
    constant = 0
    for monomial, coefficient in dim.terms:
        if not monomial:
            constant = coefficient
        elif coefficient < 0 or not all(_not_negative(atom) for atom, _ in monomial):
            return None
    return constant


def _not_negative(atom: Atom) -> bool:
    if isinstance(atom, str):
        return True
    least = lower_bound(atom.numerator)
    return least is not None and least >= 0 and lower_bound(atom.denominator) is not None


def same_size(a: Dim, b: Dim, what: str) -> Dim:
    """The size that `a` and `b` both are; the known one of the two.

    Raises GraphError where they differ. What cannot be decided is left to the run.
    """
    if differ(a, b):
        raise GraphError(what, expected=a, got=b)
    return a if isinstance(a, int) else b if isinstance(b, int) else a


def broadcast(shapes: Iterable[Sequence[Dim]]) -> Sizes:
    """The shape to which all broadcast, as in NumPy; raises GraphError where there is none."""
    found = [tuple(s) for s in shapes]
    columns = zip_longest(*(reversed(s) for s in found), fillvalue=1)
    return tuple(_stretched(column, found) for column in columns)[::-1]


def _stretched(sizes: Iterable[Dim], shapes: Sequence[Sizes]) -> Dim:
    candidates = [s for s in dict.fromkeys(sizes) if s != 1]
    if not candidates:
        return 1
    known = [s for s in candidates if isinstance(s, int)]
    if len(known) > 1:
        text = " and ".join(shape_text(s) for s in shapes)
        raise GraphError("the shapes do not broadcast", got=text)
    if known:
        return known[0]
    # two symbols: either may be 1
    return candidates[0] if len(candidates) == 1 else unknown()


def matmul_shape(a: Sequence[Dim], b: Sequence[Dim]) -> Sizes:
    """The shape of a @ b, as in numpy.matmul; both have rank 1 or more.

    Raises GraphError where the inner sizes differ.
    """
    same_size(a[-1], b[max(-2, -len(b))], "the inner sizes of a matrix product differ")
    batch = broadcast([a[:-2], b[:-2]])
    return (*batch, *a[:-1][-1:], *(b[-1:] if len(b) > 1 else ()))


def broadcast_into(shape: Sequence[Dim], target: Sequence[Dim], what: str) -> None:
    """Raises GraphError unless `shape` broadcasts to `target` without changing it."""
    pairs = zip(reversed(shape), reversed(target), strict=False)
    if len(shape) > len(target) or any(s != 1 and differ(s, t) for s, t in pairs):
        raise GraphError(
            f"{what} does not broadcast", expected=shape_text(target), got=shape_text(shape)
        )


def shape_text(shape: Iterable[Dim]) -> str:
    """`[N, 3]`."""
    return f"[{', '.join(map(str, shape))}]"


def axis_of(op: Op, axis: int, rank: int) -> int:
    """`axis` counted from the front; raises GraphError outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise GraphError(
            f"{op.name}: the axis is out of range", expected=f"-{rank} to {rank - 1}", got=axis
        )
    return axis % rank


def axes_of(op: Op, axes: Iterable[int], rank: int) -> tuple[int, ...]:
    """Axes counted from the front; raises GraphError where one is out of range or given twice."""
    found = tuple(axis_of(op, int(axis), rank) for axis in axes)
    if len(set(found)) != len(found):
        raise GraphError(f"{op.name}: an axis is given twice", got=list(found))
    return found


def rank_at_least(op: Op, t: TensorType, rank: int) -> None:
    """Raises GraphError unless `t` has at least `rank` axes."""
    if t.rank < rank:
        raise GraphError(f"{op.name} needs an operand of rank {rank} or more", got=t)


def vector_length(op: Op, t: TensorType, name: str) -> Dim:
    """The length of a one-dimensional operand; raises GraphError for another rank."""
    if t.rank != 1:
        raise GraphError(f"{op.name}: {name} has one axis", got=t)
    return t.shape[0]


def ints_of(array: Array) -> tuple[int, ...]:
    """The elements of an integer array, in order."""
    return tuple(map(int, array.reshape(-1).tolist()))


def positive(dim: Dim) -> Dim:
    """`dim`, or an unknown size where its symbols could make it negative."""
    least = lower_bound(dim)
    return dim if least is not None and least >= 0 else unknown()


def known_length(op: Op, t: TensorType, name: str) -> int:
    """The length of a one-dimensional operand; raises GraphError where it is not known."""
    length = vector_length(op, t, name)
    if not isinstance(length, int):
        raise GraphError(f"{op.name}: the length of {name} must be known", got=t)
    return length


def one_of(what: str, value: str, choices: Sequence[str]) -> None:
    """Raises GraphError unless the attribute `what` is one of `choices`."""
    if value not in choices:
        raise GraphError(f"{what} has no such value", expected=" or ".join(choices), got=value)


def within_budget(op: Op, t: TensorType) -> TensorType:
    """`t` itself; raises BudgetError where it is larger than any result may be."""
    size = t.nbytes
    if isinstance(size, int) and size > BYTES_LIMIT:
        raise BudgetError(
            f"the result of {op.name} is too large",
            expected=f"at most {BYTES_LIMIT} bytes",
            got=f"{t}, {size} bytes",
        )
    return t
