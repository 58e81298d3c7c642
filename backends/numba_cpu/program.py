"""A compiled graph: a table of steps, the arena they share, and the constants they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.driver import run_steps
from irconv.backends.numba_cpu.packing import aligned
from irconv.errors import BackendError, GraphError, InputError, IrconvError, printable
from irconv.op import Op
from irconv.report import Report
from irconv.types import AnyDType, Array

STATUS_BYTES = 64  # at the front of the arena: the word that a kernel sets on a wrong operand


@dataclass(frozen=True)
class Place:
    """Where a value's bytes are: in the arena, or input, output or constant number `index`."""

    kind: str  # "arena", "input", "output", "constant"
    index: int = 0  # the offset, for the arena

    def __str__(self) -> str:
        return f"{self.kind}[{self.index}]"


@dataclass(frozen=True)
class Patch:
    """An address in the table that is only known later: row entry `word` = base + `offset`."""

    word: int
    place: Place
    offset: int = 0


@dataclass(frozen=True)
class Slot:
    """A dense value outside the kernels: where its bytes are, its element type, its shape."""

    place: Place
    dtype: AnyDType
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Call:
    """A node that runs by `Op.run`; an operand that is a Call makes a matrix first."""

    node: str
    op: Op
    operands: tuple[Slot | Call | None, ...]
    results: tuple[Slot, ...] = ()


@dataclass(frozen=True)
class Segment:
    """Steps that run without Python in between, or one node that runs by `Op.run`."""

    starts: Array
    call: Call | None = None


@dataclass
class Frame:
    """What one running call needs of its own: an arena, and the table with its addresses."""

    arena: Array
    table: Array


@dataclass
class CpuProgram:
    """A compiled graph. Calls may run at once: each has a frame of its own.

    It holds nothing of the graph: constants are kept as the kernels read them. `copies` are the
    outputs whose bytes another value owns: an input, a parameter, an earlier output.
    """

    outputs: tuple[Slot, ...]
    copies: tuple[tuple[int, Slot], ...]
    constants: list[Array]
    table: Array
    segments: list[Segment]
    patches: list[Patch]
    arena_bytes: int
    threads: int
    report: Report
    source: str
    _frames: list[Frame] = field(default_factory=list)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        results = [np.empty(slot.shape, slot.dtype) for slot in self.outputs]
        try:
            frame = self._frames.pop()
        except IndexError:  # all frames are in use, or none was made yet
            frame = self.new_frame(aligned(self.arena_bytes, np.dtype(np.uint8)))
        try:
            self.run(frame, arrays, results)
        finally:
            self._frames.append(frame)
        return results

    def new_frame(self, arena: Array) -> Frame:
        """A frame over this arena; addresses of the arena and of constants are filled in."""
        table = self.table.copy()
        base = arena.ctypes.data
        for patch in self.patches:
            if patch.place.kind == "arena":
                table[patch.word] = base + patch.place.index + patch.offset
            elif patch.place.kind == "constant":
                address = self.constants[patch.place.index].ctypes.data
                table[patch.word] = address + patch.offset
        return Frame(arena, table)

    def run(self, frame: Frame, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        """One call in this frame, into arrays of the outputs' types."""
        frame.arena[:STATUS_BYTES] = 0
        self._patch(frame, arrays, results)
        buffers = _Buffers(frame.arena, arrays, results, self.constants)
        for segment in self.segments:
            if segment.call is not None:
                buffers.run(segment.call)
                continue
            run_steps(frame.table, segment.starts, self.threads)
            if frame.arena[0]:
                raise InputError("an index is out of range", hint="see Gather in the model")
        for index, slot in self.copies:
            results[index][...] = buffers.view(slot)

    def _patch(self, frame: Frame, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        bases = {"input": arrays, "output": results}
        for patch in self.patches:
            if patch.place.kind in bases:
                base = bases[patch.place.kind][patch.place.index]
                frame.table[patch.word] = base.ctypes.data + patch.offset


@dataclass(frozen=True)
class _Buffers:
    """What the values of one running call lie in."""

    arena: Array
    inputs: Sequence[Array]
    outputs: Sequence[Array]
    constants: Sequence[Array]

    def view(self, slot: Slot) -> Array:
        """The array of a value, on its bytes."""
        place = slot.place
        if place.kind == "arena":
            nbytes = prod(slot.shape) * slot.dtype.itemsize
            flat = self.arena[place.index : place.index + nbytes]
            return flat.view(slot.dtype).reshape(slot.shape)
        groups = {"input": self.inputs, "output": self.outputs, "constant": self.constants}
        return groups[place.kind][place.index].reshape(slot.shape)

    def run(self, call: Call) -> None:
        """Runs one node in NumPy."""
        for slot, array in zip(call.results, self._results(call), strict=True):
            if slot.shape != array.shape:
                raise BackendError(
                    f"{call.op.name} gave another shape than was inferred",
                    where=f"%{printable(call.node)}",
                    expected=list(slot.shape),
                    got=list(array.shape),
                )
            self.view(slot)[...] = array

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
