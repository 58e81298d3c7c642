"""A convolution's matrix as an operator in float64: products with it and its adjoint; bounds."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from irconv.analysis.diagonals import tap_reach
from irconv.geometry import ConvGeometry
from irconv.ops.conv import Conv, ConvTranspose, convolve
from irconv.types import Array


@dataclass(frozen=True, eq=False)
class ConvOperator:
    """The convolution of `geometry` with `weights` (float64), on flat vectors; no bias."""

    geometry: ConvGeometry
    weights: Array

    def forward(self, x: Array) -> Array:
        """[columns] -> [rows]: the convolution."""
        g = self.geometry
        window = Conv(g.kernel, g.strides, g.pads, g.dilations, g.group)
        image = x.reshape(1, g.in_channels, *g.image)
        return convolve(window, image, self.weights, g.group).reshape(-1)

    def adjoint(self, y: Array) -> Array:
        """[rows] -> [columns]: the transposed convolution, computed as such."""
        g = self.geometry
        op = ConvTranspose(g.kernel, g.strides, g.pads, g.dilations, g.group, self.left_over())
        maps = y.reshape(1, g.out_channels, *g.out)
        return op.run([maps, self.weights])[0].reshape(-1)

    def left_over(self) -> tuple[int, ...]:
        """What a stride that does not fit leaves at the end of each axis: ONNX's output_padding."""
        g = self.geometry
        ends = zip(g.pads[: g.rank], g.pads[g.rank :], strict=True)
        return tuple(
            size + sum(pads) - (d * (k - 1) + 1) - (out - 1) * s
            for size, pads, k, d, s, out in zip(
                g.image, ends, g.kernel, g.dilations, g.strides, g.out, strict=True
            )
        )

    def largest_sums(self) -> tuple[float, float]:
        """The largest sum of absolute values of a row and of a column: the norms of the matrix from
        maximum to maximum and from sum to sum. Exact but for rounding, from the few places of a
        window that differ at the border.
        """
        g = self.geometry
        sizes = np.abs(self.weights).reshape(g.group, -1, g.in_channels // g.group, g.taps)
        rows = sizes.sum(axis=2).reshape(-1, g.taps) @ self._patterns(readers=False)
        columns = sizes.sum(axis=1).reshape(-1, g.taps) @ self._patterns(readers=True)
        return float(rows.max(initial=0)), float(columns.max(initial=0))

    def upper_bound(self) -> float:
        """A number that no singular value exceeds: the least of three.

        sqrt(|W|_1 |W|_inf); the norm of the weights as [outputs, inputs x taps] times the root of
        how many windows read a pixel (the matrix is im2col, then that product); and the same the
        other way round, for the adjoint (Singla and Feizi, ICLR 2021, with padding and stride).
        """
        g = self.geometry
        rows, columns = self.largest_sums()
        weights = self.weights.reshape(g.group, -1, g.in_channels // g.group, g.taps)
        turned = weights.swapaxes(1, 2)
        bounds = [rows * columns]
        for blocks, readers in ((weights, True), (turned, False)):
            readings = self._patterns(readers).sum(axis=0).max()
            matrices = blocks.reshape(*blocks.shape[:2], -1)
            bounds.append(float(readings) * max(map(_squared_norm, matrices)))
        return sqrt(max(0.0, min(bounds)))

    def _patterns(self, readers: bool) -> Array:
        """[taps, patterns] of 0 and 1: which taps an output pixel reads the image with (or, for
        `readers`, which taps read an input pixel), each pattern once.
        """
        found = np.ones((1, 1))
        for axis in range(self.geometry.rank):
            own = np.unique(self._axis(axis, readers), axis=1)
            found = np.einsum("ij,kl->ikjl", found, own).reshape(prod((len(found), len(own))), -1)
        return found

    def _axis(self, axis: int, readers: bool) -> Array:
        g = self.geometry
        mask = np.zeros((g.kernel[axis], g.image[axis] if readers else g.out[axis]))
        for tap in range(g.kernel[axis]):
            first, count, read = tap_reach(g, axis, tap)
            start, step = (read, g.strides[axis]) if readers else (first, 1)
            mask[tap, start : start + count * step : step] = count > 0
        return mask


def _squared_norm(matrix: Array) -> float:
    """The largest eigenvalue of the smaller of M M' and M' M."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return float(np.linalg.eigvalsh(wide @ wide.T)[-1])


@dataclass(frozen=True, slots=True)
class AdjointTest:
    """<Wx, y> and <x, W'y> for random x and y, W' computed as a transposed convolution.

    `difference` is relative to |Wx| |y|.
    """

    forward: float
    backward: float
    difference: float


def adjoint_test(operator: ConvOperator, rng: np.random.Generator) -> AdjointTest:
    """One test with normally distributed x and y."""
    x = rng.standard_normal(operator.geometry.columns)
    y = rng.standard_normal(operator.geometry.rows)
    image = operator.forward(x)
    forward, backward = float(image @ y), float(x @ operator.adjoint(y))
    scale = float(np.linalg.norm(image) * np.linalg.norm(y))
    return AdjointTest(forward, backward, abs(forward - backward) / scale if scale else 0.0)
