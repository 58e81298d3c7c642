"""The mechanics of building: names, parameters, nodes, and errors that tell the caller's line."""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np

from irconv.attributes import make_op
from irconv.building.handle import Handle, Operand
from irconv.building.initialise import Weights
from irconv.building.sharing import Module, SharedParameters
from irconv.errors import GraphError, printable
from irconv.graph import Graph, Node, Value
from irconv.op import Op, operand_names, present, static_shape
from irconv.types import AnyDType, Array, TensorType, as_dtype, dtype_name

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A", bound="Assembler")
Draw: TypeAlias = Callable[[str, Sequence[int], AnyDType], Array]

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# ONNX's long names, as people say them
_STEMS = {"BatchNormalization": "batch_norm", "LRN": "lrn", "MatMul": "matmul"}


class BuildError(GraphError):
    """A call of the builder was wrong; `where` tells the node, its operands, and the line."""


def at_caller(
    method: Callable[Concatenate[A, P], R],
) -> Callable[Concatenate[A, P], R]:
    """Makes a method all or nothing: on an error it adds nothing, and tells the user's line."""

    @functools.wraps(method)
    def call(self: A, /, *arguments: P.args, **options: P.kwargs) -> R:
        parameters, last = len(self.graph.parameters), self.graph._last
        outer, self._pending = self._pending, ""
        try:
            return method(self, *arguments, **options)
        except BuildError:
            self._roll_back(parameters, last)
            raise
        except GraphError as error:
            self._roll_back(parameters, last)
            what = f"%{printable(self._pending)}" if self._pending else f"{method.__name__}()"
            raise _located(error, what) from error
        finally:
            self._pending = outer

    return call


def _located(error: GraphError, what: str) -> BuildError:
    return BuildError(
        error.what,
        where=f"{error.where or what} at {_caller()}",
        expected=error.expected,
        got=error.got,
        hint=error.hint,
        listing=error.listing,
    )


def _caller() -> str:
    """File name and line of the innermost frame outside irconv."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    return f"{printable(Path(frame.f_code.co_filename).name)}:{frame.f_lineno}"


class Assembler:
    """Adds parameters and nodes to a graph; the types of a node are inferred as it is added."""

    def __init__(
        self,
        name: str = "graph",
        *,
        seed: int = 0,
        rng: np.random.Generator | None = None,
        centred: bool = False,
    ) -> None:
        self.graph = Graph(as_name(name))
        self._weights = Weights(seed, rng, centred)
        self._shared = SharedParameters()
        self._scope = ""
        self._counts: dict[str, int] = {}
        # the name that the call under way gives to its node
        self._pending = ""

    # -- names -----------------------------------------------------------------------------------

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Names inside start with `name.`: in `b.scope("block1")` stands `block1.conv1`."""
        outer = self._scope
        self._scope = f"{outer}{as_name(name)}."
        try:
            yield
        finally:
            self._scope = outer

    def _named(self, stem: str, name: str | None) -> str:
        """The full name of what is made next: `name` in its scope, or stem and number."""
        if name is not None:
            self._pending = self._scope + as_name(name)
            return self._given(self._pending)
        prefix = self._scope + stem
        # the count moves on only past names that exist: a call that fails uses none up
        number = self._counts.get(prefix, 1)
        while f"{prefix}{number}" in self.graph:
            number += 1
        self._counts[prefix] = number
        self._pending = f"{prefix}{number}"
        return self._pending

    def _given(self, name: str) -> str:
        if name not in self.graph:
            return name
        if self._shared.is_again:
            return self.graph.fresh_name(name)
        raise GraphError("the name is taken", hint="names are unique; see scope()")

    # -- parameters ------------------------------------------------------------------------------

    def module(self, function: Callable[..., R], *arguments: Any, **options: Any) -> Module[R]:
        """A layer, or a function of layers, whose parameters are made once and shared by its calls.

        `conv = b.module(b.conv, 16, kernel=3); y1 = conv(x1); y2 = conv(x2)` convolves both with
        `%conv1.weight`. The arguments given here follow those of each call.
        """
        return Module(self._shared, function, arguments, options)

    @at_caller
    def parameter(self, name: str, array: Operand, *, trainable: bool = True) -> Handle:
        """A weight with the given content: an operand, or `w=` or `b=` of any number of layers."""
        full = self._named(name, name)
        return self._handle(self._keep(full, self._array(array, None), trainable))

    @at_caller
    def random_parameter(
        self,
        name: str,
        shape: Sequence[int],
        *,
        std: float = 1.0,
        mean: float = 0.0,
        dtype: object = "f32",
    ) -> Handle:
        """A weight of normal random numbers, drawn from the builder's seed and this name."""
        full, kind = self._named(name, name), TensorType(dtype, shape)
        sizes = static_shape(kind, f"parameter {printable(name)}")
        return self._handle(self._normal(full, sizes, kind.dtype, std, mean))

    @at_caller
    def constant(self, array: Operand, name: str | None = None) -> Handle:
        """A fixed tensor: Python integers become i64, fractions f32, arrays keep their type."""
        return self._handle(self._fixed(self._named("constant", name), self._array(array, None)))

    def _keep(self, name: str, array: Array, trainable: bool) -> Value:
        """A parameter with this content: that of the first call where a module is called again."""
        known = self._shared.known(name, TensorType(array.dtype, array.shape))
        if known is None:
            known = self.graph.add_parameter(name, array, trainable=trainable)
        elif not np.array_equal(present([known.array], 0), array):
            raise GraphError(f"another array for the shared %{printable(known.name)}")
        return self._shared.use(known)

    def _normal(
        self,
        name: str,
        shape: Sequence[int],
        dtype: AnyDType,
        std: float,
        mean: float = 0.0,
        trainable: bool = True,
    ) -> Value:
        draw = functools.partial(self._weights.normal, std=std, mean=mean)
        return self._drawn(name, shape, dtype, draw, trainable)

    def _filters(
        self,
        name: str,
        shape: Sequence[int],
        dtype: AnyDType,
        fan_in: float,
        gain: float | None,
        centred: bool = True,
    ) -> Value:
        draw = functools.partial(self._weights.filters, fan_in=fan_in, gain=gain, centred=centred)
        return self._drawn(name, shape, dtype, draw, True)

    def _uniform(
        self,
        name: str,
        shape: Sequence[int],
        dtype: AnyDType,
        low: float,
        high: float,
        trainable: bool = True,
    ) -> Value:
        draw = functools.partial(self._weights.uniform, low=low, high=high)
        return self._drawn(name, shape, dtype, draw, trainable)

    def _drawn(
        self, name: str, shape: Sequence[int], dtype: AnyDType, draw: Draw, trainable: bool
    ) -> Value:
        _check_drawn(name, shape, dtype)
        known = self._shared.known(name, TensorType(dtype, shape))
        if known is None:
            known = self.graph.add_parameter(name, draw(name, shape, dtype), trainable=trainable)
        return self._shared.use(known)

    def _fixed(self, name: str, array: Array) -> Value:
        return self.graph.add_parameter(self.graph.fresh_name(name), array, trainable=False)

    # -- nodes -----------------------------------------------------------------------------------

    @at_caller
    def op(self, op: Op, *operands: Operand | None, name: str | None = None) -> Handle:
        """Adds a node; numbers and arrays become constants, None is an absent operand.

        Python fractions take the element type of the first value, Python integers are i64, arrays
        keep theirs. The handle is that of the first result; `.results` gives all.
        """
        return self._emit(op, operands, self._named(_stem(op.name), name))

    @at_caller
    def call(
        self, op_name: str, /, *operands: Operand | None, name: str | None = None, **attributes: Any
    ) -> Handle:
        """Adds a node of an op by its ONNX name, as `op` does: `b.call("Concat", x, y, axis=1)`."""
        full = self._named(_stem(op_name), name)
        given = {key: _attribute(value) for key, value in attributes.items()}
        return self._emit(make_op(op_name, given), operands, full)

    @at_caller
    def elementwise(self, op_name: str, /, *operands: Operand, name: str | None = None) -> Handle:
        """Adds a node of one element type: numbers and arrays take that of the first value."""
        full, op = self._named(_stem(op_name), name), make_op(op_name, {})
        like = _element_type(operands) or np.dtype(np.float32)
        given = [
            x
            if isinstance(x, Handle | Value)
            else self._fixed(f"{full}.{_operand_name(op, i)}", self._cast(x, like))
            for i, x in enumerate(operands)
        ]
        return self._emit(op, given, full)

    def _node(
        self, full: str, op_name: str, operands: Sequence[Operand | None], **attributes: Any
    ) -> Handle:
        """A node under a full name."""
        return self._emit(make_op(op_name, attributes), operands, full)

    def _emit(self, op: Op, operands: Sequence[Operand | None], full: str) -> Handle:
        values = self._operands(op, operands, full)
        names = (
            [full]
            if op.n_results == 1
            else [full if not i else f"{full}.{i}" for i in range(op.n_results)]
        )
        try:
            node = self.graph.add_node(op, values, names)
        except GraphError as error:
            error.where = _described(full, op, values)
            raise
        return self._handle(node.results[0])

    def _operands(
        self, op: Op, operands: Sequence[Operand | None], full: str
    ) -> list[Value | None]:
        like = _element_type(operands)
        return [
            None if x is None else self._value(x, like, f"{full}.{_operand_name(op, i)}")
            for i, x in enumerate(operands)
        ]

    def _value(self, item: Operand, like: AnyDType | None, name: str) -> Value:
        match item:
            case Handle(builder, value):
                if builder is not self:
                    raise GraphError("a value of another builder", got=f"%{printable(value.name)}")
                return value
            case Value():
                if item.name not in self.graph or self.graph.value(item.name) is not item:
                    raise GraphError("a value of another graph", got=f"%{printable(item.name)}")
                return item
            case _:
                return self._fixed(name, self._array(item, like))

    def _array(self, item: Operand, like: AnyDType | None) -> Array:
        """A number or array as a new array; a Python fraction takes the element type `like`."""
        if isinstance(item, Handle | Value):
            raise GraphError("a value where an array is needed", got=f"%{printable(item.name)}")
        try:
            # a copy: the caller may go on writing into its own
            array = np.array(item)
        except (ValueError, TypeError) as error:
            raise GraphError("not an array", got=printable(error)) from error
        if not array.size and not hasattr(item, "dtype"):
            # an empty list is a list of axes or sizes
            return array.astype(np.int64)
        if not hasattr(item, "dtype") and array.dtype == np.float64:
            return array.astype(like if like is not None and like.kind == "f" else np.float32)
        return array.astype(as_dtype(array.dtype), copy=False)

    def _cast(self, item: Operand, dtype: AnyDType) -> Array:
        """An array of this element type; a fraction is never made an integer."""
        array = self._array(item, dtype)
        if array.dtype != dtype and not np.can_cast(array.dtype, dtype, "same_kind"):
            raise GraphError(
                "an array of another kind", expected=dtype_name(dtype), got=dtype_name(array.dtype)
            )
        return array.astype(dtype, copy=False)

    def _handle(self, value: Value) -> Handle:
        return Handle(self, value)

    def _roll_back(self, parameters: int, last: Node | None) -> None:
        while self.graph._last is not last and self.graph._last is not None:
            self.graph.erase(self.graph._last)
        for value in list(self.graph.parameters.values())[parameters:]:
            self.graph.remove_parameter(value)


def as_name(name: object) -> str:
    """`name`, if it is a text; a value in the place of a name is a slip."""
    if isinstance(name, str):
        return name
    got = f"the value %{printable(name.name)}" if isinstance(name, Handle | Value) else None
    raise GraphError("not a name", expected="a text", got=got or printable(repr(name)))


def _check_drawn(name: str, shape: Sequence[int], dtype: AnyDType) -> None:
    if any(size < 0 for size in shape):
        raise GraphError("a size is negative", where=f"%{printable(name)}", got=list(shape))
    if dtype_name(dtype) not in {"f16", "f32", "f64", "bf16"}:
        raise GraphError(
            "random weights are made of f16, bf16, f32 or f64",
            where=f"%{printable(name)}",
            got=dtype_name(dtype),
        )


def _element_type(operands: Sequence[Operand | None]) -> AnyDType | None:
    """That of the first operand that has one."""
    values = (x.value if isinstance(x, Handle) else x for x in operands)
    return next((v.tensor_type.dtype for v in values if isinstance(v, Value)), None)


def _stem(op_name: str) -> str:
    word = op_name.removeprefix("onnx.")
    return _STEMS.get(word) or _WORD_START.sub("_", word).lower()


def _attribute(value: Any) -> Any:
    """Lists become tuples, NumPy numbers Python's, element types their short names."""
    match value:
        case list() | tuple():
            return tuple(_attribute(v) for v in value)
        case np.generic():
            return value.item()
        case np.dtype() | type():
            return dtype_name(as_dtype(value))
    return value


def _operand_name(op: Op, index: int) -> str:
    names = operand_names(op)
    if index >= len(names) or names[index][-1] in "*+":
        last = names[-1].rstrip("*+?") if names else "x"
        return f"{last}{index - len(names) + 1 if index >= len(names) else 0}"
    return names[index].rstrip("?")


def _described(name: str, op: Op, operands: Sequence[Value | None]) -> str:
    """`%conv1 = Conv(x: %image f32[N, 3, 8, 8], w: %conv1.weight f32[4, 3, 3, 3])`."""
    given = len(operands)
    while given and operands[given - 1] is None:
        given -= 1
    shown = [
        f"{_operand_name(op, i)}: " + ("_" if v is None else f"%{printable(v.name)} {v.type}")
        for i, v in enumerate(operands[:given])
    ]
    return f"%{printable(name)} = {op.name}({', '.join(shown)})"
