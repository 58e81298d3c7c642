"""Random networks through random orders of passes, every backend and the export, bit for bit.

`python -m tests.fuzz [--graphs 10000] [--seed 0] [--jobs 2]` (`make fuzz`) ends with status 1 and
the failing seeds where two forms differ, and where a rule never fired.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime

from irconv.backend import Options
from irconv.backends.numba_cpu import pipeline_for
from irconv.errors import BackendError, ExportError
from irconv.export import export_onnx
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.listing import write
from irconv.onnx_import import load
from irconv.pipeline import Stage, lower
from irconv.registry import passes
from irconv.specialize import specialize
from irconv.text import parse
from irconv.types import Array
from tests.cpu_cases import compiled, run_guarded
from tests.graphs import BATCH, Choose, integer_inputs, random_graph, rules_of, wide_graph

# passes with the options that make more of their rules fire on small networks
VARIANTS = {
    "conv_matrix": ("conv_matrix", "conv_matrix{form=literal}"),
    "fuse": ("fuse", "fuse{pool=false}"),
    "fuse_pairs": ("fuse_pairs{everywhere=true}", "fuse_pairs"),
    "fuse_preactivation": ("fuse_preactivation{everywhere=true}", "fuse_preactivation"),
    "pack": ("pack", "pack{block=8}", "pack{block=4}"),
}
FAMOUS = (
    "",
    pipeline_for(Options("strict")),
    "canonicalize,fold,fold_batchnorm,fuse,im2col,canonicalize,fold",
    "fold,fuse,conv_matrix",
    "fuse,conv_matrix{form=literal}",
    "canonicalize,fold,fold_batchnorm,fuse,canonicalize",
)
# so many networks must have shown every rule
ENOUGH = 5000
WAYS = ("numba_cpu", "numba_cpu", "onnx", "interpret")


@dataclass
class Tally:
    """What a run met."""

    graphs: int = 0
    nodes: Counter[int] = field(default_factory=Counter)
    fired: Counter[str] = field(default_factory=Counter)
    declined: Counter[str] = field(default_factory=Counter)
    kernels: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, stage: Stage) -> None:
        """Counts the rewrites and the remarks of one pass."""
        name = stage.pass_.name
        self.fired.update({f"{name}/{rule}": n for rule, n in stage.fired.items()})
        self.declined.update(f"{name}/{remark.rule}" for remark in stage.remarks)

    def merge(self, other: Tally) -> None:
        """Adds what another run met."""
        self.graphs += other.graphs
        self.failures += other.failures
        for name in ("nodes", "fired", "declined", "kernels", "refused"):
            getattr(self, name).update(getattr(other, name))


def drawn_pipeline(choose: Choose) -> str:
    """One to six passes in any order, any of them again; or one that people use."""
    if choose((0, 0, 1)):
        return str(choose(FAMOUS))
    names = sorted(passes())
    return ",".join(_variant(choose, choose(names)) for _ in range(choose(range(1, 7))))


def _variant(choose: Choose, name: str) -> str:
    return str(choose(VARIANTS.get(name, (name,))))


def same(found: dict[str, Array], expected: dict[str, Array], what: str, ulps: int) -> None:
    """Within `ulps` of each output's largest number; 0: bit for bit but for the sign of zero."""
    assert list(found) == list(expected), what
    for name, array in expected.items():
        allowed = ulps * 2.0**-23 * float(np.abs(array).max(initial=0))
        np.testing.assert_allclose(
            found[name], array, rtol=0, atol=allowed, err_msg=f"%{name} by {what}"
        )


def look(graph: Graph, pipeline: str, threads: int, way: str, tally: Tally) -> None:
    """One network, by one pipeline: its interpreter, its listing, and one backend or the export."""
    tally.graphs += 1
    tally.nodes[len(graph)] += 1
    inputs = integer_inputs(graph)
    expected = interpret(graph, inputs)
    fixed = specialize(graph, dict.fromkeys(graph.symbols(), BATCH))
    source = fixed if way == "numba_cpu" else graph
    averaged_first = tally.fired["hoist_pool/pool_before"]
    lowered = lower(source, pipeline, tally.note)
    # all numbers are exact but the quotients of an average over, say, 80 pixels
    ulps = 4 if tally.fired["hoist_pool/pool_before"] > averaged_first else 0
    what = f"{pipeline!r}\n{graph}"
    same(interpret(lowered, inputs), expected, what, ulps)
    arrays = {v.digest: v.array for v in lowered.parameters.values() if v.array is not None}
    assert parse(write(lowered), arrays) == lowered, what
    if way == "numba_cpu":
        _on_the_cpu(lowered, inputs, expected, threads, tally, what, ulps)
    if way == "onnx":
        _through_onnx(lowered, inputs, expected, tally, what, ulps)


def _on_the_cpu(
    graph: Graph,
    inputs: dict[str, Array],
    expected: dict[str, Array],
    threads: int,
    tally: Tally,
    what: str,
    ulps: int,
) -> None:
    try:
        program = compiled(graph, threads)
    except BackendError as error:
        tally.refused[f"numba_cpu: {error.what}"] += 1
        return
    found = run_guarded(program, [inputs[v.name] for v in graph.inputs])
    tally.kernels.update(n.kernel for n in program.report.nodes)
    same(dict(zip((v.name for v in graph.outputs), found, strict=True)), expected, what, ulps)


def _through_onnx(
    graph: Graph,
    inputs: dict[str, Array],
    expected: dict[str, Array],
    tally: Tally,
    what: str,
    ulps: int,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        try:
            export_onnx(graph, file, opset=22, check=False)
        except ExportError as error:
            tally.refused[f"onnx: {error.what}"] += 1
            return
        data = file.read_bytes()
    same(interpret(load(data), inputs), expected, f"export and import of {what}", ulps)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = session.run(list(expected), {v.name: inputs[v.name] for v in graph.inputs})
    for (name, array), theirs in zip(expected.items(), found, strict=True):
        np.testing.assert_allclose(
            theirs, array, rtol=1e-5, atol=1e-5, err_msg=f"%{name} by onnxruntime\n{what}"
        )


def campaign(count: int, seed: int) -> Tally:
    """The networks of the seeds from `seed` on; each failure is told with its seed."""
    tally = Tally()
    for number in range(seed, seed + count):
        choose = random.Random(number).choice
        way, threads = choose(WAYS), choose((1, 2, 3))
        pipeline = drawn_pipeline(choose)
        graph = wide_graph(choose) if choose(range(8)) == 0 else random_graph(choose)
        try:
            look(graph, pipeline, threads, way, tally)
        except Exception as error:  # noqa: BLE001 - whatever went wrong is the finding
            text = f"{type(error).__name__}: {error}"
            tally.failures.append(f"--seed {number} --graphs 1: {text}")
    return tally


def all_rules() -> set[str]:
    """The rules of all passes, as a Tally names them."""
    return {f"{name}/{rule}" for name, cls in passes().items() for rule in rules_of(cls)}


def _campaign(job: tuple[int, int]) -> Tally:
    return campaign(*job)


def report(tally: Tally, seconds: float) -> str:
    """The counts of a campaign, as lines."""
    sizes = sorted(tally.nodes.elements())
    lines = [
        f"{tally.graphs} networks in {seconds:.0f} s, {len(tally.failures)} failures",
        f"{sizes[0]} to {sizes[-1]} nodes, median {sizes[len(sizes) // 2]}",
        f"{'fired':>9} {'declined':>9}  rule",
    ]
    rules = sorted({*tally.fired, *tally.declined})
    lines += [f"{tally.fired[r]:9} {tally.declined[r]:9}  {r}" for r in rules]
    lines += [f"{n:9} {'':9}  kernel {k}" for k, n in sorted(tally.kernels.items())]
    lines += [f"{n:9} {'':9}  refused by {k}" for k, n in sorted(tally.refused.items())]
    return "\n".join(lines)


def main() -> int:
    """Status 1 where something differed or a rule never fired."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    start = time.monotonic()
    piece = 250
    jobs = [(min(piece, given.graphs - i), given.seed + i) for i in range(0, given.graphs, piece)]
    total = Tally()
    with multiprocessing.get_context("spawn").Pool(given.jobs, maxtasksperchild=4) as pool:
        for tally in pool.imap_unordered(_campaign, jobs):
            total.merge(tally)
            print(f"{total.graphs} networks", file=sys.stderr)
            print(*tally.failures, sep="\n", file=sys.stderr)
    print(report(total, time.monotonic() - start))
    never = sorted(all_rules() - set(total.fired)) if given.graphs >= ENOUGH else []
    print(*(f"a rule never fired: {name}" for name in never), sep="\n", file=sys.stderr)
    return int(bool(total.failures or never))


if __name__ == "__main__":
    raise SystemExit(main())
