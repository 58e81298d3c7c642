"""Modules that are called several times and share their parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from irconv.errors import GraphError, printable
from irconv.graph import Value
from irconv.types import TensorType

R = TypeVar("R")


@dataclass(eq=False)
class _Record:
    """The parameters of a module's first call, in order, and how far this call has come."""

    values: list[Value] = field(default_factory=list)
    place: int = 0
    complete: bool = False

    def next(self) -> Value:
        if self.place == len(self.values):
            raise GraphError("a module asks for more parameters than on its first call")
        return self.values[self.place]

    def take(self, value: Value) -> None:
        if not self.complete:
            self.values.append(value)
        elif self.next() is not value:
            raise GraphError(
                "a module asks for other parameters than on its first call",
                expected=f"%{printable(self.next().name)}",
                got=f"%{printable(value.name)}",
            )
        self.place += 1


class SharedParameters:
    """The modules being called, innermost last; one that was called before gives its parameters."""

    def __init__(self) -> None:
        self.active: list[_Record] = []

    @property
    def is_again(self) -> bool:
        """Whether a module that was called before is being called again."""
        return any(record.complete for record in self.active)

    def known(self, name: str, wanted: TensorType) -> Value | None:
        """The parameter to share, None where one is to be made; GraphError if it does not fit."""
        again = [record for record in self.active if record.complete]
        if not again:
            return None
        value = again[-1].next()
        if value.type != wanted:
            raise GraphError(
                "a shared parameter does not fit this call",
                where=f"%{printable(value.name)}",
                expected=value.type,
                got=wanted,
            )
        return value

    def use(self, value: Value) -> Value:
        """Notes in all active modules that `value` is their next parameter."""
        for record in self.active:
            record.take(value)
        return value


class Module(Generic[R]):
    """A function of layers that makes its parameters on its first call and shares them later."""

    def __init__(
        self,
        shared: SharedParameters,
        function: Callable[..., R],
        arguments: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        self._shared = shared
        self._function = function
        self._arguments = arguments
        self._options = options
        self._record = _Record()

    def __call__(self, *operands: Any, **options: Any) -> R:
        """Builds the function's nodes on these operands; GraphError where parameters do not fit."""
        record = self._record
        if record in self._shared.active:
            raise GraphError("a module calls itself")
        record.place = 0
        self._shared.active.append(record)
        try:
            result = self._function(*operands, *self._arguments, **self._options, **options)
        except BaseException:
            # what a failed first call made is gone: the next call is the first
            record.values = record.values if record.complete else []
            raise
        finally:
            self._shared.active.pop()
        record.complete = True
        return result

    @property
    def parameters(self) -> tuple[Value, ...]:
        """The shared parameters; none before the first call."""
        return tuple(self._record.values)
