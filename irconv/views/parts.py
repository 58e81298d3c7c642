"""A block of a layer: ranges of channels and positions, chosen, counted and put into words."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from irconv.errors import UsageError, printable
from irconv.geometry import Ints
from irconv.types import Array

Ranges: TypeAlias = "tuple[range, ...]"
# channels or positions of one axis: one, from-to (the end left out), or a range
Chosen: TypeAlias = "int | tuple[int, int] | slice | range"

AXES = {1: ("position",), 2: ("row", "column"), 3: ("plane", "row", "column")}


def as_range(what: str, chosen: object, present: range) -> range:
    """What was chosen along one axis, as a range; UsageError if it is empty or not in `present`."""
    found = None
    match chosen:
        case int() if not isinstance(chosen, bool):
            found = range(chosen, chosen + 1)
        case slice():
            found = range(*chosen.indices(present.stop))
        case range():
            found = chosen
        case (int(first), int(end)):
            found = range(first, end)
    if not found or found.step != 1 or found.start < present.start or found.stop > present.stop:
        raise UsageError(
            f"{what}: not a part of the layer",
            expected=f"a number or (first, end) within {present.start} to {present.stop}",
            got=printable(chosen),
        )
    return found


def common(first: range, second: range) -> range:
    """What both ranges hold; where that is nothing, one number of `second`: a picture shows one."""
    both = range(max(first.start, second.start), min(first.stop, second.stop))
    return both or second[:1]


def flat(ranges: Ranges, shape: Ints) -> Array:
    """The flat indices of a block within `shape`, in order."""
    grids = np.meshgrid(*(np.arange(r.start, r.stop) for r in ranges), indexing="ij")
    return np.ravel_multi_index([g.reshape(-1) for g in grids], shape)


def described(ranges: Ranges, shape: Ints) -> str:
    """The block in words: only the axes that it cuts; empty where it cuts none."""
    names = ("channel", *AXES.get(len(shape) - 1, ("position",) * (len(shape) - 1)))
    parts = []
    for name, r, size in zip(names, ranges, shape, strict=True):
        if r != range(size):
            many = f"{name}s {r[0]} to {r[-1]}" if len(r) > 1 else f"{name} {r[0]}"
            parts.append(f"{many} of {size}")
    return ", ".join(parts)
