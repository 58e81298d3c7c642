"""What an op is: one frozen dataclass whose fields are its attributes, with its shape rule and its
meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any, ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.types import Array, MatrixType, TensorType, Type

# infer() writes this symbol for such a size; Graph.add_node replaces it by `?<value>.<axis>`
UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one execution of a node takes: multiply-adds, and bytes read and written."""

    macs: Dim = 0
    bytes: Dim = 0


@dataclass(frozen=True)
class Op:
    """An operation. Subclasses are frozen dataclasses; the class docstring's first sentence is its
    summary.

    `operands` names the operands: `"x, w, b?"`; `?` marks an optional one (absent: None), a final
    `xs*` takes any number, `xs+` at least one. Attributes must be immutable: int, float, bool, str,
    None, tuples of them, or another Op.
    """

    operands: ClassVar[str] = "x"
    # a random op is never folded nor merged with its twin
    random: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """The name in listings."""
        return type(self).__name__

    @property
    def n_results(self) -> int:
        """The number of results."""
        return 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        """The types of the results; the only shape rule.

        `constants[i]` is operand i's array where it is known at compile time, else None.
        Raises GraphError where the operands do not fit.
        """
        raise NotImplementedError(f"{self.name}.infer")

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        """The meaning of this op, in NumPy, for any dtype that fits (float64 for references)."""
        raise NotImplementedError(f"{self.name}.run")

    def cost(self, types: Sequence[Type | None], results: Sequence[Type]) -> Cost:
        """Multiply-adds and bytes; an op that multiplies overrides `macs`."""
        return Cost(self.macs(types, results), bytes_moved(types) + bytes_moved(results))

    def macs(self, types: Sequence[Type | None], results: Sequence[Type]) -> Dim:
        """Multiply-adds of one execution."""
        return 0

    def attributes(self) -> dict[str, Any]:
        """The attributes that differ from their defaults, in the order of declaration."""
        found = {f.name: _stated(getattr(self, f.name), f.type) for f in fields(self)}
        return {
            f.name: found[f.name]
            for f in fields(self)
            if f.default is MISSING or not _same(found[f.name], f.default)
        }


def _stated(value: Any, kind: Any) -> Any:
    """`LeakyRelu(1)` states the float 1.0."""
    return float(value) if kind in ("float", float) and type(value) is int else value


def _same(a: object, b: object) -> bool:
    return type(a) is type(b) and a == b


def bytes_moved(types: Sequence[Type | None]) -> Dim:
    """The bytes of all dense tensors in `types`; a matrix is not moved, its operands are."""
    total: Dim = 0
    for t in types:
        if isinstance(t, TensorType):
            total = total + t.nbytes
    return total


def tensor(types: Sequence[Type | None], index: int) -> TensorType:
    """Operand `index`, which must be a dense tensor."""
    found = types[index]
    if not isinstance(found, TensorType):
        raise GraphError(
            f"operand {index} is of the wrong kind", expected="a dense tensor", got=found
        )
    return found


def matrix(types: Sequence[Type | None], index: int) -> MatrixType:
    """Operand `index`, which must be a shared-weight matrix."""
    found = types[index]
    if not isinstance(found, MatrixType):
        raise GraphError(f"operand {index} is of the wrong kind", expected="a matrix", got=found)
    return found


def present(arrays: Sequence[Any | None], index: int) -> Any:
    """Operand `index` at run time; the graph has checked that it is there."""
    found = arrays[index] if index < len(arrays) else None
    if found is None:
        raise GraphError(f"operand {index} is missing")
    return found


def optional(arrays: Sequence[Any | None], index: int) -> Any | None:
    """Operand `index`, or None where it is absent."""
    return arrays[index] if index < len(arrays) else None


def operand_names(op: Op) -> tuple[str, ...]:
    """The operand names as declared, with their marks: `("x", "w", "b?")`."""
    return _names(op.operands)


@cache
def _names(operands: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in operands.split(",") if name.strip())


def check_count(op: Op, present_flags: Sequence[bool]) -> None:
    """Raises GraphError unless operands that are present (True) or absent (False) fit the
    signature.
    """
    names = operand_names(op)
    variadic = bool(names) and names[-1][-1] in "*+"
    fixed = names[:-1] if variadic else names
    required = sum(not n.endswith("?") for n in fixed) + (variadic and names[-1].endswith("+"))
    count = len(present_flags)
    if count < required or (not variadic and count > len(fixed)):
        raise GraphError(
            f"{op.name} has the wrong number of operands", expected=f"({op.operands})", got=count
        )
    for index, name in enumerate(fixed[:count]):
        if not name.endswith("?") and not present_flags[index]:
            raise GraphError(f"{op.name}: operand {index} ({name}) is required", got="_")
    if variadic and not all(present_flags[len(fixed) :]):
        raise GraphError(f"{op.name}: an operand of {names[-1]} is absent")


def static_shape(t: TensorType, what: str) -> tuple[int, ...]:
    """The shape of `t` as integers; raises GraphError naming `what` where a size is symbolic."""
    if not t.is_static:
        raise GraphError(f"{what} needs known sizes", got=t)
    return tuple(int(d) for d in t.shape if isinstance(d, int))


def same_dtype(op: Op, types: Sequence[Type | None]) -> np.dtype[Any]:
    """The one element type of all present operands; raises GraphError where they differ."""
    dtypes = [t.dtype for t in types if t is not None]
    if any(d != dtypes[0] for d in dtypes):
        raise GraphError(
            f"{op.name} mixes element types",
            expected="one",
            got=", ".join(map(str, dict.fromkeys(dtypes))),
        )
    return dtypes[0]
