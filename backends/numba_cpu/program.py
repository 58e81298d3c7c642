"""A compiled graph: a table of steps, the arena they share, and the constants they read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.driver import run_steps
from irconv.backends.numba_cpu.packing import aligned
from irconv.dim import known
from irconv.errors import BackendError, InputError
from irconv.graph import Node, Value
from irconv.interpret import content
from irconv.report import Report
from irconv.types import Array, TensorType

STATUS_BYTES = 64  # at the front of the arena: the word that a kernel sets on a wrong operand


@dataclass(frozen=True)
class Place:
    """Where a value's bytes are: in the arena, or input, output or constant number `index`."""

    kind: str  # "arena", "input", "output", "constant"
    index: int = 0  # the offset, for the arena


@dataclass(frozen=True)
class Patch:
    """An address in the table that is only known later: row entry `word` = base + `offset`."""

    word: int
    place: Place
    offset: int = 0


@dataclass(frozen=True)
class Segment:
    """Steps that run without Python in between, or one node that runs by `Op.run`."""

    starts: Array
    node: Node | None = None


@dataclass
class Frame:
    """What one running call needs of its own: an arena, and the table with its addresses."""

    arena: Array
    table: Array


@dataclass
class CpuProgram:
    """A compiled graph. Calls may run at once: each has a frame of its own."""

    inputs: tuple[TensorType, ...]
    outputs: tuple[TensorType, ...]
    places: dict[Value, Place]
    constants: list[Array]
    table: Array
    segments: list[Segment]
    patches: list[Patch]
    arena_bytes: int
    threads: int
    report: Report
    source: str
    _frames: list[Frame] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        results = [np.empty(_shape(t), t.dtype) for t in self.outputs]
        frame = self._take()
        try:
            frame.arena[:STATUS_BYTES] = 0
            self._patch(frame, arrays, results)
            for segment in self.segments:
                if segment.node is None:
                    run_steps(frame.table, segment.starts, self.threads)
                else:
                    self._interpret(segment.node, frame, arrays, results)
            if frame.arena[0]:
                raise InputError("an index is out of range", hint="see Gather in the model")
        finally:
            with self._lock:
                self._frames.append(frame)
        return results

    def _take(self) -> Frame:
        with self._lock:
            if self._frames:
                return self._frames.pop()
        return self.new_frame(aligned(self.arena_bytes, np.dtype(np.uint8)))

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

    def _patch(self, frame: Frame, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        bases = {"input": arrays, "output": results}
        for patch in self.patches:
            if patch.place.kind in bases:
                base = bases[patch.place.kind][patch.place.index]
                frame.table[patch.word] = base.ctypes.data + patch.offset

    def _interpret(
        self, node: Node, frame: Frame, arrays: Sequence[Array], results: Sequence[Array]
    ) -> None:
        """Runs one node in NumPy, on views of the frame's buffers."""
        operands = [
            self._view(v, frame, arrays, results) if v is not None else None for v in node.operands
        ]
        with np.errstate(all="ignore"):
            found = node.op.run(operands)
        for value, array in zip(node.results, found, strict=True):
            target = self._view(value, frame, arrays, results)
            if target.shape != array.shape:
                raise BackendError(
                    f"{node.op.name} gave another shape than was inferred",
                    expected=list(target.shape),
                    got=list(array.shape),
                )
            target[...] = array

    def _view(
        self, value: Value, frame: Frame, arrays: Sequence[Array], results: Sequence[Array]
    ) -> Array:
        kind = value.tensor_type
        shape = _shape(kind)
        place = self.places.get(value)
        if place is None:
            return content(value)
        if place.kind == "input":
            return arrays[place.index].reshape(shape)
        if place.kind == "output":
            return results[place.index].reshape(shape)
        if place.kind == "constant":
            return self.constants[place.index].reshape(shape)
        nbytes = known(kind.nbytes)
        flat = frame.arena[place.index : place.index + nbytes]
        return flat.view(kind.dtype).reshape(shape)


def _shape(kind: TensorType) -> tuple[int, ...]:
    return tuple(known(d) for d in kind.shape)
