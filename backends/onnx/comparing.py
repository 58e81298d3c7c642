"""Compares a written model with irconv's interpreter on the same inputs, at several batch sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from irconv.backends.onnx import sessions
from irconv.backends.onnx.proto import Model, _value_info
from irconv.backends.onnx.sessions import LacksOp, Run
from irconv.dim import Expr, symbols_of
from irconv.errors import ExportError, IrconvError, NumericsError, printable
from irconv.graph import Graph, Value
from irconv.inputs import bind_symbols, check_inputs
from irconv.interpret import interpret
from irconv.report import graph_cost
from irconv.specialize import specialize
from irconv.types import Array, TensorType, dtype_name

# the numbers policy for whole networks
TOLERANCE = 1e-3
# half precision has few bits: the policy's factor above its own epsilon
_TOLERANCES = {"f16": 8e-3, "bf16": 6e-2}
# a second input must move an output by this many tolerances, or the comparison proves little
MOVES = 100
# above this many multiply-adds for one image, fewer batch sizes are tried
LARGE_MACS = 1_000_000_000
# tried for a size that is no batch, such as a symbolic height
_FREE_SIZES = (16, 32, 64, 128, 224, 8, 4, 2, 1)
_QUANTIZING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "Round", "Cast"})


@dataclass(frozen=True)
class Verdict:
    """How far the model is from the interpreter, and who ran it."""

    error: float | None
    runtime: str
    batches: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Tally:
    """What the cases showed so far."""

    error: float = 0.0
    moves: dict[str, bool] = field(default_factory=dict)
    first: dict[str, Array] = field(default_factory=dict)


def compare(
    graph: Graph, model: Model, path: str, inputs: Mapping[str, Any] | Sequence[Any] | None
) -> Verdict:
    """Runs the file at `path` and the interpreter. Raises NumericsError where they differ."""
    run, runtime, notes = _opened(graph, model, path)
    watched = softmax_inputs(graph)
    wide = _opened_wide(model, watched) if watched and runtime == sessions.runtime_name() else None
    tally = _Tally()
    is_random = any(node.op.random for node in graph)
    batches = []
    for index, case in enumerate(cases(graph, inputs)):
        expected = _expected(graph, case, watched)
        outputs = [v.name for v in graph.outputs]
        if index == 0 or wide is None:
            _check_all(graph, outputs, _run(run, case), expected, is_random, tally)
        if wide is not None:
            names = [*outputs, *(v.name for v in watched)]
            _check_all(graph, names, _run(wide, case), expected, is_random, tally)
        _note_moves(tally, expected)
        batches.append(next((int(a.shape[0]) for a in case.values() if a.ndim), 1))
    if is_random:
        return Verdict(None, runtime, tuple(batches), (*notes, "random: only shapes were compared"))
    if len(batches) > 1 and not any(tally.moves.values()):
        notes += ("the inputs of the comparison hardly move the outputs",)
    return Verdict(tally.error, runtime, tuple(batches), notes)


def _opened(graph: Graph, model: Model, path: str) -> tuple[Run, str, tuple[str, ...]]:
    types = [v.tensor_type for v in (*graph.inputs, *graph.outputs)]
    try:
        run = sessions.open_session(path, threads=1)
        if not sessions.exchanged(types):
            raise LacksOp("an element type that is not exchanged as an array")
    except LacksOp as lack:
        try:
            return sessions.open_reference(model), sessions.reference_name(), (
                f"onnxruntime lacks: {lack}",
            )
        except Exception as error:
            raise ExportError(
                "neither onnxruntime nor ONNX's reference can run the model", got=printable(error)
            ) from error
    return run, sessions.runtime_name(), ()


def _opened_wide(model: Model, watched: Sequence[Value]) -> Run:
    """A session that also gives what a final Softmax gets: a one-hot softmax would hide any error."""
    proto = type(model.proto)()
    proto.CopyFrom(model.proto)
    proto.graph.output.extend(_value_info(v.name, v.tensor_type) for v in watched)
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


def _expected(graph: Graph, case: Mapping[str, Array], watched: Sequence[Value]) -> dict[str, Array]:
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


def _check_all(
    graph: Graph,
    names: Sequence[str],
    got: Sequence[Array],
    expected: Mapping[str, Array],
    shapes_only: bool,
    tally: _Tally,
) -> None:
    for name, array in zip(names, got, strict=False):
        reference = expected[name]
        where = f"output {printable(name)}"
        if array.shape != reference.shape or array.dtype != reference.dtype:
            raise NumericsError(
                "the exported model gives another type",
                where=where,
                expected=f"{reference.dtype}{list(reference.shape)}",
                got=f"{array.dtype}{list(array.shape)}",
            )
        if shapes_only:
            continue
        error = difference(array, reference, _may_round(graph))
        allowed = _TOLERANCES.get(dtype_name(reference.dtype), TOLERANCE)
        if not error <= allowed:
            raise NumericsError(
                "the exported model gives other numbers; nothing was written",
                where=where,
                expected=f"a difference of at most {allowed:g} of the largest value",
                got=f"{error:.3g}",
            )
        tally.error = max(tally.error, error)


def _may_round(graph: Graph) -> bool:
    return any(node.op.name in _QUANTIZING for node in graph)


def difference(got: Array, reference: Array, may_round: bool = False) -> float:
    """max|got - reference| / max|reference|; infinite where NaN or infinities differ.

    Integers and booleans must be equal; with `may_round` (the graph rounds floats) integers may differ by 1.
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


def _note_moves(tally: _Tally, expected: Mapping[str, Array]) -> None:
    for name, array in expected.items():
        image = array[:1] if array.ndim else array
        before = tally.first.setdefault(name, image)
        if image is not before and image.shape == before.shape and image.size:
            allowed = _TOLERANCES.get(dtype_name(array.dtype), TOLERANCE)
            moved = difference(image, before) >= min(1.0, MOVES * allowed)
            tally.moves[name] = tally.moves.get(name, False) or bool(moved)


# -- inputs --------------------------------------------------------------------------------------


def cases(
    graph: Graph, given: Mapping[str, Any] | Sequence[Any] | None
) -> Iterator[dict[str, Array]]:
    """The inputs to compare on: those given, and others for each batch size that is tried."""
    names = [v.name for v in graph.inputs]
    sizes: dict[str, int] = {}
    base: dict[str, Array] | None = None
    if given is not None:
        arrays = check_inputs(graph.inputs, given)
        base = dict(zip(names, arrays, strict=True))
        sizes = bind_symbols(graph.inputs, arrays)
        yield base
    batch = batch_symbol(graph)
    if not sizes:
        sizes = _free_sizes(graph, batch)
    for index, count in enumerate(_batches(graph, batch, sizes)):
        wanted = sizes | ({batch: count} if batch is not None else {})
        if base is None:
            yield _random(graph, wanted, index)
        elif batch is not None and count != sizes[batch]:
            yield _resized(graph, base, batch, count)


def batch_symbol(graph: Graph) -> str | None:
    """The symbol that is the first size of an input by itself."""
    for value in graph.inputs:
        first = value.shape[0] if value.shape else 1
        if isinstance(first, Expr) and str(first) in symbols_of(first):
            return str(first)
    return None


def _batches(graph: Graph, batch: str | None, sizes: Mapping[str, int]) -> tuple[int, ...]:
    if batch is None:
        return (1, 1)
    macs = graph_cost(specialize(graph, {**sizes, batch: 1})).macs
    large = not isinstance(macs, int) or macs > LARGE_MACS
    return (1, 2) if large else (1, 2, 7)


def _free_sizes(graph: Graph, batch: str | None) -> dict[str, int]:
    """Sizes for the symbols that are no batch: the first at which all shapes are right."""
    free = [s for s in graph.symbols() if s != batch]
    known = {batch: 1} if batch is not None else {}
    if not free:
        return dict(known)
    for size in _FREE_SIZES:
        sizes = {**known, **dict.fromkeys(free, size)}
        try:
            specialize(graph, sizes)
        except IrconvError:
            continue
        return sizes
    raise ExportError(
        "no sizes were found for the symbols of the inputs",
        got=", ".join(map(printable, free)),
        hint="give inputs=, or check=False",
    )


def _random(graph: Graph, sizes: Mapping[str, int], seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    types = {v.name: v.tensor_type.substitute(sizes) for v in graph.inputs}
    return {name: random_array(t, rng) for name, t in types.items()}


def random_array(t: TensorType, rng: np.random.Generator) -> Array:
    """Numbers of unit variance; bytes of any value; other integers 0 or 1, which are indices of anything."""
    shape = [int(str(d)) for d in t.shape]
    match dtype_name(t.dtype):
        case "bool":
            return rng.integers(0, 2, shape).astype(np.bool_)
        case "u8":
            return rng.integers(0, 256, shape).astype(np.uint8)
        case "i8":
            return rng.integers(-128, 128, shape).astype(np.int8)
        case name if name[0] in "iu":
            return rng.integers(0, 2, shape).astype(t.dtype)
    return rng.standard_normal(shape, np.float32).astype(t.dtype)


def _resized(graph: Graph, base: Mapping[str, Array], batch: str, count: int) -> dict[str, Array]:
    """The given inputs with another number of images, repeated in turn."""
    found = {}
    for value in graph.inputs:
        array = base[value.name]
        for axis, dim in enumerate(value.shape):
            if isinstance(dim, Expr) and str(dim) == batch:
                array = np.take(array, np.arange(count) % max(1, array.shape[axis]), axis)
        found[value.name] = np.ascontiguousarray(array)
    return found
