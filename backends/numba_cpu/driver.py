"""Runs a table of steps without returning to Python, by one thread or several."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.pointers import at, call
from irconv.types import Array

SPINS = 1 << 14  # some 100 us; after this a waiting thread yields its core at each look
ARRIVED, GIVEN_UP = 0, 1  # the words that the parts of a run share

_ENTRY = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p,) * 2, *(ctypes.c_int64,) * 3, ctypes.c_void_p)


@instruction
def _arrive(typing: Any, counter: Any) -> Any:
    """`_arrive(counter)`: adds 1 to *counter, after all writes before it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.atomic_rmw("add", args[0], ir.Constant(ir.IntType(64), 1), "acq_rel")
        return context.get_dummy_value()

    return types.none(counter), generate


@instruction
def _count(typing: Any, counter: Any) -> Any:
    """`_count(counter)`: *counter, before all reads after it."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(args[0], "acquire", 8)

    return types.int64(counter), generate


@instruction
def _yield_core(typing: Any) -> Any:
    """`_yield_core()`: lets another thread have this core."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        function = builder.module.globals.get("sched_yield")
        if function is None:
            function = ir.Function(builder.module, kind, "sched_yield")
        builder.call(function, [])
        return context.get_dummy_value()

    return types.none(), generate


def drive(table: Any, starts: Any, count: Any, part: Any, parts: Any, counter: Any) -> None:
    """Runs steps 0 .. count of the table as `part` of `parts`; all parts meet after each step.

    A run that is given up, because a part could not be started, ends where it waits.
    """
    for i in range(count):
        step = at(table, starts[i])
        call(step[0], step, table, part, parts)
        if parts > 1:
            _arrive(counter)
            spins = 0
            while _count(counter) < (i + 1) * parts:
                spins += 1
                if spins > SPINS:
                    if _count(at(counter, GIVEN_UP)) != 0:
                        return
                    _yield_core()


@cache
def _entry() -> Callable[..., None]:
    words = types.CPointer(types.int64)
    whole = types.int64
    return _ENTRY(native.compiled(drive, (words, words, whole, whole, whole, words)))


@dataclass
class _Workers:
    """The threads that help with a run; idle they sleep. One run at a time has them.

    A forked process has none of its parent's threads, so it gets new ones.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    pool: ThreadPoolExecutor | None = None
    size: int = 0

    def of(self, count: int) -> ThreadPoolExecutor:
        """At least `count` threads."""
        if self.pool is None or self.size < count:
            if self.pool is not None:
                self.pool.shutdown(wait=False)
            self.pool = ThreadPoolExecutor(count, thread_name_prefix="irconv")
            self.size = count
        return self.pool


_workers = _Workers()


def _renew_after_fork() -> None:
    global _workers  # noqa: PLW0603 - a lock held by a thread that the fork did not copy
    _workers = _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)


def run_steps(table: Array, starts: Array, threads: int) -> None:
    """Runs the steps that begin at `starts` in the int64 `table`, by at most `threads` threads.

    Where other calls have the helping threads, or none can be started, this one runs alone: every
    kernel takes any number of parts up to the one its scratch was sized for.
    """
    workers = _workers
    if threads > 1 and workers.lock.acquire(blocking=False):
        try:
            if _run_together(workers, table, starts, threads):
                return
        finally:
            workers.lock.release()
    _part(table, starts, 0, 1, np.zeros(2, np.int64))


def _run_together(workers: _Workers, table: Array, starts: Array, threads: int) -> bool:
    """Whether all parts could be started; then they have run."""
    shared = np.zeros(2, np.int64)
    helpers: list[Future[None]] = []
    try:
        pool = workers.of(threads - 1)
        for part in range(1, threads):
            helpers.append(pool.submit(_part, table, starts, part, threads, shared))  # noqa: PERF401
    except BaseException as error:
        shared[GIVEN_UP] = 1
        wait(helpers)
        if isinstance(error, RuntimeError):  # no thread left, or the interpreter is ending
            return False
        raise
    _part(table, starts, 0, threads, shared)
    for helper in helpers:
        helper.result()
    return True


def _part(table: Array, starts: Array, part: int, parts: int, shared: Array) -> None:
    if not shared[GIVEN_UP]:
        first, begins = table.ctypes.data, starts.ctypes.data
        _entry()(first, begins, len(starts), part, parts, shared.ctypes.data)
