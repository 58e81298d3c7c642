"""Writes a graph as an ONNX file; the backend that can do it is found by its name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from irconv.backend import find_backend
from irconv.errors import BackendError
from irconv.graph import Graph
from irconv.verify import verify

DEFAULT_OPSET = 17


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written, and how it was checked.

    `error` is the largest difference from the interpreter, relative to each output's largest value;
    None where nothing was compared. `bytes` counts external data too.
    """

    path: Path
    bytes: int
    opset: int
    ir_version: int
    error: float | None
    checked_with: str
    batches: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        error = "not compared" if self.error is None else f"error {self.error:.1g}"
        return f"{self.path}: {self.bytes} bytes, opset {self.opset}, {error} ({self.checked_with})"


def export_onnx(
    graph: Graph,
    path: str | os.PathLike[str],
    opset: int = DEFAULT_OPSET,
    inputs: Mapping[str, Any] | Sequence[Any] | None = None,
    *,
    functions: bool = False,
    external_data: bool | None = None,
    check: bool = True,
    pipeline: str = "",
) -> Exported:
    """Writes `graph` as an ONNX file, checked and compared before it gets its name.

    `opset` is 13 to 26. `inputs` (by name, or in order) are used for the comparison, else seeded
    random ones. `functions`: a fused node becomes a call of a model-local function.
    `external_data`: weights go to `<path>.data`; by default only where the file would pass 2 GB.
    `check=False` leaves out the comparison in onnxruntime. `pipeline`: the text that lowered the
    graph, for the metadata; by default the names of the passes that changed it. Raises ExportError
    or NumericsError; then nothing was written.
    """
    backend = find_backend("onnx")
    write = getattr(backend, "export", None)
    if write is None:
        raise BackendError("this backend writes no files", got="onnx")
    verify(graph)
    written: Exported = write(
        graph,
        Path(path),
        opset=opset,
        inputs=inputs,
        functions=functions,
        external_data=external_data,
        check=check,
        pipeline=pipeline or _passes(graph),
    )
    return written


def _passes(graph: Graph) -> str:
    """The passes that changed a graph since it was built or read, in order."""
    names = dict.fromkeys(r.pass_name for r in graph.provenance if r.pass_name != "read")
    return ",".join(names)
