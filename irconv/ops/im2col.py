"""The patch matrix of a convolution: im2col."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from irconv.dim import product
from irconv.errors import GraphError
from irconv.op import present, tensor
from irconv.types import Array, Type
from irconv.window import Windowed


@dataclass(frozen=True)
class Im2Col(Windowed):
    """x [N, C, *spatial] -> patches [N, group, C/group * prod(kernel), prod(out)], zeros in the padding.

    Column p holds what the window sees at output pixel p; rows are numbered (channel, tap), row-major, so that
    weights [O, C/group, *kernel] reshaped to [group, O/group, C/group * prod(kernel)] multiply from the left.
    (Chellapilla et al., High Performance Convolutional Neural Networks for Document Processing, 2006.)
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
        out = tuple(int(s) for s in self.out_sizes(spatial) if isinstance(s, int))
        taps = np.stack(self.taps(self.padded(x), out), axis=2)
        depth = channels // self.group * prod(self.kernel_shape)
        return (taps.reshape(batch, self.group, depth, prod(out)),)
