"""`irconv bench`: what it prints and writes, what it refuses, what its exit status says."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from irconv.bench.chart import chart
from irconv.bench.data import Magnitudes
from irconv.bench.markdown import markdown, table
from irconv.bench.measure import Timing
from irconv.bench.peers import PEERS
from irconv.bench.rows import Comparison, Layer, Results, Row
from irconv.bench.worker import OURS, Held, Job, compiled
from irconv.cli import app
from irconv.errors import BackendError

QUICK = ["--backend", "interpret", "--runs", "2", "--no-memory", "--against", "onnxruntime"]


def bench(*words: object, status: int = 0) -> Any:
    done = CliRunner().invoke(app, ["bench", *map(str, words)])
    assert done.exit_code == status, done.stderr
    return done


@pytest.fixture
def only_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irconv.commands.bench_options.installed_peers", lambda: ("onnxruntime",))


# -- what it tells -------------------------------------------------------------------------------


def test_json_on_stdout_is_all_of_stdout() -> None:
    done = bench("zoo:lenet5", *QUICK, "--json", "-", "-q")
    found = json.loads(done.stdout)
    assert {"date", "irconv", "versions", "cpu", "command", "models", "summary"} <= set(found)
    assert found["complete"]
    (model,) = found["models"]
    assert (model["model"], model["threads"], model["batch"]) == ("zoo:lenet5", 1, None)
    assert len(model["load_average"]) == 2
    assert [e["name"] for e in model["engines"]] == ["irconv fast", "onnxruntime"]
    assert model["engines"][0]["median_ms"] > 0
    assert model["engines"][0]["ratio"] == model["engines"][0]["ratios"]["onnxruntime"]
    assert model["data"]["denormals"] == 0
    assert done.stderr == ""


def test_several_precisions_threads_and_batches_in_one_run() -> None:
    several = ("--precision", "strict,fast", "--threads", "1,2", "--batch", "1,3")
    done = bench("zoo:lenet5", *QUICK, *several, "-q")
    heads = re.findall(r"^zoo:lenet5, (.*?)  \(image float32\[(\d)", done.stdout, re.MULTILINE)
    assert heads == [
        ("batch 1, 1 thread", "1"),
        ("batch 1, 2 threads", "1"),
        ("batch 3, 1 thread", "3"),
        ("batch 3, 2 threads", "3"),
    ]
    for name in ("irconv strict", "irconv fast", "onnxruntime"):
        assert len(re.findall(rf"^{name} +[\d.]+ ", done.stdout, re.MULTILINE)) == 4


def test_the_files_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("docs").mkdir()
    files = ("--json", "b.json", "--markdown", "docs/b.md", "--plot", "docs/b.svg")
    done = bench("zoo:lenet5", "zoo:text_cnn", *QUICK, *files)
    assert "geometric" not in done.stdout
    assert "zoo:text_cnn" in done.stdout
    assert [f"wrote {f}" in done.stderr for f in files[1::2]] == [True] * 3
    found = json.loads(Path("b.json").read_text())
    assert [s["count"] for s in found["summary"]] == [2]
    page = Path("docs/b.md").read_text()
    assert "](b.svg)" in page
    assert found["command"] in page
    assert ET.parse("docs/b.svg").getroot().tag.endswith("svg")


def test_the_command_it_tells_asks_for_the_same_again() -> None:
    words = (
        "zoo:lenet5",
        *QUICK,
        "--seed",
        "3",
        "--tune",
        "--pipeline",
        "fold,im2col",
        "--json",
        "-",
        "-q",
    )
    command = json.loads(bench(*words).stdout)["command"].split()
    assert command[:2] == ["irconv", "bench"]
    again = json.loads(bench(*command[2:], "-q").stdout)
    assert again["command"].split() == command
    assert again["models"][0]["engines"][0]["name"] == "irconv fast fold,im2col"


def test_the_tuned_pipeline_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("zoo:lenet5", *QUICK, "--tune", "-p", "fold,fuse", "-q")
    done = bench(*words, "--markdown", "b.md")
    assert "\nirconv fast fold,fuse tuned: fold,fuse\n" in done.stdout
    assert ": irconv fast fold,fuse tuned: `fold,fuse`" in Path("b.md").read_text()
    found = json.loads(bench(*words, "--json", "-").stdout)["models"][0]["engines"]
    assert [(e["passes"], e["tuned"]) for e in found] == [("fold,fuse", True), (None, False)]


def test_layers_of_a_backend_that_times_none() -> None:
    done = bench("zoo:lenet5", *QUICK, "--layers")
    assert "the backend times no layers" in done.stderr


# -- what goes wrong -----------------------------------------------------------------------------


def test_a_wrong_result_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irconv.bench.compare.relative_error", lambda *_: 0.5)
    done = bench("zoo:lenet5", *QUICK, "-q", status=1)
    assert "irconv fast differs from the peer by 5.0e-01" in done.stderr


def test_a_nan_is_a_wrong_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irconv.bench.compare.relative_error", lambda *_: float("nan"))
    assert "differs from the peer by nan" in bench("zoo:lenet5", *QUICK, "-q", status=1).stderr


def test_data_that_would_spoil_a_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def strange(*_: Any) -> Magnitudes:
        return Magnitudes(0.0, "a", 1.0, "b", 0.5, 7, 0)

    monkeypatch.setattr("irconv.bench.campaign.magnitudes", strange)
    done = bench("zoo:lenet5", *QUICK, "-q")
    assert done.stderr == "warning: zoo:lenet5: 7 numbers are denormal\n"


def test_a_peer_that_fails_is_told_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, only_onnxruntime: None
) -> None:
    def broken(file: Path, threads: int) -> Any:
        raise MemoryError("too large")

    monkeypatch.setitem(PEERS, "onnxruntime", broken)
    done = bench("zoo:lenet5", *QUICK, "-q")
    assert "onnxruntime failed: MemoryError: too large" in done.stdout
    assert re.search(r"^onnxruntime +failed", done.stdout, re.MULTILINE)


def test_ours_that_fails_is_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(job: Job, *given: Any) -> Any:
        if job.pipeline == "im2col":
            raise BackendError("no room")
        return compiled(job, *given)

    monkeypatch.setattr("irconv.bench.compare.compiled", breaks)
    done = bench("zoo:lenet5", *QUICK, "-p", "fold", "-p", "im2col", "-q", status=1)
    assert "error[backend]: zoo:lenet5: irconv fast im2col failed: no room" in done.stderr
    assert re.search(r"^irconv fast fold +[\d.]+", done.stdout, re.MULTILINE)


def test_without_openvino_it_goes_without(only_onnxruntime: None) -> None:
    words = [w for w in QUICK if w not in ("--against", "onnxruntime")]
    done = bench("zoo:lenet5", *words)
    assert "openvino is not installed: without it" in done.stderr
    assert not re.search("^openvino ", done.stdout, re.MULTILINE)
    asked = bench("zoo:lenet5", "--against", "openvino", status=2)
    assert "openvino is not installed (pip install openvino)" in asked.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no model"),
        (["zoo:nope"], "no such network in the zoo"),
        (["light:nope"], "no such light model"),
        (["no.onnx"], "no such file"),
        (["zoo:lenet5", "--threads", "0"], "wrong --threads: expected numbers from 1 to 256"),
        (["zoo:lenet5", "--threads", "1,x"], "wrong --threads"),
        (["zoo:lenet5", "--threads", "257"], "wrong --threads"),
        (["zoo:lenet5", "--batch", "1,,2"], "wrong --batch: expected numbers 1 or more"),
        (["zoo:lenet5", "--precision", "best"], "expected strict, fast or strict,fast, got best"),
        (["zoo:lenet5", "--backend", "interpet"], "did you mean interpret?"),
        (["zoo:lenet5", "-p", "fuze"], "did you mean fuse?"),
        (["zoo:lenet5", "--against", "tvm"], "unknown engine: got tvm"),
        (["zoo:lenet5", "--json", "no/such/b.json"], "no such folder: got no/such"),
        (["zoo:lenet5", "--plot", "no/b.svg"], "no such folder: got no"),
    ],
)
def test_a_wrong_request_is_told_before_anything_is_measured(words: list[str], told: str) -> None:
    assert told in bench(*words, status=2).stderr


def test_interrupted_it_keeps_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two_of_three(*_: Any) -> Iterator[Comparison]:
        yield comparison("a")
        yield comparison("b")
        raise KeyboardInterrupt

    monkeypatch.setattr("irconv.commands.bench.run_campaign", two_of_three)
    files = ("--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md")
    bench("zoo:lenet5", *QUICK, *files, status=130)
    found = json.loads((tmp_path / "b.json").read_text())
    assert not found["complete"]
    assert [m["model"] for m in found["models"]] == ["a", "b"]
    assert not (tmp_path / "b.md").exists()  # the page of the last whole campaign stays


# -- the page and the chart ----------------------------------------------------------------------


def comparison(model: str = "light:net", **changes: Any) -> Comparison:
    held = Held(1.5, 20_000_000, 30_000_000)
    rows = (
        Row(
            "irconv fast",
            OURS,
            None,
            "fast",
            Timing((2e-3,)),
            {"onnxruntime": 1.5},
            1e-6,
            held,
            held,
        ),
        Row("onnxruntime", "onnxruntime", None, None, Timing((3e-3,)), {}, None, held, held),
        Row("openvino", "openvino", None, None, None, {}, None, failed="no | kernel `x` <b>"),
    )
    given = {"batch": 1, "threads": 2, "inputs": {"x": "float32[1]"}, "load": (0.5, 1.0)}
    return Comparison(model=model, rows=rows, **(given | changes))


FACTS = {
    "date": "2026-01-01T00:00:00+00:00",
    "irconv": "0.1.0",
    "versions": {"numpy": "2.4"},
    "cpu": {"model": "CPU", "cores": 2, "features": ["avx2"]},
    "command": "irconv bench light:net",
}
SLOWER = Layer("c|1", "Conv", "convolve", 1, 2_000_000, 3e-6, 2e-6, "few channels")
FASTER = Layer("c2", "Conv", "convolve", 1, 2_000_000, 1e-6, 2e-6)


def test_the_page_has_every_table() -> None:
    layers = {"irconv fast": (SLOWER, FASTER)}
    page = markdown(Results(FACTS, (comparison(layers=layers),), {2: 500.0}), "b.svg")
    assert "| irconv fast | batch 1, 2 threads | onnxruntime | 1.50 | 1.50 | net | 1 |" in page
    assert "## Times: batch 1, 2 threads" in page
    assert "| net | 2.00 (0%) | 3.00 (0%) | failed | 1.50 |" in page
    assert r"openvino failed: `no | kernel 'x' <b>`" in page
    assert "| net | 2 | 1 | 0.001 |" in page  # layers compared, slower, ms lost
    assert (
        r"| net | c\|1 | Conv | convolve | 3.0 | 2.0 | 0.67 | 666.7 | 133% | few channels |" in page
    )
    assert "| c2 |" not in page
    assert "| net | irconv fast | 1.50 | 1.50 | 20 | 30 | 30 |" in page
    assert "500 GFLOP/s with 2 threads" in page
    assert "interrupted" not in page
    assert page.endswith("```\nirconv bench light:net\n```\n")


def test_a_table_keeps_its_form_whatever_is_in_a_cell() -> None:
    lines = table(("a", "b"), [["x|y\nz", ""]]).splitlines()
    assert lines == ["| a | b |", "| :-- | --: |", r"| x\|y\nz |   |"]


def test_the_chart_is_valid_and_has_a_bar_for_each_time() -> None:
    both = (comparison(), comparison("zoo:<&>", threads=1))
    drawn = chart(Results(FACTS, both))
    root = ET.fromstring(drawn)
    bars = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.get("height") == "11"]
    assert len(bars) == 4  # the engine that failed has none
    widths = [float(b.get("width", "0")) for b in bars]
    assert widths[0] == pytest.approx(1.5 * widths[1], rel=1e-2)  # 2 ms beside 3 ms
    texts = {t.text for t in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"net", "zoo:<&>", "2 ms", "3 ms"} <= texts
    assert "prefers-color-scheme: dark" in drawn


def test_a_chart_and_a_page_of_nothing() -> None:
    empty = Results(FACTS, (), complete=False)
    assert ET.fromstring(chart(empty)) is not None
    assert "interrupted" in markdown(empty)
