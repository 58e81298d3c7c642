"""The document of a trace: plain data for the page, for `--json` and for other programs."""

from __future__ import annotations

import base64
import importlib.metadata
import math
import platform
import shlex
import zlib
from typing import TYPE_CHECKING, Any

import irconv
from irconv.errors import printable
from irconv.inspector.later import LaterNumerics, LaterStage
from irconv.inspector.stages import ShownNode, ShownStage
from irconv.inspector.totals import Totals
from irconv.rewrite import Remark, Rewrite

if TYPE_CHECKING:
    from irconv.inspector.trace import Trace, TracedPass

VERSION = 1
COMMAND_LIMIT = 8192  # paths and pipelines may be long
_TOTALS = (
    "nodes",
    "macs",
    "bytes",
    "parameters",
    "free_parameters",
    "parameter_bytes",
    "peak_bytes",
)
_NOTHING_DONE: dict[str, Any] = {
    "changed": False,
    "seconds": 0.0,
    "matches": 0,
    "rules": {},
    "delta": {},
    "numerics": None,
    "remarks": [],
    "rewrites": [],
    "choices": [],
}
_PACKAGES = ("numpy", "numba", "onnx", "onnxruntime", "scipy")


def document(
    trace: Trace, command: str | None = None, *, llvm: bool = False, assembly: bool = False
) -> dict[str, Any]:
    """All that a trace tells, in the types that JSON has; see docs/report-schema.md.

    `command` is the command line that makes the report; by default one with MODEL as the model.
    With `llvm` or `assembly`, that of each kernel is told too, which compiles them all anew.
    """
    shown = trace.shown
    stages = [_source(shown[0], Totals.of(trace.source))]
    stages += [_pass(s, p) for s, p in zip(shown[1:], trace.passes, strict=False)]
    void = any(p.numerics is not None and p.numerics.void for p in trace.passes)
    stages += [_later(stage, void) for stage in trace.later]
    for index, (stage, since) in enumerate(zip(stages, _since(trace), strict=True)):
        stage["index"] = index
        for node in stage["nodes"]:
            node["since"] = since[node["id"]]
    return {
        "version": VERSION,
        "irconv": irconv.__version__,
        "versions": versions(),
        "graph": printable(trace.source.name),
        "pipeline": trace.pipeline,
        "command": printable(
            command or f"irconv inspect MODEL -p {shlex.quote(trace.pipeline)}", COMMAND_LIMIT
        ),
        "stages": stages,
        "links": [[list(link) for link in pairs] for pairs in trace.links],
        "kernels": _kernels(trace, llvm, assembly),
        "layers": {},
    }


def _since(trace: Trace) -> list[dict[int, int]]:
    """For each stage, by id: the stage in which the node took the form that it has."""
    found = [dict.fromkeys(trace.shown[0].by_id, 0)]
    for index in range(1, len(trace.shown)):
        since = dict.fromkeys(trace.shown[index].by_id, index)
        for old, new in trace.diff(index - 1, index).unchanged:
            since[new] = found[-1][old]
        found.append(since)
    return found


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _source(shown: ShownStage, totals: Totals) -> dict[str, Any]:
    return _stage(shown, totals) | _NOTHING_DONE


def _pass(shown: ShownStage, traced: TracedPass) -> dict[str, Any]:
    stage = traced.stage
    errors = traced.numerics.values if traced.numerics is not None else {}
    ids = {node.name: node.uid for node in stage.before} | {n.name: n.uid for n in stage.after}
    found = _stage(shown, traced.after)
    for node, data in zip(stage.after, found["nodes"], strict=True):
        known = [errors[v.name] for v in node.results if v.name in errors]
        data["error"] = error_number(max(known)) if known else None
    return found | {
        "changed": stage.changed,
        "seconds": stage.seconds,
        "matches": traced.matches,
        "rules": dict(stage.fired),
        "delta": {printable(name): count for name, count in traced.delta.items()},
        "numerics": _numerics(traced),
        "remarks": [_remark(remark, ids) for remark in stage.remarks],
        "rewrites": [_rewrite(rewrite) for rewrite in stage.rewrites],
        "choices": [
            {
                "node": printable(node),
                "id": ids.get(node),
                "algorithm": choice.algorithm,
                "predicted": dict(choice.predicted),
                "measured": dict(choice.measured),
            }
            for node, choice in stage.choices.items()
        ],
    }


def _stage(shown: ShownStage, totals: Totals | None) -> dict[str, Any]:
    return {
        "index": 0,
        "kind": shown.kind,
        "title": shown.title,
        "lines": list(shown.lines),
        "nodes": [_node(node, shown) for node in shown.nodes],
        "parameters": [
            {"id": p.id, "name": p.name, "type": p.type, "line": p.line, "free": p.free}
            for p in shown.parameters
        ],
        "inputs": [{"name": name, "type": kind} for name, kind in shown.inputs],
        "outputs": list(shown.outputs),
        "totals": {name: getattr(totals, name, None) for name in _TOTALS},
    }


def _later(stage: LaterStage, void: bool) -> dict[str, Any]:
    found = _stage(stage.shown, None) | _NOTHING_DONE
    numbers = stage.numerics
    return found | {
        "changed": True,
        "seconds": stage.seconds,
        "totals": found["totals"] | dict(stage.totals),
        "numerics": None if numbers is None else _run_numbers(numbers, void),
        "remarks": [_remark(remark, {}) for remark in stage.remarks],
    }


def _run_numbers(numbers: LaterNumerics, void: bool) -> dict[str, Any]:
    return {
        "error": error_number(numbers.error),
        "from_source": error_number(numbers.from_source),
        "exact": None,
        "compared": None,
        "differing": [],
        "void": void,
        "failed": None,
    }


def _kernels(trace: Trace, llvm: bool, assembly: bool) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for stage in trace.later:
        used = {key for node in stage.shown.nodes for key in node.kernels}
        for key, kernel in stage.kernels.items():
            texts: tuple[str, str] | None = None
            if (llvm or assembly) and key in used and stage.program is not None:
                texts = stage.program.machine_code(key)
            found[key] = {
                "name": kernel.name,
                "python": kernel.python,
                "calls": list(kernel.calls),
                "llvm": packed(texts[0]) if texts and llvm else None,
                "asm": packed(texts[1]) if texts and assembly else None,
            }
    return found


def packed(text: str) -> str:
    """A long text, compressed by zlib, in base64."""
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def _node(node: ShownNode, shown: ShownStage) -> dict[str, Any]:
    makers = [place[0] for place in node.operands if place is not None]
    return {
        "id": node.id,
        "name": node.name,
        "op": node.op,
        "line": node.line,
        "inputs": [id_ for id_ in makers if id_ < 0 or id_ in shown.by_id],
        "parameters": [id_ for id_ in makers if id_ >= 0 and id_ not in shown.by_id],
        "attributes": node.attributes,
        "type": node.type,
        "macs": node.macs,
        "bytes": node.bytes,
        "kernel": node.kernels[0] if node.kernels else None,
        "error": None,
        "scope": node.scope,
    } | ({"line_count": node.line_count, "kernels": list(node.kernels)} if node.kernels else {})


def _numerics(traced: TracedPass) -> dict[str, Any] | None:
    numerics = traced.numerics
    if numerics is None:
        return None
    exact = numerics.exact
    verdict = None
    if exact is not None:
        verdict = "void" if exact.void else "exact" if exact.holds else "differs"
    return {
        "error": error_number(numerics.error),
        "from_source": error_number(numerics.from_source),
        "exact": verdict,
        "compared": exact.compared if exact is not None else None,
        "differing": [printable(name) for name in exact.differing] if exact is not None else [],
        "void": numerics.void,
        "failed": printable(numerics.failed, 400) if numerics.failed else None,
    }


def error_number(error: float) -> float | str:
    """An error to three digits; `"inf"` where results have no number in common."""
    return float(f"{error:.3g}") if math.isfinite(error) else "inf"


def _remark(remark: Remark, ids: dict[str, int]) -> dict[str, Any]:
    return {
        "rule": remark.rule,
        "node": printable(remark.node),
        "id": ids.get(remark.node),
        "condition": printable(remark.condition, 400),
    }


def _rewrite(rewrite: Rewrite) -> dict[str, Any]:
    return {
        "rule": rewrite.record.rule,
        "source": rewrite.record.source,
        "before": [uid for uid, _ in rewrite.before],
        "after": [uid for uid, _ in rewrite.after],
        "before_lines": [line for _, line in rewrite.before],
        "after_lines": [line for _, line in rewrite.after],
    }
