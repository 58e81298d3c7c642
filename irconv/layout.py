"""How a tensor lies in memory where that is not row by row: channels in blocks, zeros around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.errors import GraphError


@dataclass(frozen=True, slots=True)
class Layout:
    """`[N, C, *spatial]` stored as `[N, ceil(C / block), *(begin + spatial + end), block]`.

    The channels of one block lie side by side at each pixel; the last block is filled up with
    finite values that mean nothing. `halo` counts the zeros around each spatial axis, in the order
    of ONNX's `pads`: all begins, then all ends. What a tensor *is* does not change: an op means
    the same on any layout of its operands.
    """

    block: int
    halo: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.block < 1 or len(self.halo) % 2 or any(h < 0 for h in self.halo):
            raise GraphError(
                "wrong layout",
                expected="block >= 1, and a halo >= 0 at the begin and end of each spatial axis",
                got=str(self),
            )

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.halo) // 2

    def stored_shape(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """The sizes in memory of a tensor of this shape (integers, or expressions)."""
        images, channels, *spatial = shape
        begins, ends = self.halo[: self.rank], self.halo[self.rank :]
        around = (b + n + e for b, n, e in zip(begins, spatial, ends, strict=True))
        return (images, (channels + (self.block - 1)) // self.block, *around, self.block)

    def store(self, array: np.ndarray) -> np.ndarray:
        """`[N, C, *spatial]` as it lies in memory; the last block is filled up with zeros."""
        images, channels, *spatial = array.shape
        filled = np.zeros(self.stored_shape(array.shape), array.dtype)
        padded = np.zeros((images, filled.shape[1] * self.block, *spatial), array.dtype)
        padded[:, :channels] = array
        blocks = padded.reshape(images, filled.shape[1], self.block, *spatial)
        filled[self._inside(spatial)] = np.moveaxis(blocks, 2, -1)
        return filled

    def load(self, stored: np.ndarray, channels: int) -> np.ndarray:
        """The first `channels` of a tensor from what lies in memory."""
        begins, ends = self.halo[: self.rank], self.halo[self.rank :]
        around = zip(stored.shape[2:-1], begins, ends, strict=True)
        spatial = [size - b - e for size, b, e in around]
        blocks = np.moveaxis(stored[self._inside(spatial)], -1, 2)
        return blocks.reshape(stored.shape[0], -1, *spatial)[:, :channels]

    def _inside(self, spatial: Sequence[int]) -> tuple[slice, ...]:
        inner = (slice(b, b + n) for b, n in zip(self.halo, spatial, strict=False))
        return (slice(None), slice(None), *inner)

    def __str__(self) -> str:
        return f"{{block = {self.block}, halo = [{', '.join(map(str, self.halo))}]}}"
