"""A graph as a list of kernel launches over buffers on the device."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numba.cuda.core.errors import NumbaPerformanceWarning

from irconv.backend import Options
from irconv.backends.numba_cuda.device import SIMULATED, THREADS, blocks, cuda
from irconv.backends.numba_cuda.host import run_on_host
from irconv.backends.numba_cuda.launch import Argument, Launch
from irconv.backends.numba_cuda.listing import source_text
from irconv.backends.numba_cuda.memory import Buffers, is_static, nbytes, rows_on_device
from irconv.backends.numba_cuda.table import bind, kernel_names, views
from irconv.errors import GraphError, printable
from irconv.graph import Graph, Node, Value
from irconv.interpret import content
from irconv.report import OP_RUN, Memory, NodeReport, Report, node_report
from irconv.types import AnyDType, Array, MatrixType

# the simulator runs one kernel at a time in the whole process
_SIMULATOR = threading.RLock()


@dataclass(frozen=True)
class _Step:
    """A kernel with its grid and its device arrays."""

    launch: Callable[..., None]
    arrays: tuple[Any, ...]


class CudaProgram:
    """A compiled graph; calls from several threads run one after the other, on one arena."""

    report: Report

    def __init__(self, graph: Graph, options: Options, pipeline: str) -> None:
        self._graph = graph
        self._bound = [(node, bind(node)) for node in graph]
        self._buffers = Buffers(graph, views(graph))
        self._lock = _SIMULATOR if SIMULATED else threading.RLock()
        self._steps: list[_Step | Node] = []
        self._faulty: list[Node] = []
        self._nothing: dict[AnyDType, Any] = {}
        self._link()
        self.report = self._report(options, pipeline)

    @property
    def source(self) -> str:
        """One line for each buffer, view, launch and node on the host; internal names only."""
        return source_text(self._graph, self._bound, self._buffers)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        with self._lock, _quiet():
            return self._run(dict(zip(self._graph.inputs, arrays, strict=True)))

    # -- linking ---------------------------------------------------------------------------------

    def _link(self) -> None:
        """Gives every launch its arrays."""
        launches = [one for _, bound in self._bound if not isinstance(bound, str) for one in bound]
        numbers = iter(rows_on_device([one.numbers for one in launches], np.dtype(np.int64)))
        parameters = _parameters(launches)
        faulty = [n for n, bound in self._bound if not isinstance(bound, str) and _faults(bound)]
        self._faulty = faulty
        self._faults = cuda.to_device(np.zeros(max(1, len(faulty)), np.int32))
        for node, bound in self._bound:
            if isinstance(bound, str):
                self._steps.append(node)
                continue
            for one in bound:
                arrays = [self._argument(argument, node) for argument in one.arguments]
                arrays += [next(numbers), next(parameters[one.dtype])]
                if one.count:
                    self._steps.append(_Step(_launcher(one), tuple(arrays)))

    def _argument(self, argument: Argument, node: Node) -> Any:
        if argument.fault:
            place = self._faulty.index(node)
            return self._faults[place : place + 1]
        if argument.value is None:
            return self._nothing.setdefault(argument.dtype, cuda.device_array(1, argument.dtype))
        return self._buffers.array(argument)

    # -- running ---------------------------------------------------------------------------------

    def _run(self, host: dict[Value, Any]) -> list[Array]:
        for value, array in host.items():
            self._buffers.upload(value, array)
        self._faults.copy_to_device(np.zeros(max(1, len(self._faulty)), np.int32))
        for step in self._steps:
            if isinstance(step, Node):
                self._run_on_host(step, host)
            else:
                step.launch(*step.arrays)
        self._check_faults()
        return [self._fresh(value, host) for value in self._graph.outputs]

    def _run_on_host(self, node: Node, host: dict[Value, Any]) -> None:
        results = run_on_host(node, lambda value: self._read(value, host))
        for value, array in zip(node.results, results, strict=True):
            if is_static(value):
                self._buffers.upload(value, array)
            else:
                host[value] = array

    def _read(self, value: Value, host: dict[Value, Any]) -> Any:
        """A value on the host. A matrix whose index is fixed is made where it is read."""
        if value.is_parameter:
            return content(value)
        if value in host:
            return host[value]
        if isinstance(value.type, MatrixType) and value.producer is not None:
            return run_on_host(value.producer, lambda operand: self._read(operand, host))[0]
        return self._buffers.download(value)

    def _fresh(self, value: Value, host: dict[Value, Any]) -> Array:
        """An output that the caller owns."""
        array: Array = self._read(value, host)
        return np.array(array) if value.is_parameter or value in host else array

    def _check_faults(self) -> None:
        if not self._faulty:
            return
        found = np.flatnonzero(self._faults.copy_to_host())
        if found.size:
            node = self._faulty[int(found[0])]
            raise GraphError(
                f"{node.op.name}: an index is out of range", where=f"%{printable(node.name)}"
            )

    # -- telling ---------------------------------------------------------------------------------

    def _report(self, options: Options, pipeline: str) -> Report:
        nodes = tuple(_node_report(node, bound) for node, bound in self._bound)
        memory = Memory(
            arena=self._buffers.arena_bytes,
            weights=self._buffers.weight_bytes,
            outputs=sum(nbytes(v) for v in self._graph.outputs if is_static(v)),
        )
        notes = ("run by the CUDA simulator, on the CPU",) if SIMULATED else ()
        return Report(
            "numba_cuda", pipeline, options.precision, 1, (), nodes, memory, 0.0, notes=notes
        )


def _launcher(launch: Launch) -> Callable[..., None]:
    kernel, grid = launch.kernel, (blocks(launch.count), THREADS)
    if SIMULATED:
        return partial(_simulate, kernel, grid)
    with warnings.catch_warnings():
        # that a small result has a small grid is no mistake
        warnings.simplefilter("ignore", NumbaPerformanceWarning)
        configured: Callable[..., None] = kernel[grid]
    return configured


def _simulate(kernel: Any, grid: tuple[int, int], *arrays: Any) -> None:
    """There the grid is a state of the kernel, so it is set at each launch."""
    kernel[grid](*arrays)


def _parameters(launches: Sequence[Launch]) -> dict[AnyDType, Iterator[Any]]:
    rows: dict[AnyDType, list[tuple[float, ...]]] = {}
    for one in launches:
        rows.setdefault(one.dtype, []).append(one.parameters)
    return {dtype: iter(rows_on_device(found, dtype)) for dtype, found in rows.items()}


def _faults(launches: Sequence[Launch]) -> bool:
    return any(argument.fault for one in launches for argument in one.arguments)


def _node_report(node: Node, bound: Sequence[Launch] | str) -> NodeReport:
    note = bound if isinstance(bound, str) else ""
    kernel = OP_RUN if isinstance(bound, str) else kernel_names(node, bound)
    values = [v for v in (*node.operands, *node.results) if v is not None]
    if any(v.type.symbols() for v in values):
        return NodeReport(node.name, node.op.name, kernel, 0, 0, 0, 0, note)
    return node_report(node, kernel, 0, note)


@contextmanager
def _quiet() -> Iterator[None]:
    """The simulator computes with NumPy's numbers, which warn where IEEE arithmetic does not."""
    if not SIMULATED:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
