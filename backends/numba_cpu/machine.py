"""What the host CPU offers: the width and the number of its vector registers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm
import numpy as np


@dataclass(frozen=True)
class Tile:
    """The register tile of the micro-kernel: `rows` x (`vectors` * `lanes`) results."""

    rows: int
    vectors: int
    lanes: int

    @property
    def columns(self) -> int:
        """Columns of a full tile."""
        return self.vectors * self.lanes

    @property
    def row_variants(self) -> tuple[int, ...]:
        """Tile heights that exist: `rows`, halved down to 1."""
        return tuple(self.rows >> i for i in range(self.rows.bit_length()))


@lru_cache(maxsize=1)
def features() -> frozenset[str]:
    """Names of the CPU features that LLVM reports as present."""
    return frozenset(name for name, present in llvm.get_host_cpu_features().items() if present)


def identity() -> str:
    """The CPU in one line: machine code made here runs where this line is the same."""
    listed = ",".join(sorted(features()))
    return f"{llvm.get_default_triple()} {llvm.get_host_cpu_name()} {listed}"


def vector_bits() -> int:
    """Bits of the widest vector register."""
    if "avx512f" in features():
        return 512
    return 256 if "avx2" in features() and "fma" in features() else 128


def vector_constraint() -> str | None:
    """How inline assembly names a vector register here; None where it is not known."""
    family = llvm.get_default_triple().partition("-")[0]
    if family == "x86_64":
        return "v" if vector_bits() == 512 else "x"
    return "w" if family in ("aarch64", "arm64") else None


def has_masked_moves() -> bool:
    """Whether masked vector moves are instructions here (else LLVM branches per lane)."""
    return vector_bits() > 128


def tile(dtype: np.dtype) -> Tile:
    """The register tile for a float dtype.

    8 x 3 vectors use 24 + 3 + 1 of 32 registers, 4 x 3 use 12 + 3 + 1 of 16. Both heights divide
    the usual channel counts, and three vectors leave loads (11 of 24 products) off the limit.
    """
    registers = 16 if vector_bits() == 256 else 32
    return Tile(8 if registers == 32 else 4, 3, vector_bits() // (8 * dtype.itemsize))
