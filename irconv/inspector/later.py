"""The stages behind the last pass: the program that runs, and graphs in ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from irconv.inspector.links import Link
from irconv.inspector.stages import ShownStage
from irconv.kernels import KernelText, TellsKernels
from irconv.rewrite import Remark


@dataclass(frozen=True, slots=True)
class LaterNumerics:
    """Errors of a run in the stage's own precision, the largest over the outputs, relative."""

    error: float  # against the last pass, in float64
    from_source: float  # against the source, in float64


@dataclass(frozen=True)
class LaterStage:
    """A stage that is no graph of ours. `links`: from the stage before it, as it is shown.

    `totals`: what is known, by the names of the document. `program` tells machine code of kernels.
    """

    shown: ShownStage
    links: tuple[Link, ...]
    seconds: float
    totals: Mapping[str, int] = field(default_factory=dict)
    numerics: LaterNumerics | None = None
    remarks: tuple[Remark, ...] = ()
    kernels: Mapping[str, KernelText] = field(default_factory=dict)
    program: TellsKernels | None = field(default=None, repr=False)
