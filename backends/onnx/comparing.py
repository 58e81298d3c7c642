"""Compares a written model with irconv's interpreter on the same inputs, at several batch sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from irconv.backends.onnx import sessions
from irconv.backends.onnx.empty import batch_symbol
from irconv.backends.onnx.proto import Model, value_info
from irconv.backends.onnx.samples import cases, continues, is_batched, is_large, sizes_of
from irconv.backends.onnx.sessions import LacksOpError, Run
from irconv.errors import ExportError, IrconvError, NumericsError, printable
from irconv.graph import Graph, Value
from irconv.interpret import interpret
from irconv.types import Array, dtype_name

# the numbers policy for whole networks
TOLERANCE = 1e-3
# half precision has few bits: the policy's factor above its own epsilon
_TOLERANCES = {"f16": 8e-3, "bf16": 6e-2}
# a second input must move an output by this many tolerances, or the comparison proves little
MOVES = 100
_QUANTIZING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "Round", "Cast"})


@dataclass(frozen=True)
class Verdict:
    """How far the model is from the interpreter, and who ran it."""

    error: float | None
    runtime: str
    batches: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def compare(
    graph: Graph, model: Model, path: str, inputs: Mapping[str, Any] | Sequence[Any] | None
) -> Verdict:
    """Runs the file at `path` and the interpreter. Raises NumericsError where they differ."""
    run, runtime, notes = _opened(graph, model, path)
    watched = softmax_inputs(graph)
    wide = _opened_wide(model, watched) if watched and runtime == sessions.runtime_name() else None
    names = tuple(v.name for v in graph.outputs)
    check = _Check(graph, run, names, ())
    if wide is not None:
        check = _Check(graph, wide, (*names, *(v.name for v in watched)), watched)
    for case in cases(graph, inputs):
        check.check(case)
    if wide is not None:
        check.confirm(run, names)
    if check.shapes_only:
        notes += ("random: only shapes were compared",)
    elif len(check.batches) > 1 and not check.moved:
        notes += ("the inputs of the comparison hardly move the outputs",)
    error = None if check.shapes_only else check.error
    return Verdict(error, runtime, tuple(dict.fromkeys(check.batches)), notes)


class _Check:
    """Runs the interpreter and a session on the same cases, and remembers what they showed."""

    def __init__(
        self, graph: Graph, run: Run, names: Sequence[str], watched: Sequence[Value]
    ) -> None:
        self.graph = graph
        self.run = run
        self.names = names
        self.watched = watched
        self.shapes_only = any(node.op.random for node in graph)
        self.may_round = any(node.op.name in _QUANTIZING for node in graph)
        self.error = 0.0
        self.moved = False
        self.batches: list[int] = []
        self.first: tuple[Mapping[str, Array], Mapping[str, Array]] | None = None

    def check(self, case: Mapping[str, Array]) -> None:
        """Raises NumericsError where the results differ."""
        got = dict(zip(self.names, _run(self.run, case), strict=True))
        expected = self._from_single_images(case, got) or _expected(self.graph, case, self.watched)
        for name in self.names:
            self._compare(name, got[name], expected[name])
        self.batches.append(next((int(a.shape[0]) for a in case.values() if a.ndim), 1))
        if self.first is None:
            self.first = case, expected
        self.moved = self.moved or self._has_moved(expected)

    def confirm(self, run: Run, names: Sequence[str]) -> None:
        """Compares another session, that of the file itself, on the first case."""
        assert self.first is not None
        case, expected = self.first
        for name, got in zip(names, _run(run, case), strict=True):
            self._compare(name, got, expected[name])

    def _from_single_images(
        self, case: Mapping[str, Array], got: Mapping[str, Array]
    ) -> dict[str, Array] | None:
        """What a large network must give for [the first case, another image].

        The first image was interpreted; of the other the model's own result alone is taken. None
        where that is not what came: the images may depend on each other, and the interpreter has to
        tell.
        """
        batch = batch_symbol(self.graph.inputs)
        if (
            self.first is None
            or batch is None
            or not is_large(self.graph, sizes_of(self.graph, case))
        ):
            return None
        single, known = self.first
        if not continues(self.graph, batch, single, case):
            return None
        other = {
            v.name: case[v.name][1:] if is_batched(v, batch) else case[v.name]
            for v in self.graph.inputs
        }
        alone = dict(zip(self.names, _run(self.run, other), strict=True))
        if any(not alone[n].ndim or alone[n].shape != known[n].shape for n in self.names):
            return None
        both = {name: np.concatenate([known[name], alone[name]]) for name in self.names}
        near = all(
            got[n].shape == both[n].shape and self._difference(got[n], both[n]) <= allowed(both[n])
            for n in self.names
        )
        return both if near else None

    def _difference(self, got: Array, reference: Array) -> float:
        return difference(got, reference, self.may_round)

    def _compare(self, name: str, got: Array, expected: Array) -> None:
        where = f"output {printable(name)}"
        if got.shape != expected.shape or got.dtype != expected.dtype:
            raise NumericsError(
                "the exported model gives another type",
                where=where,
                expected=f"{expected.dtype}{list(expected.shape)}",
                got=f"{got.dtype}{list(got.shape)}",
            )
        error = 0.0 if self.shapes_only else self._difference(got, expected)
        if not error <= allowed(expected):
            raise NumericsError(
                "the exported model gives other numbers; nothing was written",
                where=where,
                expected=f"a difference of at most {allowed(expected):g} of the largest value",
                got=f"{error:.3g}",
            )
        self.error = max(self.error, error)

    def _has_moved(self, expected: Mapping[str, Array]) -> bool:
        """Whether the last image gives what the first one did not."""
        assert self.first is not None
        for name, before in self.first[1].items():
            after = expected[name]
            if after.ndim and before.ndim:
                before, after = before[:1], after[-1:]
            if after.shape == before.shape and after.size:
                gap = difference(after, before)
                if gap >= min(1.0, MOVES * allowed(after)):
                    return True
        return False


def allowed(reference: Array) -> float:
    """The difference that is tolerated, relative to the largest value."""
    return _TOLERANCES.get(dtype_name(reference.dtype), TOLERANCE)


def _opened(graph: Graph, model: Model, path: str) -> tuple[Run, str, tuple[str, ...]]:
    types = [v.tensor_type for v in (*graph.inputs, *graph.outputs)]
    try:
        run = sessions.open_session(path, threads=1)
        if not sessions.exchanged(types):
            raise LacksOpError("an element type that is not exchanged as an array")
    except LacksOpError as lack:
        try:
            return (
                sessions.open_reference(model),
                sessions.reference_name(),
                (f"onnxruntime lacks: {lack}",),
            )
        except Exception as error:
            raise ExportError(
                "neither onnxruntime nor ONNX's reference can run the model", got=printable(error)
            ) from error
    return run, sessions.runtime_name(), ()


def _opened_wide(model: Model, watched: Sequence[Value]) -> Run:
    """A session that also gives what a final Softmax gets: one-hot results hide errors."""
    proto = type(model.proto)()
    proto.CopyFrom(model.proto)
    proto.graph.output.extend(value_info(v.name, v.tensor_type) for v in watched)
    return sessions.open_session(replace(model, proto=proto), threads=1)


def softmax_inputs(graph: Graph) -> tuple[Value, ...]:
    """The inputs of the Softmax nodes that end the network, where a node computes them."""
    found = []
    for value in graph.outputs:
        node = value.producer
        while node is not None and node.op.name in {"Identity", "Reshape", "Flatten", "Squeeze"}:
            source = node.operand(0)
            node = source.producer if source is not None else None
        if node is not None and node.op.name in {"Softmax", "LogSoftmax"}:
            logits = node.operand(0)
            if logits is not None and logits.producer is not None and not logits.is_output:
                found.append(logits)
    return tuple(dict.fromkeys(found))


def _run(run: Run, case: Mapping[str, Array]) -> list[Array]:
    try:
        return run(case)
    except Exception as error:
        shapes = ", ".join(f"{printable(k)} {list(a.shape)}" for k, a in case.items())
        raise ExportError(
            "the exported model fails when it runs", where=shapes, got=printable(error, 400)
        ) from error


def _expected(
    graph: Graph, case: Mapping[str, Array], watched: Sequence[Value]
) -> dict[str, Array]:
    seen: dict[str, Array] = {}

    def watch(value: Value, array: Array) -> None:
        if value in watched:
            seen[value.name] = np.array(array)

    try:
        return {**interpret(graph, case, watch=watch), **seen}
    except IrconvError as error:
        raise ExportError(
            f"the interpreter cannot run the check: {error}", hint="give inputs=, or check=False"
        ) from error


def difference(got: Array, reference: Array, may_round: bool = False) -> float:
    """max|got - reference| / max|reference|; infinite where NaN or infinities differ.

    Integers and booleans must be equal; with `may_round` (the graph rounds floats) integers may
    differ by 1.
    """
    if not got.size:
        return 0.0
    if got.dtype.kind in "biu":
        gap = np.abs(got.astype(object) - reference.astype(object)).max()
        return 0.0 if gap <= (1 if may_round and got.dtype.kind != "b" else 0) else math.inf
    a, b = got.astype(_wide(got)), reference.astype(_wide(reference))
    finite = np.isfinite(b)
    if not np.array_equal(np.where(finite, 0, a), np.where(finite, 0, b), equal_nan=True):
        return math.inf
    with np.errstate(all="ignore"):
        gap = float(np.abs(np.where(finite, a - b, 0)).max())
        scale = float(np.abs(np.where(finite, b, 0)).max())
    if not gap:
        return 0.0
    return gap / scale if scale and math.isfinite(gap) else math.inf


def _wide(array: Array) -> Any:
    return np.complex128 if array.dtype.kind == "c" else np.float64
