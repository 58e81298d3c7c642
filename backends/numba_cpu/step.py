"""A step: the numbers that one launch of an engine kernel reads, and the scratch it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf

import numpy as np

from irconv.backends.numba_cpu import native, slots
from irconv.backends.numba_cpu.activations import pass_code
from irconv.backends.numba_cpu.convolve import convolve
from irconv.backends.numba_cpu.tiles import tile_code
from irconv.geometry import Ints


@dataclass(frozen=True)
class Epilogue:
    """What follows a product: clamp to low .. high, then an activation named in `activations`."""

    low: float = -inf
    high: float = inf
    activation: str | None = None
    alpha: float = 0.0
    beta: float = 0.0


NOTHING = Epilogue()


@dataclass(frozen=True)
class PoolWindow:
    """A pool: `kind` is one of slots.MAX, AVERAGE, AVERAGE_INSIDE; `out` its output sizes."""

    kind: int
    kernel: Ints
    strides: Ints
    pads: Ints
    dilations: Ints
    out: Ints


@dataclass(frozen=True)
class Step:
    """One launch of a kernel by `parts` threads.

    `bind` gives the row that the kernel reads. `scratch` counts elements of one part; the
    scratch of all parts lies in one buffer that starts on a cache line.
    """

    name: str
    dtype: np.dtype
    parts: int
    scratch: int
    sizes: dict[str, int]
    epilogue: Epilogue = NOTHING
    kernel: Callable[..., None] = field(default=convolve, repr=False)
    inner: Step | None = None

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch of all parts."""
        return self.scratch * self.parts * self.dtype.itemsize

    def bind(self, plain: bool = False, **addresses: int) -> np.ndarray:
        """The row of int64: sizes, code, and the addresses given by slot name (absent ones are 0).

        `plain` takes the loop nest in place of the vector tile.
        """
        inner = self.inner.bind(plain) if self.inner is not None else np.zeros(0, np.int64)
        row = np.zeros(slots.COUNT, np.int64)
        values = self.sizes | addresses | {"SCRATCH_EACH": self.scratch}
        values["KERNEL"] = native.address(self.kernel, self.dtype)
        values["TILE"] = tile_code(self.dtype, plain)
        if self.epilogue.activation is not None:
            values["FINISH"] = pass_code(self.epilogue.activation, self.dtype)
        for name, value in values.items():
            row[getattr(slots, name)] = value
        for name in ("LOW", "HIGH", "ALPHA", "BETA"):
            value = getattr(self.epilogue, name.lower())
            row[getattr(slots, name)] = np.float64(value).view(np.int64)
        return np.concatenate([row, inner])


def three(values: Ints, fill: int) -> Ints:
    """Three sizes: `fill` in front of fewer."""
    return (fill,) * (3 - len(values)) + tuple(values)


def axes(name: str, values: Ints, fill: int) -> dict[str, int]:
    """The slots NAME_D, NAME_H, NAME_W of up to three values; `fill` in front of fewer."""
    padded = three(values, fill)
    return {f"{name}_{axis}": int(v) for axis, v in zip("DHW", padded, strict=True)}
