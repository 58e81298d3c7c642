"""All singular values of a convolution's matrix, where it is small or made of small ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from irconv.analysis.operator import ConvOperator
from irconv.geometry import ConvGeometry
from irconv.matrix import SharedMatrix
from irconv.types import Array

# of the dense blocks that a full decomposition takes, and their multiply-adds: about two seconds
DENSE_BUDGET = 32 << 20
DENSE_WORK = 3 * 10**9


@dataclass(frozen=True, eq=False)
class Spectrum:
    """All singular values, largest first, each occurring `multiplicity` times; the rest is 0.

    `method`: "dense" (of the blocks of the groups), or "channels" (a layer of one tap is a small
    matrix over the channels, repeated for each pixel that it reads).
    """

    values: Array
    multiplicity: int
    zeros: int
    shape: tuple[int, int]
    method: str

    @property
    def norm(self) -> float:
        return float(self.values[0]) if self.values.size and self.multiplicity else 0.0

    @property
    def threshold(self) -> float:
        """Below it a singular value counts as 0, as in numpy.linalg.matrix_rank."""
        return self.norm * max(self.shape) * float(np.finfo(np.float64).eps)

    @property
    def rank(self) -> int:
        return int(np.count_nonzero(self.values > self.threshold)) * self.multiplicity

    @property
    def condition(self) -> float:
        """Largest over smallest singular value; infinite where the rank is not full."""
        if self.rank < min(self.shape) or not self.rank:
            return float("inf")
        return self.norm / float(self.values[-1])

    @property
    def nonzero_condition(self) -> float | None:
        """Largest over smallest singular value that is not 0."""
        if not self.rank:
            return None
        return self.norm / float(self.values[self.values > self.threshold][-1])


def spectrum(operator: ConvOperator, budget: int = DENSE_BUDGET) -> Spectrum | str:
    """All singular values, or the reason why they are not computed."""
    g = operator.geometry
    if g.taps == 1:
        return _of_channels(operator, budget)
    block = replace(
        g, in_channels=g.in_channels // g.group, out_channels=g.out_channels // g.group, group=1
    )
    refusal = _refusal((g.group, block.rows, block.columns), budget)
    if refusal is not None:
        return refusal
    blocks = _blocks(block, operator.weights.reshape(g.group, *block.weights_shape))
    return _spectrum(blocks, 1, 0, (g.rows, g.columns), "dense")


def _refusal(shape: tuple[int, int, int], budget: int) -> str | None:
    """Why so many dense blocks of rows x columns are not decomposed, or None."""
    count, rows, columns = shape
    size, work = 8 * count * rows * columns, count * rows * columns * min(rows, columns)
    what = f"{rows} x {columns} dense"
    what = f"{count} blocks of {what}" if count > 1 else what
    if size > budget:
        return f"{what} takes {size} bytes, more than the budget of {budget}"
    if work > DENSE_WORK:
        return f"{what} takes {work} steps, more than {DENSE_WORK}"
    return None


def _of_channels(operator: ConvOperator, budget: int) -> Spectrum | str:
    """A layer of one tap is the Kronecker product of its channels' matrix and a selection of
    pixels, each read at most once.
    """
    g = operator.geometry
    shape = (g.group, g.out_channels // g.group, g.in_channels // g.group)
    refusal = _refusal(shape, budget)
    if refusal is not None:
        return refusal
    zeros = min(g.rows, g.columns) - g.tap_entries * shape[0] * min(shape[1:])
    weights = operator.weights.reshape(shape)
    return _spectrum(weights, g.tap_entries, zeros, (g.rows, g.columns), "channels")


def _blocks(block: ConvGeometry, weights: Array) -> Array:
    matrix = SharedMatrix.of(block, weights[0], form="literal")
    return np.stack([matrix.with_weights(w).dense() for w in weights])


def _spectrum(
    blocks: Array, multiplicity: int, zeros: int, shape: tuple[int, int], method: str
) -> Spectrum:
    values = np.linalg.svd(blocks, compute_uv=False).reshape(-1)
    return Spectrum(np.sort(values)[::-1], multiplicity, zeros, shape, method)


def reshaped_norm(weights: Array) -> float:
    """The largest singular value of the weights as one matrix [out_channels, rest].

    It is what torch.nn.utils.spectral_norm divides by. It knows nothing of padding, stride or image
    and is not the norm of the layer.
    """
    return float(np.linalg.norm(weights.reshape(len(weights), -1), 2)) if weights.size else 0.0
