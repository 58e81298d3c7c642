"""Where a sliding window goes: output sizes, and the input pixel that each tap reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from irconv.dim import Dim
from irconv.errors import GraphError

Ints: TypeAlias = "tuple[int, ...]"
IntArray: TypeAlias = npt.NDArray[np.int32]


def window_size(
    size: Dim, kernel: int, stride: int, dilation: int, pads: tuple[int, int], ceil: bool = False
) -> Dim:
    """Output size of one axis: `floor((size + pads - dilation*(kernel-1) - 1) / stride) + 1`.

    With `ceil` the last window may hang over the end, but must start inside the image or its front
    padding (ONNX pools, `ceil_mode`).
    """
    span = dilation * (kernel - 1) + 1
    room = size + (pads[0] + pads[1] - span)
    if not ceil:
        return room // stride + 1
    count = (room + stride - 1) // stride + 1
    if isinstance(count, int) and isinstance(size, int) and (count - 1) * stride >= size + pads[0]:
        return count - 1
    return count


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """The shape of one convolution, without weights: N-dimensional, all sizes known.

    `pads` lists the begins of all axes, then the ends, as in ONNX. The weight tensor of this
    geometry is `[out_channels, in_channels // group, *kernel]`; a *tap* is a place of the kernel,
    numbered row-major.
    """

    in_channels: int
    out_channels: int
    image: Ints
    kernel: Ints
    strides: Ints
    pads: Ints
    dilations: Ints
    group: int = 1

    @property
    def rank(self) -> int:
        return len(self.image)

    @property
    def out(self) -> Ints:
        """Spatial sizes of the output."""
        sizes = tuple(
            window_size(*axis)
            for axis in zip(
                self.image,
                self.kernel,
                self.strides,
                self.dilations,
                self.pad_pairs,
                strict=True,
            )
        )
        if any(not isinstance(s, int) or s < 0 for s in sizes):
            raise GraphError("the kernel is larger than the padded image", got=str(self))
        return tuple(int(s) for s in sizes if isinstance(s, int))

    @property
    def pad_pairs(self) -> tuple[tuple[int, int], ...]:
        """(begin, end) for each axis."""
        return tuple(zip(self.pads[: self.rank], self.pads[self.rank :], strict=True))

    @property
    def rows(self) -> int:
        """Output elements of one image."""
        return self.out_channels * prod(self.out)

    @property
    def columns(self) -> int:
        """Input elements of one image."""
        return self.in_channels * prod(self.image)

    @property
    def taps(self) -> int:
        return prod(self.kernel)

    @property
    def weights_shape(self) -> Ints:
        return (self.out_channels, self.in_channels // self.group, *self.kernel)

    @property
    def free_weights(self) -> int:
        return prod(self.weights_shape)

    @property
    def tap_entries(self) -> int:
        """The number of (output pixel, tap) pairs that read the image, not its padding."""
        return prod(int(np.count_nonzero(self.axis_reads(a) >= 0)) for a in range(self.rank))

    @property
    def nnz(self) -> int:
        """Places of the full matrix that hold a weight."""
        return self.tap_entries * self.out_channels * (self.in_channels // self.group)

    def axis_reads(self, axis: int, outputs: range | None = None) -> npt.NDArray[np.int64]:
        """`[out, kernel]`: the coordinate that each (output, tap) reads along `axis`, -1 in the
        padding; of all outputs, or of these.
        """
        chosen = range(self.out[axis]) if outputs is None else outputs
        first = np.array(chosen, np.int64) * self.strides[axis] - self.pads[axis]
        read = first[:, None] + np.arange(self.kernel[axis]) * self.dilations[axis]
        return np.where((read >= 0) & (read < self.image[axis]), read, -1)

    def tap_table(self) -> IntArray:
        """`[prod(out), taps]` int32: the input pixel that each (output pixel, tap) reads, -1 in the
        padding.
        """

        def combine(table: npt.NDArray[np.int64], axis: int) -> npt.NDArray[np.int64]:
            read = self.axis_reads(axis)
            pixel = table[:, None, :, None] * self.image[axis] + read[None, :, None, :]
            inside = (table[:, None, :, None] >= 0) & (read[None, :, None, :] >= 0)
            shape = (table.shape[0] * read.shape[0], table.shape[1] * read.shape[1])
            return np.where(inside, pixel, -1).reshape(shape)

        start = np.zeros((1, 1), np.int64)
        return reduce(combine, range(self.rank), start).astype(np.int32)

    def __str__(self) -> str:
        out = " x ".join(map(str, (self.out_channels, *self.out))) if self._fits() else "?"
        image = " x ".join(map(str, (self.in_channels, *self.image)))
        parts = [
            f"{image} -> {out}",
            f"kernel {list(self.kernel)}",
            f"strides {list(self.strides)}",
        ]
        parts += [
            f"pads {list(self.pads)}",
            f"dilations {list(self.dilations)}",
            f"group {self.group}",
        ]
        return ", ".join(parts)

    def _fits(self) -> bool:
        spans = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True)]
        return all(
            size + sum(pads) >= span
            for size, pads, span in zip(self.image, self.pad_pairs, spans, strict=True)
        )
