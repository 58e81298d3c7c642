"""The CPU backend under several threads: shared executables, more threads than cores, forks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numba import types

from irconv.backends.numba_cpu import driver, native
from irconv.executable import Executable
from irconv.executable import compile as build
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops import activation as act
from irconv.ops.cast import Cast
from irconv.ops.conv import Conv
from irconv.ops.linear import Gemm
from irconv.ops.pool import MaxPool
from irconv.ops.shape import Flatten
from irconv.types import TensorType
from tests.cpu_cases import integers

ROOT = Path(__file__).parent.parent


def network(seed: int = 0, batch: int | str = 1) -> Graph:
    """A small network whose arithmetic is exact on small integers; one node runs in NumPy."""
    rng = np.random.default_rng(seed)
    graph = Graph("net")
    x = graph.add_input("x", TensorType("f32", (batch, 3, 12, 12)))
    w = graph.add_parameter("w", integers(rng, (16, 3, 3, 3), most=2))
    b = graph.add_parameter("b", integers(rng, (16,)))
    y = graph.add_node(Conv((3, 3), pads=(1,) * 4), [x, w, b]).result
    y = graph.add_node(act.Relu(), [y]).result
    y = graph.add_node(MaxPool((2, 2), strides=(2, 2)), [y]).result
    y = graph.add_node(Cast("f64"), [y]).result
    y = graph.add_node(Cast("f32"), [y]).result
    y = graph.add_node(Flatten(), [y]).result
    dense = graph.add_parameter("d", integers(rng, (576, 10), most=1))
    graph.set_outputs([graph.add_node(Gemm(), [y, dense]).result])
    return graph


def samples(graph: Graph, count: int, batch: int = 1) -> list[tuple[np.ndarray, np.ndarray]]:
    """(input, expected output) pairs."""
    rng = np.random.default_rng(9)
    found = []
    for _ in range(count):
        x = integers(rng, (batch, 3, 12, 12))
        found.append((x, next(iter(interpret(graph, {"x": x}).values()))))
    return found


def check(executable: Executable, pairs: list[tuple[np.ndarray, np.ndarray]], times: int) -> None:
    for i in range(times):
        x, expected = pairs[i % len(pairs)]
        np.testing.assert_array_equal(executable(x)[0], expected)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_any_number_of_threads(threads):
    graph = network()
    executable = build(graph, threads=threads)
    assert executable.report.threads == threads
    check(executable, samples(graph, 3), 6)


@pytest.mark.parametrize("threads", [1, 3])
def test_eight_callers_of_one_executable(threads):
    graph = network()
    executable, pairs = build(graph, threads=threads), samples(graph, 8)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(check, executable, pairs[i:], 40) for i in range(8)]:
            done.result(timeout=120)
    assert 1 <= len(executable.prepare({})._frames) <= 8


def test_several_executables_at_once():
    graphs = [network(seed) for seed in range(4)]
    pairs = [samples(g, 2) for g in graphs]
    # compiled at once, too
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(build, g, threads=1 + i % 3) for i, g in enumerate(graphs)]
        executables = [job.result(timeout=120) for job in jobs]
        runs = [pool.submit(check, e, p, 30) for e, p in zip(executables, pairs, strict=True)]
        for done in runs:
            done.result(timeout=120)


def test_callers_with_different_sizes():
    graph = network(batch="N")
    executable = build(graph, threads=2)
    pairs = [samples(graph, 1, batch) for batch in range(1, 6)]
    with ThreadPoolExecutor(5) as pool:
        for done in [pool.submit(check, executable, p, 10) for p in pairs]:
            done.result(timeout=120)


def helping_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("irconv")]


def test_nothing_spins_when_idle():
    graph = network()
    check(build(graph, threads=3), samples(graph, 2), 5)
    helpers = helping_threads()
    assert helpers
    before = time.process_time()
    time.sleep(0.5)
    assert time.process_time() - before < 0.25


def test_more_threads_replace_fewer():
    graph = network()
    pairs = samples(graph, 2)
    for threads in (2, 6, 2):
        check(build(graph, threads=threads), pairs, 3)
    assert len([t for t in helping_threads() if t.is_alive()]) <= 6


@pytest.fixture
def workers(monkeypatch) -> Iterator[driver._Workers]:
    """New helping threads, of this test only."""
    found = driver._Workers()
    monkeypatch.setattr(driver, "_workers", found)
    yield found
    found.close()
    assert not found.threads


def test_a_run_goes_on_where_threads_cannot_be_started(workers, monkeypatch):
    graph = network()
    pairs = samples(graph, 2)

    class Exhausted(threading.Thread):
        left = 0

        def start(self) -> None:
            if not Exhausted.left:
                raise RuntimeError("can't start new thread")
            Exhausted.left -= 1
            super().start()

    monkeypatch.setattr(driver.threading, "Thread", Exhausted)
    executable = build(graph, threads=4)
    for started in (0, 1, 2):
        check(executable, pairs, 4)
        assert len(workers.threads) == started
        Exhausted.left = 1


def test_a_run_that_is_interrupted_while_it_starts_leaves_nothing_behind(workers, monkeypatch):
    graph = network()
    pairs = samples(graph, 2)
    executable = build(graph, threads=3)

    class Interrupted(threading.Thread):
        count = 0

        def start(self) -> None:
            Interrupted.count += 1
            if Interrupted.count == 2:
                raise KeyboardInterrupt
            super().start()

    monkeypatch.setattr(driver.threading, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        executable(pairs[0][0])
    check(executable, pairs, 3)
    assert len(workers.threads) == 2


def in_child(executable: Executable, pairs: list, queue) -> None:
    signal.alarm(60)
    answer = "failed"
    try:
        check(executable, pairs, 3)
        answer = "right"
    finally:
        queue.put(answer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_computes():
    graph = network()
    executable, pairs = build(graph, threads=3), samples(graph, 2)
    check(executable, pairs, 3)
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            check(executable, pairs, 1)

    worker = threading.Thread(target=busy)
    worker.start()
    try:
        method = multiprocessing.get_context("fork")
        for _ in range(3):
            queue = method.Queue()
            child = method.Process(target=in_child, args=(executable, pairs, queue))
            child.start()
            assert queue.get(timeout=90) == "right"
            child.join(30)
            assert child.exitcode == 0
    finally:
        stop.set()
        worker.join()
    check(executable, pairs, 2)


def in_compiling_child(queue) -> None:
    signal.alarm(60)
    try:
        native.compiled(doubled, (types.CPointer(types.int64),))
        queue.put("compiled")
    finally:
        queue.put("failed")


def doubled(word) -> None:
    word[0] *= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_while_another_thread_compiles_leaves_a_child_that_compiles(monkeypatch):
    compiling, going_on = threading.Event(), threading.Event()
    compile_ = native._compile

    def slow(*arguments):
        compiling.set()
        going_on.wait(0.3)
        return compile_(*arguments)

    monkeypatch.setattr(native, "_addresses", {})
    monkeypatch.setattr(native, "_load", lambda key: None)
    monkeypatch.setattr(native, "_compile", slow)
    thread = threading.Thread(target=native.compiled, args=(doubled, (types.CPointer(types.int8),)))
    thread.start()
    assert compiling.wait(60)
    method = multiprocessing.get_context("fork")
    queue = method.Queue()
    child = method.Process(target=in_compiling_child, args=(queue,))
    child.start()
    assert queue.get(timeout=90) == "compiled"
    child.join(30)
    thread.join(60)
    assert len(native._addresses) == 1


def test_a_spawned_child_computes_what_was_pickled():
    graph = network()
    executable, pairs = build(graph, threads=2), samples(graph, 2)
    method = multiprocessing.get_context("spawn")
    queue = method.Queue()
    child = method.Process(target=in_child, args=(executable, pairs, queue))
    child.start()
    assert queue.get(timeout=90) == "right"
    child.join(30)


def test_a_program_that_ends_after_a_run_ends():
    program = (
        "import atexit, numpy as np, irconv\n"
        "from tests.test_cpu_backend_threads import network, samples\n"
        "g = network()\n"
        "(x, y), = samples(g, 1)\n"
        "e = irconv.compile(g, threads=3)\n"
        "def last(): print('last', np.array_equal(e(x)[0], y))\n"
        "atexit.register(last)\n"
        "print('first', np.array_equal(e(x)[0], y))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert ran.stdout == "first True\nlast True\n", ran.stderr
    assert ran.returncode == 0
