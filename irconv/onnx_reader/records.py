"""Plain records of an ONNX model, its budgets, and the list of what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from irconv.errors import ModelError, printable
from irconv.types import AnyDType, Array, TensorType

ERROR_LIMIT = 20


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a model may hold at most; more is refused before anything is allocated.

    `folded_bytes` is the largest constant that `ConstantOfShape` may stand for. `name_length`
    counts characters. `file_bytes` is what protobuf itself can hold; weights beyond it lie in
    external data.
    """

    file_bytes: int = (1 << 31) - 1
    nodes: int = 250_000
    values: int = 1_000_000
    tensor_bytes: int = 8 << 30
    total_bytes: int = 16 << 30
    folded_bytes: int = 1 << 30
    rank: int = 64
    name_length: int = 4096


@dataclass(frozen=True, slots=True)
class Refused:
    """An attribute of a kind that irconv does not read (a subgraph, a type, a sparse tensor)."""

    kind: str


@dataclass(slots=True)
class NodeRecord:
    """One node: names of operands and results (empty: absent), attributes as Python values.

    `domain` is empty for the standard one, which may also be written ai.onnx.
    Attributes are int, float, str, a tuple of them, an array, or `Refused`.
    """

    index: int
    op_type: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        label = self.name or next((o for o in self.outputs if o), "")
        return f"node {self.index} ({printable(self.op_type)} {printable(label)!r})"


@dataclass(frozen=True, slots=True)
class ValueRecord:
    """A declared input or output; no shape: unknown rank; a size is an int, a name, or None."""

    name: str
    dtype: AnyDType | None
    shape: tuple[int | str | None, ...] | None


@dataclass(slots=True)
class ModelRecord:
    """A whole model without protobuf."""

    ir_version: int = 0
    opsets: dict[str, int] = field(default_factory=dict)
    name: str = ""
    nodes: list[NodeRecord] = field(default_factory=list)
    inputs: list[ValueRecord] = field(default_factory=list)
    outputs: list[ValueRecord] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and at which node."""

    what: str
    where: str | None = None
    expected: object = None
    got: object = None
    hint: str | None = None

    def __str__(self) -> str:
        return str(
            ModelError(
                self.what, where=self.where, expected=self.expected, got=self.got, hint=self.hint
            )
        )


class Problems:
    """Collects what is wrong with a model; at most twenty are told at once."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
    ) -> None:
        """Notes one problem; raises ModelError when there are enough."""
        place = None if where is None else str(where)
        self.found.append(Problem(what, place, expected, got, hint))
        if len(self.found) >= ERROR_LIMIT:
            self.stop()

    def stop(self) -> None:
        """Raises ModelError if anything was noted."""
        if not self.found:
            return
        first, more = self.found[0], len(self.found) - 1
        also = f"; {more} more error{'s' if more > 1 else ''} below" if more else ""
        raise ModelError(
            first.what,
            where=first.where,
            expected=first.expected,
            got=first.got,
            hint=(first.hint or "") + also if first.hint else also.removeprefix("; ") or None,
            listing="\n".join(f"  {p}" for p in self.found) if more else None,
        )


def tensor_type(value: ValueRecord, shape: tuple[Any, ...]) -> TensorType:
    """The type of a declared value with its sizes made dimensions."""
    return TensorType(value.dtype, shape)
