"""Launches of kernels on values in blocks, and how their work is cut into lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.backends.numba_cpu.blocked.storage import Storage
from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.launch import Launch, PlainStep, Source

F32 = np.dtype(np.float32)

# The numbers of a row after its addresses: sizes of the first value, its channels in the last
# block, then three strides of each value, then the kernel's own.
IMAGES, BLOCKS, HEIGHT, WIDTH, REST, STRIDES = range(6)
IMAGE, PLANE, LINE = range(3)


@dataclass(frozen=True)
class Blocked:
    """A value in blocks: where its bytes come from, and where its elements are in them."""

    source: Source
    storage: Storage


def blocked_launch(
    name: str,
    kernel: Callable[..., None],
    values: Sequence[Blocked],
    others: Sequence[Source] = (),
    numbers: Sequence[int | float] = (),
    scratch_bytes: int = 0,
) -> Launch:
    """A launch whose row is [code, values..., others..., scratch, sizes, strides..., numbers...].

    The sizes are those of the first value. The address of the scratch stays 0 where there is none.
    Kernels go by the places of channels, so all values have theirs in the same order.
    """
    first = values[0].storage
    assert all(v.storage.slots == first.slots for v in values)
    rest = first.channels - (first.blocks - 1) * first.block
    sizes = (first.images, first.blocks, first.height, first.width, rest)
    strides = [n for v in values for n in (v.storage.image, v.storage.plane, v.storage.line)]
    sources = (*(v.source for v in values), *others)
    place = len(sources) + 1
    return Launch(
        PlainStep(name, kernel, F32, place, (*sizes, *strides, *numbers), scratch_bytes),
        dict(enumerate(sources, 1)),
        place if scratch_bytes else None,
        {i: v.storage.origin * F32.itemsize for i, v in enumerate(values, 1)},
    )


@compiled_part
def lines_of(plane: Any, height: Any, first: Any, end: Any) -> Any:
    """The first and the end of the lines of one plane among lines first .. end of all planes."""
    before = plane * height
    return max(first - before, 0), min(end - before, height)


@compiled_part
def lanes_of(plane: Any, sizes: Any, block: Any) -> Any:
    """How many channels the block of plane `plane` holds."""
    return sizes[REST] if plane % sizes[BLOCKS] == sizes[BLOCKS] - 1 else block


@compiled_part
def plane_start(plane: Any, sizes: Any, strides: Any) -> Any:
    """The offset of plane number `plane` (image by image) of a value with these strides."""
    image = plane // sizes[BLOCKS]
    return image * strides[IMAGE] + (plane - image * sizes[BLOCKS]) * strides[PLANE]
