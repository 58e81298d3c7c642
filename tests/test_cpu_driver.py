"""The driver of a table of steps: every part once, in order, whoever runs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from irconv.backends.numba_cpu import driver, native, sharing
from irconv.backends.numba_cpu.atomics import add, load, swap, take
from irconv.backends.numba_cpu.pointers import at, pointer

F32 = np.dtype(np.float32)
CODE, RUNS, BEFORE, NEEDED, FAULTS, WORK, SINK, WIDTH = range(8)


def counting(step, like, part, parts) -> None:
    """Kernel: counts its run; a fault where a part of the steps it needs has not been done.

    Row: code, [parts] counts, the counts of the steps before, how many of these it needs, faults,
    how long a part takes, where it writes.
    """
    before, faults = pointer(step[BEFORE], step), pointer(step[FAULTS], step)
    for i in range(step[NEEDED] * parts):
        if load(at(before, i)) != 1:
            add(faults, 1)
    total = 0
    for i in range(step[WORK] * (1 + (part * 7919) % 3)):
        total = (total * 1103515245 + i) % 2147483647
    swap(at(pointer(step[SINK], step), part), total)
    add(at(pointer(step[RUNS], step), part), 1)


class Steps:
    """A table of `counting` steps. `joins` says of each whether threads meet after it."""

    def __init__(self, parts: int, joins: list[bool], work: int) -> None:
        count = len(joins)
        self.counts = np.zeros((count, parts), np.int64)
        self.faults, self.sink = np.zeros(1, np.int64), np.zeros(parts, np.int64)
        self.table = np.zeros((count, WIDTH), np.int64)
        self.starts = np.zeros(count, np.int64)
        needed = 0
        for i, meets in enumerate(joins):
            self.table[i] = [
                native.address(counting, F32), self.counts[i].ctypes.data,
                self.counts.ctypes.data, needed, self.faults.ctypes.data, work,
                self.sink.ctypes.data,
            ]  # fmt: skip
            self.starts[i] = driver.start_word(WIDTH * i, meets)
            needed = i + 1 if meets else needed
        self.flat = self.table.reshape(-1)

    def run(self, threads: int) -> None:
        """One run; the number of parts is the table's or 1."""
        self.counts[:] = 0
        driver.run_steps(self.flat, self.starts, threads)

    def check(self) -> None:
        parts = self.counts.shape[1]
        assert self.counts.sum(1).tolist() == [parts] * len(self.counts)
        assert self.counts.max() == 1
        assert self.faults[0] == 0


@pytest.fixture
def workers(monkeypatch) -> Iterator[driver._Workers]:
    found = driver._Workers()
    monkeypatch.setattr(driver, "_workers", found)
    yield found
    found.close()


def pattern(rng: np.random.Generator, count: int) -> list[bool]:
    return [bool(b) for b in rng.random(count) < 0.7]


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_every_part_runs_once_after_all_that_it_waits_for(workers, threads):
    rng = np.random.default_rng(threads)
    for work in (0, 3, 300):
        steps = Steps(threads, pattern(rng, 60), work)
        for _ in range(40):
            steps.run(threads)
            steps.check()
    assert len(workers.threads) == threads - 1


def test_one_thread_runs_one_part():
    steps = Steps(1, pattern(np.random.default_rng(1), 20), 3)
    steps.run(1)
    steps.check()


def test_the_caller_does_the_parts_of_threads_that_never_come(workers):
    workers.threads.append(threading.Thread())  # never started
    steps = Steps(3, pattern(np.random.default_rng(2), 40), 3)
    shared = workers.place
    for _ in range(3):
        steps.counts[:] = 0
        lead = driver._entry(sharing.lead, 3, 2)
        lead(shared, steps.flat.ctypes.data, steps.starts.ctypes.data, len(steps.starts), 3)
        steps.check()
    workers.threads.clear()


def test_a_thread_that_comes_after_the_run_touches_nothing_of_it(workers):
    steps = Steps(2, [True] * 10, 3)
    lead, late = driver._entry(sharing.lead, 3, 2), driver._entry(sharing.help_out, 1)
    lead(workers.place, steps.flat.ctypes.data, steps.starts.ctypes.data, 10, 2)
    steps.check()
    # the addresses of that run are of nothing now; the thread looks at the run, then for the next
    workers.shared[[sharing.TABLE, sharing.STARTS]] = 8
    thread = threading.Thread(target=late, args=(workers.place,), daemon=True)
    thread.start()
    workers.threads.append(thread)
    while thread.is_alive() and not workers.shared[sharing.ASLEEP]:
        pass
    assert thread.is_alive()
    steps.check()


def test_more_and_fewer_parts_by_turns(workers):
    rng = np.random.default_rng(5)
    tables = {parts: Steps(parts, pattern(rng, 30), 3) for parts in (2, 3, 5)}
    for parts in rng.choice([2, 3, 5], 60):
        tables[int(parts)].run(int(parts))
        tables[int(parts)].check()


def test_callers_at_once_take_turns_or_run_alone(workers):
    def call(threads: int) -> None:
        rng = np.random.default_rng(threads)
        for _ in range(30):
            steps = Steps(1, pattern(rng, 20), 3)
            shared = Steps(threads, pattern(rng, 20), 3)
            shared.run(threads)
            # alone it is one part of one
            whole = shared.counts.sum(1).tolist()
            assert whole in ([threads] * 20, [1] * 20)
            steps.run(1)
            steps.check()

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(call, 2 + i) for i in range(4)]:
            done.result(timeout=120)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs thread affinity")
def test_helping_threads_keep_off_the_core_of_the_caller(workers):
    steps = Steps(3, [True] * 5, 3)
    steps.run(3)
    allowed = os.sched_getaffinity(0)
    avoided = {int(workers.shared[sharing.AVOIDED])}
    assert avoided <= allowed
    for thread in workers.threads:
        assert thread.native_id is not None
        kept = os.sched_getaffinity(thread.native_id)
        assert kept == (allowed - avoided or allowed)


def test_closed_workers_start_no_thread(workers):
    steps = Steps(1, [True] * 5, 3)
    workers.close()
    assert workers.start(2) == 0
    steps.run(4)
    steps.check()


def exchange(step, like, part, parts) -> None:
    """Kernel: each of the atomic operations once, on the words at step[1]; what they told."""
    word, told = pointer(step[1], step), pointer(step[2], step)
    told[0] = add(word, 5)
    told[1] = swap(word, 7)
    told[2] = load(word)
    told[3] = int(take(word, 6, 1))
    told[4] = int(take(word, 7, 9))
    told[5] = load(word)


def test_atomic_operations():
    word, told = np.array([3], np.int64), np.zeros(6, np.int64)
    row = np.array([0, word.ctypes.data, told.ctypes.data], np.int64)
    native.run(native.address(exchange, F32), row)
    assert told.tolist() == [3, 8, 7, 0, 1, 9]
