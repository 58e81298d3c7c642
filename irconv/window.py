"""Attributes shared by all ops that slide a window: kernel, strides, pads, dilations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.geometry import ConvGeometry, Ints, window_size
from irconv.op import Op, static_shape
from irconv.types import Array, TensorType

# beyond this a size cannot be a real network's, and sums of sizes could overflow compiled code
SIZE_LIMIT = 1 << 31


@dataclass(frozen=True)
class Windowed(Op):
    """An op with a sliding window; absent strides, pads and dilations are filled with 1, 0 and 1.

    `pads` lists the begins of all axes, then the ends.
    """

    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        rank = len(self.kernel_shape)
        for key, count, fill in (
            ("strides", rank, 1),
            ("pads", 2 * rank, 0),
            ("dilations", rank, 1),
        ):
            given = getattr(self, key)
            object.__setattr__(self, key, tuple(given) or (fill,) * count)
            if len(getattr(self, key)) != count:
                raise GraphError(
                    f"{self.name}: {key} has the wrong length", expected=count, got=len(given)
                )
        if not rank:
            raise GraphError(f"{self.name}: kernel_shape is empty")
        for key, least in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 0)):
            if any(not least <= v < SIZE_LIMIT for v in getattr(self, key)):
                raise GraphError(
                    f"{self.name}: {key} is out of range",
                    expected=f"{least} to 2^31 - 1",
                    got=list(getattr(self, key)),
                )

    def attributes(self) -> dict[str, Any]:
        """As for every op, without strides, pads and dilations that are all ones or zeros."""
        shown = super().attributes()
        for key, fill in (("strides", 1), ("pads", 0), ("dilations", 1)):
            if all(v == fill for v in getattr(self, key)):
                shown.pop(key, None)
        return shown

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel_shape)

    @property
    def pad_pairs(self) -> tuple[tuple[int, int], ...]:
        """(begin, end) for each axis."""
        return tuple(zip(self.pads[: self.rank], self.pads[self.rank :], strict=True))

    def out_sizes(self, spatial: Sequence[Dim], ceil: bool = False) -> tuple[Dim, ...]:
        """Output sizes; raises GraphError where the window is larger than the padded image."""
        if len(spatial) != self.rank:
            raise GraphError(
                f"{self.name}: kernel_shape does not fit the image's rank",
                expected=f"{len(spatial)} sizes",
                got=list(self.kernel_shape),
            )
        sizes = tuple(
            window_size(size, k, s, d, p, ceil)
            for size, k, s, d, p in zip(
                spatial,
                self.kernel_shape,
                self.strides,
                self.dilations,
                self.pad_pairs,
                strict=True,
            )
        )
        for size, out in zip(spatial, sizes, strict=True):
            if isinstance(out, int) and out < 1 and size != 0:
                raise GraphError(
                    f"{self.name}: the kernel is larger than the padded image",
                    expected=f"at least one window in [{', '.join(map(str, spatial))}]",
                    got=f"kernel_shape {list(self.kernel_shape)}, pads {list(self.pads)}, "
                    f"dilations {list(self.dilations)}",
                )
        return tuple(max(s, 0) if isinstance(s, int) else s for s in sizes)

    def conv_geometry(self, image: TensorType, out_channels: int, group: int) -> ConvGeometry:
        """The geometry of a convolution with this window over `image` [N, C, *spatial] of known
        sizes.
        """
        channels, *spatial = static_shape(image.with_shape(image.shape[1:]), f"{self.name}'s image")
        return ConvGeometry(
            channels,
            out_channels,
            tuple(spatial),
            self.kernel_shape,
            self.strides,
            self.pads,
            self.dilations,
            group,
        )

    def padded(self, x: Array, fill: float = 0.0) -> Array:
        """`x` [N, C, *spatial] with its spatial axes padded by `fill`."""
        return np.pad(x, ((0, 0), (0, 0), *self.pad_pairs), constant_values=fill)

    def taps(self, padded: Array, out: Ints) -> list[Array]:
        """For each tap, row-major, the view [N, C, *out] of the padded image that it reads."""
        places: list[Any] = [(..., *self._slices(p, out)) for p in np.ndindex(*self.kernel_shape)]
        return [padded[place] for place in places]

    def _slices(self, place: tuple[int, ...], out: Ints) -> tuple[slice, ...]:
        return tuple(
            slice(k * d, k * d + (o - 1) * s + 1 if o else k * d, s)
            for k, d, s, o in zip(place, self.dilations, self.strides, out, strict=True)
        )
