"""Ops that draw numbers: each has a seed, so that it says what it draws; never folded or merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from irconv.dim import Dim
from irconv.errors import GraphError
from irconv.kinds import BOOLEAN, FLOATS, INDICES, NUMBERS, expect_dtype
from irconv.op import Op, present, tensor
from irconv.shapes import within_budget
from irconv.types import DTYPES, AnyDType, Array, TensorType, Type, as_dtype, dtype_name


@dataclass(frozen=True)
class _Random(Op):
    """The element type is `dtype`, or the operand's; the same seed draws the same numbers."""

    random: ClassVar[bool] = True
    gives: ClassVar[frozenset[AnyDType]] = FLOATS
    seed: float
    dtype: str | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.seed):
            raise GraphError(f"{self.name}: the seed is no number", got=self.seed)
        if self.dtype is not None:
            object.__setattr__(self, "dtype", dtype_name(as_dtype(self.dtype)))
            expect_dtype(self, TensorType(self.dtype, ()), self.gives, "dtype")

    def generator(self) -> np.random.Generator:
        """A stream of numbers of this op's own."""
        bits = int(np.array(self.seed, np.float64).view(np.uint64))
        return np.random.Generator(np.random.Philox(key=bits))

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        found = TensorType(self.dtype or x.dtype, x.shape)
        expect_dtype(self, found, self.gives)
        return (within_budget(self, found),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0)
        drawn = self.draw(x.shape)
        return (drawn.astype(DTYPES[self.dtype] if self.dtype else x.dtype),)

    def draw(self, shape: Sequence[int]) -> Array:
        """Numbers in float64."""
        raise NotImplementedError(f"{self.name}.draw")


@dataclass(frozen=True)
class RandomNormalLike(_Random):
    """Normally distributed numbers in the operand's shape."""

    mean: float = 0.0
    scale: float = 1.0

    def draw(self, shape: Sequence[int]) -> Array:
        return np.asarray(self.generator().normal(self.mean, abs(self.scale), tuple(shape)))


@dataclass(frozen=True)
class RandomUniformLike(_Random):
    """Numbers spread evenly from `low` up to `high`, in the operand's shape."""

    low: float = 0.0
    high: float = 1.0

    def draw(self, shape: Sequence[int]) -> Array:
        return np.asarray(self.generator().uniform(self.low, self.high, tuple(shape)))


def _checked(op: Op, shape: Sequence[int], dtype: str | None) -> TensorType:
    if any(d < 0 for d in shape):
        raise GraphError(f"{op.name}: a size is negative", got=[*shape])
    return within_budget(op, TensorType(dtype or "f32", shape))


@dataclass(frozen=True)
class RandomNormal(RandomNormalLike):
    """Normally distributed numbers in a given shape."""

    operands: ClassVar[str] = ""
    shape: tuple[int, ...] = ()

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (_checked(self, self.shape, self.dtype),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (self.draw(self.shape).astype(DTYPES[self.dtype or "f32"]),)


@dataclass(frozen=True)
class RandomUniform(RandomUniformLike):
    """Numbers spread evenly from `low` up to `high`, in a given shape."""

    operands: ClassVar[str] = ""
    shape: tuple[int, ...] = ()

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        return (_checked(self, self.shape, self.dtype),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        return (self.draw(self.shape).astype(DTYPES[self.dtype or "f32"]),)


@dataclass(frozen=True)
class Bernoulli(_Random):
    """1 with the probability that the operand tells, element by element, else 0."""

    gives: ClassVar[frozenset[AnyDType]] = NUMBERS | BOOLEAN

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        expect_dtype(self, tensor(types, 0), FLOATS)
        return super().infer(types, constants)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        p = present(arrays, 0)
        drawn = self.generator().random(p.shape) < p.astype(np.float64)
        return (np.asarray(drawn).astype(DTYPES[self.dtype] if self.dtype else p.dtype),)


@dataclass(frozen=True)
class Multinomial(_Random):
    """`sample_size` classes for each row of [batch, classes] log probabilities, drawn from them."""

    gives: ClassVar[frozenset[AnyDType]] = INDICES
    sample_size: int = 1

    def infer(
        self, types: Sequence[Type | None], constants: Sequence[Array | None]
    ) -> tuple[Type, ...]:
        x = tensor(types, 0)
        expect_dtype(self, x, FLOATS)
        if x.rank != 2 or x.shape[1] == 0 or self.sample_size < 1:
            raise GraphError("Multinomial: wrong operand", expected="[batch, classes]", got=x)
        shape: tuple[Dim, ...] = (x.shape[0], self.sample_size)
        return (within_budget(self, TensorType(self.dtype or "i32", shape)),)

    def run(self, arrays: Sequence[Array | None]) -> tuple[Array, ...]:
        x = present(arrays, 0).astype(np.float64)
        powers = np.exp(x - x.max(1, keepdims=True))
        edges = np.cumsum(powers, 1) / powers.sum(1, keepdims=True)
        drawn = self.generator().random((x.shape[0], self.sample_size))
        places = (drawn[:, :, None] >= edges[:, None, :-1]).sum(2)
        return (places.astype(DTYPES[self.dtype or "i32"]),)
