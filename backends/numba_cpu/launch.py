"""One launch of a kernel as data: the row of numbers it reads, and its addresses' sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np

from irconv.backends.numba_cpu import native, slots
from irconv.graph import Value
from irconv.types import Array


class Status:
    """The word of a running call that a kernel sets where it met a wrong operand."""


STATUS = Status()
# where an address comes from: a buffer of the graph, a constant that the program holds (an empty
# one stands for address 0), or the status word
Source: TypeAlias = "Value | Array | Status"


class Row(Protocol):
    """What a launch needs of a step: `steps.Step` of the engine, or `PlainStep`."""

    @property
    def name(self) -> str: ...

    @property
    def scratch_bytes(self) -> int: ...

    def bind(self) -> Array:
        """The row of int64 with all addresses of data 0."""
        ...


@dataclass(frozen=True)
class PlainStep:
    """A step of a kernel with a layout of its own: [code, addresses..., numbers...].

    Numbers are integers, or floats that are stored as the bits of a float64.
    """

    name: str
    kernel: Callable[..., None] = field(repr=False)
    dtype: np.dtype[Any]
    addresses: int
    numbers: tuple[int | float, ...] = ()
    scratch_bytes: int = 0

    def bind(self) -> Array:
        """The row of int64 with all addresses of data 0."""
        code = native.address(self.kernel, self.dtype)
        bits = [
            int(np.float64(n).view(np.int64)) if isinstance(n, float) else int(n)
            for n in self.numbers
        ]
        return np.array([code, *(0,) * self.addresses, *bits], np.int64)


@dataclass(frozen=True)
class Launch:
    """A step and the sources of its addresses: by position in the row.

    Without `joins` the threads do not meet after it. Then the next step must touch nothing that
    this one writes and write nothing that it reads, and one of the two must have no scratch.
    """

    step: Row
    sources: Mapping[int, Source]
    scratch_place: int | None = None
    offsets: Mapping[int, int] = field(default_factory=dict)  # bytes to add to an address
    joins: bool = True


def plain(
    name: str,
    kernel: Callable[..., None],
    dtype: np.dtype[Any],
    sources: tuple[Source, ...],
    numbers: tuple[int | float, ...] = (),
    offsets: Mapping[int, int] | None = None,
) -> Launch:
    """A launch of a kernel whose row is [code, addresses of `sources`..., `numbers`...]."""
    step = PlainStep(name, kernel, dtype, len(sources), numbers)
    return Launch(step, {i + 1: s for i, s in enumerate(sources)}, offsets=offsets or {})


def engine(step: Any, **sources: Source | None) -> Launch:
    """A launch of an engine step, sources by slot name; an absent one stays 0."""
    placed = {getattr(slots, name): s for name, s in sources.items() if s is not None}
    return Launch(step, placed, slots.SCRATCH if step.scratch_bytes else None)
