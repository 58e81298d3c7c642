"""Dense layers of a few rows: the weights are read once, at the speed of memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

from numba import types

from irconv.backends.numba_cpu import machine, slots
from irconv.backends.numba_cpu.convolve import VECTORS
from irconv.backends.numba_cpu.emitter import Grid, flat, in_rows, whole
from irconv.backends.numba_cpu.gemm import finish
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.microkernel import PackedTile, TileArguments
from irconv.backends.numba_cpu.pointers import (
    at,
    double_bits,
    emit_prefetch,
    lanes,
    number,
    pointer,
)
from irconv.backends.numba_cpu.tiles import ROWS
from irconv.backends.numba_cpu.work import blocks, share

# Bytes that a prefetch of weights runs ahead: the hardware's own stops at the end of a page.
_AHEAD = 4096


def streams(rows: int) -> int:
    """How many ranges of the depth are read at once: two have more lines on their way than one.

    Each has sums of its own, for which there must be registers.
    """
    return 2 if rows * 2 <= ROWS else 1


class StreamedTile(PackedTile):
    """A tile that reads x row by row, and its columns of weights from some places at once."""

    def __init__(self, builder: Any, scalar: Any, tile: tuple[int, int, int], ways: int) -> None:
        super().__init__(builder, scalar, *tile)
        self.ways = ways

    def emit(self, arg: TileArguments) -> None:
        """The whole tile. `arg.bias` is one value a column, whole vectors of them, or null."""
        sums = self._sums(arg)
        starts = flat(sums)

        def add() -> list[Any]:
            bias = [self.load(self.column(arg.bias, j)) for j in range(self.vectors)]
            return self.add_all(starts, bias * self.rows)

        self.finish(arg, in_rows(self.when(self.is_given(arg.bias), starts, add), self.vectors))

    def _sums(self, arg: TileArguments) -> Grid:
        builder = self.builder
        each = builder.sdiv(arg.depth, whole(self.ways))
        starts = [builder.mul(each, whole(way)) for way in range(self.ways)]
        size = self.rows * self.vectors

        def turn(ways: int, carried: list[Any]) -> list[Any]:
            k, *sums = carried
            following = []
            for way in range(ways):
                tile = in_rows(sums[way * size : (way + 1) * size], self.vectors)
                following += flat(self._step(arg, builder.add(starts[way], k), tile))
            return [builder.add(k, whole(1)), *following]

        zeros = flat(self.zeros()) * self.ways
        _, *sums = self.loop(each, [whole(0), *zeros], partial(turn, self.ways))
        total = sums[:size]
        for way in range(1, self.ways):
            total = self.add_all(total, sums[way * size : (way + 1) * size])
        if self.ways > 1:  # what no way has had
            had = builder.mul(each, whole(self.ways))
            rest = builder.sub(arg.depth, had)
            _, *total = self.loop(rest, [had, *total], partial(turn, 1))
        return in_rows(total, self.vectors)

    def _step(self, arg: TileArguments, k: Any, sums: Grid) -> Grid:
        """One element of the depth."""
        b = self.at(arg.b, self.builder.mul(k, arg.ldb))
        bytes_each = 4 if self._alignment() == 4 else 8
        for j in range(self.vectors):
            place = self.at(b, j * self.lanes + _AHEAD // bytes_each)
            emit_prefetch(self.builder, place)
        columns = [self.load(self.column(b, j)) for j in range(self.vectors)]
        rows = [
            partial(self.broadcast, self.at(self.at(arg.a, self._row(arg, r)), k))
            for r in range(self.rows)
        ]
        return self.multiply_add(rows, columns, sums)

    def _row(self, arg: TileArguments, r: int) -> Any:
        """Where row `r` of x begins: a row that is not there is the last that is."""
        builder = self.builder
        last = builder.sub(arg.rows, whole(1))
        inside = builder.icmp_signed("<", whole(r), arg.rows)
        return builder.mul(builder.select(inside, whole(r), last), arg.lda)


@instruction
def multiply_streamed(
    typing: Any,
    height: Any,
    depth: Any,
    a: Any,
    lda: Any,
    b: Any,
    c: Any,
    ldc: Any,
    rows: Any,
    columns: Any,
    bias: Any,
    residual: Any,
    low: Any,
    high: Any,
) -> Any:
    """C[rows, columns] = clamp(A @ B + bias [+ residual], low, high), one panel of columns.

    A has `rows` rows (at most the literal `height`), `lda` apart. B is [depth][VECTORS vectors],
    `bias` as many values as a row of it, or null. C and the residual have rows `ldc` apart, and
    only `columns` of each are touched. A NaN stays NaN.
    """
    count = machine.vector_bits() // a.dtype.bitwidth
    tile = (height.literal_value, VECTORS, count)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_value_type(a.dtype)
        emitter = StreamedTile(builder, scalar, tile, streams(tile[0]))
        _, k, x, lda, w, y, ldy, m, n, bias, residual, low, high = args
        ldw, nothing = whole(VECTORS * count), whole(0)
        emitter.emit(
            TileArguments(k, x, lda, w, ldw, y, ldy, m, n, bias, residual, ldy, nothing, low, high)
        )
        return context.get_dummy_value()

    size, scalar = types.int64, a.dtype
    kinds = (height, size, a, size, a, a, size, size, size, a, a, scalar, scalar)
    return types.none(*kinds), generate


@cache
def dense_kernel(rows: int) -> Callable[..., None]:
    """The kernel for at most `rows` rows.

    y[M, N] = clamp(x[M, K] @ W[K, N] + bias [+ residual]), then the second pass. W is packed by
    `packing.pack_columns`, the bias padded to whole panels. Parts share the panels.
    """

    def dense(step: Any, like: Any, part: Any, parts: Any) -> None:
        m, n, k = step[slots.M], step[slots.N], step[slots.K]
        width = VECTORS * lanes(like)
        x, y = pointer(step[slots.A], like), pointer(step[slots.Y], like)
        weights, nothing = pointer(step[slots.B], like), pointer(0, like)
        bias, residual = pointer(step[slots.BIAS], like), pointer(step[slots.RESIDUAL], like)
        low = number(double_bits(step[slots.LOW]), like)
        high = number(double_bits(step[slots.HIGH]), like)
        first, end = share(blocks(n, width) * min(m, 1), part, parts)
        for panel in range(first, end):
            left = panel * width
            columns = min(width, n - left)
            multiply_streamed(
                rows, k, x, k, at(weights, left * k), at(y, left), n, m, columns,
                at(bias, left) if step[slots.BIAS] != 0 else nothing,
                at(residual, left) if step[slots.RESIDUAL] != 0 else nothing,
                low, high,
            )  # fmt: skip
            finish(step, at(y, left), m, columns)

    dense.__qualname__ = f"dense_{rows}"  # the cache of machine code knows a function by its name
    return dense
