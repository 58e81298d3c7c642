"""Times the steps of a program one by one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from irconv.backends.numba_cpu.driver import run_steps
from irconv.backends.numba_cpu.packing import aligned
from irconv.backends.numba_cpu.program import CpuProgram
from irconv.types import Array


@dataclass(frozen=True)
class StepTime:
    """The median seconds of one step; `line` is its line of the program's source."""

    seconds: float
    line: str


def profile(program: CpuProgram, arrays: Sequence[Array], runs: int = 5) -> list[StepTime]:
    """The time of each step on these inputs, in the order of the steps.

    Each run goes through the whole network, so a step finds the caches as the steps before left
    them. Steps are started from Python one at a time, which costs some microseconds each. Raises
    ValueError for a program of which a node runs by `Op.run`.
    """
    if any(segment.call is not None for segment in program.segments):
        raise ValueError("a node of this program runs by Op.run; steps cannot be timed alone")
    frame = program.new_frame(aligned(program.arena_bytes, np.dtype(np.uint8)))
    results = [np.empty(slot.shape, slot.dtype) for slot in program.outputs]
    program.run(frame, arrays, results)
    starts = [s.starts[i : i + 1] for s in program.segments for i in range(len(s.starts))]
    times: list[list[float]] = [[] for _ in starts]
    for _ in range(runs):
        for start, found in zip(starts, times, strict=True):
            begin = time.perf_counter()
            run_steps(frame.table, start, program.threads)
            found.append(time.perf_counter() - begin)
    lines = program.source.splitlines()
    return [StepTime(median(t), line) for t, line in zip(times, lines, strict=False)]
