"""The benchmark: engines take turns, results are compared, memory has its own process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import irconv as ic
from irconv.bench.campaign import Request, expanded, peaks, run_campaign
from irconv.bench.compare import Plan, compare
from irconv.bench.data import magnitudes
from irconv.bench.layers import peer_steps
from irconv.bench.measure import Timing, interleaved
from irconv.bench.peers import PEERS, OnnxRuntime, installed_peers, peer_file
from irconv.bench.rows import FASTER, Comparison, Results, Row
from irconv.bench.source import Source, read_source, with_weights
from irconv.bench.worker import OURS, Held, Job, measure
from irconv.errors import BackendError, ModelError
from irconv.light_models import LIGHT_MODELS
from irconv.types import Array

NO_INPUTS: dict[str, Array] = {}


class Fake:
    """A peer that computes what onnxruntime does, or fails when it should."""

    def __init__(self, file: Path, threads: int) -> None:
        self.peer = OnnxRuntime(file, threads)

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        return self.peer(inputs)


class Broken(Fake):
    """A peer that cannot load a model."""

    def __init__(self, file: Path, threads: int) -> None:
        raise RuntimeError("no kernel for\nConv\x1b[31m")


class Wrong(Fake):
    """A peer that computes something else."""

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        return [y + 1 for y in super().__call__(inputs)]


@pytest.fixture
def lenet(tmp_path: Path) -> Source:
    return read_source("zoo:lenet5", "zoo:lenet5", 0, 2, tmp_path)


QUICK = Plan(backend="interpret", runs=2, memory=False)

# -- turns ---------------------------------------------------------------------------------------


def test_engines_take_turns_and_the_first_run_of_a_turn_is_not_timed() -> None:
    order: list[str] = []

    def engine(name: str) -> Callable[[Mapping[str, Array]], list[Array]]:
        return lambda _: order.append(name) or []  # type: ignore[func-returns-value]

    engines = {"a": engine("a"), "b": engine("b")}
    timings = interleaved(engines, 7, lambda: NO_INPUTS, pause=0.0)
    assert "".join(order) == "aaaaaa" + "bbbbbb" + "aaa" + "bbb"
    assert {name: len(t.seconds) for name, t in timings.items()} == {"a": 7, "b": 7}


def test_each_run_of_a_turn_has_fresh_inputs_and_all_engines_have_the_same() -> None:
    seen: dict[str, list[float]] = {"a": [], "b": []}
    numbers = iter(range(100))

    def engine(name: str) -> Callable[[Mapping[str, Array]], list[Array]]:
        return lambda given: seen[name].append(float(given["x"])) or []  # type: ignore[func-returns-value]

    engines = {name: engine(name) for name in seen}
    interleaved(engines, 6, lambda: {"x": np.array(next(numbers))}, pause=0.0)
    assert seen["a"] == seen["b"]
    assert seen["a"] == [0, 1, 2, 3, 4, 5, 6, 7]  # five timed runs, then one, and two untimed


def test_an_engine_that_fails_later_is_taken_out() -> None:
    failures = []
    left = iter([1, 1, 1])

    def breaks(_: Mapping[str, Array]) -> list[Array]:
        return [np.array(next(left))]

    engines = {"a": breaks, "b": lambda _: []}
    found = interleaved(
        engines,
        9,
        lambda: NO_INPUTS,
        0.0,
        failed=lambda name, error: failures.append((name, error)),
    )
    assert list(found) == ["b"]
    assert [(n, type(e)) for n, e in failures] == [("a", StopIteration)]
    with pytest.raises(StopIteration):
        interleaved({"a": breaks}, 9, lambda: NO_INPUTS, 0.0)


def test_timing() -> None:
    timing = Timing((4.0, 1.0, 2.0, 3.0, 100.0))
    assert timing.median == 3.0
    assert timing.quartiles == (2.0, 4.0)
    assert timing.spread == pytest.approx(2 / 3)
    assert timing.to_json()["min_ms"] == 1000.0
    assert Timing((2.0,)).quartiles == (2.0, 2.0)


# -- one comparison ------------------------------------------------------------------------------


def test_a_comparison_tells_ratios_and_differences(
    lenet: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "fake", Fake)
    plan = Plan(("onnxruntime", "fake"), ("", "im2col"), backend="interpret", runs=3, memory=False)
    found = compare(lenet, plan).comparison
    names = ["irconv fast (as it stands)", "irconv fast im2col", "onnxruntime", "fake"]
    assert [r.name for r in found.rows] == names
    plain, im2col, peer, fake = found.rows
    medians = [r.timing.median for r in found.rows if r.timing]
    ratios = {"onnxruntime": medians[2] / medians[0], "fake": medians[3] / medians[0]}
    assert plain.ratios == pytest.approx(ratios)
    assert plain.ratio == min(ratios.values())
    assert (peer.ratios, peer.ratio, peer.error) == ({}, None, None)
    assert 0 < max(plain.error or 0, im2col.error or 0) < 1e-5
    assert fake.error == 0.0
    assert found.inputs == {"image": "float32[2, 1, 28, 28]"}


def test_each_precision_is_a_row_of_ours(lenet: Source) -> None:
    plan = Plan((), precisions=("strict", "fast"), backend="interpret", runs=1, memory=False)
    rows = compare(lenet, plan).comparison.rows
    assert [(r.name, r.precision) for r in rows] == [
        ("irconv strict", "strict"),
        ("irconv fast", "fast"),
    ]
    assert all(r.ratio is None and r.error is None for r in rows)


def test_a_peer_that_fails_is_a_row_that_says_so(
    lenet: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PEERS, "broken", Broken)
    monkeypatch.setitem(PEERS, "fake", Fake)
    plan = Plan(("broken", "fake"), backend="interpret", runs=2, memory=False)
    ours, broken, fake = compare(lenet, plan).comparison.rows
    assert broken.timing is None
    assert broken.failed == r"RuntimeError: no kernel for\nConv\x1b[31m"
    assert list(ours.ratios) == ["fake"]
    assert ours.error is not None  # against the first that ran
    assert fake.failed is None


def test_a_form_of_ours_that_fails_is_a_row_too(lenet: Source) -> None:
    plan = Plan((), ("", "no_such_pass"), backend="interpret", runs=1, memory=False)
    works, fails = compare(lenet, plan).comparison.rows
    assert works.failed is None
    assert "no_such_pass" in (fails.failed or "")


def test_a_wrong_peer_shows_in_its_row(lenet: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS, "wrong", Wrong)
    plan = Plan(("onnxruntime", "wrong"), backend="interpret", runs=1, memory=False)
    _, _, wrong = compare(lenet, plan).comparison.rows
    assert (wrong.error or 0) > 0.5


@pytest.mark.skipif("openvino" not in installed_peers(), reason="OpenVINO is not installed")
def test_openvino_computes_the_same(lenet: Source) -> None:
    plan = Plan(("onnxruntime", "openvino"), backend="interpret", runs=1, memory=False)
    *_, row = compare(lenet, plan).comparison.rows
    assert row.failed is None
    assert (row.error or 0.0) < 1e-5


# -- the model and its file ----------------------------------------------------------------------


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


def test_a_file_is_rebatched_only_where_its_batch_differs(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    ic.export_onnx(ic.zoo.lenet5(batch=2), file, check=False)
    own = read_source("m", str(file), None, None, tmp_path)
    same = read_source("m", str(file), None, 2, tmp_path)
    other = read_source("m", str(file), None, 5, tmp_path)
    assert (own.file, same.file, same.changed_batch) == (file, file, None)
    assert other.file != file
    assert ic.load(other.file).inputs[0].shape == (5, 1, 28, 28) == other.graph.inputs[0].shape


def test_a_network_of_the_zoo_has_one_image_if_nothing_is_said(tmp_path: Path) -> None:
    source = read_source("zoo:lenet5", "zoo:lenet5", 0, None, tmp_path)
    assert source.graph.inputs[0].shape == (1, 1, 28, 28)
    assert ic.load(source.file).inputs[0].shape == (1, 1, 28, 28)


def test_only_light_models_need_a_file_of_weights(tmp_path: Path) -> None:
    assert with_weights("zoo:lenet5", 3, tmp_path) == ("zoo:lenet5", 3)
    assert with_weights("m.onnx", None, tmp_path) == ("m.onnx", None)
    assert list(tmp_path.iterdir()) == []


def test_another_batch_gives_onnxruntime_the_same_kernels(tmp_path: Path) -> None:
    spec, seed = with_weights("light:squeezenet", 0, tmp_path)
    sources = [read_source("light:squeezenet", spec, seed, b, tmp_path) for b in (None, 2)]
    own, changed = ([s.op for s in peer_steps(source, 1, 1, 0)] for source in sources)
    assert own == changed


# -- the data ------------------------------------------------------------------------------------


def test_magnitudes_find_what_should_not_be_there() -> None:
    b = ic.Builder("net")
    x = b.input("x", (4,))
    b.output(b.relu(b.relu(x)))
    tiny = np.float32(1e-40)
    found = magnitudes(b.build(), {"x": np.array([3.0, -1.0, tiny, np.inf], np.float32)})
    assert (found.denormals, found.not_finite) == (2, 2)
    assert found.zeros == 0.25
    found = magnitudes(b.build(), {"x": np.array([3.0, -1.0, 4.0, 0.0], np.float32)})
    assert found.low == found.high == 2.5
    assert found.smallest == found.largest == "relu1"


def test_random_weights_give_sane_numbers(tmp_path: Path) -> None:
    """Made once, into a file that both sides read."""
    spec, seed = with_weights("light:squeezenet", 3, tmp_path)
    assert (Path(spec).parent, seed) == (tmp_path, None)
    source = read_source("light:squeezenet", spec, seed, None, tmp_path)
    assert source.file == Path(spec)
    rng = np.random.default_rng(1)
    image = rng.standard_normal((1, 3, 224, 224)).astype(np.float32)
    found = magnitudes(source.graph, {source.graph.inputs[0].name: image})
    assert 0.03 < found.low < found.high < 30
    assert (found.denormals, found.not_finite) == (0, 0)


# -- memory --------------------------------------------------------------------------------------


def test_memory_of_a_process_of_its_own(tmp_path: Path) -> None:
    graph = ic.zoo.alexnet(batch=1)
    np.savez(tmp_path / "x.npz", image=np.zeros((1, 3, 224, 224), np.float32))
    ic.export_onnx(graph, tmp_path / "m.onnx", check=False)
    weights = (tmp_path / "m.onnx").stat().st_size
    job = Job("onnxruntime", "zoo:alexnet", str(tmp_path / "m.onnx"))
    found = measure(job, str(tmp_path / "x.npz"))
    assert isinstance(found, Held)
    assert found.resident is not None
    assert found.peak is not None
    assert 0.8 * weights < found.resident < 3 * weights
    assert found.peak >= found.resident * 0.9


def test_ours_holds_no_source_graph(tmp_path: Path) -> None:
    b = ic.Builder("net")
    b.output(b.dense(b.input("x", (1, 4000)), 4000))
    file = tmp_path / "m.onnx"
    ic.export_onnx(b.build(), file, check=False)
    np.savez(tmp_path / "x.npz", x=np.ones((1, 4000), np.float32))
    job, inputs, cache = Job(OURS, str(file), str(file)), str(tmp_path / "x.npz"), str(tmp_path)
    cold, cached = measure(job, inputs, cache), measure(job, inputs, cache)
    weights = file.stat().st_size
    assert cold.resident is not None
    assert cached.resident is not None
    assert 0.8 * weights < cached.resident < 1.7 * weights
    assert cached.resident < cold.resident  # the compiler was never at work


def test_a_failing_engine_is_named(tmp_path: Path, lenet: Source) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros(1, np.float32))
    job = Job("onnxruntime", "m", str(tmp_path / "none.onnx"))
    with pytest.raises(BackendError, match="measuring onnxruntime failed"):
        measure(job, str(tmp_path / "x.npz"))


# -- campaigns -----------------------------------------------------------------------------------


def test_names_are_expanded_and_checked_before_anything_is_measured(tmp_path: Path) -> None:
    assert expanded(["light:all"]) == tuple(f"light:{n}" for n in LIGHT_MODELS)
    assert set(expanded(["zoo:all"])) == {f"zoo:{n}" for n in ic.zoo.networks()}
    assert expanded(["zoo:m5", "zoo:lenet5", "zoo:m5"]) == ("zoo:m5", "zoo:lenet5")
    for wrong in ("light:nope", "zoo:nope", str(tmp_path / "no.onnx")):
        with pytest.raises(ModelError):
            expanded(["zoo:lenet5", wrong])


def test_a_campaign_goes_through_models_batches_and_threads() -> None:
    request = Request(
        ("zoo:lenet5", "zoo:text_cnn"),
        (),
        backend="interpret",
        threads=(1, 2),
        batches=(1, 3),
        runs=1,
        memory=False,
    )
    found = list(run_campaign(request))
    settings = [(1, 1), (1, 2), (3, 1), (3, 2)]
    expected = [(m, *s) for m in request.models for s in settings]
    assert [(c.model, c.batch, c.threads) for c in found] == expected
    assert found[2].inputs == {"image": "float32[3, 1, 28, 28]"}
    data = [c.data is not None for c in found[:4]]
    assert data == [True, True, False, False]  # of the first batch


def test_the_peak_is_measured_where_the_backend_can() -> None:
    assert peaks(Request((), backend="interpret")) == {}
    found = peaks(Request((), threads=(1, 2)))
    assert list(found) == [1, 2]
    assert all(1 < p < 1e5 and math.isfinite(p) for p in found.values())


def _comparison(model: str, **ratios: float) -> Comparison:
    row = Row("irconv fast", OURS, None, "fast", Timing((1.0,)), ratios, None)
    return Comparison(model, 1, 2, {}, (row,), (0.0, 0.0))


def test_a_summary_has_the_mean_and_the_worst_of_each_peer() -> None:
    both = (_comparison("a", ort=2.0, ov=4.0), _comparison("b", ort=8.0, ov=1.0))
    found = {s.against: s for s in Results({}, both).summaries()}
    assert list(found) == ["ort", "ov", FASTER]
    assert [s.mean for s in found.values()] == pytest.approx([4.0, 2.0, math.sqrt(2.0)])
    assert [(s.worst, s.worst_model) for s in found.values()] == [
        (2.0, "a"),
        (1.0, "b"),
        (1.0, "b"),
    ]
    assert {(s.name, s.batch, s.threads, s.count) for s in found.values()} == {
        ("irconv fast", 1, 2, 2)
    }


def test_where_one_peer_failed_the_summary_counts_the_rest() -> None:
    both = (_comparison("a", ort=2.0, ov=4.0), _comparison("b", ort=8.0))
    found = {s.against: s for s in Results({}, both).summaries()}
    assert (found["ov"].count, found["ov"].mean) == (1, pytest.approx(4.0))
    assert (found[FASTER].count, found[FASTER].worst) == (2, 2.0)
