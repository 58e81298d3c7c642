"""Machine code that runs a table of steps, by one thread or by several that share each step."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.atomics import (
    MASK_WORDS,
    add,
    keep_off,
    load,
    pause,
    sleep_while,
    swap,
    take,
    this_core,
    wake,
)
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import address, at, call, pointer

PATIENCE = 32  # looks before a waiting thread does the parts that nobody has begun
SPINS = 2000  # looks before a waiting thread sleeps
IDLE_SPINS = 1000  # looks for the next run before a helping thread sleeps
MOST_PARTS = 256  # see `executable.THREADS_LIMIT`
LINE = 8  # words of a cache line

# The words that threads share. GENERATION is odd while the run is being described; TABLE .. BEFORE
# describe it: what to run, the number of its first step, DONE before it.
GENERATION, ASLEEP, STOP = 0, LINE, LINE + 1
TABLE, STARTS, COUNT, PARTS, FIRST, BEFORE = range(2 * LINE, 2 * LINE + 6)
DONE, WAITING = 3 * LINE, 3 * LINE + 1  # parts done in all runs; whether a thread sleeps
ROLE = 4 * LINE  # the next thread's own part
# Where the helping threads may run: the cores they may, their number, the one they keep off.
ALLOWED, HELPERS, AVOIDED = 5 * LINE, 5 * LINE + MASK_WORDS, 5 * LINE + MASK_WORDS + 1
# A line of each part: the first step of which nobody has begun it; a helping thread's number.
CLAIMS, THREAD = 8 * LINE, 1
WORDS = CLAIMS + MOST_PARTS * LINE


@compiled_part
def _advance(
    shared: Any, table: Any, starts: Any, part: Any, parts: Any, first: Any, last: Any
) -> Any:
    """Does what nobody has begun of a part, up to step `last`; whether all meet after it.

    A thread that comes late, even after the end of the run, finds all begun: the numbers of steps
    only grow, from run to run too. So it touches nothing that may be gone.
    """
    joins = True
    claim, done, waiting = at(shared, CLAIMS + part * LINE), at(shared, DONE), at(shared, WAITING)
    begun = load(claim)
    while begun <= last:
        if take(claim, begun, begun + 1):
            start = starts[begun - first]
            joins = start >= 0
            step = at(table, start if joins else ~start)
            call(step[0], step, table, part, parts)
            add(done, 1)
            if load(waiting) != 0 and swap(waiting, 0) != 0:
                wake(done, parts)
        begun = load(claim)
    return joins


@compiled_part
def _meet(
    shared: Any, table: Any, starts: Any, me: Any, parts: Any, first: Any, last: Any, target: Any
) -> None:
    """Waits until all parts of all steps up to `last` are done, or does them."""
    done = at(shared, DONE)
    looks = 0
    while load(done) < target:
        looks += 1
        if looks == PATIENCE:
            for other in range(1, parts):
                _advance(shared, table, starts, (me + other) % parts, parts, first, last)
        elif looks > SPINS:
            swap(at(shared, WAITING), 1)
            seen = load(done)
            if seen < target:
                sleep_while(done, seen)
        else:
            pause()


@compiled_part
def _drive(
    shared: Any, table: Any, starts: Any, count: Any, me: Any, parts: Any, first: Any, before: Any
) -> None:
    """Runs the steps, its own part of each first."""
    for i in range(count):
        joins = _advance(shared, table, starts, me, parts, first, first + i)
        if joins or i + 1 == count:
            target = before + (i + 1) * parts
            _meet(shared, table, starts, me, parts, first, first + i, target)


@compiled_part
def _put(shared: Any, place: Any, value: Any) -> None:
    swap(at(shared, place), value)


@compiled_part
def _give_way(shared: Any) -> None:
    """Keeps the helping threads off the core of this one.

    A thread that is woken on a core that is busy waits there for milliseconds, though another
    core is idle, where the machine is virtual: its kernel takes idle cores for stopped ones.
    """
    core = this_core()
    if core >= 0 and core != shared[AVOIDED]:
        for i in range(shared[HELPERS]):
            keep_off(shared[CLAIMS + i * LINE + THREAD], at(shared, ALLOWED), core)
        shared[AVOIDED] = core


def lead(shared: Any, table: Any, starts: Any, count: Any, parts: Any) -> None:
    """Runs `count` steps of the table, together with the threads that `help_out`."""
    generation = at(shared, GENERATION)
    first, before = shared[FIRST] + shared[COUNT], load(at(shared, DONE))
    _give_way(shared)
    add(generation, 1)
    _put(shared, TABLE, address(table))
    _put(shared, STARTS, address(starts))
    _put(shared, COUNT, count)
    _put(shared, PARTS, parts)
    _put(shared, FIRST, first)
    _put(shared, BEFORE, before)
    _put(shared, ROLE, 1)
    for part in range(parts):
        _put(shared, CLAIMS + part * LINE, first)
    add(generation, 1)
    if load(at(shared, ASLEEP)) != 0:
        wake(generation, parts - 1)
    _drive(shared, table, starts, count, 0, parts, first, before)


def help_out(shared: Any) -> None:
    """Helps with run after run until STOP is set; sleeps where none comes."""
    seen = 0
    while True:
        seen = _next_run(shared, seen)
        if load(at(shared, STOP)) != 0:
            return
        table = pointer(load(at(shared, TABLE)), shared)
        starts = pointer(load(at(shared, STARTS)), shared)
        count, parts = load(at(shared, COUNT)), load(at(shared, PARTS))
        first, before = load(at(shared, FIRST)), load(at(shared, BEFORE))
        if seen % 2 == 0 and load(at(shared, GENERATION)) == seen:
            role = add(at(shared, ROLE), 1)
            if role < parts:
                _drive(shared, table, starts, count, role, parts, first, before)


@compiled_part
def _next_run(shared: Any, seen: Any) -> Any:
    """The generation after `seen`; looks for it a while, then sleeps."""
    generation, asleep = at(shared, GENERATION), at(shared, ASLEEP)
    looks = 0
    while load(generation) == seen:
        looks += 1
        if looks > IDLE_SPINS:
            add(asleep, 1)
            sleep_while(generation, seen)
            add(asleep, -1)
        else:
            pause()
    return load(generation)


def alone(table: Any, starts: Any, count: Any) -> None:
    """Runs `count` steps of the table."""
    for i in range(count):
        start = starts[i]
        step = at(table, start if start >= 0 else ~start)
        call(step[0], step, table, 0, 1)


def dismiss(shared: Any) -> None:
    """Ends all threads that `help_out`."""
    swap(at(shared, STOP), 1)
    add(at(shared, GENERATION), 2)
    wake(at(shared, GENERATION), MOST_PARTS)
