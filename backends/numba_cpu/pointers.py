"""Raw typed pointers inside compiled kernels, and calls through an address."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.jit import instruction


@instruction
def pointer(typing: Any, address: Any, like: Any) -> Any:
    """`pointer(address, like)`: the integer address as a pointer of the type of `like`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

    return like(types.int64, like), generate


@instruction
def at(typing: Any, base: Any, index: Any) -> Any:
    """`at(base, index)`: the pointer to element `index` of `base`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return base(base, types.int64), generate


@instruction
def address(typing: Any, base: Any) -> Any:
    """`address(base)`: the pointer as an integer."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(base), generate


@instruction
def double_bits(typing: Any, bits: Any) -> Any:
    """`double_bits(bits)`: the float64 whose bits are the int64 `bits`."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), generate


@instruction
def call(typing: Any, code: Any, *args: Any) -> Any:
    """`call(code, ...)`: call the C function at the integer address `code`; it returns nothing.

    Kernels reach each other by addresses given at run time, so each is compiled once, and no
    address is ever a constant of cached code.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rest = signature.args[1]
        kinds = [context.get_value_type(kind) for kind in rest.types]
        function = ir.FunctionType(ir.VoidType(), kinds).as_pointer()
        operands = [builder.extract_value(values[1], i) for i in range(len(kinds))]
        builder.call(builder.inttoptr(values[0], function), operands)
        return context.get_dummy_value()

    packed = types.StarArgTuple(args) if args else types.Tuple(())
    return types.none(types.int64, packed), generate


@instruction
def lanes(typing: Any, like: Any) -> Any:
    """`lanes(p)`: how many elements of `p` the host's vector registers hold, a constant."""
    count = machine.vector_bits() // like.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(64), count)

    return types.int64(like), generate


@instruction
def number(typing: Any, value: Any, like: Any) -> Any:
    """`number(value, p)`: a float64 as a number of the type that `p` points to."""
    scalar = like.dtype

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[0], types.float64, scalar)

    return scalar(types.float64, like), generate


@instruction
def move_lanes(
    typing: Any,
    stride: Any,
    target: Any,
    source: Any,
    first: Any,
    last: Any,
    width: Any,
    fill: Any,
) -> Any:
    """One vector: target[i] = source[i * stride] for first <= i < last, else fill, for i < width.

    `stride` is the literal 1 or 2. Nothing outside these lanes is read or written; the bounds
    may lie outside 0 .. lanes.
    """
    step, scalar = stride.literal_value, target.dtype
    count = machine.vector_bits() // scalar.bitwidth
    whole = types.int64
    signature = types.none(stride, target, target, whole, whole, whole, scalar)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = MaskedLanes(builder, context.get_value_type(scalar), count)
        _, to, start, low, high, end, other = args
        value = lanes.load_strided(start, low, high, step, lanes.spread(other))
        zero = ir.Constant(ir.IntType(64), 0)
        lanes.store(value, to, lanes.between(zero, end, 1, 0))
        return context.get_dummy_value()

    return signature, generate


@instruction
def copy_lanes(typing: Any, vectors: Any, streams: Any, target: Any, source: Any) -> Any:
    """`vectors` whole vectors (a literal) from the source to the target.

    Where the literal `streams` is 1, the target starts on a vector's alignment and the stores go
    past the caches; a `fence` must follow the last.
    """
    scalar = target.dtype
    count = machine.vector_bits() // scalar.bitwidth
    size = scalar.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.VectorType(context.get_value_type(scalar), count).as_pointer()
        places = [ir.Constant(ir.IntType(64), v * count) for v in range(vectors.literal_value)]
        values = [
            builder.load(builder.bitcast(builder.gep(args[3], [place]), kind), align=size)
            for place in places
        ]
        align = count * size if streams.literal_value else size
        for place, value in zip(places, values, strict=True):
            to = builder.bitcast(builder.gep(args[2], [place]), kind)
            store = builder.store(value, to, align=align)
            if streams.literal_value:
                once = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
                store.set_metadata("nontemporal", once)
        return context.get_dummy_value()

    return types.none(vectors, streams, target, target), generate


@instruction
def fence(typing: Any) -> Any:
    """`fence()`: all stores before it, those past the caches too, come before what follows."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), generate


@instruction
def prefetch(typing: Any, place: Any) -> Any:
    """`prefetch(p)`: the cache line of `p` is read soon; any address is allowed."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emit_prefetch(builder, args[0])
        return context.get_dummy_value()

    return types.none(place), generate


def emit_prefetch(builder: Any, place: Any, writes: int = 0, level: int = 3) -> None:
    """Emits a prefetch for reading (or writing), into all caches (2: not into the first)."""
    byte, number32 = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, *(number32,) * 3])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    settings = [ir.Constant(number32, value) for value in (writes, level, 1)]
    builder.call(function, [builder.bitcast(place, byte), *settings])


class MaskedLanes:
    """Emits masked moves of one vector."""

    def __init__(self, builder: Any, scalar: Any, count: int) -> None:
        self.builder, self.count = builder, count
        self.vector = ir.VectorType(scalar, count)
        self.mask = ir.VectorType(ir.IntType(1), count)
        self.index = ir.VectorType(ir.IntType(32), count)
        bits = 32 if isinstance(scalar, ir.FloatType) else 64
        self.align = ir.Constant(ir.IntType(32), bits // 8)
        self.suffix = f"v{count}f{bits}.p0"

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, f"{name}.{self.suffix}")

    def splat(self, value: Any) -> Any:
        """A vector of 32-bit copies of an int64 that is first limited to 32 bits."""
        builder = self.builder
        limit = ir.Constant(ir.IntType(64), 1 << 20)
        value = builder.select(builder.icmp_signed("<", value, limit), value, limit)
        low = ir.Constant(ir.IntType(64), -(1 << 20))
        value = builder.select(builder.icmp_signed(">", value, low), value, low)
        return self.spread(builder.trunc(value, ir.IntType(32)))

    def spread(self, value: Any) -> Any:
        """A vector of copies of a scalar."""
        start = ir.Constant(ir.VectorType(value.type, self.count), ir.Undefined)
        one = self.builder.insert_element(start, value, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(one, start, ir.Constant(self.index, [0] * self.count))

    def between(self, low: Any, high: Any, step: int, offset: int) -> Any:
        """Mask of the lanes whose position `offset + i` is step * n for some low <= n < high."""
        builder = self.builder
        numbers = [(offset + i) // step for i in range(self.count)]
        lane = ir.Constant(self.index, numbers)
        inside = builder.and_(
            builder.icmp_signed(">=", lane, self.splat(low)),
            builder.icmp_signed("<", lane, self.splat(high)),
        )
        hit = [int((offset + i) % step == 0) for i in range(self.count)]
        return builder.and_(inside, ir.Constant(self.mask, hit))

    def every_second(self, left: Any, right: Any) -> Any:
        """The lanes 0, 2, 4, ... of two vectors in a row."""
        picked = ir.Constant(self.index, [2 * i for i in range(self.count)])
        return self.builder.shuffle_vector(left, right, picked)

    def load(self, place: Any, mask: Any, other: Any = None) -> Any:
        """The masked lanes at `place`, those of the vector `other` (or 0) in the others."""
        place = self.builder.bitcast(place, self.vector.as_pointer())
        load = self._declare(
            "llvm.masked.load",
            self.vector,
            [place.type, ir.IntType(32), self.mask, self.vector],
        )
        other = ir.Constant(self.vector, None) if other is None else other
        return self.builder.call(load, [place, self.align, mask, other])

    def load_strided(self, place: Any, low: Any, high: Any, stride: int, other: Any) -> Any:
        """The elements i * stride at `place` for low <= i < high, `other` in the other lanes."""
        whole = ir.IntType(64)
        pieces = [
            self.load(
                self.builder.gep(place, [ir.Constant(whole, piece * self.count)]),
                self.between(low, high, stride, piece * self.count),
                other,
            )
            for piece in range(stride)
        ]
        return pieces[0] if stride == 1 else self.every_second(*pieces)

    def store(self, value: Any, place: Any, mask: Any) -> None:
        """Write the masked lanes of `value` to `place`."""
        place = self.builder.bitcast(place, self.vector.as_pointer())
        store = self._declare(
            "llvm.masked.store",
            ir.VoidType(),
            [self.vector, place.type, ir.IntType(32), self.mask],
        )
        self.builder.call(store, [value, place, self.align, mask])


@instruction
def fold_lanes(typing: Any, adds: Any, target: Any, source: Any, count: Any) -> Any:
    """One vector: target[i] = fold(target[i], source[i]) for i < count.

    The fold is the larger of the two (a NaN of either stays) where the literal `adds` is 0, their
    sum where it is 1. No other lane is read or written.
    """
    scalar = target.dtype
    size = machine.vector_bits() // scalar.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = MaskedLanes(builder, context.get_value_type(scalar), size)
        _, to, start, width = args
        mask = lanes.between(ir.Constant(ir.IntType(64), 0), width, 1, 0)
        new = folded(builder, adds.literal_value, lanes.load(to, mask), lanes.load(start, mask))
        lanes.store(new, to, mask)
        return context.get_dummy_value()

    return types.none(adds, target, target, types.int64), generate


@instruction
def fold_run(typing: Any, adds: Any, target: Any, source: Any, count: Any) -> Any:
    """*target = fold of it and of source[0 .. count]; see `fold_lanes`."""
    scalar = target.dtype
    size = machine.vector_bits() // scalar.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, to, start, length = args
        emit_fold_run(
            MaskedLanes(builder, context.get_value_type(scalar), size),
            adds.literal_value,
            to,
            start,
            length,
        )
        return context.get_dummy_value()

    return types.none(adds, target, target, types.int64), generate


RUNS = 4  # vectors in flight of `fold_run`


def emit_fold_run(lanes: MaskedLanes, adds: int, target: Any, source: Any, count: Any) -> None:
    """Emits the loop of `fold_run`: RUNS vectors at a time, the lanes past the end neutral."""
    builder, whole = lanes.builder, ir.IntType(64)
    neutral = ir.Constant(lanes.vector.element, 0.0 if adds else float("-inf"))
    empty = lanes.spread(neutral)
    before = builder.block
    head, after = builder.append_basic_block("run"), builder.append_basic_block("run.end")
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(whole)
    totals = [builder.phi(lanes.vector) for _ in range(RUNS)]
    left = builder.sub(count, i)
    place = builder.gep(source, [i])
    zero = ir.Constant(whole, 0)
    following = builder.add(i, ir.Constant(whole, RUNS * lanes.count))
    for j, total in enumerate(totals):
        offset = ir.Constant(whole, j * lanes.count)
        mask = lanes.between(zero, builder.sub(left, offset), 1, 0)
        value = lanes.load(builder.gep(place, [offset]), mask, empty)
        total.add_incoming(empty, before)
        total.add_incoming(folded(builder, adds, total, value), builder.block)
    i.add_incoming(zero, before)
    i.add_incoming(following, head)
    ends = [phi.incomings[1][0] for phi in totals]
    builder.cbranch(builder.icmp_signed("<", following, count), head, after)
    builder.position_at_end(after)
    while len(ends) > 1:
        ends = [folded(builder, adds, a, b) for a, b in zip(ends[::2], ends[1::2], strict=True)]
    result = builder.load(target)
    for lane in range(lanes.count):
        value = builder.extract_element(ends[0], ir.Constant(ir.IntType(32), lane))
        result = folded(builder, adds, result, value)
    builder.store(result, target)


def folded(builder: Any, adds: int, old: Any, value: Any) -> Any:
    """Emits the sum of two vectors, or the larger where a NaN of either stays."""
    if adds:
        return builder.fadd(old, value)
    # "not less" is one instruction that takes a NaN of `value`; one of `old` is kept after it.
    taken = builder.select(builder.fcmp_unordered(">=", value, old), value, old)
    return builder.select(builder.fcmp_unordered("uno", old, old), old, taken)
