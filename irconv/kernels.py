"""What a program may tell about its kernels: which run each node, their sources, machine code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class ProgramStep:
    """One step of a program: its node's name, its line of the source, the keys of its kernels."""

    node: str
    line: str
    kernels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KernelText:
    """A function of a program: its Python source, and the keys of the functions that it calls."""

    name: str
    python: str
    calls: tuple[str, ...] = ()


@runtime_checkable
class TellsKernels(Protocol):
    """A `Program` that tells its kernels."""

    def steps(self) -> tuple[ProgramStep, ...]:
        """The steps in the order in which they run."""
        ...

    def kernel(self, key: str) -> KernelText:
        """A kernel, or a function that one calls, by its key."""
        ...

    def machine_code(self, key: str) -> tuple[str, str] | None:
        """LLVM IR and assembly of a kernel, which may take seconds; None where there is none."""
        ...
