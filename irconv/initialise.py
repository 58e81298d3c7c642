"""Random weights: scaled so that activations keep unit variance, and fixed by a seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from irconv.errors import GraphError
from irconv.types import AnyDType, Array

# keeps the mean square of what passes through a ReLU: half of a symmetric signal is cut away
# (He et al. 2015, "Delving deep into rectifiers", section 2.2)
RELU_GAIN = math.sqrt(2.0)


@dataclass(frozen=True)
class Weights:
    """Draws parameters. Each depends on the seed and its own name only, so editing a layer leaves the others.

    With `rng`, a generator of the caller's, parameters are drawn from it in the order of the calls instead.
    """

    seed: int = 0
    rng: np.random.Generator | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise GraphError("a seed is negative", expected="an integer of at least 0", got=self.seed)

    def normal(
        self, name: str, shape: Sequence[int], dtype: AnyDType, std: float, mean: float = 0.0
    ) -> Array:
        """Normal numbers of the given standard deviation and mean."""
        drawn = self._generator(name).standard_normal(tuple(shape), dtype=_drawn_as(dtype))
        drawn *= std
        if mean:
            drawn += mean
        return drawn.astype(dtype, copy=False)

    def uniform(
        self, name: str, shape: Sequence[int], dtype: AnyDType, low: float, high: float
    ) -> Array:
        """Uniform numbers from `low` to `high`."""
        drawn = self._generator(name).random(tuple(shape), dtype=_drawn_as(dtype))
        drawn *= high - low
        drawn += low
        return drawn.astype(dtype, copy=False)

    def _generator(self, name: str) -> np.random.Generator:
        if self.rng is not None:
            return self.rng
        # SFC64 is the fastest of NumPy's bit generators: VGG draws 140 million numbers
        words = np.frombuffer(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:16], "<u4")
        return np.random.Generator(np.random.SFC64([self.seed, *words.tolist()]))


def _drawn_as(dtype: AnyDType) -> type[np.float32] | type[np.float64]:
    return np.float64 if dtype == np.float64 else np.float32


def he_std(fan_in: float, gain: float = RELU_GAIN) -> float:
    """The standard deviation `gain / sqrt(fan_in)` of weights that keep unit variance."""
    return gain / math.sqrt(max(fan_in, 1.0))
