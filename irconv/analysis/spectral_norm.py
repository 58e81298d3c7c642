"""The largest singular value of a convolution's matrix, by Lanczos' method, with its bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, sqrt
from typing import TypeAlias

import numpy as np

from irconv.analysis.operator import ConvOperator
from irconv.types import Array

_Product: TypeAlias = "Callable[[Array], Array]"

ITERATIONS = 60
TOLERANCE = 1e-5
# the probability with which `probable_upper` may be wrong
RISK = 1e-9
# of the vectors that the iteration keeps
BASIS_BUDGET = 1 << 30


@dataclass(frozen=True, slots=True)
class SpectralNorm:
    """The largest singular value of a layer's matrix, with its real padding and stride.

    `value` is |Wv| of a unit vector v that was found, so the norm is at least that; `residual` is
    |W'Wv - value^2 v| / value^2: some singular value lies within about half of it, relatively.
    `upper` (see ConvOperator.upper_bound) holds always; `probable_upper` holds but for one random
    start in 10^9 (Kuczynski and Wozniakowski, SIAM J. Matrix Anal. Appl. 13 (1992), theorem 4.2).
    Where all singular values were computed (`method` is not "lanczos") both bounds are the value.
    """

    value: float
    method: str
    upper: float
    probable_upper: float
    residual: float = 0.0
    iterations: int = 0

    @property
    def is_converged(self) -> bool:
        """Whether the residual is as small as asked for."""
        return self.residual <= 2 * TOLERANCE

    def scaled(self, factor: float) -> SpectralNorm:
        """Of the matrix times `factor`."""
        bounds = (factor * self.upper, factor * self.probable_upper)
        return SpectralNorm(
            factor * self.value, self.method, *bounds, self.residual, self.iterations
        )


def spectral_norm(
    operator: ConvOperator,
    rng: np.random.Generator,
    iterations: int = ITERATIONS,
    tolerance: float = TOLERANCE,
) -> SpectralNorm:
    """The largest singular value by Lanczos' method on W'W, with all vectors kept orthogonal
    (Golub and Kahan's bidiagonalization, SIAM J. Numer. Anal. B 2 (1965)).

    It ends where the residual is below `tolerance`, or after `iterations` products with W and W'.
    """
    upper = operator.upper_bound()
    if not upper:
        return SpectralNorm(0.0, "lanczos", 0.0, 0.0)
    lanczos = _Lanczos(operator, rng, iterations)
    lanczos.run(tolerance)
    value, residual = lanczos.measured()
    chance = (log(1.648 * sqrt(lanczos.size) / RISK) / (2 * lanczos.done - 1)) ** 2
    probable = min(upper, value / sqrt(1 - chance)) if chance < 1 else upper
    return SpectralNorm(value, "lanczos", upper, probable, residual, lanczos.done)


class _Lanczos:
    """The iteration: `basis` holds the right vectors, a bidiagonal matrix what W makes of them."""

    def __init__(self, operator: ConvOperator, rng: np.random.Generator, iterations: int) -> None:
        g = operator.geometry
        self.size = min(g.rows, g.columns)
        turned = g.rows < g.columns
        self.product: _Product = operator.adjoint if turned else operator.forward
        self.back: _Product = operator.forward if turned else operator.adjoint
        kept = max(4, BASIS_BUDGET // (8 * self.size))
        self.basis = np.empty((min(max(1, iterations), self.size, kept), self.size))
        start = rng.standard_normal(self.size)
        self.basis[0] = start / np.linalg.norm(start)
        self.alphas: list[float] = []
        self.betas: list[float] = []
        self.left = np.zeros(1)
        self.right = np.ones(1)
        self.done = 0

    def run(self, tolerance: float) -> None:
        """Steps until the residual is below `tolerance`, or the basis is full or closed."""
        while True:
            following = self._step()
            beta = float(np.linalg.norm(following))
            lefts, values, rights = np.linalg.svd(np.diag(self.alphas) + np.diag(self.betas, 1))
            self.right = rights[0]
            residual = beta * abs(float(lefts[-1, 0]))
            closed = beta <= 1e-14 * values[0]
            if residual <= tolerance * values[0] or closed or self.done == len(self.basis):
                return
            self.betas.append(beta)
            self.basis[self.done] = following / beta

    def _step(self) -> Array:
        """One product with W and one with W'; what is left of it is orthogonal to the basis."""
        image = self.product(self.basis[self.done])
        if self.done:
            image -= self.betas[-1] * self.left
        self.alphas.append(float(np.linalg.norm(image)))
        self.left = image / (self.alphas[-1] or 1.0)
        following = self.back(self.left)
        self.done += 1
        basis = self.basis[: self.done]
        for _ in range(2):  # twice is enough: Giraud, Langou, Rozloznik (2005)
            following -= (basis @ following) @ basis
        return following

    def measured(self) -> tuple[float, float]:
        """(|Wv|, relative residual) of the vector that was found, computed anew."""
        vector = self.right @ self.basis[: self.done]
        vector /= np.linalg.norm(vector)
        image = self.product(vector)
        value = float(np.linalg.norm(image))
        rest = np.linalg.norm(self.back(image) - value**2 * vector)
        return value, float(rest) / (value**2 or 1.0)
