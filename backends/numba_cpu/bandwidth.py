"""The machine's bandwidth: how fast a kernel that does nothing else reads from memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.blocked.tile import F32
from irconv.backends.numba_cpu.blocked.tile import lanes as vector_lanes
from irconv.backends.numba_cpu.blocked.vectors import add, load, spread, store
from irconv.backends.numba_cpu.memory import aligned
from irconv.backends.numba_cpu.peak import fastest
from irconv.backends.numba_cpu.pointers import at, number, pointer, prefetch

BYTES = 256 << 20  # several times a last cache
ROUNDS = 3
_VECTOR = vector_lanes()
_AHEAD = 1024 // F32.itemsize
CODE, X, SUMS, VECTORS, SIZE = range(5)  # the row; VECTORS are those of a part


def read_all(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: adds up the vectors of a part, from two places at once."""
    half = step[VECTORS] // 2
    first = at(pointer(step[X], like), part * step[VECTORS] * _VECTOR)
    second = at(first, half * _VECTOR)
    a = b = c = d = spread(number(0.0, like), _VECTOR)
    for i in range(0, half, 4):
        x, y = at(first, i * _VECTOR), at(second, i * _VECTOR)
        for j in range(4):
            prefetch(at(x, j * _VECTOR + _AHEAD))
            prefetch(at(y, j * _VECTOR + _AHEAD))
        a = add(a, load(x, _VECTOR))
        b = add(b, load(at(x, _VECTOR), _VECTOR))
        c = add(c, load(at(x, 2 * _VECTOR), _VECTOR))
        d = add(d, load(at(x, 3 * _VECTOR), _VECTOR))
        a = add(a, load(y, _VECTOR))
        b = add(b, load(at(y, _VECTOR), _VECTOR))
        c = add(c, load(at(y, 2 * _VECTOR), _VECTOR))
        d = add(d, load(at(y, 3 * _VECTOR), _VECTOR))
    sums = at(pointer(step[SUMS], like), part * _VECTOR)
    store(sums, add(add(a, b), add(c, d)))


def read_bandwidth(threads: int) -> float:
    """Bytes a second that `threads` threads read from memory together.

    Each sums up its share of an array; the best of some rounds counts.
    """
    vectors = BYTES // F32.itemsize // _VECTOR // threads // 8 * 8
    array, sums = aligned(vectors * threads * _VECTOR, F32), aligned(threads * _VECTOR, F32)
    array.fill(1.0)
    row = np.array(
        [native.address(read_all, F32), array.ctypes.data, sums.ctypes.data, vectors], np.int64
    )
    code = int(row[CODE])
    seconds = fastest(threads, lambda part: lambda: native.run(code, row, part, threads), ROUNDS)
    assert sums.sum(dtype=np.float64) == array.size
    return array.nbytes / seconds
