"""Random weights: scaled so that activations keep unit variance, and fixed by a seed."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from irconv.errors import GraphError
from irconv.types import AnyDType, Array

# of a layer whose operand comes out of a ReLU, which cuts half of a symmetric signal away
# (He et al. 2015, "Delving deep into rectifiers", section 2.2)
HE_GAIN = math.sqrt(2.0)
# the same where filters sum to zero, which takes the ReLU's mean away too (Brock et al. 2021,
# "Characterizing signal propagation ... in unnormalized ResNets", section 4)
CENTRED_GAIN = math.sqrt(2.0 / (1.0 - 1.0 / math.pi))
# of random biases: not zero, or a bias that got lost would go unseen
BIAS_STD = 0.1


@dataclass(frozen=True)
class Weights:
    """Draws parameters; each depends on the seed and its name, so a new layer leaves the others.

    With `rng`, a generator of the caller's, they are drawn from it in the order of the calls.
    With `centred`, each filter sums to zero. The mean of a ReLU's result, the same for every input,
    then does not add up over the layers: under plain He weights it drowns what depends on the input
    in a deep network.
    """

    seed: int = 0
    rng: np.random.Generator | None = None
    centred: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise GraphError(
                "a seed is negative", expected="an integer of at least 0", got=self.seed
            )

    def normal(
        self, name: str, shape: Sequence[int], dtype: AnyDType, std: float, mean: float = 0.0
    ) -> Array:
        """Normal numbers of the given standard deviation and mean."""
        drawn = self._generator(name).standard_normal(tuple(shape), dtype=_drawn_as(dtype))
        drawn *= std
        if mean:
            drawn += mean
        return drawn.astype(dtype, copy=False)

    def filters(
        self,
        name: str,
        shape: Sequence[int],
        dtype: AnyDType,
        fan_in: float,
        gain: float | None,
        centred: bool = True,
    ) -> Array:
        """Weights of standard deviation `gain / sqrt(fan_in)`, one filter along the first axis.

        A gain of None is the one that keeps unit variance behind a ReLU.
        """
        centred = centred and self.centred
        chosen = (CENTRED_GAIN if centred else HE_GAIN) if gain is None else gain
        drawn = self.normal(name, shape, dtype, chosen / math.sqrt(max(fan_in, 1.0)))
        if centred:
            drawn -= drawn.mean(axis=tuple(range(1, drawn.ndim)), keepdims=True)
        return drawn

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
