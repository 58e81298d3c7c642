"""Runs a table of steps without returning to Python, by one thread or several."""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache

import numpy as np
from numba import types

from irconv.backends.numba_cpu import native, sharing
from irconv.backends.numba_cpu.atomics import MASK_WORDS
from irconv.backends.numba_cpu.packing import aligned
from irconv.types import Array

JOIN_SECONDS = 5.0
_WORDS, _WHOLE = types.CPointer(types.int64), types.int64


@cache
def _entry(function: Callable[..., None], words: int, numbers: int = 0) -> Callable[..., None]:
    """A function of some pointers to int64 and some int64, callable from Python."""
    code = native.compiled(function, (_WORDS,) * words + (_WHOLE,) * numbers)
    kinds = (ctypes.c_void_p,) * words + (ctypes.c_int64,) * numbers
    return ctypes.CFUNCTYPE(None, *kinds)(code)


class _Workers:
    """The threads that help with a run; idle they sleep. One run at a time has them.

    A forked process has none of its parent's threads, so it gets new ones.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads: list[threading.Thread] = []
        self.closed = False
        self.shared = aligned(sharing.WORDS, np.dtype(np.int64))
        self.shared[:] = 0
        self.shared[sharing.AVOIDED] = -1
        self.place = int(self.shared.ctypes.data)

    def start(self, count: int) -> int:
        """Sees that at least `count` threads help, if they can be started; how many do."""
        while len(self.threads) < count and not self.closed:
            name = f"irconv-{len(self.threads) + 1}"
            code = _entry(sharing.help_out, 1)
            thread = threading.Thread(target=code, args=(self.place,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread left, or the interpreter is ending
                break
            self._admit(thread)
        return len(self.threads)

    def _admit(self, thread: threading.Thread) -> None:
        place = sharing.CLAIMS + sharing.LINE * len(self.threads) + sharing.THREAD
        self.threads.append(thread)
        if hasattr(os, "sched_getaffinity"):
            allowed = self.shared[sharing.ALLOWED :][:MASK_WORDS].view(np.uint8)
            cores = [c for c in os.sched_getaffinity(0) if c < 8 * allowed.size]
            bits = np.bincount(cores, minlength=8 * allowed.size) > 0
            allowed[:] = np.packbits(bits, bitorder="little")
        self.shared[place] = thread.native_id or 0
        self.shared[sharing.AVOIDED] = -1
        self.shared[sharing.HELPERS] = len(self.threads)

    def close(self) -> None:
        """Ends the threads: their code must not run when the interpreter frees it."""
        self.closed = True
        if self.threads:
            _entry(sharing.dismiss, 1)(self.place)
        for thread in self.threads:
            thread.join(JOIN_SECONDS)
        self.threads.clear()


_workers = _Workers()


def _renew_after_fork() -> None:
    global _workers  # noqa: PLW0603 - a lock held by a thread that the fork did not copy
    _workers = _Workers()


@atexit.register
def _close() -> None:
    _workers.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)


def start_word(start: int, joins: bool) -> int:
    """An element of `starts`: the step that begins at `start`; whether threads meet after it."""
    return start if joins else ~start


def run_steps(table: Array, starts: Array, threads: int) -> None:
    """Runs the steps that begin at `starts` (of `start_word`) in the int64 `table`.

    At most `threads` threads share each step. Where other calls have the helping threads, or none
    can be started, this one runs alone: every kernel takes any number of parts up to the one its
    scratch was sized for.
    """
    workers, count = _workers, len(starts)
    first, begins = table.ctypes.data, starts.ctypes.data
    if threads > 1 and workers.lock.acquire(blocking=False):
        try:
            if workers.start(threads - 1):
                _entry(sharing.lead, 3, 2)(workers.place, first, begins, count, threads)
                return
        finally:
            workers.lock.release()
    _entry(sharing.alone, 2, 1)(first, begins, count)
