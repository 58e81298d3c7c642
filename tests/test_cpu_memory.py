"""Memory of kernels: where arrays start, and that those of one block lie apart."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from irconv.backends.numba_cpu import memory, packing
from irconv.backends.numba_cpu.memory import (
    LARGE_PAGE,
    LINE,
    MOST,
    aligned,
    in_one_block,
    one_block,
)
from irconv.executable import compile as build
from tests.test_cpu_backend_threads import network, samples

F32, F64, U8 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.uint8)


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


@pytest.mark.parametrize("dtype", [F32, F64, U8])
@pytest.mark.parametrize("count", [0, 1, 1000, LARGE_PAGE // 4, LARGE_PAGE + 5])
def test_an_array_starts_on_a_cache_line(dtype, count):
    array = aligned(count, dtype)
    assert (array.shape, array.dtype) == ((count,), dtype)
    assert count == 0 or address(array) % LINE == 0
    if array.nbytes >= LARGE_PAGE:
        assert address(array) % LARGE_PAGE == 0
    array[:] = 7
    assert array.flags.writeable
    assert (array == 7).all()


def test_arrays_of_one_block_lie_apart():
    rng = np.random.default_rng(0)
    counts = [int(c) for c in rng.integers(0, 3000, 200)] + [LARGE_PAGE, 5, 3 * LARGE_PAGE, 1, 0]
    with one_block():
        arrays = [aligned(count, F32) for count in counts]
    for i, array in enumerate(arrays):
        assert address(array) % LINE == 0
        array[:] = i
    for i, array in enumerate(arrays):
        assert array.size == counts[i]
        assert (array == i).all()


def test_arrays_of_one_block_lie_side_by_side():
    with one_block():
        aligned(memory.FIRST // 8, F32)  # the rest of the first piece is too small for the next
        arrays = [aligned(4000, F32) for _ in range(10)]
    gaps = np.diff([address(a) for a in arrays])
    assert (gaps == 16000).sum() >= 8


def test_a_block_is_not_much_larger_than_what_is_taken(monkeypatch):
    asked = []
    space = memory._space
    monkeypatch.setattr(memory, "_space", lambda nbytes: asked.append(nbytes) or space(nbytes))
    taken = 0
    with one_block():
        for count in [1000] * 50 + [100_000] * 50 + [1 << 20] * 20:
            taken += aligned(count, U8).nbytes
            assert sum(asked) <= max(memory.FIRST, 7 * taken)
        large = aligned(2 * MOST, U8)  # a mapping of its own
    assert asked[-1] == large.nbytes


def test_blocks_are_of_the_thread_and_the_call():
    found = {}

    @in_one_block
    def inner() -> object:
        return memory._block.get()

    def other() -> None:
        found["thread"] = memory._block.get()

    with one_block():
        outer = memory._block.get()
        found["call"] = inner()
        assert memory._block.get() is outer
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert found["thread"] is None
    assert isinstance(found["call"], memory.Block)
    assert found["call"] is not outer
    assert memory._block.get() is None


def test_no_memory_is_said_so(monkeypatch):
    def refuse(*arguments, **named):
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(memory.mmap, "mmap", refuse)
    with pytest.raises(MemoryError, match="no memory for 2097152 bytes"):
        aligned(LARGE_PAGE, U8)


def test_large_pages_may_be_missing(monkeypatch):
    monkeypatch.delattr(memory.mmap, "MADV_HUGEPAGE", raising=False)
    assert address(aligned(LARGE_PAGE, F32)) % LINE == 0


def test_packed_weights_are_of_the_block():
    with one_block():
        packed = packing.pack_columns(np.ones((40, 30), F32), 48)
        block = memory._block.get()
        assert block is not None
        assert address(block._piece) - address(packed) == packed.nbytes


def test_a_released_executable_still_runs():
    graph = network()
    executable, ((x, expected),) = build(graph, threads=2), samples(graph, 1)
    executable.release()
    np.testing.assert_array_equal(executable(x)[0], expected)
