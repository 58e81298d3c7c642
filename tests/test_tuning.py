"""Choices by measuring: stated as text, replayed, kept on disk. The times here are made up."""

from __future__ import annotations

import importlib
import json
import os
import sys
import uuid
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pytest
from typer.testing import CliRunner

import irconv as ic
from irconv import code_cache, sources, tuning, tuning_cache
from irconv.algorithms import AlgorithmChoice, owners
from irconv.backend import Options
from irconv.backends import numba_cpu
from irconv.backends.numba_cpu import NumbaCpu
from irconv.backends.numba_cpu.program import CpuProgram
from irconv.cli import app
from irconv.errors import InputError
from irconv.executable import Executable
from irconv.graph import Graph, Node
from irconv.inspector.samples import seeded_inputs
from irconv.interpret import interpret
from irconv.ops.winograd import WinogradConv
from irconv.pipeline import parse_pipeline
from irconv.profiling import StepTime
from irconv.report import Memory, Report, node_report
from irconv.types import Array
from irconv.winograd import convolve
from irconv.winograd_error import BOUND, sampled_error

# seconds of a layer direct, by F(2, 3) and by F(4, 3)
Table: TypeAlias = "dict[str, tuple[float, float, float]]"

KERNELS = os.environ.get("IRCONV_CACHE_DIR", "")  # of all tests
PIPELINE = "fuse,winograd"
NAMES = ("direct", "F(2, 3)", "F(4, 3)")
TIMES: Table = {"first": (4, 3, 2), "second": (4, 3, 2), "third": (2, 5, 5), "last": (9, 5, 6)}


def network(seed: int = 0, batch: int | str = 1) -> Graph:
    """Two equal layers, and two others; a layer of 1x1 that is no matter of choice."""
    b = ic.Builder("net", seed=seed)
    x = b.input("x", (batch, 16, 12, 12))
    y = b.relu(b.conv(x, 16, kernel=3, pads="same", name="first"))
    y = b.relu(b.conv(y, 16, kernel=3, pads="same", name="second"))
    y = b.relu(b.conv(y, 32, kernel=1))
    y = b.max_pool(b.relu(b.conv(y, 48, kernel=3, pads="same", name="third")), 3, strides=2)
    b.output(b.conv(y, 16, kernel=3, pads="same", name="last"), "y")
    return b.build()


@dataclass
class FakeProgram:
    """Runs by the specification; its profile is read from a table."""

    graph: Graph
    backend: Fake
    layers: dict[str, str]
    report: Report
    source: str = ""

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        names = [v.name for v in self.graph.inputs]
        return list(interpret(self.graph, dict(zip(names, arrays, strict=True))).values())

    def profile(self, arrays: Sequence[Array], runs: int = 20) -> list[StepTime]:
        assert [a.shape for a in arrays] == [v.shape for v in self.graph.inputs]
        self.backend.profiled.append(self.report.pipeline)
        if self.backend.failure is not None:
            raise self.backend.failure
        return [StepTime(node.name, self.seconds(node)) for node in self.graph]

    def seconds(self, node: Node) -> float:
        stem = self.layers.get(node.name)
        if stem is None:
            return 0.0
        tile = node.op.tile if isinstance(node.op, WinogradConv) else 0
        return self.backend.table[stem][tile // 2]


@dataclass
class Fake:
    """A backend whose measured times are those of a table, by the first names of the layers."""

    name: ClassVar[str] = "fake"
    default_pipeline: ClassVar[str] = PIPELINE
    table: Table = field(default_factory=lambda: dict(TIMES))
    version: str = "1"
    failure: Exception | None = None
    profiled: list[str] = field(default_factory=list)

    def unavailable(self) -> str | None:
        return None

    def machine_version(self) -> str:
        return self.version

    def compile(self, graph: Graph, options: Options, pipeline: str) -> FakeProgram:
        convolutions = [n for n in graph if n.op.name in ("Conv", "FusedConv", "WinogradConv")]
        threes = [n.name for n in convolutions if n.operands[1].shape[2:] == (3, 3)]  # type: ignore[union-attr]
        layers = dict(zip(threes, TIMES, strict=True))
        nodes = tuple(node_report(node, "kernel") for node in graph)
        settings = (options.precision, options.threads, ())
        report = Report(self.name, pipeline, *settings, nodes, Memory(), 0)
        return FakeProgram(graph, self, layers, report)


def build(
    graph: Graph, backend: Fake, pipeline: str = PIPELINE, options: Options | None = None
) -> Executable:
    chosen = options if options is not None else Options(tune=True)
    executable = Executable(graph, backend, parse_pipeline(pipeline), chosen)
    if not graph.symbols():
        executable.prepare({})
    return executable


def choices(report: Report) -> list[AlgorithmChoice]:
    return [n.choice for n in report.nodes if n.choice is not None]


def tiles(report: Report) -> str:
    (winograd,) = (p for p in parse_pipeline(report.pipeline) if p.name == "winograd")
    return str(winograd.tiles)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test."""
    monkeypatch.setenv("IRCONV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(code_cache, "_state", {"enabled": True, "warned": False})
    return tmp_path / "cache" / "kernels"


# -- the choice ------------------------------------------------------------------------------------


def test_the_measured_times_choose() -> None:
    backend = Fake()
    report = build(network(), backend).report
    assert report.pipeline == "fuse,winograd{tiles=4402}"
    assert report.notes == ("tune: choices measured now: 4 layers, 3 of them different",)
    for choice, seconds in zip(choices(report), TIMES.values(), strict=True):
        assert choice.measured == dict(zip(NAMES, seconds, strict=True))
        assert list(choice.predicted) == list(NAMES)
    assert [c.algorithm for c in choices(report)] == ["F(4, 3)", "F(4, 3)", "direct", "F(2, 3)"]
    assert "chosen: 1 F(2, 3), 2 F(4, 3), 1 direct" in str(report)


def test_the_programs_take_turns() -> None:
    backend = Fake()
    build(network(), backend)
    each = [f"fuse,winograd{{tiles={4 * tile}}}" for tile in "024"]
    assert backend.profiled == each * tuning.ROUNDS


def test_equal_layers_have_one_choice_by_their_median() -> None:
    table = TIMES | {"first": (4.0, 3.0, 2.0), "second": (4.0, 3.0, 9.0)}
    report = build(network(), Fake(table)).report
    assert tiles(report) == "2202"
    first, second = choices(report)[:2]
    assert first.measured == second.measured == {"direct": 4, "F(2, 3)": 3, "F(4, 3)": 5.5}


def test_a_gain_within_the_noise_is_none() -> None:
    table = TIMES | {"last": (1.0, 0.98, 0.99)}
    assert tiles(build(network(), Fake(table)).report) == "4400"


@pytest.mark.parametrize(("budget", "expected"), [(0, "0000"), (30000, "2200"), (1 << 20, "4402")])
def test_the_budget_holds_for_all_equal_layers_together(budget: int, expected: str) -> None:
    """One layer of 16 x 16 channels grows by 7168 bytes for a tile of 2, by 27648 for one of 4."""
    pipeline = f"fuse,winograd{{budget={budget},growth=0.0}}"
    report = build(network(), Fake(TIMES | {"last": (9.0, 9.0, 9.0)}), pipeline).report
    assert tiles(report) == expected[:3] + "0"


def test_the_text_replays_the_choice() -> None:
    report = build(network(), Fake()).report
    backend = Fake()
    for options in (Options(), Options(tune=True)):
        again = build(network(), backend, report.pipeline, options).report
        assert again.pipeline == report.pipeline
        assert [(n.node, n.op) for n in again.nodes] == [(n.node, n.op) for n in report.nodes]
        assert [c.algorithm for c in choices(again)] == [c.algorithm for c in choices(report)]
        assert [c.measured for c in choices(again)] == [{}] * 4
    assert again.notes == ("tune: the pipeline leaves nothing to choose for this graph",)
    assert backend.profiled == []


def test_what_was_decided_before_stays() -> None:
    lowered = ic.lower(network(), "fuse,winograd{tiles=0020}")
    backend = Fake()
    report = build(lowered, backend, "winograd").report
    assert tiles(report) == "4422"
    assert {text[-2] for text in map(tiles_of, backend.profiled)} == {"2"}
    assert list(choices(report)[2].measured) == ["F(2, 3)"]


def tiles_of(pipeline: str) -> str:
    return pipeline.partition("tiles=")[2].rstrip("}")


def test_each_batch_is_tuned_by_itself() -> None:
    backend = Fake()
    executable = build(network(batch="N"), backend)
    inputs = seeded_inputs(network(batch=3))
    executable.run(inputs)
    assert tiles(executable.report) == "4402"
    assert executable.report.sizes == (("N", 3),)
    count = len(backend.profiled)
    executable.run(inputs)
    assert len(backend.profiled) == count


# -- what is not measured --------------------------------------------------------------------------


def test_strict_leaves_nothing_to_choose() -> None:
    backend = Fake()
    options = Options("strict", tune=True)
    report = build(network(), backend, "fuse", options).report
    assert report.notes == ("tune: strict allows direct products only: nothing is to be chosen",)
    assert report.pipeline == "fuse"
    assert backend.profiled == []


@pytest.mark.parametrize("pipeline", ["", "fuse"])
def test_a_pipeline_without_choices(pipeline: str) -> None:
    backend = Fake()
    report = build(network(), backend, pipeline).report
    assert report.notes == ("tune: the pipeline leaves nothing to choose for this graph",)
    assert backend.profiled == choices(report) == []


def test_a_backend_that_cannot_measure_says_so() -> None:
    report = ic.compile(network(), "interpret", PIPELINE, tune=True).report
    assert report.notes == ("tune: the backend interpret has nothing to choose from",)


def test_inputs_that_do_not_run_leave_the_choice_to_the_model(folder: Path) -> None:
    report = build(network(), Fake(failure=InputError("an index is out of range"))).report
    assert report.notes == ("tune: nothing was measured: an index is out of range",)
    assert report.pipeline == PIPELINE
    assert list(folder.iterdir()) == []


def test_layers_that_are_told_by_no_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeProgram, "profile", lambda *_: [StepTime("another", 1.0)])
    (note,) = build(network(), Fake()).report.notes
    assert note.startswith("tune: nothing was measured: %")
    assert "a layer has no steps" in note
    assert list(folder.iterdir()) == []


# -- on disk ---------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_measured(folder: Path) -> None:
    first = build(network(), Fake()).report
    backend = Fake({})
    again = build(network(seed=5), backend).report  # other weights, the same structure
    assert again.notes == ("tune: choices from the cache: 4 layers, 3 of them different",)
    assert again.pipeline == first.pipeline
    assert [c.measured for c in choices(again)] == [c.measured for c in choices(first)]
    assert backend.profiled == []
    (file,) = folder.iterdir()
    assert file.name.startswith("tuned-")


OTHERS = {
    "threads": ({}, Options(threads=2, tune=True), PIPELINE),
    "machine": ({"version": "2"}, Options(tune=True), PIPELINE),
    "pipeline": ({}, Options(tune=True), "fuse,winograd,canonicalize"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_settings_are_measured_anew(case: str, folder: Path) -> None:
    build(network(), Fake())
    changes, options, pipeline = OTHERS[case]
    backend = Fake(**changes)  # type: ignore[arg-type]
    build(network(), backend, pipeline, options)
    assert backend.profiled
    assert len(list(folder.iterdir())) == 2


def test_other_sources_of_the_passes_are_measured_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(network(), Fake())
    monkeypatch.setattr(tuning, "modules_digest", lambda names: ",".join(sorted(names)))
    backend = Fake()
    build(network(), backend)
    assert backend.profiled
    assert len(list(folder.iterdir())) == 2


def test_the_digest_of_a_module_is_that_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_passes"
    package.mkdir()
    for name in ("__init__", "one", "sibling"):
        (package / f"{name}.py").write_text("x = 1\n")
    (tmp_path / "lone_pass.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    modules = [importlib.import_module(n) for n in ("some_passes.one", "lone_pass")]
    names = [m.__name__ for m in modules]
    found = []
    for changed in (None, package / "sibling.py", tmp_path / "lone_pass.py", None):
        if changed is not None:
            changed.write_text("x = 2\n")
        sources.folder_digest.cache_clear()
        found.append(sources.modules_digest(names))
    assert found[0] != found[1] != found[2] == found[3] != found[0]
    assert sources.modules_digest(["no.such.module"])
    for name in ("some_passes", *names):
        monkeypatch.delitem(sys.modules, name)


def test_the_backend_digests_all_its_sources() -> None:
    assert sources.folder_digest(Path(numba_cpu.__file__).parent) in NumbaCpu().machine_version()


def test_what_was_measured_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[FakeProgram]] = []
    compile_one, left = Fake.compile, []

    def kept(self: Fake, *given: Any) -> FakeProgram:
        program = compile_one(self, *given)
        alive.append(weakref.ref(program))
        return program

    monkeypatch.setattr(Fake, "compile", kept)
    monkeypatch.setattr(tuning, "trim", lambda: left.append([r() for r in alive]))
    build(network(), Fake())
    assert left == [[None] * 3]


def test_another_structure_has_another_key() -> None:
    keys = {tuning_cache.key_of(network(batch=n), "a") for n in (1, 2)}
    keys |= {tuning_cache.key_of(network(), "b"), tuning_cache.key_of(network(1), "a")}
    assert len(keys) == 3


def damages(text: str) -> Iterator[str | bytes]:
    good = json.loads(text)
    yield text[: len(text) // 2]
    yield b"\xff\x00"
    yield "[" * 100_000
    yield from map(json.dumps, ([], {}, None, {**good, "key": "0"}, {"key": good["key"]}))
    work = next(iter(good["seconds"]))
    for wrong in ("1.0", -1.0, 0.0, True, None, float("inf"), float("nan"), [1.0], 3):
        times = good["seconds"][work] | {"F(4, 3)": wrong}
        yield json.dumps({**good, "seconds": good["seconds"] | {work: times}})
    for times in ([], {"direct": 1.0}, good["seconds"][work] | {"F(6, 3)": 1e-9}):
        yield json.dumps({**good, "seconds": good["seconds"] | {work: times}})
    yield json.dumps({**good, "seconds": {work: good["seconds"][work]}})
    yield json.dumps({**good, "seconds": good["seconds"] | {"more": good["seconds"][work]}})


def test_what_is_damaged_or_foreign_is_measured_again_and_rewritten(folder: Path) -> None:
    build(network(), Fake())
    (file,) = folder.iterdir()
    good = file.read_text()
    for damaged in damages(good):
        file.write_bytes(damaged.encode() if isinstance(damaged, str) else damaged)
        backend = Fake()
        assert tiles(build(network(), backend).report) == "4402", damaged
        assert backend.profiled, damaged
        assert file.read_text() == good
        assert list(folder.iterdir()) == [file]


def test_without_the_cache_it_is_measured_each_time(folder: Path) -> None:
    code_cache.set_enabled(False)
    for _ in range(2):
        backend = Fake()
        build(network(), backend)
        assert backend.profiled
    assert not folder.exists()


# -- the report ------------------------------------------------------------------------------------


def test_the_report_without_tuning() -> None:
    reports = [build(network(), Fake(), options=Options()).report for _ in range(2)]
    assert choices(reports[0]) == choices(reports[1])
    report = build(network(), Fake(), "fuse,winograd{tiles=4402}", Options()).report
    for choice, tile in zip(choices(report), "4402", strict=True):
        assert choice.algorithm == (f"F({tile}, 3)" if tile != "0" else "direct")
        assert list(choice.predicted) == list(NAMES)
        assert all(s > 0 for s in choice.predicted.values())
        assert choice.measured == {}
        if tile == "0":
            assert (choice.error, choice.error_bound) == (None, None)
        else:
            assert choice.error_bound == BOUND
            assert 0 < (choice.error or 0) < BOUND
    told = json.loads(json.dumps(report.to_json()))["nodes"]
    found = [n["choice"]["algorithm"] for n in told if n["choice"]]
    assert found == [c.algorithm for c in choices(report)]


def test_the_table_has_the_column_where_there_are_choices() -> None:
    def columns(report: Report) -> int:
        return len(report.table().columns)

    chosen = build(network(), Fake()).report
    assert columns(chosen) == columns(build(network(), Fake(), "fuse").report) + 1
    cells = list(chosen.table().columns[-1].cells)
    direct, two, four, error = str(cells[0]).split("\n")
    assert direct.startswith("  direct: ")
    assert direct.endswith(" / 4000000")
    assert two.endswith(" / 3000000")
    assert four.startswith("> F(4, 3): ")
    assert error.startswith("  error ")
    plain = build(network(), Fake(), options=Options()).report
    assert "/" not in str(next(iter(plain.table().columns[-1].cells)))


def test_an_error_beyond_the_bound_is_told() -> None:
    report = build(network(), Fake()).report
    assert "more than" not in str(report)
    first = next(n for n in report.nodes if n.choice is not None)
    wrong = replace(first, choice=replace(choices(report)[0], error=3e-6))
    text = str(replace(report, nodes=(wrong,)))
    assert "the error of F(4, 3) on a sample is 3.0e-06, more than 2e-06" in text


def test_the_sampled_error_is_that_of_the_algorithm() -> None:
    rng = np.random.default_rng(3)
    w = rng.standard_normal((24, 40, 3, 3)).astype(np.float32)
    x = np.random.default_rng(0).standard_normal((1, 40, 10, 10)).astype(np.float32)
    wide_x, wide_w = x.astype(np.float64), w[:16].astype(np.float64)
    exact = convolve(wide_x, wide_w, 2)
    windows = np.lib.stride_tricks.sliding_window_view(np.abs(wide_x[0]), (3, 3), (1, 2))
    largest = np.einsum("chwij,ocij->ohw", windows, np.abs(wide_w)).max()
    for tile in (2, 4):
        expected = np.abs(convolve(x, w[:16], tile) - exact).max() / largest
        assert sampled_error(w, tile) == pytest.approx(expected, rel=0.2)
    assert sampled_error(np.zeros_like(w), 4) == 0


def test_owners() -> None:
    names = ["a", "a.image", "a.b.packed", "c.d.1", "e", ""]
    assert owners(names, ["a", "a.b", "c.d"]) == {
        "a": "a",
        "a.image": "a",
        "a.b.packed": "a.b",
        "c.d.1": "c.d",
    }


# -- with kernels ----------------------------------------------------------------------------------


@pytest.fixture
def kernels(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled kernels of all tests, and no times."""
    version = uuid.uuid4().hex
    monkeypatch.setenv("IRCONV_CACHE_DIR", KERNELS)
    monkeypatch.setattr(NumbaCpu, "machine_version", lambda _: version)


def in_table(program: CpuProgram, arrays: Sequence[Array], runs: int = 20) -> list[StepTime]:
    """The direct ones are slow, but the third."""
    fast = {"0": 4.0, "2": 2.0, "4": 1.0}[
        tiles_of(program.report.pipeline.partition(",pack")[0])[0]
    ]
    return [
        StepTime(n.node, 5.0 - fast if n.result_bytes == 4 * 48 * 144 else fast)
        for n in program.report.nodes
    ]


@pytest.mark.usefixtures("kernels")
def test_kernels_of_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuProgram, "profile", in_table)
    graph = network()
    executable = ic.compile(graph, threads=1, tune=True)
    assert tiles(executable.report) == "4404"
    chosen = [n for n in executable.report.nodes if n.choice is not None]
    assert [n.op for n in chosen] == ["WinogradConv", "WinogradConv", "FusedConv", "WinogradConv"]
    inputs = seeded_inputs(graph)
    found, expected = executable.run(inputs)["y"], interpret(graph, inputs)["y"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.usefixtures("kernels")
def test_with_real_times() -> None:
    """Whatever they are: the choice is a possible one, kept, and right."""
    graph = network()
    executable = ic.compile(graph, threads=2, tune=True)
    assert set(tiles(executable.report)) <= set("024")
    assert "measured now" in executable.report.notes[0]
    again = ic.compile(graph, threads=2, tune=True)
    assert "from the cache" in again.report.notes[0]
    assert again.report.pipeline == executable.report.pipeline
    replayed = ic.compile(graph, pipeline=again.report.pipeline, threads=2)
    inputs = seeded_inputs(graph)
    np.testing.assert_array_equal(replayed.run(inputs)["y"], executable.run(inputs)["y"])


def test_on_the_command_line() -> None:
    line = ["run", "zoo:lenet5", "--tune", "--report", "-b", "interpret"]
    done = CliRunner().invoke(app, line)
    assert "tune: the backend interpret has nothing to choose from" in done.stdout
    assert (
        CliRunner().invoke(app, ["emit", "zoo:lenet5", "--tune", "-b", "interpret"]).exit_code == 0
    )
