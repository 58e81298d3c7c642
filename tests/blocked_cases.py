"""Runs launches on values in blocks, every buffer between guard zones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from irconv.backends.numba_cpu import native
from irconv.backends.numba_cpu.blocked.launches import Blocked
from irconv.backends.numba_cpu.blocked.storage import Storage, storage
from irconv.backends.numba_cpu.launch import Launch
from irconv.layout import Layout
from irconv.types import Array

GUARD = 1024  # elements on each side: more than any stray vector
CANARY = np.float32(12345)


def guarded(shape: Sequence[int], fill: float) -> tuple[Array, Array]:
    """(the whole space, filled; its middle of this shape, on a cache line)."""
    size = int(np.prod(shape))
    space = np.full(size + 2 * GUARD + 16, fill, np.float32)
    start = GUARD + (-space.ctypes.data // 4) % 16
    return space, space[start : start + size].reshape(shape)


@dataclass(frozen=True)
class Laid:
    """A buffer in memory and its place in blocks; `first` is its first block of a larger one."""

    space: Array
    stored: Array
    layout: Layout
    shape: tuple[int, ...]
    first: int = 0

    @property
    def blocked(self) -> Blocked:
        whole = storage((self.shape[0], self.stored.shape[1] * self.layout.block,
                         *self.shape[2:]), self.layout)  # fmt: skip
        return Blocked(self.stored, self.place.within(whole, self.first * self.layout.block))

    @property
    def place(self) -> Storage:
        return storage(self.shape, self.layout)

    def load(self) -> Array:
        blocks = self.place.blocks
        return self.layout.load(self.stored[:, self.first : self.first + blocks], self.shape[1])

    def interior(self) -> Array:
        """Whether each stored element is one of this value, or fills up its last block."""
        inside = np.zeros(self.stored.shape, bool)
        begins, spatial = self.layout.halo, self.shape[2:]
        inner = tuple(slice(b, b + n) for b, n in zip(begins, spatial, strict=False))
        inside[(slice(None), slice(self.first, self.first + self.place.blocks), *inner)] = True
        return inside

    def check_written(self, halo: float | None = None) -> None:
        """Nothing but this value was written; its halo holds `halo`, or is as it was."""
        mask = np.zeros(self.space.size, bool)
        start = (self.stored.ctypes.data - self.space.ctypes.data) // 4
        inside = self.interior()
        if halo is not None:
            own = np.zeros(self.stored.shape, bool)
            own[:, self.first : self.first + self.place.blocks] = True
            assert (self.stored[own & ~inside] == halo).all()
            inside |= own
        mask[start : start + self.stored.size] = inside.reshape(-1)
        assert (self.space[~mask] == CANARY).all()
        assert np.isfinite(self.beyond()).all()

    def beyond(self) -> Array:
        """What fills up the last block."""
        last = self.stored[:, [self.first + self.place.blocks - 1]]
        block = self.layout.block
        rest = self.shape[1] - (self.place.blocks - 1) * block
        return self.layout.load(last, block)[:, rest:]


def operand(
    array: Array,
    block: int,
    halo: Sequence[int],
    around: float = np.nan,
    extra: tuple[int, int] = (0, 0),
) -> Laid:
    """An array in blocks; `around` fills its halo, finite junk the lanes beyond its channels."""
    target = result(array.shape, block, halo, extra, fill=around)
    rest = target.layout.store(np.ones_like(array)) == 0
    stored = target.layout.store(array)
    junk = np.random.default_rng(1).integers(-99, 99, stored.shape).astype(np.float32)
    stored[rest] = junk[rest]
    own = target.stored[:, target.first : target.first + target.place.blocks]
    inside = target.interior()[:, target.first : target.first + target.place.blocks]
    own[inside] = stored[inside]
    return target


def result(
    shape: Sequence[int],
    block: int,
    halo: Sequence[int],
    extra: tuple[int, int] = (0, 0),
    fill: float = float(CANARY),
) -> Laid:
    """Room for a value in blocks, between `extra` blocks of other channels."""
    layout = Layout(block, tuple(halo))
    images, _, *spatial = shape
    blocks = storage(tuple(shape), layout).blocks + sum(extra)
    space, stored = guarded(layout.stored_shape((images, blocks * block, *spatial)), fill)
    return Laid(space, stored, layout, tuple(shape), extra[0])


def run(launches: Sequence[Launch], parts: int = 1) -> None:
    """Run launches whose sources are arrays; nothing is written that is not among the results."""
    for launch in launches:
        row = launch.step.bind()
        for word, source in launch.sources.items():
            assert isinstance(source, np.ndarray)
            row[word] = source.ctypes.data + launch.offsets.get(word, 0) if source.size else 0
        space, scratch = guarded((launch.step.scratch_bytes // 4,), CANARY)
        if launch.scratch_place is not None:
            row[launch.scratch_place] = scratch.ctypes.data
        before = row.copy()
        for part in range(parts):
            native.run(int(row[0]), row, part, parts)
        assert np.array_equal(row, before)
        scratch[...] = CANARY
        assert (space == CANARY).all(), "written outside the scratch"


def numbers(shape: Sequence[int], seed: int = 0) -> Array:
    """Small integers, so that sums and products of a few are exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float32)
