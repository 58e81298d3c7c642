"""Runs graphs on the CPU backend with every buffer between guard zones, beside `Op.run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.backend import Options
from irconv.backends.numba_cpu import NumbaCpu
from irconv.backends.numba_cpu.program import CpuProgram
from irconv.graph import Graph, Value
from irconv.interpret import interpret
from irconv.op import Op
from irconv.report import OP_RUN, NodeReport
from irconv.types import Array, TensorType
from irconv.verify import verify

F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
GUARD = 4096  # bytes on each side: more than any stray vector
BLANK = 0xFF  # of each byte, so that whatever is read unwritten is NaN, or -1


@dataclass(frozen=True)
class Const:
    """An operand that is a parameter of the graph, not an input of the call."""

    array: Any


class Guarded:
    """An array of its own between two guard zones, all bytes of which are BLANK."""

    def __init__(self, dtype: Any, shape: Sequence[int], values: Array | None = None) -> None:
        dtype = np.dtype(dtype)
        nbytes = int(np.prod(shape)) * dtype.itemsize
        self.space = np.full(nbytes + 2 * GUARD + 64, BLANK, np.uint8)
        self.start = GUARD + -(self.space.ctypes.data + GUARD) % 64
        self.end = self.start + nbytes
        self.array = self.space[self.start : self.end].view(dtype).reshape(shape)
        if values is not None:
            self.array[...] = values
        self.before = self.array.tobytes()

    def check(self, name: str, written: bool) -> None:
        assert (self.space[: self.start] == BLANK).all(), f"{name}: written before its begin"
        assert (self.space[self.end :] == BLANK).all(), f"{name}: written past its end"
        if not written:
            assert self.array.tobytes() == self.before, f"{name} was written"


def compiled(graph: Graph, threads: int = 1) -> CpuProgram:
    """The program of the graph as it stands."""
    verify(graph)
    return NumbaCpu().compile(graph, Options(threads=threads), "")


def run_guarded(program: CpuProgram, arrays: Sequence[Array]) -> list[Array]:
    """One call with arena, inputs, outputs and constants between guards, blank beforehand."""
    inputs = [Guarded(a.dtype, a.shape, a) for a in arrays]
    outputs = [Guarded(slot.dtype, slot.shape) for slot in program.outputs]
    constants = [Guarded(a.dtype, a.shape, a) for a in program.constants]
    program.constants[:] = [c.array for c in constants]
    arena = Guarded(np.uint8, [program.arena_bytes])
    frame = program.new_frame(arena.array)
    found = [g.array for g in outputs]
    program.run(frame, [g.array for g in inputs], found)
    for guarded in (*inputs, *constants):
        guarded.check("an operand", written=False)
    for guarded in (*outputs, arena):
        guarded.check("a result", written=True)
    return [array.copy() for array in found]


def one_node(op: Op, *operands: Any) -> tuple[Graph, dict[str, Array]]:
    """A graph of one node, all its results outputs, and its inputs.

    Operands are arrays (inputs), Const (parameters) or None.
    """
    graph = Graph("case")
    inputs: dict[str, Array] = {}
    values: list[Value | None] = []
    for i, given in enumerate(operands):
        if given is None:
            values.append(None)
        elif isinstance(given, Const):
            values.append(graph.add_parameter(f"p{i}", np.asarray(given.array)))
        else:
            array = np.asarray(given)
            inputs[f"x{i}"] = array
            values.append(graph.add_input(f"x{i}", TensorType(array.dtype, array.shape)))
    node = graph.add_node(op, values)
    graph.set_outputs(node.results)
    return graph, inputs


def run_both(
    graph: Graph, inputs: dict[str, Array], threads: int = 1, float64: bool = False
) -> tuple[list[Array], list[Array], tuple[NodeReport, ...]]:
    """(by the backend, by `Op.run`, the report's nodes)."""
    program = compiled(graph, threads)
    arrays = [inputs[v.name] for v in graph.inputs]
    found = run_guarded(program, arrays)
    named = interpret(graph, inputs, float64=float64)
    expected = [named[v.name] for v in graph.outputs]
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype or float64
    return found, expected, program.report.nodes


def check_exact(
    op: Op, *operands: Any, threads: int = 1, fallback: bool | None = False
) -> NodeReport:
    """The backend gives what `Op.run` gives, bit for bit but for the signs of zeros and NaN."""
    graph, inputs = one_node(op, *operands)
    found, expected, nodes = run_both(graph, inputs, threads)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=f"{op}\n{graph}")
    if fallback is not None:
        assert (nodes[0].kernel == OP_RUN) == fallback, (nodes[0], str(graph))
    return nodes[0]


def check_near(op: Op, *operands: Any, ulps: Any = 4, floor: float = 0.0) -> None:
    """The backend is within `ulps` (of each element) of `Op.run` in float64, where that is finite.

    `floor` is added to what is allowed: the size of terms that cancel, times 2^-24.
    """
    graph, inputs = one_node(op, *operands)
    (found,), (expected,), nodes = run_both(graph, inputs, float64=True)
    assert nodes[0].kernel != OP_RUN
    assert_ulps(found, expected, ulps, floor, str(graph))


def assert_ulps(found: Array, expected: Array, ulps: Any, floor: float, what: str) -> None:
    ulps = np.broadcast_to(np.float64(ulps), found.shape)
    with np.errstate(all="ignore"):
        rounded = expected.astype(found.dtype)
        unit = np.spacing(np.abs(rounded)).astype(F64)
        odd = ~np.isfinite(rounded)
    np.testing.assert_array_equal(found[odd], rounded[odd], err_msg=what)
    gap = np.abs(found[~odd].astype(F64) - expected[~odd])
    excess = gap / (unit[~odd] * ulps[~odd] + floor)
    assert excess.size == 0 or excess.max() <= 1, (what, excess.max())


def assert_within_policy(found: Array, y64: Array, size: Array, depth: int, what: str) -> None:
    """|y - y64| <= (K + 3) * 2^-24 * (sum|x||w| + |b| + |r|)."""
    unit = 2.0**-24 if found.dtype == F32 else 2.0**-52
    excess = np.abs(found - y64) - (depth + 3) * unit * size
    assert (excess <= 0).all(), (what, excess.max())


def integers(
    rng: np.random.Generator, shape: Sequence[int], dtype: Any = F32, most: int = 4
) -> Array:
    """Small integers as `dtype`."""
    return rng.integers(-most, most + 1, shape).astype(dtype)


def some_shape(rng: np.random.Generator, rank: int | None = None, most: int = 6) -> list[int]:
    """A random shape; sizes 1 often, 0 at times."""
    rank = int(rng.integers(0, 6)) if rank is None else rank
    sizes = rng.integers(1, most + 1, rank)
    sizes[rng.random(rank) < 0.25] = 1
    sizes[rng.random(rank) < 0.04] = 0
    return [int(n) for n in sizes]
