"""The backend: the program that onnxruntime runs, and the export to a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import irconv
from irconv.backend import Options
from irconv.backends.onnx.comparing import Verdict, compare
from irconv.backends.onnx.emit import emit
from irconv.backends.onnx.pieces import Alive, Piece, SessionPiece, pieces_of
from irconv.backends.onnx.proto import model_of
from irconv.backends.onnx.saving import save
from irconv.backends.onnx.shown import export_text
from irconv.backends.onnx.standard import OPSETS
from irconv.errors import ExportError, printable
from irconv.export import DEFAULT_OPSET, Exported
from irconv.exported import ExportText
from irconv.graph import Graph
from irconv.interpret import content
from irconv.listing import node_line
from irconv.report import OP_RUN, Memory, Report, known_bytes, node_report
from irconv.types import Array

KERNEL = "onnxruntime"


@dataclass
class OnnxProgram:
    """A graph in onnxruntime sessions; what onnxruntime cannot run, Op.run does."""

    graph: Graph
    pieces: tuple[Piece, ...]
    report: Report

    @property
    def source(self) -> str:
        """The models in ONNX's text form; big weights by name only."""
        import onnx.printer

        parts = []
        for piece in self.pieces:
            if isinstance(piece, SessionPiece):
                text = str(onnx.printer.to_text(piece.model.proto))
                # it holds names as the model's author wrote them
                parts += [printable(line, len(line)) for line in text.split("\n")]
            else:
                parts.append(f"// by Op.run: {node_line(piece.node)}")
        return "\n".join(parts)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        alive: Alive = dict(zip(self.graph.inputs, arrays, strict=True))
        for piece in self.pieces:
            piece(alive)
        given = {id(a) for a in arrays}
        found = [alive[v] if v in alive else content(v) for v in self.graph.outputs]
        # what was passed in, or is held here, is not the caller's to change
        fresh = [np.array(a) if id(a) in given or not a.flags.writeable else a for a in found]
        return [np.array(a) if any(a is b for b in fresh[:i]) else a for i, a in enumerate(fresh)]


class Onnx:
    """Exports the graph to ONNX and runs it with onnxruntime."""

    name: ClassVar[str] = "onnx"
    default_pipeline: ClassVar[str] = ""

    def unavailable(self) -> str | None:
        missing = [name for name in ("onnx", "onnxruntime") if find_spec(name) is None]
        return f"{' and '.join(missing)} cannot be imported" if missing else None

    def compile(self, graph: Graph, options: Options, pipeline: str) -> OnnxProgram:
        """The program: one session where onnxruntime can run every op."""
        pieces = pieces_of(graph, options.threads)
        kernels = {
            node: KERNEL if isinstance(piece, SessionPiece) else OP_RUN
            for piece in pieces
            for node in piece.nodes
        }
        memory = Memory(
            weights=known_bytes(graph.parameters.values()), outputs=known_bytes(graph.outputs)
        )
        nodes = tuple(node_report(node, kernels.get(node, KERNEL)) for node in graph)
        report = Report(
            self.name, pipeline, options.precision, options.threads, (), nodes, memory, 0.0
        )
        return OnnxProgram(graph, pieces, report)

    def export_text(self, graph: Graph, opset: int, optimised: bool) -> ExportText:
        """The ONNX graph of `graph`; with `optimised`, also the one that onnxruntime runs."""
        return export_text(graph, opset, optimised)

    def export(
        self,
        graph: Graph,
        path: Path,
        *,
        opset: int = DEFAULT_OPSET,
        inputs: Mapping[str, Any] | Sequence[Any] | None = None,
        functions: bool = False,
        external_data: bool | None = None,
        check: bool = True,
        pipeline: str = "",
    ) -> Exported:
        """Writes the graph; see `irconv.export.export_onnx`."""
        if opset not in OPSETS:
            raise ExportError(
                "the opset is not supported",
                expected=f"{OPSETS[0]} to {OPSETS[-1]}",
                got=printable(opset),
                hint="onnxruntime reads none newer" if opset > OPSETS[-1] else None,
            )
        model = model_of(emit(graph, opset, functions))
        verdicts: list[Verdict] = []

        def examine(draft: Path) -> Mapping[str, str]:
            _check_file(draft)
            verdict = Verdict(None, "nothing")
            if check:
                verdict = compare(graph, model, str(draft), inputs)
            verdicts.append(verdict)
            return _metadata(pipeline, verdict)

        total = save(model, path, external_data, examine)
        (verdict,) = verdicts
        return Exported(
            path,
            total,
            opset,
            int(model.proto.ir_version),
            verdict.error,
            verdict.runtime,
            verdict.batches,
            verdict.notes,
        )


def _check_file(draft: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(str(draft), full_check=True)
    except Exception as error:
        raise ExportError("ONNX's checker refuses the model", got=printable(error, 400)) from error


def _metadata(pipeline: str, verdict: Verdict) -> dict[str, str]:
    found = {
        "irconv.version": irconv.__version__,
        "irconv.pipeline": pipeline,
        "irconv.checked_with": verdict.runtime,
        "irconv.reference": "irconv.interpret, float32",
    }
    if verdict.error is not None:
        found["irconv.error"] = rounded_up(verdict.error)
        found["irconv.batches"] = " ".join(map(str, verdict.batches))
    if verdict.notes:
        found["irconv.notes"] = "; ".join(verdict.notes)
    return found


def rounded_up(error: float) -> str:
    """`error` in one digit, rounded up: 3.2e-07 is `4e-07`."""
    if not error:
        return "0"
    exponent = int(np.floor(np.log10(error)))
    digit = int(np.ceil(error / 10.0**exponent - 1e-9))
    return f"{digit}e{exponent:+03d}" if digit < 10 else f"1e{exponent + 1:+03d}"
