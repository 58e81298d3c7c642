"""Nodes that run by `Op.run`, and what the values of one running call lie in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from irconv.dim import Dim, substitute, symbol, symbols_of
from irconv.errors import BackendError, GraphError, InputError, IrconvError, printable
from irconv.inputs import list_text
from irconv.op import Op
from irconv.types import AnyDType, Array


@dataclass(frozen=True)
class Place:
    """Where a value's bytes are: in the arena, or input, output, constant or host array number
    `index`. Host arrays are those whose sizes only the run tells.
    """

    kind: str  # "arena", "input", "output", "constant", "host"
    index: int = 0  # the offset, for the arena

    def __str__(self) -> str:
        return f"{self.kind}[{self.index}]"


@dataclass(frozen=True)
class Slot:
    """A dense value outside the kernels: where its bytes are, its element type, its shape.

    A host array has `sizes` in place of a shape: what is known of them before the run.
    """

    place: Place
    dtype: AnyDType
    shape: tuple[int, ...]
    sizes: tuple[Dim, ...] = ()


@dataclass(frozen=True)
class Call:
    """A node that runs by `Op.run`; an operand that is a Call makes a matrix first.

    `last`: numbers of the host arrays that no later node reads.
    """

    node: str
    op: Op
    operands: tuple[Slot | Call | None, ...]
    results: tuple[Slot, ...] = ()
    last: tuple[int, ...] = ()


@dataclass(frozen=True)
class Buffers:
    """What the values of one running call lie in."""

    arena: Array
    inputs: Sequence[Array]
    outputs: Sequence[Array]
    constants: Sequence[Array]
    host: dict[int, Array] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)  # of the symbols met so far

    def view(self, slot: Slot) -> Array:
        """The array of a value, on its bytes."""
        place = slot.place
        if place.kind == "arena":
            nbytes = prod(slot.shape) * slot.dtype.itemsize
            flat = self.arena[place.index : place.index + nbytes]
            return flat.view(slot.dtype).reshape(slot.shape)
        if place.kind == "host":
            return self.host[place.index].view()
        groups = {"input": self.inputs, "output": self.outputs, "constant": self.constants}
        return groups[place.kind][place.index].reshape(slot.shape)

    def run(self, call: Call) -> None:
        """Runs one node in NumPy."""
        for slot, array in zip(call.results, self._results(call), strict=True):
            if not self._fits(slot, array):
                raise BackendError(
                    f"{call.op.name} gave another shape than was inferred",
                    where=f"%{printable(call.node)}",
                    expected=list_text(slot.sizes or slot.shape),
                    got=list(array.shape),
                )
            if slot.place.kind == "host":
                # its bytes may be another value's, whose room is used again
                owned = array.base is None and array.dtype == slot.dtype
                self.host[slot.place.index] = array if owned else np.array(array, slot.dtype)
            else:
                self.view(slot)[...] = array
        for index in call.last:
            del self.host[index]

    def _fits(self, slot: Slot, array: Array) -> bool:
        if slot.place.kind != "host":
            return slot.shape == array.shape
        if len(slot.sizes) != array.ndim:
            return False
        for dim, size in zip(slot.sizes, array.shape, strict=True):
            for name in symbols_of(dim):
                if dim == symbol(name):
                    self.sizes.setdefault(name, size)
        expected = [_known(dim, self.sizes) for dim in slot.sizes]
        pairs = zip(expected, array.shape, strict=True)
        return all(dim == size for dim, size in pairs if isinstance(dim, int))

    def _results(self, call: Call) -> tuple[Any, ...]:
        operands = [self._operand(given) for given in call.operands]
        where = f"%{printable(call.node)}"
        try:
            with np.errstate(all="ignore"):
                return call.op.run(operands)
        except GraphError as error:  # its types fit, so what it was given does not
            raise InputError(
                error.what, where=where, expected=error.expected, got=error.got
            ) from error
        except (IrconvError, MemoryError):
            raise
        except Exception as error:
            raise BackendError(f"{call.op.name} failed: {printable(error)}", where=where) from error

    def _operand(self, given: Slot | Call | None) -> Any:
        if given is None:
            return None
        if isinstance(given, Call):
            return self._results(given)[0]
        array = self.view(given)
        array.flags.writeable = False  # of this view: an op must not write what it reads
        return array


def _known(dim: Dim, sizes: Mapping[str, int]) -> Dim:
    """A size with the symbols replaced whose sizes are known by now."""
    try:
        return substitute(dim, sizes)
    except (GraphError, ZeroDivisionError):
        return dim
