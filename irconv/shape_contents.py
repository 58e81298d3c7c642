"""The symbolic contents of small tensors: what the shape arithmetic of exporters computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from irconv.dim import Dim, Expr, product
from irconv.errors import GraphError
from irconv.graph import Graph, Node, Value
from irconv.op import Op
from irconv.types import Array, TensorType

if TYPE_CHECKING:
    from irconv.onnx_reader.site import Site

# a tensor with more elements is no shape
ELEMENT_LIMIT = 1024


class ShapeContents:
    """Knows, for values that hold shapes, their elements as sizes (integers or expressions).

    Contents are an array of objects, each a number or an Expr, of the value's shape. `note` is
    called for each new node; `settle` replaces operands by constants where their contents allow
    it, so that types stay known.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._contents: dict[Value, Array] = {}
        # scales: floats computed from constants alone, which `Resize` must know
        self._numbers: dict[Value, Array] = {}

    def of(self, value: Value | None) -> Array | None:
        """The contents of `value`, None where they are not known."""
        if value is None:
            return None
        if value.array is not None:
            array = value.array
            small = array.size <= ELEMENT_LIMIT and array.dtype.kind in "iub"
            return array.astype(object) if small else None
        return self._contents.get(value)

    def __contains__(self, value: Value) -> bool:
        """Whether `value` was computed from sizes."""
        return value in self._contents

    def known(self, value: Value) -> Array | None:
        """The contents as an ordinary array, where every element is a number."""
        contents = self._contents.get(value)
        if contents is None or any(isinstance(x, Expr) for x in contents.reshape(-1)):
            return None
        return contents.astype(value.tensor_type.dtype)

    def note(self, node: Node) -> None:
        """Computes the contents of a new node's result, if it is shape arithmetic."""
        if len(node.results) != 1 or not isinstance(node.results[0].type, TensorType):
            return
        try:
            contents = self._computed(node)
            if contents is None:
                self._note_number(node)
        except (GraphError, ValueError, IndexError, TypeError, ArithmeticError):
            return
        if contents is None or contents.size > ELEMENT_LIMIT:
            return
        if any(abs(x) >= 1 << 62 for x in contents.reshape(-1) if isinstance(x, int)):
            return
        self._contents[node.results[0]] = contents

    def _computed(self, node: Node) -> Array | None:
        if node.op.name in _FOLDED and any(v in self._contents for v in node.operands if v):
            operands = [None if v is None else self._array(v) for v in node.operands]
            if all(a is not None for a, v in zip(operands, node.operands, strict=True) if v):
                with np.errstate(all="ignore"):
                    (result,) = node.op.run(operands)
                return np.asarray(result).astype(object)
        rule = _RULES.get(node.op.name)
        is_whole = node.results[0].tensor_type.dtype.kind in "iub"
        return rule(self, node) if rule is not None and is_whole else None

    def number(self, value: Value) -> Array | None:
        """The content of a value that is a constant, or was computed from constants alone."""
        return self._array(value) if value.array is not None else self._numbers.get(value)

    def _note_number(self, node: Node) -> None:
        if node.op.name not in _FOLDED or node.results[0].tensor_type.dtype.kind != "f":
            return
        operands = [None if v is None else self.number(v) for v in node.operands]
        if all(a is not None for a, v in zip(operands, node.operands, strict=True) if v):
            with np.errstate(all="ignore"):
                (result,) = node.op.run(operands)
            if result.size <= ELEMENT_LIMIT:
                self._numbers[node.results[0]] = result

    def _array(self, value: Value) -> Array | None:
        """The content of a small value as an ordinary array."""
        if value.array is not None:
            return value.array if value.array.size <= ELEMENT_LIMIT else None
        return self.known(value)

    def settle(self, site: Site, op: Op, operands: list[Value | None]) -> list[Value | None]:
        """The operands, with computed shapes made constant where that says the same."""
        for index, value in enumerate(operands):
            if value is None or value not in self._contents:
                continue
            known = self.known(value)
            if known is not None:
                operands[index] = constant = site.parameter(known, "shape")
                self._contents[constant] = self._contents[value]
        settle = _SETTLE.get(op.name)
        if settle is not None:
            settle(self, site, op, operands)
        return operands

    def sweep(self) -> None:
        """Removes shape arithmetic that nothing uses any more."""
        for node in reversed(self.graph.nodes):
            if any(v.uses or v.is_output for v in node.results):
                continue
            if node.results[0] in self._contents or node.results[0] in self._numbers:
                self.graph.erase(node)
        self._contents, self._numbers = {}, {}


# -- rules: the contents of one result


def _array(items: Sequence[Any], shape: tuple[int, ...] | None = None) -> Array:
    array = np.empty(len(items), object)
    array[:] = list(items)
    return array if shape is None else array.reshape(shape)


def _shape(contents: ShapeContents, node: Node) -> Array | None:
    shape = node.operands[0].shape if node.operands[0] is not None else ()
    start = getattr(node.op, "start", 0) or 0
    end = getattr(node.op, "end", None)
    return _array(shape[slice(start, end)])


def _size(contents: ShapeContents, node: Node) -> Array | None:
    shape = node.operands[0].shape if node.operands[0] is not None else ()
    return _array([product(shape)], ())


def _run(contents: ShapeContents, node: Node) -> Array | None:
    """Ops that only move elements mean the same on expressions."""
    arrays: list[Any] = [contents.of(v) for v in node.operands]
    if any(a is None for a, v in zip(arrays, node.operands, strict=True) if v is not None):
        return None
    for index, value in enumerate(node.operands[1:], 1):
        if node.op.name != "Concat" and value is not None:
            arrays[index] = _integers(arrays[index])
    (result,) = node.op.run(arrays)
    return np.asarray(result, dtype=object)


def _integers(array: Array) -> Array:
    if any(isinstance(x, Expr) for x in array.reshape(-1)):
        raise ValueError("symbolic")
    return array.astype(np.int64)


def _binary(function: Callable[[Dim, Dim], Dim]) -> Callable[[ShapeContents, Node], Array | None]:
    def rule(contents: ShapeContents, node: Node) -> Array | None:
        a, b = (contents.of(v) for v in node.operands[:2])
        if a is None or b is None:
            return None
        return _mapped(function, a, b)

    return rule


def _mapped(function: Callable[..., Any], *arrays: Array) -> Array:
    spread = np.broadcast_arrays(*arrays)
    items = [function(*xs) for xs in zip(*(a.reshape(-1) for a in spread), strict=True)]
    return _array(items, spread[0].shape)


def _negated(contents: ShapeContents, node: Node) -> Array | None:
    source = contents.of(node.operands[0])
    return None if source is None else _mapped(lambda a: a * -1, source)


def _divided(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        # ONNX divides integers towards zero
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if isinstance(b, int) and b <= 0:
        raise ValueError("a symbolic size is divided by a number that is not positive")
    return a // b


def _cast(contents: ShapeContents, node: Node) -> Array | None:
    """A size stays what it is in 32 bits and more."""
    source = contents.of(node.operands[0])
    if source is None or node.results[0].tensor_type.dtype.itemsize < 4:
        return None
    return source


def _constant_of_shape(contents: ShapeContents, node: Node) -> Array | None:
    shape = contents.of(node.operands[0])
    if shape is None or np.prod(shape, dtype=object) > ELEMENT_LIMIT:
        return None
    (result,) = node.op.run([_integers(shape)])
    return np.asarray(result).astype(object)


def _where(contents: ShapeContents, node: Node) -> Array | None:
    condition, a, b = (contents.of(v) for v in node.operands)
    if condition is None or a is None or b is None:
        return None
    if any(not isinstance(c, (bool, int)) for c in condition.reshape(-1)):
        return None
    return _mapped(lambda c, x, y: x if c else y, condition, a, b)


def _equal(contents: ShapeContents, node: Node) -> Array | None:
    """Decided only between integers, or between equal expressions."""
    a, b = (contents.of(v) for v in node.operands)
    if a is None or b is None:
        return None

    def same(x: Dim, y: Dim) -> bool:
        if x != y and (isinstance(x, Expr) or isinstance(y, Expr)):
            # a size is never negative; any other question is open until run time
            if (isinstance(x, int) and x < 0) or (isinstance(y, int) and y < 0):
                return False
            raise ValueError("open")
        return x == y

    return _mapped(same, a, b)


def _prod(contents: ShapeContents, node: Node) -> Array | None:
    source = contents.of(node.operands[0])
    if source is None or source.ndim != 1:
        return None
    axes = contents.of(node.operands[1]) if len(node.operands) > 1 else None
    if axes is not None and [int(a) % 1 for a in axes.reshape(-1)] != [0]:
        return None
    keep = bool(getattr(node.op, "keepdims", 1))
    return _array([product(source)], (1,) if keep else ())


def _range(contents: ShapeContents, node: Node) -> Array | None:
    numbers = [contents.of(v) for v in node.operands]
    if any(n is None for n in numbers):
        return None
    start, limit, delta = (int(_integers(n)) for n in numbers if n is not None)
    items = range(start, limit, delta)
    return _array(list(items)) if len(items) <= ELEMENT_LIMIT else None


_RULES: dict[str, Callable[[ShapeContents, Node], Array | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Identity": _run,
    "Gather": _run,
    "Unsqueeze": _run,
    "Squeeze": _run,
    "Concat": _run,
    "Slice": _run,
    "Reshape": _run,
    "Flatten": _run,
    "Transpose": _run,
    "Cast": _cast,
    "Add": _binary(lambda a, b: a + b),
    "Sub": _binary(lambda a, b: a - b),
    "Mul": _binary(lambda a, b: a * b),
    "Div": _binary(_divided),
    "Neg": _negated,
    "ConstantOfShape": _constant_of_shape,
    "Where": _where,
    "Equal": _equal,
    "ReduceProd": _prod,
    "Range": _range,
}


# computed as they stand once all operands are numbers: sizes that were scaled and rounded
# fmt: off
_FOLDED = frozenset([
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "CumSum", "Div",
    "Equal", "Expand", "Flatten", "Floor", "Gather", "Greater", "GreaterOrEqual", "Identity",
    "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Range", "ReduceMax",
    "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "Slice", "Sqrt", "Squeeze",
    "Sub", "Tile", "Transpose", "Unsqueeze", "Where",
])
# fmt: on


# -- settling: operands made constant where this says the same


def _settle_reshape(
    contents: ShapeContents, site: Site, op: Op, operands: list[Value | None]
) -> None:
    source, wanted = operands[0], operands[1]
    target = contents.of(wanted)
    if source is None or wanted is None or wanted.array is not None or target is None:
        return
    allow_zero = bool(getattr(op, "allowzero", 0))
    found = reshape_target(source.shape, [_item(x) for x in target], allow_zero)
    if found is not None:
        operands[1] = site.ints(found, "shape")


def _item(x: Any) -> Dim:
    return x if isinstance(x, Expr) else int(x)


def reshape_target(
    shape: Sequence[Dim], target: Sequence[Dim], allow_zero: bool = False
) -> list[int] | None:
    """A constant target of Reshape that means `target` on an input of `shape`, or None.

    A symbolic entry that is the input's size at the same place becomes 0 (copy); one other may
    become -1, if the element counts are the same for all values of the symbols.
    """
    found: list[int | None] = []
    for place, entry in enumerate(target):
        if isinstance(entry, int):
            found.append(entry)
        elif not allow_zero and place < len(shape) and shape[place] == entry:
            found.append(0)
        else:
            found.append(None)
    open_places = [i for i, f in enumerate(found) if f is None]
    if len(open_places) > 1 or (open_places and -1 in found):
        return None
    if open_places:
        copied = [
            shape[i] if x == 0 and not allow_zero and i < len(shape) else x
            for i, x in enumerate(target)
        ]
        if product(copied) != product(shape):
            return None
    return [-1 if f is None else f for f in found]


def _settle_expand(
    contents: ShapeContents, site: Site, op: Op, operands: list[Value | None]
) -> None:
    source, wanted = operands[0], operands[1]
    target = contents.of(wanted)
    if source is None or wanted is None or wanted.array is not None or target is None:
        return
    # Expand broadcasts both ways: a size that the input has already is asked for as 1
    shape = (1,) * (len(target) - len(source.shape)) + source.shape
    lead = len(shape) - len(target)
    found = [1 if shape[lead + i] == x else x for i, x in enumerate(target)]
    if all(isinstance(x, int) for x in found):
        operands[1] = site.ints([int(x) for x in found], "shape")


def _settle_slice(
    contents: ShapeContents, site: Site, op: Op, operands: list[Value | None]
) -> None:
    """An end that is the size itself is asked for as "to the end"."""
    source, ends = operands[0], operands[2] if len(operands) > 2 else None
    wanted = contents.of(ends)
    if source is None or ends is None or ends.array is not None or wanted is None:
        return
    axes = contents.of(operands[3]) if len(operands) > 3 and operands[3] is not None else None
    places = range(len(wanted)) if axes is None else [int(a) % len(source.shape) for a in axes]
    found = [
        np.iinfo(np.int64).max if source.shape[place] == x else x
        for place, x in zip(places, wanted, strict=True)
    ]
    steps = contents.of(operands[4]) if len(operands) > 4 and operands[4] is not None else None
    forward = steps is None or all(isinstance(s, int) and s > 0 for s in steps)
    if forward and all(isinstance(x, int) for x in found):
        operands[2] = site.ints([int(x) for x in found], "ends")


def _settle_resize(
    contents: ShapeContents, site: Site, op: Op, operands: list[Value | None]
) -> None:
    """Scales that were put together from constants."""
    for index, value in enumerate(operands[1:3], 1):
        known = None if value is None or value.array is not None else contents.number(value)
        if known is not None:
            operands[index] = site.parameter(known, "roi" if index == 1 else "scales")


_SETTLE: dict[str, Callable[[ShapeContents, Any, Op, list[Value | None]], None]] = {
    "Reshape": _settle_reshape,
    "Expand": _settle_expand,
    "Slice": _settle_slice,
    "Resize": _settle_resize,
}
