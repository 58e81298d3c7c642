"""The index of a convolution's matrix: which weight stands where, as CSR."""

from __future__ import annotations

from math import prod
from typing import TypeAlias

import numpy as np

from irconv.errors import GraphError
from irconv.geometry import ConvGeometry
from irconv.types import Array, MatrixType

# (indptr, columns, entries), all int32
Index: TypeAlias = "tuple[Array, Array, Array]"


def tap_index(geometry: ConvGeometry, transposed: bool = False) -> Index:
    """The index over pixels: rows are result pixels, entries number the kernel's taps."""
    table = geometry.tap_table()
    row, tap = np.nonzero(table >= 0)
    column = table[row, tap]
    order = np.lexsort((tap, column if transposed else row))
    row, column, tap = row[order], column[order], tap[order]
    if transposed:
        return csr_index(column, row, tap, prod(geometry.image))
    return csr_index(row, column, tap, prod(geometry.out))


def literal_index(geometry: ConvGeometry, transposed: bool = False) -> Index:
    """The index over elements: rows are result elements, entries number the free weights."""
    return expanded(geometry, transposed, tap_index(geometry, transposed))


def expanded(geometry: ConvGeometry, transposed: bool, index: Index) -> Index:
    """The index over elements that an index over pixels stands for.

    The rows of one result channel all look alike: a pattern of columns and weights, moved on by the
    channel's own first column and first weight. So little more is held than the result.
    """
    indptr, columns, _ = index
    per_group = geometry.in_channels // geometry.group
    outs = geometry.out_channels // geometry.group
    # of one row: the channels that it sums over, and the weights from one of them to the next
    inner, stride = (outs, per_group * geometry.taps) if transposed else (per_group, geometry.taps)
    pixels = prod(geometry.out if transposed else geometry.image)
    pattern = _pattern(index, inner, pixels, stride)

    channels = geometry.in_channels if transposed else geometry.out_channels
    count = inner * len(columns)
    full_columns = np.empty((channels, count), np.int32)
    full_entries = np.empty((channels, count), np.int32)
    for channel in range(channels):
        group, member = divmod(channel, channels // geometry.group)
        np.add(pattern[0], group * inner * pixels, out=full_columns[channel])
        first = member if transposed else member * per_group
        first += group * outs * per_group
        np.add(pattern[1], first * geometry.taps, out=full_entries[channel])
    starts = np.arange(channels, dtype=np.int64)[:, None] * count + inner * indptr[:-1]
    full_indptr = np.append(starts.reshape(-1), channels * count).astype(np.int32)
    return full_indptr, full_columns.reshape(-1), full_entries.reshape(-1)


def _pattern(index: Index, inner: int, pixels: int, stride: int) -> tuple[Array, Array]:
    """(columns, entries) of the rows of the first channel: row by row, channel by channel."""
    indptr, columns, entries = index
    counts = np.diff(indptr)
    row = np.repeat(np.arange(len(counts)), counts)
    start = inner * indptr[row] + (np.arange(len(columns)) - indptr[row])
    full_columns = np.empty(inner * len(columns), np.int32)
    full_entries = np.empty(inner * len(columns), np.int32)
    for channel in range(inner):
        place = start + channel * counts[row]
        full_columns[place] = columns + channel * pixels
        full_entries[place] = entries + channel * stride
    return full_columns, full_entries


def csr_index(rows: Array, columns: Array, entries: Array, count: int) -> Index:
    """The index of entries that are sorted by their row."""
    indptr = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=count), out=indptr[1:])
    return indptr, columns.astype(np.int32), entries.astype(np.int32)


def check_index(kind: MatrixType, indptr: Array, columns: Array, entries: Array) -> None:
    """Raises GraphError where an index leaves its matrix: compiled kernels do not check bounds."""
    geometry, tap = kind.geometry, kind.form == "tap"
    width = prod(geometry.out if kind.transposed else geometry.image) if tap else kind.columns
    weights = geometry.taps if tap else geometry.free_weights
    whole = indptr[0] == 0 and indptr[-1] == columns.size and bool(np.all(np.diff(indptr) >= 0))
    if not (whole and _below(columns, width) and _below(entries, weights)):
        raise GraphError(
            "the index of a matrix points outside it",
            expected=f"columns below {width}, entries below {weights}, indptr from 0 up to their "
            "number",
        )


def _below(array: Array, limit: int) -> bool:
    return not array.size or bool(array.min() >= 0 and array.max() < limit)
