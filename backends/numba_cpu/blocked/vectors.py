"""Vectors as values inside compiled kernels: the channels of one block at one pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import models, register_model

from irconv.backends.numba_cpu.jit import instruction

I64 = ir.IntType(64)
_I1, _I32 = ir.IntType(1), ir.IntType(32)


class Vector(types.Type):
    """`count` numbers of one kind."""

    def __init__(self, scalar: Any, count: int) -> None:
        self.scalar, self.count = scalar, count
        super().__init__(name=f"vector({scalar} x {count})")


class Mask(types.Type):
    """What holds of each of `count` lanes."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"mask({count})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        scalar = manager.lookup(kind.scalar).get_value_type()
        super().__init__(manager, kind, ir.VectorType(scalar, kind.count))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Mask) -> None:
        super().__init__(manager, kind, ir.VectorType(_I1, kind.count))


@instruction
def load(typing: Any, place: Any, count: Any) -> Any:
    """`load(p, count)`: the vector of `count` (a literal) numbers at `p`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_load(builder, args[0], count.literal_value)

    return Vector(place.dtype, count.literal_value)(place, count), generate


@instruction
def store(typing: Any, place: Any, vector: Any) -> Any:
    """`store(p, v)`: writes the whole vector at `p`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_store(builder, args[1], args[0])
        return context.get_dummy_value()

    return types.none(place, vector), generate


@instruction
def load_first(typing: Any, place: Any, limit: Any, count: Any) -> Any:
    """`load_first(p, n, count)`: the numbers at `p` in the lanes below n, 0 in the others."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_load_first(builder, args[0], args[1], count.literal_value)

    return Vector(place.dtype, count.literal_value)(place, types.int64, count), generate


@instruction
def store_first(typing: Any, place: Any, limit: Any, vector: Any) -> Any:
    """`store_first(p, n, v)`: writes the lanes below n at `p`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_store_first(builder, args[2], args[0], args[1])
        return context.get_dummy_value()

    return types.none(place, types.int64, vector), generate


@instruction
def spread(typing: Any, value: Any, count: Any) -> Any:
    """`spread(x, count)`: `count` (a literal) times the number x."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_spread(builder, args[0], count.literal_value)

    return Vector(value, count.literal_value)(value, count), generate


@instruction
def first_lanes(typing: Any, limit: Any, count: Any) -> Any:
    """`first_lanes(n, count)`: holds of the lanes below n, an int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_first_lanes(builder, args[0], count.literal_value)

    return Mask(count.literal_value)(types.int64, count), generate


@instruction
def kept(typing: Any, vector: Any, mask: Any) -> Any:
    """`kept(v, mask)`: the lanes of which the mask holds, 0 in the others."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.select(args[1], args[0], ir.Constant(args[0].type, None))

    return vector(vector, mask), generate


@instruction
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """`fma(a, b, c)`: a * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return emit_fma(builder, *args)

    return a(a, a, a), generate


@instruction
def root(typing: Any, vector: Any) -> Any:
    """`root(v)`: the square roots; NaN below 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        name = f"llvm.sqrt.v{kind.count}f{_bytes(kind.element) * 8}"
        function = ir.FunctionType(kind, [kind])
        return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)

    return vector(vector), generate


def _pairwise(name: str, emit: Callable[[Any, Any, Any], Any]) -> Any:
    """An instruction on two vectors."""

    def operation(typing: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(builder, *args)

        return a(a, a), generate

    operation.__name__ = operation.__qualname__ = name
    return instruction(operation)


def emit_greater(builder: Any, a: Any, b: Any) -> Any:
    """Emits the larger lanes; those of b where either is NaN: one instruction."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def emit_less(builder: Any, a: Any, b: Any) -> Any:
    """Emits the smaller lanes; those of b where either is NaN: one instruction."""
    return builder.select(builder.fcmp_ordered("<", a, b), a, b)


def _first_nan(builder: Any, a: Any, taken: Any) -> Any:
    return builder.select(builder.fcmp_unordered("uno", a, a), a, taken)


def emit_largest(builder: Any, a: Any, b: Any) -> Any:
    """Emits the larger lanes; NaN where either is."""
    return _first_nan(builder, a, emit_greater(builder, a, b))


def emit_smallest(builder: Any, a: Any, b: Any) -> Any:
    """Emits the smaller lanes; NaN where either is."""
    return _first_nan(builder, a, emit_less(builder, a, b))


def _emit_sloped(builder: Any, a: Any, b: Any) -> Any:
    below = builder.fcmp_ordered("<", a, ir.Constant(a.type, None))
    return builder.select(below, builder.fmul(b, a), a)


add = _pairwise("add", lambda builder, a, b: builder.fadd(a, b))
sub = _pairwise("sub", lambda builder, a, b: builder.fsub(a, b))
mul = _pairwise("mul", lambda builder, a, b: builder.fmul(a, b))
div = _pairwise("div", lambda builder, a, b: builder.fdiv(a, b))
# `at_least(low, x)` and `at_most(high, x)` keep a NaN of x.
at_least = _pairwise("at_least", emit_greater)
at_most = _pairwise("at_most", emit_less)
largest = _pairwise("largest", emit_largest)
smallest = _pairwise("smallest", emit_smallest)
sloped = _pairwise("sloped", _emit_sloped)  # a, or b * a below 0


def emit_load(builder: Any, place: Any, count: int) -> Any:
    """Emits the load of a vector of `count` elements."""
    scalar = place.type.pointee
    kind = ir.VectorType(scalar, count)
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=_bytes(scalar))


def emit_store(builder: Any, vector: Any, place: Any) -> None:
    """Emits the store of a whole vector."""
    place = builder.bitcast(place, vector.type.as_pointer())
    builder.store(vector, place, align=_bytes(vector.type.element))


def emit_load_first(builder: Any, place: Any, limit: Any, count: int) -> Any:
    """Emits a vector whose lanes below the int64 `limit` are loaded; 0 in the others."""
    scalar = place.type.pointee
    kind = ir.VectorType(scalar, count)
    place = builder.bitcast(place, kind.as_pointer())
    mask, align = emit_first_lanes(builder, limit, count), ir.Constant(_I32, _bytes(scalar))
    arguments = [place, align, mask, ir.Constant(kind, None)]
    return _masked(builder, "load", kind, kind, arguments)


def emit_store_first(builder: Any, vector: Any, place: Any, limit: Any) -> None:
    """Emits the store of the lanes below the int64 `limit`."""
    kind = vector.type
    place = builder.bitcast(place, kind.as_pointer())
    mask, align = (
        emit_first_lanes(builder, limit, kind.count),
        ir.Constant(_I32, _bytes(kind.element)),
    )
    _masked(builder, "store", ir.VoidType(), kind, [vector, place, align, mask])


def _masked(builder: Any, name: str, returns: Any, kind: Any, arguments: list[Any]) -> Any:
    name = f"llvm.masked.{name}.v{kind.count}f{_bytes(kind.element) * 8}.p0"
    function = ir.FunctionType(returns, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


def emit_spread(builder: Any, value: Any, count: int) -> Any:
    """Emits a vector of `count` copies of a scalar."""
    start = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    one = builder.insert_element(start, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, start, lane_numbers([0] * count))


def emit_first_lanes(builder: Any, limit: Any, count: int) -> Any:
    """Emits the mask of the lanes below an int64, which may lie outside 0 .. count."""
    whole = ir.Constant(I64, count)
    limit = builder.select(builder.icmp_signed("<", limit, whole), limit, whole)
    lanes = emit_spread(builder, builder.trunc(limit, _I32), count)
    return builder.icmp_signed("<", lane_numbers(range(count)), lanes)


def emit_fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Emits a * b + c, rounded once."""
    name = f"llvm.fma.v{a.type.count}f{_bytes(a.type.element) * 8}"
    kind = ir.FunctionType(a.type, [a.type] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [a, b, c])


def lane_numbers(numbers: Any) -> Any:
    """A constant vector of 32-bit numbers, as shuffles and comparisons take it."""
    listed = list(numbers)
    return ir.Constant(ir.VectorType(_I32, len(listed)), listed)


def _bytes(scalar: Any) -> int:
    return 4 if isinstance(scalar, ir.FloatType) else 8
