"""The inputs on which an exported model is compared: given or random, at several batch sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from irconv.backends.onnx.empty import batch_symbol
from irconv.dim import Expr, symbols_of
from irconv.errors import ExportError, IrconvError, printable
from irconv.graph import Graph, Value
from irconv.inputs import bind_symbols, check_inputs
from irconv.report import graph_cost
from irconv.specialize import specialize
from irconv.types import Array, TensorType, dtype_name

# above this many multiply-adds for one image, only one image is interpreted
LARGE_MACS = 100_000_000
# tried for a size that is no batch, such as a symbolic height
_FREE_SIZES = (16, 32, 64, 128, 224, 8, 4, 2, 1)


def sizes_of(graph: Graph, case: Mapping[str, Array]) -> dict[str, int]:
    """The sizes of the symbols in a case."""
    return bind_symbols(graph.inputs, [case[v.name] for v in graph.inputs])


def is_batched(value: Value, batch: str) -> bool:
    """Whether the first size of an input is the batch."""
    return bool(value.shape) and str(value.shape[0]) == batch


def continues(
    graph: Graph, batch: str, single: Mapping[str, Array], case: Mapping[str, Array]
) -> bool:
    """Whether `case` is the single image of the first case and one more."""
    for value in graph.inputs:
        first, now = single[value.name], case[value.name]
        if any(batch in symbols_of(d) for d in value.shape[1:]):
            return False
        if not is_batched(value, batch):
            if not np.array_equal(first, now):
                return False
        elif len(first) != 1 or len(now) != 2 or not np.array_equal(first, now[:1]):
            return False
    return True


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
    batch = batch_symbol(graph.inputs)
    if not sizes:
        sizes = _free_sizes(graph, batch)
    first: dict[str, Array] | None = None
    for index, count in enumerate(_batches(graph, batch, sizes)):
        wanted = sizes | ({batch: count} if batch is not None else {})
        if base is None:
            case = _random(graph, wanted, index)
            first = first or case
            yield _continued(graph, batch, first, case) if batch is not None else case
        elif batch is not None and count != sizes[batch]:
            yield _resized(graph, base, batch, count)


def _batches(graph: Graph, batch: str | None, sizes: Mapping[str, int]) -> tuple[int, ...]:
    if batch is None:
        return (1, 1)
    return (1, 2) if is_large(graph, sizes) else (1, 2, 7)


def is_large(graph: Graph, sizes: Mapping[str, int]) -> bool:
    """Whether interpreting the graph takes long."""
    batch = batch_symbol(graph.inputs)
    macs = graph_cost(specialize(graph, {**sizes, **({batch: 1} if batch else {})})).macs
    return not isinstance(macs, int) or macs > LARGE_MACS


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
    """Numbers of unit variance, any bytes; other integers are 0 or 1, fit to be indices."""
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


def _continued(
    graph: Graph, batch: str, first: Mapping[str, Array], case: dict[str, Array]
) -> dict[str, Array]:
    """`case` with the image of the first case in front, and its inputs that are no batch."""
    for value in graph.inputs:
        name = value.name
        if not is_batched(value, batch):
            if first[name].shape == case[name].shape:
                case[name] = first[name]
        elif first[name].shape[1:] == case[name].shape[1:]:
            case[name] = np.concatenate([first[name], case[name][1:]])
    return case


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
