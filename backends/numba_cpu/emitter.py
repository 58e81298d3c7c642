"""Emits what register tiles are made of: vectors, a loop that carries a tile, its epilogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba.core import cgutils

from irconv.backends.numba_cpu import machine

_I1, _I32, _I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)

Grid: TypeAlias = list[list[Any]]  # a tile: rows of vectors


def whole(value: int) -> Any:
    """An int64 constant."""
    return ir.Constant(_I64, value)


class TileEmitter:
    """Emits a tile of `rows` x `vectors` vectors of `lanes` floats as LLVM instructions.

    What lies in the rows and in the lanes is the business of those who use it: output channels
    and pixels (`microkernel`), the same turned (`narrow`), or pixels and channels of a block
    (`blocked.tile`).
    """

    def __init__(self, builder: Any, scalar: Any, rows: int, vectors: int, lanes: int) -> None:
        self.builder, self.scalar = builder, scalar
        self.rows, self.vectors, self.lanes = rows, vectors, lanes
        self.vector = ir.VectorType(scalar, lanes)
        self.mask = ir.VectorType(_I1, lanes)
        suffix = f"v{lanes}f{32 if isinstance(scalar, ir.FloatType) else 64}"
        pointer = self.vector.as_pointer()
        self.fma = self._declare(f"llvm.fma.{suffix}", self.vector, [self.vector] * 3)
        self.masked_load = self._declare(
            f"llvm.masked.load.{suffix}.p0", self.vector, [pointer, _I32, self.mask, self.vector]
        )
        self.masked_store = self._declare(
            f"llvm.masked.store.{suffix}.p0",
            ir.VoidType(),
            [self.vector, pointer, _I32, self.mask],
        )

    def _declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, arguments)
        return cgutils.get_or_insert_function(self.builder.module, kind, name)

    def splat(self, value: Any) -> Any:
        """A vector of copies of one scalar."""
        start = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        one = self.builder.insert_element(start, value, ir.Constant(_I32, 0))
        zeros = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, start, zeros)

    def broadcast(self, place: Any) -> Any:
        """A vector of copies of the scalar at `place`."""
        return self.splat(self.builder.load(place))

    def at(self, base: Any, index: Any) -> Any:
        """The place of element `index` (a Python int or an int64) of `base`."""
        index = whole(index) if isinstance(index, int) else index
        return self.builder.gep(base, [index])

    def column(self, base: Any, j: int) -> Any:
        """The place of vector `j` of a row."""
        return self.at(base, j * self.lanes)

    def zeros(self) -> Grid:
        """A tile of zeros."""
        return [[ir.Constant(self.vector, None)] * self.vectors for _ in range(self.rows)]

    def multiply_add(self, row_values: list[Any], columns: list[Any], sums: Grid) -> Grid:
        """sums[r][j] + row_values[r] * columns[j]; a row's value is made where it is needed."""
        result = []
        for value, row in zip(row_values, sums, strict=True):
            value = value() if callable(value) else value
            result.append(
                [
                    self.builder.call(self.fma, [value, column, total])
                    for column, total in zip(columns, row, strict=True)
                ]
            )
        return result

    def multiply_in_order(self, row_values: list[Any], columns: list[Any], sums: Grid) -> Grid:
        """`multiply_add` row by row, as written.

        Left alone, LLVM now and then loads the values of all rows first, and spills the sums.
        """
        result = []
        for value, row in zip(row_values, sums, strict=True):
            result.append(self._pinned(self.multiply_add([value], columns, [row])[0]))
        return result

    def _pinned(self, values: list[Any]) -> list[Any]:
        """The values by an empty assembly: they come before it, and later loads after it."""
        constraint = machine.vector_constraint()
        if constraint is None:
            return values
        kinds = [value.type for value in values]
        ties = [f"={constraint}" for _ in values] + [str(i) for i in range(len(values))]
        result = ir.LiteralStructType(kinds) if len(values) > 1 else kinds[0]
        function = ir.FunctionType(result, kinds)
        pinned = self.builder.asm(function, "", ",".join([*ties, "~{memory}"]), values, True)
        if len(values) == 1:
            return [pinned]
        return [self.builder.extract_value(pinned, i) for i in range(len(values))]

    def loop(
        self, count: Any, starts: list[Any], body: Callable[[list[Any]], list[Any]]
    ) -> list[Any]:
        """`count` turns of `body`, from the values it carries to their next ones: the last.

        Where the count (an int64) is not positive, the starts.
        """
        builder = self.builder
        before = builder.block
        head, after = builder.append_basic_block("loop"), builder.append_basic_block("loop.end")
        builder.cbranch(builder.icmp_signed(">", count, whole(0)), head, after)
        builder.position_at_end(head)
        phis = [builder.phi(value.type) for value in [whole(0), *starts]]
        following = [builder.add(phis[0], whole(1)), *body(phis[1:])]
        end = builder.block  # the body may have blocks of its own
        for phi, first, value in zip(phis, [whole(0), *starts], following, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(value, end)
        builder.cbranch(builder.icmp_signed("<", following[0], count), head, after)
        builder.position_at_end(after)
        return self._merge(starts, before, following[1:], end)

    def _merge(self, firsts: list[Any], before: Any, seconds: list[Any], block: Any) -> list[Any]:
        merged = []
        for first, second in zip(firsts, seconds, strict=True):
            phi = self.builder.phi(first.type)
            phi.add_incoming(first, before)
            phi.add_incoming(second, block)
            merged.append(phi)
        return merged

    def when(self, on: Any, values: list[Any], change: Callable[[], list[Any]]) -> list[Any]:
        """The values that `change` makes where `on` holds, else `values`."""
        before = self.builder.block
        with self.builder.if_then(on):
            changed = change()
            inside = self.builder.block
        return self._merge(values, before, changed, inside)

    def is_given(self, address: Any) -> Any:
        """Whether a pointer is not null."""
        return self.builder.icmp_unsigned("!=", address, ir.Constant(address.type, None))

    def is_set(self, number: Any) -> Any:
        """Whether an int64 is not 0."""
        return self.builder.icmp_signed("!=", number, whole(0))

    def add_all(self, values: list[Any], others: list[Any]) -> list[Any]:
        """The sums of two lists of vectors."""
        return [self.builder.fadd(a, b) for a, b in zip(values, others, strict=True)]

    def clamp(self, value: Any, low: Any, high: Any) -> Any:
        """The vector held in low .. high."""
        # Written as compare and select so that a NaN, which compares false, stays.
        builder, value = self.builder, self.at_least(value, low)
        return builder.select(builder.fcmp_ordered(">", value, high), high, value)

    def at_least(self, value: Any, low: Any) -> Any:
        """The vector, or `low` where that is larger; NaN stays."""
        builder = self.builder
        return builder.select(builder.fcmp_ordered("<", value, low), low, value)

    def load(self, place: Any, mask: Any = None) -> Any:
        """The vector at `place`; where there is a mask, 0 in its other lanes."""
        place = self.builder.bitcast(place, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(place, align=self._alignment())
        zero = ir.Constant(self.vector, None)
        return self.builder.call(self.masked_load, [place, self._align_value(), mask, zero])

    def store(self, value: Any, place: Any, mask: Any = None) -> None:
        """Write a vector, or its masked lanes."""
        place = self.builder.bitcast(place, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, place, align=self._alignment())
        else:
            self.builder.call(self.masked_store, [value, place, self._align_value(), mask])

    def _alignment(self) -> int:
        return 4 if isinstance(self.scalar, ir.FloatType) else 8

    def _align_value(self) -> Any:
        return ir.Constant(_I32, self._alignment())


def flat(tile: Grid) -> list[Any]:
    """The vectors of a tile, row by row."""
    return [value for row in tile for value in row]


def in_rows(values: list[Any], vectors: int) -> Grid:
    """What `flat` made flat."""
    return [values[i : i + vectors] for i in range(0, len(values), vectors)]
