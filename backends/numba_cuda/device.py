"""numba.cuda, real or simulated, and how many threads a launch gets."""

from __future__ import annotations

from typing import Any

from numba import cuda as numba_cuda
from numba.cuda.core import config

# its type stub lacks what is defined at import
cuda: Any = numba_cuda
SIMULATED = bool(config.ENABLE_CUDASIM)
# Threads of a block, blocks at most: the rest is left to the kernels' strides. The simulator makes
# a Python thread of each thread of a block; more than two mostly wait for each other.
THREADS, BLOCKS = (2, 8) if SIMULATED else (256, 4096)


def blocks(count: int) -> int:
    """How many blocks share `count` results."""
    return max(1, min(BLOCKS, -(-count // THREADS)))
