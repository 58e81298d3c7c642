"""What a program and a backend may tell about speed beside their work: times of steps, the peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from irconv.types import Array


@dataclass(frozen=True, slots=True)
class StepTime:
    """The median seconds of one step of a program, and the node that it is a part of.

    `line` is the step's line of the program's source; `spread` the interquartile range of the
    seconds.
    """

    node: str
    seconds: float
    line: str = ""
    spread: float = 0.0


@runtime_checkable
class Profiled(Protocol):
    """A `Program` whose steps can be timed one by one."""

    def profile(self, arrays: Sequence[Array], runs: int = 20) -> list[StepTime]:
        """The steps in their order, each run of the whole program on these (checked) arrays.

        Nodes are named as in the report; one that takes several steps is named by each.
        """
        ...


@runtime_checkable
class Tunes(Protocol):
    """A `Backend` whose programs are `Profiled`, so that a pass's choices can be measured."""

    def machine_version(self) -> str:
        """A digest of what the times of steps depend on: its source, its compilers, the CPU."""
        ...


@runtime_checkable
class MeasuresPeak(Protocol):
    """A `Backend` that can measure the arithmetic limit of the machine."""

    def peak_flops(self, threads: int) -> float:
        """Float32 operations a second (a multiply-add is two) of `threads` threads together."""
        ...


@runtime_checkable
class MeasuresBandwidth(Protocol):
    """A `Backend` that can measure how fast the machine reads."""

    def read_bandwidth(self, threads: int) -> float:
        """Bytes a second that `threads` threads read from memory together."""
        ...
