"""The machine's peak: what the micro-kernel does where all that it reads is in the first cache."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from irconv.backends.numba_cpu import machine, tiles

DEPTH = 1 << 16  # long, so that only the products count
ROUNDS, CALLS = 25, 20
_WORD, _PLACE, _FLOAT = ctypes.c_int64, ctypes.c_void_p, ctypes.c_float
_TILE = ctypes.CFUNCTYPE(
    None,
    *(_WORD, _PLACE, _WORD, _PLACE, _WORD, _PLACE, _WORD, _WORD, _WORD, _PLACE, _PLACE),
    *(_WORD, _WORD, _FLOAT, _FLOAT),
)


def peak_flops(threads: int) -> float:
    """Float32 operations a second of the micro-kernel, run by `threads` threads at once.

    Each multiplies one tile's rows and columns again and again; the best of some rounds counts.
    """
    tile = machine.tile(np.dtype(np.float32))
    seconds = fastest(threads, lambda _: _multiply, ROUNDS)
    return 2.0 * DEPTH * tile.rows * tile.columns * CALLS * threads / seconds


def fastest(threads: int, work_of: Callable[[int], Callable[[], None]], rounds: int) -> float:
    """Seconds of the fastest round in which all threads do their work at once.

    `work_of` gives the work of a thread by its number.
    """
    meeting = Barrier(threads)

    def spans(number: int) -> list[tuple[float, float]]:
        """Begin and end of each round of one thread."""
        work, found = work_of(number), []
        for _ in range(rounds):
            meeting.wait()
            begin = time.perf_counter()
            work()
            found.append((begin, time.perf_counter()))
        return found

    with ThreadPoolExecutor(threads) as pool:
        by_round = [list(r) for r in zip(*pool.map(spans, range(threads)), strict=True)]
    seconds: float = min(max(e for _, e in r) - min(b for b, _ in r) for r in by_round)
    return seconds


def _multiply() -> None:
    tile = machine.tile(np.dtype(np.float32))
    code = _TILE(tiles.tile_code(np.dtype(np.float32)))
    a, b = (np.full(n, 1e-3, np.float32) for n in (tile.rows, tile.columns))
    c = np.empty((tile.rows, tile.columns), np.float32)
    places = (a.ctypes.data, 0, b.ctypes.data, 0, c.ctypes.data, tile.columns)
    sizes = (tile.rows, tile.columns, None, None, 0, 0, -math.inf, math.inf)
    for _ in range(CALLS):
        code(DEPTH, *places, *sizes)
