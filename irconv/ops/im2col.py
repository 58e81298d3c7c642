"""The patch matrix of a convolution, im2col, and its adjoint, col2im."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from math import prod
from typing import ClassVar

import numpy as np

from irconv.dim import known, product, symbol
from irconv.errors import GraphError
from irconv.op import UNKNOWN, Op, present, tensor
from irconv.types import Array, TensorType, Type
from irconv.window import Windowed


@dataclass(frozen=True)
class Im2Col(Windowed):
    """x [N, C, *spatial] -> patches [N, group, C/group * prod(kernel), prod(out)], zeros in the
    padding.

    Column p holds what the window sees at output pixel p; rows are numbered (channel, tap),
    row-major, so that weights [O, C/group, *kernel] reshaped to [group, O/group, C/group *
    prod(kernel)] multiply from the left. (Chellapilla et al., High Performance Convolutional Neural
    Networks for Document Processing, 2006.)
    """

    group: int = 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        channels = x.shape[1] if x.rank > 1 else None
        if not isinstance(channels, int) or self.group < 1 or channels % self.group:
            raise GraphError(
                "Im2Col: group does not divide the channels",
                expected=f"a divisor of {channels}",
                got=self.group,
            )
        depth = channels // self.group * prod(self.kernel_shape)
        pixels = product(self.out_sizes(x.shape[2:]))
        return (x.with_shape((x.shape[0], self.group, depth, pixels)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        batch, channels, *spatial = x.shape
        out = tuple(known(s) for s in self.out_sizes(spatial))
        taps = np.stack(self.taps(self.padded(x), out), axis=2)
        depth = channels // self.group * prod(self.kernel_shape)
        return (taps.reshape(batch, self.group, depth, prod(out)),)


@dataclass(frozen=True)
class Col2Im(Op):
    """The adjoint of the patch matrix: columns [N, C * prod(block), L] summed into an image [N, C,
    *image].

    ONNX's Col2Im.
    """

    operands: ClassVar[str] = "x, image_shape, block_shape"

    strides: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        # what is all ones or zeros is absent: there is one way to say it
        for key, fill in (("strides", 1), ("pads", 0), ("dilations", 1)):
            if all(v == fill for v in getattr(self, key)):
                object.__setattr__(self, key, ())

    def window(self, block: Iterable[int]) -> Windowed:
        """The window that slides over the image."""
        return Windowed(tuple(map(int, block)), self.strides, self.pads, self.dilations)

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x, image, block = tensor(types, 0), constants[1], constants[2]
        if image is None or block is None:
            return (self._unknown_image(types),)
        windows = product(self.window(block).out_sizes([int(s) for s in image]))
        taps = prod(map(int, block))
        if (
            x.rank != 3
            or not isinstance(x.shape[1], int)
            or x.shape[1] % taps
            or x.shape[2] != windows
        ):
            raise GraphError("Col2Im: wrong columns", expected=f"[N, C * {taps}, {windows}]", got=x)
        return (x.with_shape((x.shape[0], x.shape[1] // taps, *map(int, image))),)

    def _unknown_image(self, types: Sequence[Type | None]) -> TensorType:
        """Sizes that are told only when the operands are there."""
        x, image = tensor(types, 0), tensor(types, 1)
        axes = image.shape[0] if image.rank == 1 else None
        if not isinstance(axes, int) or x.rank != 3:
            raise GraphError("Col2Im: the number of axes is not known", got=image)
        return x.with_shape(chain(x.shape[:1], repeat(symbol(UNKNOWN), 1 + axes)))

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x, image, block = (present(arrays, i) for i in range(3))
        window = self.window(block)
        out = tuple(known(s) for s in window.out_sizes([int(s) for s in image]))
        channels = x.shape[1] // prod(map(int, block))
        columns = x.reshape(len(x), channels, prod(map(int, block)), *out)
        y = window.padded(np.zeros((len(x), channels, *map(int, image)), x.dtype))
        for tap, view in enumerate(window.taps(y, out)):
            view += columns[:, :, tap]
        inside = (
            slice(a, a + int(size)) for size, (a, _) in zip(image, window.pad_pairs, strict=True)
        )
        return (y[(slice(None), slice(None), *inside)],)
