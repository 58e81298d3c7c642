"""A compiled graph: a table of steps, the arena they share, and the constants they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from irconv.backends.numba_cpu import kernels, native
from irconv.backends.numba_cpu.calls import Buffers, Call, Place, Slot
from irconv.backends.numba_cpu.driver import run_steps
from irconv.backends.numba_cpu.packing import aligned
from irconv.backends.numba_cpu.profile import profile_steps
from irconv.errors import InputError
from irconv.kernels import KernelText, ProgramStep
from irconv.profiling import StepTime
from irconv.report import Report
from irconv.types import Array

STATUS_BYTES = 64  # at the front of the arena: the word that a kernel sets on a wrong operand


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
    outputs whose bytes another value owns: an input, a parameter, an earlier output, a host array.
    `step_nodes` names the node of each step, `step_kernels` the functions that it runs.
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
    step_nodes: tuple[str, ...] = ()
    step_kernels: tuple[tuple[native.Key, ...], ...] = ()
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

    def run(self, frame: Frame, arrays: Sequence[Array], results: list[Array]) -> None:
        """One call in this frame, into arrays of the outputs' types.

        Outputs that are host arrays are put in the place of those in `results`.
        """
        frame.arena[:STATUS_BYTES] = 0
        self._patch(frame, arrays, results)
        buffers = Buffers(frame.arena, arrays, results, self.constants)
        for segment in self.segments:
            if segment.call is not None:
                buffers.run(segment.call)
                continue
            run_steps(frame.table, segment.starts, self.threads)
            if frame.arena[0]:
                raise InputError("an index is out of range", hint="see Gather in the model")
        for index, slot in self.copies:
            if slot.place.kind == "host":
                results[index] = buffers.view(slot).copy()
            else:
                results[index][...] = buffers.view(slot)

    def profile(self, arrays: Sequence[Array], runs: int = 20) -> list[StepTime]:
        """The median time of each step on these (checked) arrays, in the order of the steps."""
        return profile_steps(self, arrays, runs)

    def steps(self) -> tuple[ProgramStep, ...]:
        """The steps in their order, with their lines of the source and their kernels."""
        lines = self.source.split("\n")
        return tuple(
            ProgramStep(node, lines[i], tuple(map(kernels.key_text, self.step_kernels[i])))
            for i, node in enumerate(self.step_nodes)
        )

    def kernel(self, key: str) -> KernelText:
        """A kernel, or a function that one calls, by its key."""
        return kernels.kernel_text(key)

    def machine_code(self, key: str) -> tuple[str, str] | None:
        """LLVM IR and assembly of a kernel, compiled anew; None of a function that one calls."""
        return kernels.machine_code(key)

    def _patch(self, frame: Frame, arrays: Sequence[Array], results: Sequence[Array]) -> None:
        bases = {"input": arrays, "output": results}
        for patch in self.patches:
            if patch.place.kind in bases:
                base = bases[patch.place.kind][patch.place.index]
                frame.table[patch.word] = base.ctypes.data + patch.offset
