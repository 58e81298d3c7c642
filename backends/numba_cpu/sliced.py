"""Products with a literal matrix, executed from its index: a vector of rows at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import machine
from irconv.backends.numba_cpu.emitter import TileEmitter, whole
from irconv.backends.numba_cpu.integers import int32_at
from irconv.backends.numba_cpu.jit import compiled_part, instruction
from irconv.backends.numba_cpu.pointers import (
    at,
    call,
    double_bits,
    emit_prefetch,
    lanes,
    number,
    pointer,
)
from irconv.backends.numba_cpu.work import blocks, share

_AHEAD = 1024  # entries of the index that a prefetch runs ahead
_UNROLL = 4  # entries in flight
_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)

# The row: addresses, then numbers. CHANNELS are those of a group of the convolution.
# fmt: off
(
    CODE, Y, WEIGHTS, BIAS, RESIDUAL, SLICE_COLUMNS, SLICE_ENTRIES, STARTS, SCRATCH,
    FINISH, IMAGES, GROUPS, CHANNELS, TOGETHER, PIXELS, COLUMNS, SPAN, SUMS, LOW, HIGH, ALPHA, BETA,
) = range(22)
# The row of the step before it, which puts x with its channels last into the same scratch.
T_X, T_SCRATCH, T_IMAGES, T_CHANNELS, T_PIXELS = range(1, 6)
# fmt: on


@dataclass(frozen=True)
class _Arguments:
    """The LLVM values of one call: see `multiply_rows`."""

    columns: Any
    entries: Any
    count: Any
    rows: Any
    x: Any
    weights: Any


class RowsEmitter(TileEmitter):
    """Emits the products of some rows of a matrix, each row in a lane."""

    def emit(self, arg: _Arguments) -> tuple[Any, Any]:
        """The sums, and whether they hold: whether all rows had the same index."""
        builder = self.builder
        turns = builder.sdiv(arg.count, whole(_UNROLL))
        some = [self.zeros()[0][0]] * _UNROLL
        kinds = [ir.Constant(ir.VectorType(kind, self.lanes), None) for kind in (_I32, _I16)]
        start = [arg.columns, arg.entries, *kinds]

        def turn(carried: list[Any]) -> list[Any]:
            index, sums = carried[:4], carried[4:]
            for i, total in enumerate(sums):
                *index, sums[i] = self._entry(arg, index, total)
            return [*index, *sums]

        *index, first, second, third, fourth = self.loop(turns, [*start, *some], turn)
        total = builder.fadd(builder.fadd(first, second), builder.fadd(third, fourth))
        rest = builder.srem(arg.count, whole(_UNROLL))
        *index, total = self.loop(
            rest, [*index, total], lambda c: list(self._entry(arg, c[:4], c[4]))
        )
        return total, self._holds(arg, index[2], index[3])

    def _entry(self, arg: _Arguments, index: list[Any], total: Any) -> tuple[Any, ...]:
        """One entry of each row: what is next of the index, how rows have differed, the sum."""
        columns, entries, *differ = index
        builder = self.builder
        column, entry = builder.load(columns), builder.load(entries)
        for place in (columns, entries):
            emit_prefetch(builder, self.at(place, _AHEAD))
        for i, (place, first) in enumerate(((columns, column), (entries, entry))):
            vector = ir.VectorType(first.type, self.lanes).as_pointer()
            each = builder.load(builder.bitcast(place, vector), align=2)
            differ[i] = builder.or_(differ[i], builder.xor(each, self.splat(first)))
        value = self.broadcast(builder.gep(arg.x, [builder.zext(column, _I64)]))
        row = builder.mul(builder.zext(entry, _I64), whole(self.lanes))
        total = builder.call(self.fma, [self.load(self.at(arg.weights, row)), value, total])
        return self.at(columns, arg.rows), self.at(entries, arg.rows), *differ, total

    def _holds(self, arg: _Arguments, columns: Any, entries: Any) -> Any:
        builder = self.builder
        wrong = [
            builder.icmp_unsigned("!=", vector, ir.Constant(vector.type, None))
            for vector in (columns, entries)
        ]
        numbers = ir.Constant(ir.VectorType(_I32, self.lanes), list(range(self.lanes)))
        inside = builder.icmp_signed("<", numbers, self.splat(builder.trunc(arg.rows, _I32)))
        any_wrong = builder.and_(builder.or_(*wrong), inside)
        bits = builder.bitcast(any_wrong, ir.IntType(self.lanes))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 0))


@instruction
def multiply_rows(
    typing: Any,
    columns: Any,
    entries: Any,
    count: Any,
    rows: Any,
    x: Any,
    weights: Any,
    sums: Any,
) -> Any:
    """sums[r] = the product of row r with x, for `rows` rows; whether that holds.

    It does not where the rows have not the same columns and entries. `columns` and `entries` are
    the addresses of the index of these rows (see `slices.Slices`), `count` the entries of each.
    """
    size = machine.vector_bits() // x.dtype.bitwidth

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        emitter = RowsEmitter(builder, context.get_value_type(x.dtype), 1, 1, size)
        index = (
            builder.inttoptr(place, kind.as_pointer())
            for place, kind in zip(args[:2], (_I32, _I16), strict=True)
        )
        total, holds = emitter.emit(_Arguments(*index, *args[2:6]))
        emitter.store(total, args[6])
        return holds

    whole_number = types.int64
    return types.boolean(*(whole_number,) * 4, x, x, x), generate


@instruction
def _uint16_at(typing: Any, address: Any, index: Any) -> Any:
    """`_uint16_at(address, i)`: element i of the uint16 array at an integer address, as int64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        base = builder.inttoptr(args[0], _I16.as_pointer())
        return builder.zext(builder.load(builder.gep(base, [args[1]]), align=2), _I64)

    return types.int64(types.int64, types.int64), generate


def channels_last(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: x [images, channels, pixels] as [images, pixels, channels], into the scratch."""
    channels, pixels = step[T_CHANNELS], step[T_PIXELS]
    size, each = lanes(like), blocks(pixels, lanes(like))
    first, end = share(step[T_IMAGES] * each, part, parts)
    for unit in range(first, end):
        image = unit // each
        pixel = (unit - image * each) * size
        x = at(pointer(step[T_X], like), image * channels * pixels + pixel)
        to = at(pointer(step[T_SCRATCH], like), (image * pixels + pixel) * channels)
        count = min(size, pixels - pixel)
        for channel in range(channels):
            for i in range(count):
                to[i * channels + channel] = x[channel * pixels + i]


def sliced_product(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: y[n, channel, pixel] = clamp(sum + bias[channel] + residual), then the second pass.

    See the places of its row above. Parts share the pixels of all slices of channels. The scratch
    begins with x as `channels_last` leaves it; from element SUMS on, each part has as many vectors
    as one has lanes.
    """
    pixels, together, channels = step[PIXELS], step[TOGETHER], step[CHANNELS]
    each = blocks(channels, together)
    first, end = share(step[GROUPS] * each * pixels, part, parts)
    scratch = pointer(step[SCRATCH], like)
    sums = at(scratch, step[SUMS] + part * lanes(like) * lanes(like))
    of_channel = int32_at(step[STARTS], pixels)
    for image in range(step[IMAGES]):
        x = at(scratch, image * step[COLUMNS])
        held = 0  # pixels whose sums are there
        for unit in range(first, end):
            turn = unit // pixels
            pixel = unit - turn * pixels
            group = turn // each
            left = (turn - group * each) * together
            channel, rows = group * channels + left, min(together, channels - left)
            start = int32_at(step[STARTS], pixel)
            count = int32_at(step[STARTS], pixel + 1) - start
            place = channel * of_channel + start * rows
            columns, entries = step[SLICE_COLUMNS] + 4 * place, step[SLICE_ENTRIES] + 2 * place
            weights = at(pointer(step[WEIGHTS], like), turn * step[SPAN] * lanes(like))
            to = at(sums, held * lanes(like))
            if not multiply_rows(columns, entries, count, rows, x, weights, to):
                _each_row(columns, entries, count, rows, x, weights, to)
            held += 1
            if held == lanes(like) or pixel + 1 == pixels or unit + 1 == end:
                row = (image * step[GROUPS] * channels + channel) * pixels + pixel + 1 - held
                _store_rows(step, sums, (channel, rows), row, held)
                held = 0


@compiled_part
def _each_row(
    columns: Any, entries: Any, count: Any, rows: Any, x: Any, weights: Any, sums: Any
) -> None:
    """What `multiply_rows` does, for rows of any index."""
    for r in range(rows):
        total = number(0.0, x)
        for k in range(count):
            place = k * rows + r
            weight = weights[_uint16_at(entries, place) * lanes(x) + r]
            total += weight * x[int32_at(columns, place)]
        sums[r] = total


@compiled_part
def _store_rows(step: Any, sums: Any, channels: Any, row: Any, count: Any) -> None:
    """What follows the sums of `count` pixels: rows of y from `row` on, and of the next channels.

    `channels`: the first, and how many.
    """
    low, high = number(double_bits(step[LOW]), sums), number(double_bits(step[HIGH]), sums)
    for i in range(channels[1]):
        y = at(pointer(step[Y], sums), row + i * step[PIXELS])
        added = at(pointer(step[RESIDUAL], sums), row + i * step[PIXELS])
        bias = pointer(step[BIAS], sums)[channels[0] + i] if step[BIAS] != 0 else number(0.0, sums)
        for pixel in range(count):
            total = sums[pixel * lanes(sums) + i] + bias
            if step[RESIDUAL] != 0:
                total += added[pixel]
            total = low if total < low else total
            y[pixel] = high if total > high else total
        if step[FINISH] != 0:
            alpha, beta = double_bits(step[ALPHA]), double_bits(step[BETA])
            call(step[FINISH], y, 1, count, count, number(alpha, sums), number(beta, sums))
