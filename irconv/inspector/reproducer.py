"""A failing case on disk: graph, pass, inputs, versions, and the command that replays it."""

from __future__ import annotations

import json
import shlex
import shutil
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from irconv.errors import ModelError, PassError, UsageError, printable
from irconv.graph import Graph
from irconv.inspector.bisect import Finding, bisect_failure
from irconv.inspector.document import versions
from irconv.inspector.fault import Case, Fault
from irconv.inspector.samples import seeded_inputs
from irconv.inspector.shrink import SECONDS, Shrinker
from irconv.ir_files import load_ir, save_ir
from irconv.pipeline import parse_pipeline
from irconv.registry import plugin_files
from irconv.types import Array

VERSION = 1
GRAPH, INPUTS, FACTS, README = "graph.ir", "inputs.npz", "reproducer.json", "README.txt"


@dataclass(frozen=True)
class Reproducer:
    """A case in its folder. `rule` is what must fire in a replay; empty where no rule is at fault.

    `replays` tells whether the case fails as the whole graph did. Where it does not, the graph is
    the whole one.
    """

    folder: Path
    case: Case
    fault: Fault
    rule: str
    replays: bool
    command: str


def reproduce(finding: Finding, seed: int = 0, seconds: float = SECONDS) -> tuple[Case, bool]:
    """The smallest case found in `seconds` that fails as `finding` does, and whether it does.

    It has inputs: the numbers that its nodes saw, or random ones where no numbers are at fault.
    """
    shrinker = Shrinker(finding.fault, finding.rule, time.monotonic() + seconds, seed)
    for base in (finding.case, finding.whole):
        measured = finding.fault.kind in ("numerics", "run")
        case = base if measured else replace(base, inputs=None)
        if shrinker.fails(case):
            return _with_inputs(shrinker.shrunk(case, finding.seeds), seed), True
    return _with_inputs(finding.whole, seed), False


def _with_inputs(case: Case, seed: int) -> Case:
    return (
        case if case.inputs is not None else replace(case, inputs=seeded_inputs(case.graph, seed))
    )


def save_finding(
    finding: Finding,
    folder: Path,
    *,
    seed: int = 0,
    origin: str = "",
    seconds: float = SECONDS,
) -> Reproducer:
    """Shrinks what was found and writes it into `folder`, which must be new or empty.

    `origin` is the command that found it. Raises UsageError where the folder holds something.
    """
    check_free(folder)
    case, replays = reproduce(finding, seed, seconds)
    folder.mkdir(parents=True, exist_ok=True)
    plugins = _copy_plugins(folder)
    command = _command(folder, plugins)
    save_ir(case.graph, folder / GRAPH)
    names = _write_inputs(case, folder / INPUTS)
    facts = _facts(finding, case, seed) | {
        "replays": replays,
        "command": command,
        "origin": origin,
        "inputs": names,
        "plugins": [p.name for p in plugins],
    }
    (folder / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    (folder / README).write_text(_readme(finding, case, facts), encoding="utf-8")
    return Reproducer(folder, case, finding.fault, finding.rule, replays, command)


def save_reproducer(error: PassError, folder: str | Path, *, seconds: float = SECONDS) -> Path:
    """Writes a reproducer of a pass that failed, shrunk, into `folder`, which must be new or empty.

    `error` is what `irconv.lower` raised; it is raised again where it does not tell the graph (it
    was pickled). Gives the folder.
    """
    return save_finding(bisect_failure(error, seconds), Path(folder), seconds=seconds).folder


def replay(folder: str | Path) -> tuple[Reproducer, Fault | None]:
    """The reproducer in `folder`, and what its pass does now: None where the fault is gone.

    Raises ModelError where the folder is no reproducer, PipelineError where its pass is unknown.
    """
    place = Path(folder)
    facts = _read_facts(place)
    try:
        told = facts["fault"]
        fault = Fault(told["kind"], str(told["message"]), cause=str(told["cause"]))
        passes = parse_pipeline(str(facts["pipeline"]))
        rule, tolerance = str(facts["rule"]), float(facts["tolerance"])
    except KeyError as error:
        raise _not_one(place, f"{FACTS} lacks {printable(error)}") from None
    except (TypeError, ValueError) as error:
        raise _not_one(place, f"{FACTS}: {printable(error)}") from None
    if len(passes) != 1 or not 0 <= tolerance < float("inf"):
        raise _not_one(place, f"{FACTS} has not one pass and a tolerance from 0")
    pass_ = passes[0]
    graph = load_ir(place / GRAPH)
    case = Case(graph, pass_, _read_inputs(graph, place / INPUTS), tolerance)
    found = Reproducer(
        place, case, fault, rule, bool(facts.get("replays")), str(facts.get("command"))
    )
    return found, case.fault()


def fresh_folder(parent: Path, name: str) -> Path:
    """`parent/name`, or with a number behind it where that is taken."""
    place, count = parent / name, 1
    while place.exists():
        count += 1
        place = parent / f"{name}-{count}"
    return place


def check_free(folder: Path) -> None:
    """Raises UsageError unless `folder` is absent or an empty folder."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            "the folder of the reproducer is taken",
            expected="a new or an empty folder",
            got=printable(folder),
        )


def _copy_plugins(folder: Path) -> list[Path]:
    """A reproducer stands alone: the passes that it needs come with it."""
    copies = []
    for index, file in enumerate(plugin_files()):
        if file.is_file():
            copies.append(folder / f"plugin{index or ''}.py")
            shutil.copyfile(file, copies[-1])
    return copies


def _command(folder: Path, plugins: Sequence[Path]) -> str:
    words = ["irconv", "bisect", "--replay", str(folder)]
    for plugin in plugins:
        words += ["--plugin", str(plugin)]
    return shlex.join(words)


def _facts(finding: Finding, case: Case, seed: int) -> dict[str, Any]:
    fault = finding.fault
    return {
        "version": VERSION,
        "versions": versions(),
        "pipeline": str(finding.pass_),
        "pass": finding.index,
        "rule": finding.rule,
        "source": finding.source,
        "node": finding.node,
        "rewrite": finding.rewrite,
        "rewrites": finding.rewrites,
        "fault": {
            "kind": fault.kind,
            "message": fault.message,
            "cause": fault.cause,
            "error": None if fault.error is None else repr(fault.error),
        },
        "tolerance": case.tolerance,
        "seed": seed,
        "nodes": [len(finding.whole.graph), len(case.graph)],
    }


def _readme(finding: Finding, case: Case, facts: dict[str, Any]) -> str:
    nodes, left = facts["nodes"]
    smaller = f"{left} of {nodes} nodes" if facts["replays"] else f"all {nodes} nodes: not shrunk"
    lines = [
        "A pass of irconv goes wrong on the graph in this folder.",
        "",
        f"pass     {facts['pipeline']}",
        f"rewrite  {rewrite_text(finding)}",
        f"fault    {printable(finding.fault.message, 1000)}",
        f"graph    {GRAPH}: {smaller}",
        "",
        "Replay it (status 1 while the fault is there, 0 when it is gone):",
        "",
        f"    {facts['command']}",
    ]
    lines += ["", "It was found by:", "", f"    {facts['origin']}"] if facts["origin"] else []
    return "\n".join(lines) + "\n"


def rewrite_text(finding: Finding) -> str:
    """Which rewrite is at fault, in one line."""
    if finding.rewrite is None:
        return "none: the fault is there before the first one"
    source = f" ({printable(finding.source)})" if finding.source else ""
    node = f" on %{printable(finding.node)}" if finding.node else ""
    return f"{finding.rewrite} of {finding.rewrites}: {printable(finding.rule)}{source}{node}"


def _write_inputs(case: Case, file: Path) -> list[str]:
    """The inputs as input0, input1, ...: a model's names are no names of files."""
    names = [v.name for v in case.graph.inputs]
    given = case.inputs or {}
    arrays = {f"input{i}": given[n] for i, n in enumerate(names)}
    with file.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    return names


def _read_inputs(graph: Graph, file: Path) -> dict[str, Array]:
    found: dict[str, Array] = {}
    try:
        # NumPy leaves a file open that it opened and cannot read
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            for index, value in enumerate(graph.inputs):
                array = archive[f"input{index}"]
                dtype = value.tensor_type.dtype
                # NumPy's format knows a bfloat16 only as two bytes
                found[value.name] = array.view(dtype) if array.dtype.kind == "V" else array
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _not_one(file.parent, f"{INPUTS}: {printable(error)}") from None
    return found


def _read_facts(folder: Path) -> dict[str, Any]:
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or printable(error)
        raise _not_one(folder, f"{FACTS}: {reason}") from None
    if not isinstance(facts, dict) or facts.get("version") != VERSION:
        raise _not_one(folder, f"{FACTS} is not of version {VERSION}")
    return facts


def _not_one(folder: Path, why: str) -> ModelError:
    return ModelError(
        "not the folder of a reproducer",
        where=printable(folder),
        got=why,
        hint="irconv bisect MODEL -p PIPELINE writes one",
    )
