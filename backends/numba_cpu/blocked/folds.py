"""Sums and extremes of equally spaced vectors, for several pixels at once in registers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types

from irconv.backends.numba_cpu import machine, native
from irconv.backends.numba_cpu.blocked.vectors import I64, emit_greater, emit_largest
from irconv.backends.numba_cpu.emitter import TileEmitter, whole
from irconv.backends.numba_cpu.jit import instruction
from irconv.backends.numba_cpu.launch import PlainStep
from irconv.backends.numba_cpu.pointers import at
from irconv.types import Array

# What is made of the vectors: their sum; the largest, NaN where there is one; the largest, and
# whether there is no NaN, which then may be lost.
SUM, LARGEST, ORDERED = range(3)
MOST_PIXELS = 8  # of a tile: enough to hide the latency of an addition
_MOST_COLUMNS = (
    16 if machine.vector_bits() != 256 else 12
)  # that a tile reads, and half as many masks


@dataclass(frozen=True)
class Fold:
    """What is compiled into the fold of a line: tiles of `pixels` vectors of `block` floats.

    Each result takes in `across` columns of the image, `dilation` vectors apart; where that is more
    than one, results are `stride` vectors apart.
    """

    kind: int
    block: int
    pixels: int
    across: int = 1
    stride: int = 1
    dilation: int = 1

    @property
    def columns(self) -> tuple[int, ...]:
        """The columns that a tile reads."""
        return tuple(
            sorted(
                {
                    q * self.stride + k * self.dilation
                    for q in range(self.pixels)
                    for k in range(self.across)
                }
            )
        )


@dataclass(frozen=True)
class FoldStep:
    """A row whose last numbers are the addresses of folds, which `bind` looks up or compiles."""

    plain: PlainStep
    folds: tuple[Fold, ...]

    @property
    def name(self) -> str:
        """That of the kernel."""
        return self.plain.name

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch of all parts."""
        return self.plain.scratch_bytes

    def bind(self) -> Array:
        """The row of int64 with all addresses of data 0."""
        codes = np.array([fold_address(fold) for fold in self.folds], np.int64)
        return np.concatenate([self.plain.bind(), codes])


def window_fold(
    kind: int, block: int, count: int, across: int, stride: int, dilation: int
) -> Fold | None:
    """The fold for lines of `count` results, cut into tiles of one size; None where one result
    alone reads more columns than the registers hold.
    """
    for pieces in range(-(-count // MOST_PIXELS), count + 1):
        fold = Fold(kind, block, -(-count // pieces), across, stride, dilation)
        if len(fold.columns) <= _MOST_COLUMNS:
            return fold
    return None


def fold_address(fold: Fold) -> int:
    """The C address of `void line(y, x, count, step, taps, tap_step, ordered)`.

    y[q * block] = fold over t < taps, k < across of x[q * step + k * dilation * block + t *
    tap_step] for q < count, where all are vectors of `block` float32 at float32 pointers. `count`
    is at least the pixels of a tile, taps at least 1, and y is no part of x. Where `across` is more
    than 1, `step` must be stride * block. `ordered` points to an int64, which a fold of the kind
    ORDERED sets to 0 where it met a NaN.
    """
    floats, size = types.CPointer(types.float32), types.int64
    signature = (floats, floats, size, size, size, size, types.CPointer(size))
    return native.compiled(_line_function(fold), signature)


@cache
def _line_function(fold: Fold) -> Callable[..., None]:
    tile, block, pixels = _tile_instruction(fold), fold.block, fold.pixels

    def line(y: Any, x: Any, count: Any, step: Any, taps: Any, tap_step: Any, ordered: Any) -> None:
        found = 1
        for i in range(0, count, pixels):
            # the last tile begins earlier: it writes some pixels a second time
            q = min(i, count - pixels)
            found &= tile(at(y, q * block), at(x, q * step), step, taps, tap_step)
        if found == 0:
            ordered[0] = 0

    line.__qualname__ = "fold_" + "_".join(map(str, astuple(fold)))
    return line


def _tile_instruction(fold: Fold) -> Any:
    """`tile(y, x, step, taps, tap_step)`: the folds of one tile; 0 where it met a NaN, or 1."""

    def tile(typing: Any, y: Any, x: Any, step: Any, taps: Any, tap_step: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return _Tile(builder, context.get_value_type(y.dtype), fold).emit(*args)

        size = types.int64
        return size(y, x, size, size, size), generate

    return instruction(tile)


class _Tile(TileEmitter):
    """The columns of a tile in registers: first each by itself, then those of each result."""

    def __init__(self, builder: Any, scalar: Any, fold: Fold) -> None:
        super().__init__(builder, scalar, len(fold.columns), 1, fold.block)
        self.fold, self.kind = fold, fold.kind

    def emit(self, y: Any, x: Any, step: Any, taps: Any, tap_step: Any) -> Any:
        """The whole tile: whether all it read are numbers, as an int64."""
        builder = self.builder

        def fold_tap(carried: list[Any]) -> list[Any]:
            values = self._columns(carried[0], step)
            totals = [self._fold(a, b) for a, b in zip(carried[1:], values, strict=False)]
            checks = zip(carried[1 + self.rows :], self._checks(values), strict=True)
            checked = [builder.and_(a, b) for a, b in checks]
            return [self.at(carried[0], tap_step), *totals, *checked]

        first = self._columns(x, step)
        starts = [self.at(x, tap_step), *first, *self._checks(first)]
        ends = self.loop(builder.sub(taps, whole(1)), starts, fold_tap)[1:]
        found = dict(zip(self.fold.columns, ends, strict=False))
        for q in range(self.fold.pixels):
            place = q * self.fold.stride
            total = found[place]
            for k in range(1, self.fold.across):
                total = self._fold(total, found[place + k * self.fold.dilation])
            self.store(total, self.column(y, q))
        return self._all(ends[self.rows :])

    def _columns(self, place: Any, step: Any) -> list[Any]:
        """The vectors of one line; where results have one column each, these are `step` apart."""
        if self.fold.across > 1:
            return [self.load(self.column(place, c)) for c in self.fold.columns]
        offsets = [self.builder.mul(step, whole(q)) for q in range(self.rows)]
        return [self.load(self.at(place, offset)) for offset in offsets]

    def _fold(self, total: Any, value: Any) -> Any:
        if self.kind == SUM:
            return self.builder.fadd(total, value)
        emit = emit_largest if self.kind == LARGEST else emit_greater
        return emit(self.builder, value, total)

    def _checks(self, values: list[Any]) -> list[Any]:
        """Of every two vectors: in which lanes both are numbers."""
        if self.kind != ORDERED:
            return []
        pairs = zip(values[::2], [*values[1::2], values[-1]], strict=False)
        return [self.builder.fcmp_ordered("ord", a, b) for a, b in pairs]

    def _all(self, checks: list[Any]) -> Any:
        if not checks:
            return whole(1)
        builder, total = self.builder, checks[0]
        for check in checks[1:]:
            total = builder.and_(total, check)
        bits = builder.bitcast(total, ir.IntType(self.lanes))
        return builder.zext(builder.icmp_signed("==", bits, ir.Constant(bits.type, -1)), I64)
