"""Times the steps of a program while the whole of it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from irconv.backends.numba_cpu.calls import Buffers
from irconv.backends.numba_cpu.driver import run_steps
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.launch import PlainStep
from irconv.backends.numba_cpu.packing import aligned
from irconv.backends.numba_cpu.pointers import pointer
from irconv.profiling import StepTime
from irconv.types import Array

if TYPE_CHECKING:
    from irconv.backends.numba_cpu.program import CpuProgram

_SECOND = 1_000_000_000  # in ns
_CLOCK = getattr(time, "CLOCK_MONOTONIC", 1)


@instruction
def _write_clock(typing: Any, place: Any) -> Any:
    """`_write_clock(p)`: the monotonic clock to p[0] (seconds) and p[1] (nanoseconds)."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = ir.IntType(32)
        kind = ir.FunctionType(number, [number, args[0].type])
        function = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        builder.call(function, [ir.Constant(number, _CLOCK), args[0]])
        return context.get_dummy_value()

    return types.none(place), generate


def stamp(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: the first thread writes the time to the two words at step[1]."""
    if part == 0:
        _write_clock(pointer(step[1], step))


def profile_steps(program: CpuProgram, arrays: Sequence[Array], runs: int) -> list[StepTime]:
    """The median time of each step on these inputs, and its spread, in the order of the steps.

    A step that writes the clock is put between all steps. So the program runs as it always does:
    without Python between steps, all threads meeting after each, and each step finds the caches as
    the one before left them. The clock and its meeting cost some 0.1 us a step. A node that runs
    by `Op.run` is timed from Python.
    """
    frame = program.new_frame(aligned(program.arena_bytes, np.dtype(np.uint8)))
    results = [np.empty(slot.shape, slot.dtype) for slot in program.outputs]
    program.run(frame, arrays, results)  # the addresses of these arrays are in the table now
    clock = _Clock(frame.table, [len(s.starts) for s in program.segments])
    found = []
    for _ in range(runs):
        buffers = Buffers(frame.arena, arrays, results, program.constants)
        found.append(list(_one_run(program, clock, buffers)))
    times = np.array(found, np.int64).reshape(runs, -1) / _SECOND
    low, medians, high = np.percentile(times, (25, 50, 75), axis=0).tolist()
    lines = program.source.splitlines()
    return [
        StepTime(node, seconds, line, third - first)
        for node, seconds, line, first, third in zip(
            program.step_nodes, medians, lines, low, high, strict=False
        )
    ]


def _one_run(program: CpuProgram, clock: _Clock, buffers: Buffers) -> Iterator[int]:
    """The nanoseconds of each step of one run."""
    for number, segment in enumerate(program.segments):
        if segment.call is not None:
            begin = time.perf_counter_ns()
            buffers.run(segment.call)
            yield time.perf_counter_ns() - begin
            continue
        run_steps(clock.table, clock.between(number, segment.starts), program.threads)
        yield from clock.differences(number)


class _Clock:
    """A table with rows added that write the clock, and the times they write."""

    def __init__(self, table: Array, counts: Sequence[int]) -> None:
        self.times = np.zeros((sum(counts) + len(counts), 2), np.int64)
        row = PlainStep("stamp", stamp, np.dtype(np.float32), 1).bind()
        rows = np.tile(row, (len(self.times), 1))
        rows[:, 1] = self.times.ctypes.data + self.times.strides[0] * np.arange(len(rows))
        self.table = np.concatenate([table, rows.reshape(-1)])
        stamps = len(table) + rows.shape[1] * np.arange(len(rows))
        ends = np.cumsum([n + 1 for n in counts])[:-1]
        self.stamps = np.split(stamps, ends)
        self.segments = np.split(self.times, ends)

    def between(self, segment: int, starts: Array) -> Array:
        """The steps at `starts` with a stamp before each and after the last."""
        mixed = np.empty(2 * len(starts) + 1, np.int64)
        mixed[::2], mixed[1::2] = self.stamps[segment], starts
        return mixed

    def differences(self, segment: int) -> list[int]:
        """Nanoseconds from stamp to stamp of a segment."""
        seconds, rest = self.segments[segment].T
        return [int(ns) for ns in np.diff(seconds) * _SECOND + np.diff(rest)]
