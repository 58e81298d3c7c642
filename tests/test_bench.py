"""The benchmark: engines take turns, results are compared, memory has its own process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import irconv as ic
from irconv.bench.compare import Plan, compare
from irconv.bench.measure import Timing, interleaved
from irconv.bench.peers import peer_file
from irconv.bench.worker import Held, Job, measure
from irconv.cli import app
from irconv.errors import BackendError


def test_engines_take_turns_and_the_first_run_of_a_turn_is_not_timed() -> None:
    order: list[str] = []
    engines = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    timings = interleaved(engines, runs=7, pause=0.0)
    assert "".join(order) == "aaaaaa" + "bbbbbb" + "aaa" + "bbb"
    assert {name: len(t.seconds) for name, t in timings.items()} == {"a": 7, "b": 7}


def test_timing() -> None:
    timing = Timing((4.0, 1.0, 2.0, 3.0, 100.0))
    assert timing.median == 3.0
    assert timing.quartiles == (2.0, 4.0)
    assert timing.spread == pytest.approx(2 / 3)
    assert timing.to_json()["min_ms"] == 1000.0
    assert Timing((2.0,)).quartiles == (2.0, 2.0)


def test_a_comparison_tells_ratio_and_difference() -> None:
    plan = Plan(
        "zoo:lenet5", pipelines=("", "im2col"), backend="interpret", batch=2, runs=3, memory=False
    )
    found = compare(plan)
    assert [r.engine for r in found.rows] == ["irconv (default)", "irconv im2col", "onnxruntime"]
    plain, im2col, peer = found.rows
    assert plain.ratio == pytest.approx(peer.timing.median / plain.timing.median)
    assert peer.ratio is None
    assert 0 < max(plain.error or 0, im2col.error or 0) < 1e-5
    assert found.inputs == {"image": "float32[2, 1, 28, 28]"}


def test_the_command_in_json() -> None:
    words = ["bench", "zoo:lenet5", "-b", "interpret", "--runs", "2", "--no-memory", "--json", "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert {"date", "irconv", "versions", "cpu", "threads", "models"} <= set(found)
    (model,) = found["models"]
    assert model["model"] == "zoo:lenet5"
    assert len(model["load_average"]) == 2
    assert [e["engine"] for e in model["engines"]] == ["irconv (default)", "onnxruntime"]
    assert model["engines"][0]["median_ms"] > 0
    assert done.stderr == ""


def test_a_wrong_result_has_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irconv.bench.compare.relative_error", lambda *_: 0.5)
    words = ["bench", "zoo:lenet5", "-b", "interpret", "--runs", "1", "--no-memory", "-q"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert "differs from the peer by 5.0e-01" in done.stderr


def test_memory_of_a_process_of_its_own(tmp_path: Path) -> None:
    graph = ic.zoo.alexnet(batch=1)
    np.savez(tmp_path / "x.npz", image=np.zeros((1, 3, 224, 224), np.float32))
    job = Job("onnxruntime", "zoo:alexnet", None, str(tmp_path / "x.npz"))
    ic.export_onnx(graph, tmp_path / "m.onnx", check=False)
    weights = (tmp_path / "m.onnx").stat().st_size
    found = measure(Job(**{**job.__dict__, "file": str(tmp_path / "m.onnx")}))
    assert isinstance(found, Held)
    assert found.resident is not None
    assert found.peak is not None
    assert 0.8 * weights < found.resident < 3 * weights
    assert found.peak >= found.resident * 0.9


def test_a_failing_engine_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros(1, np.float32))
    job = Job("onnxruntime", "m", str(tmp_path / "none.onnx"), str(tmp_path / "x.npz"))
    with pytest.raises(BackendError, match="measuring onnxruntime failed"):
        measure(job)


def test_the_peer_reads_the_very_same_model(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    ic.export_onnx(ic.zoo.lenet5(), file, check=False)
    graph = ic.load(file)
    assert peer_file(str(file), graph, None, None, tmp_path) == file
    light = peer_file("light:squeezenet", graph, 3, None, tmp_path)
    first = ic.load(light)
    peer_file("light:squeezenet", graph, 3, None, tmp_path)
    assert ic.load(light) == first
    peer_file("light:squeezenet", graph, 4, None, tmp_path)
    assert ic.load(light) != first
