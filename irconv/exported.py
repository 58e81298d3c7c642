"""What a backend may tell of the ONNX graph that it writes, and of what onnxruntime makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from irconv.graph import Graph


@dataclass(frozen=True, slots=True)
class OnnxNodeText:
    """A node of an ONNX graph; an absent operand is "".

    `origin` names the node of our graph that it was written for, "" where there is none.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: str
    origin: str = ""


@dataclass(frozen=True)
class OnnxText:
    """An ONNX graph. `inputs`, `outputs` and `constants` are (name, type); types by value name.

    `constant_bytes` counts all constants.
    """

    name: str
    nodes: tuple[OnnxNodeText, ...]
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]
    constants: tuple[tuple[str, str], ...]
    types: Mapping[str, str]
    constant_bytes: int
    seconds: float


@dataclass(frozen=True)
class ExportText:
    """The exported graph, and the one that onnxruntime's own optimiser makes of it.

    `optimised` is None where onnxruntime was not asked, or cannot load it: then `refusal` says why.
    """

    exported: OnnxText
    optimised: OnnxText | None = None
    refusal: str = ""


@runtime_checkable
class TellsExport(Protocol):
    """A `Backend` that exports, and tells what it writes."""

    def export_text(self, graph: Graph, opset: int, optimised: bool) -> ExportText:
        """The ONNX graph of `graph`; with `optimised`, also the one that onnxruntime runs."""
        ...
