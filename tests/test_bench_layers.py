"""Layers: our steps and onnxruntime's kernels, each with the nodes that it computes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irconv as ic
from irconv.backend import find_backend
from irconv.backends.numba_cpu.blocked.tile import lanes
from irconv.bench.layers import LAYOUT, OurStep, matched, originals, our_steps, peer_steps
from irconv.bench.ort_profile import (
    FileNode,
    PeerStep,
    attribute,
    middle_mean,
    timed_events,
)
from irconv.bench.reasons import Limits, explain
from irconv.bench.rows import Layer
from irconv.bench.source import read_source
from irconv.graph import Graph
from irconv.inspector.samples import seeded_inputs
from irconv.profiling import MeasuresPeak, Profiled
from irconv.report import NodeReport

# -- onnxruntime's events --------------------------------------------------------------------------


def nodes(*lines: str) -> list[FileNode]:
    """`name: Op source source`, one a line."""
    found = []
    for line in lines:
        name, _, rest = line.partition(": ")
        op, *sources = rest.split()
        found.append(FileNode(name, op, tuple(sources)))
    return found


def covered(file: Sequence[FileNode], *events: tuple[str, str]) -> list[set[str]]:
    steps = attribute(file, [(f"{name}_kernel_time", op, 1.0) for name, op in events])
    return [set(step.nodes) for step in steps]


RESIDUAL = nodes(
    "c1: Conv", "b1: BatchNormalization c1", "r1: Relu b1",
    "c2: Conv r1", "b2: BatchNormalization c2",
    "c3: Conv r1", "b3: BatchNormalization c3",
    "s: Sum b2 b3", "r2: Relu s", "p: MaxPool r2", "c4: Conv r2", "r4: Relu c4",
)  # fmt: skip


def test_what_is_fused_belongs_to_the_kernel_that_is_named_after_a_part_of_it() -> None:
    # as onnxruntime names them: a fused kernel by its last node, a sum goes into the later one
    events = (
        ("r1_nchwc", "Conv"),
        ("b3_nchwc", "Conv"),
        ("b2_nchwc", "Conv"),
        ("ReorderOutput_token_7", "ReorderOutput"),
        ("p_nchwc", "MaxPool"),
        ("r4_nchwc_token_3", "Conv"),
    )
    assert covered(RESIDUAL, *events) == [
        {"c1", "b1", "r1"},
        {"c3", "b3"},
        {"c2", "b2", "s", "r2"},
        set(),
        {"p"},
        {"c4", "r4"},
    ]


def test_a_fused_kernel_may_be_named_after_its_first_node() -> None:
    events = (("c1", "FusedConv"), ("c2", "Conv"), ("c3", "Conv"), ("s", "Sum"), ("r2", "Relu"))
    rest = (("p", "MaxPool"), ("fused c4", "FusedConv"))
    assert covered(RESIDUAL, *events, *rest) == [
        *({"c1", "b1", "r1"}, {"c2", "b2"}, {"c3", "b3"}, {"s"}, {"r2"}, {"p"}, {"c4", "r4"}),
    ]


def test_a_batch_norm_that_became_a_convolution_stands_alone() -> None:
    file = nodes("p: MaxPool", "b: BatchNormalization p", "u: Unsqueeze", "m: Mul b u", "a: Add m")
    events = (("p_nchwc", "MaxPool"), ("b_bn_nchwc", "Conv"), ("m_mul_nchwc", "Conv"), ("a", "Add"))
    assert covered(file, *events) == [{"p"}, {"b"}, {"m"}, {"a"}]


def test_padding_goes_into_the_convolution_after_it() -> None:
    file = nodes("r: Relu", "pad: Pad r", "c: Conv pad", "s: Softmax c")
    assert covered(file, ("r", "Relu"), ("c_nchwc", "Conv"), ("s", "Softmax")) == [
        {"r"},
        {"pad", "c"},
        {"s"},
    ]


def test_names_that_look_like_ours_are_taken_as_they_are() -> None:
    file = nodes("x_nchwc: Relu", "x: Conv x_nchwc", "y\nz: Relu x")
    assert covered(file, ("x_nchwc", "Relu"), ("x", "Conv"), ("y\nz", "Relu")) == [
        {"x_nchwc"},
        {"x"},
        {"y\nz"},
    ]


def test_the_first_runs_do_not_count() -> None:
    def event(name: str, micro: int, cat: str = "Node") -> dict[str, object]:
        return {"cat": cat, "name": name, "dur": micro, "args": {"op_name": "Conv"}}

    runs = [[event("a_kernel_time", d), event("b_kernel_time", 7)] for d in (900, 1, 3, 8)]
    other = [event("model_run", 5, "Session"), event("a_fence_before", 1)]
    found = timed_events([*other, *(e for run in runs for e in run)], 3)
    assert [(n, op, pytest.approx(s)) for n, op, s in found] == [
        ("a_kernel_time", "Conv", 3e-6),
        ("b_kernel_time", "Conv", 7e-6),
    ]


def test_the_mean_of_the_middle_half() -> None:
    assert middle_mean([5.0]) == 5.0
    assert middle_mean([1.0, 2.0, 900.0]) == 2.0
    assert middle_mean([100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]) == 3.5


# -- matching --------------------------------------------------------------------------------------


def step(name: str, names: str, seconds: float, reason: str = "", op: str = "FusedConv") -> OurStep:
    report = NodeReport(name, op, f"k_{name}", 0, 0, 0)
    return OurStep(report, frozenset(names.split()), seconds, reason)


def chain() -> Graph:
    b = ic.Builder("net")
    x = b.input("x", (1, 3, 8, 8))
    c = b.conv(x, 4, kernel=3, pads="same")
    b.output(b.max_pool(b.relu(c), 2))
    return b.build()


def test_a_layer_is_what_computes_the_same_nodes_on_both_sides() -> None:
    graph = chain()
    ours = [step("max_pool1", "conv1 relu1 max_pool1", 3.0, "too small")]
    theirs = [
        PeerStep("Conv", frozenset({"conv1", "relu1"}), 1.0),
        PeerStep("ReorderOutput", frozenset(), 0.25),
        PeerStep("MaxPool", frozenset({"max_pool1"}), 1.5),
    ]
    layer, added = matched(graph, ours, theirs)
    macs = 4 * 8 * 8 * 3 * 3 * 3
    assert layer == Layer(
        "max_pool1", "FusedConv", "k_max_pool1", 3, 2 * macs, 3.0, 2.5, layer.reason
    )
    assert layer.reason.endswith("; too small")
    assert layer.is_slower
    assert layer.ratio == pytest.approx(2.5 / 3)
    assert layer.gflops == pytest.approx(2 * macs / 3e9)
    assert (added.name, added.op, added.seconds, added.peer_seconds) == (
        LAYOUT,
        "ReorderOutput",
        None,
        0.25,
    )
    assert not added.is_slower


def test_what_we_split_is_added_up_and_named_after_the_longest() -> None:
    ours = [
        step("conv1", "conv1", 1.0, op="Conv"),
        step("relu1", "relu1", 2.0, "why", op="Relu"),
        step("max_pool1", "max_pool1", 0.5, op="MaxPool"),
    ]
    theirs = [PeerStep("Conv", frozenset({"conv1", "relu1"}), 4.0)]
    first, second = matched(chain(), ours, theirs)
    assert (first.name, first.op, first.seconds, first.peer_seconds) == (
        "relu1",
        "Conv+Relu",
        3.0,
        4.0,
    )
    assert (first.kernel, first.reason) == ("k_conv1+k_relu1", "why")
    assert (second.name, second.peer_seconds, second.ratio) == ("max_pool1", None, None)


def test_a_view_of_ours_has_no_line_where_nobody_spends_time_on_it() -> None:
    ours = [step("conv1", "conv1", 1.0), step("relu1", "relu1", 0.0)]
    assert [x.name for x in matched(chain(), ours, [])] == ["conv1"]


def test_lowered_nodes_know_what_they_are_made_of() -> None:
    found = originals(chain(), "canonicalize,fold,fuse")
    assert found == {"max_pool1": frozenset({"conv1", "relu1", "max_pool1"})}
    assert set().union(*originals(chain(), "im2col").values()) == {"conv1", "relu1", "max_pool1"}
    assert originals(chain(), "")["relu1"] == {"relu1"}


def test_layers_stay_apart_where_a_layout_goes_through_all_of_them() -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 32, 8, 8))
    y = b.relu(b.conv(x, 32, kernel=3, pads="same"))
    z = b.relu(b.add(b.conv(y, 32, kernel=3, pads="same"), y))
    b.output(b.relu(b.conv(z, 32, kernel=1)))
    found = originals(b.build(), "fuse,pack")
    computing = {nodes for nodes in found.values() if nodes}
    assert computing == {
        frozenset({"conv1", "relu1"}),
        frozenset({"conv2", "add1", "relu2"}),
        frozenset({"conv3", "relu3"}),
    }
    assert len(found) == len(computing) + 2  # a Pack and an Unpack are made of nothing


def test_layouts_of_both_are_one_line() -> None:
    ours = [step("conv1", "conv1", 1.0), step("x.packed", "", 2.0, op="Pack")]
    theirs = [
        PeerStep("ReorderInput", frozenset(), 0.5),
        PeerStep("Conv", frozenset({"conv1"}), 0.5),
        PeerStep("ReorderOutput", frozenset(), 0.5),
    ]
    *_, last = matched(chain(), ours, theirs)
    assert (last.name, last.op, last.seconds, last.peer_seconds) == (LAYOUT, "Pack", 2.0, 1.0)


# -- reasons ---------------------------------------------------------------------------------------

MEGA = 1_000_000


def told(
    micros: float,
    others: float,
    flops: int = 0,
    moved: int = 0,
    nodes: str = "a",
    threads: int = 1,
    **of_step: Any,
) -> list[str]:
    """The reasons of one step of ours against one kernel, in microseconds; the peak is 250."""
    report = NodeReport("a", "Op", "k", flops // 2, moved, 0)
    ours = OurStep(report, frozenset(nodes.split()), micros * 1e-6, **of_step)
    theirs = PeerStep("Op", frozenset({"a"}), others * 1e-6)
    return explain([ours], [theirs], flops, Limits(threads, 250.0)).split("; ")


def test_a_difference_that_no_clock_tells_has_no_other_reason() -> None:
    assert told(5.8, 5.0) == ["0.8 us are within the microsecond of onnxruntime's clock"]
    assert told(90.0, 80.0, spread=12e-6, reason="r") == [
        "10.0 us are within the spread of our runs, 12.0 us",
        "r",
    ]
    assert "spread" not in told(90.0, 80.0, spread=9e-6)[0]


def test_reasons_are_figures() -> None:
    flops = 2_000 * MEGA // 100  # 100 us at 200 GFLOP/s, 80 % of the peak
    assert told(100.0, 90.0, flops) == ["80% of the peak, onnxruntime 89%"]
    near = told(85.0, 82.0, flops, reason="its tiles have 7 of 14 pixels")
    assert near == [
        "both are near the limit: 94% of the peak, onnxruntime 98%",
        "its tiles have 7 of 14 pixels",
    ]
    weights = told(100.0, 50.0, flops, moved=3 * MEGA, constants=2 * MEGA)
    assert weights[0] == "its weights, 2.0 MB, take 47% of its time from memory"
    far = told(40.0, 30.0, moved=4 * MEGA)
    assert far[0] == "4.00 MB of the third cache need 98% of its time"
    shared = told(12.0, 10.0, moved=4 * MEGA, threads=4)
    assert shared[0] == "4.00 MB of the second cache need 38% of its time"
    small = told(20.0, 10.0, moved=MEGA // 5)
    assert small[0] == (
        "not bound by memory: 0.20 MB of the second cache need 0.9 us of its 20.0 us, "
        "the rest are the kernel's instructions"
    )
    assert small[1] == "10 GB/s of operands and results, onnxruntime 20"


def test_borders_and_copies_are_told() -> None:
    found = told(20.0, 10.0, kernels={"clear_halo": 3e-6, "max_pool": 17e-6})
    assert found[0] == "3.0 us to zero the border that its readers need as padding"
    found = told(20.0, 10.0, kernels={"clear_halo": 2e-6, "max_pool": 18e-6})
    assert "border" not in found[0]
    assert told(20.0, 10.0, nodes="", moved=MEGA)[:2] == [
        "1.00 MB are copied where the network begins and ends",
        "onnxruntime reads the input as it is",
    ]


def test_only_a_slower_layer_is_explained() -> None:
    theirs = [PeerStep("Conv", frozenset({"conv1"}), 2.0)]
    layers = matched(chain(), [step("conv1", "conv1", 1.0, "note")], theirs)
    assert layers[0].reason == "note"
    slower = matched(chain(), [step("conv1", "conv1", 3.0, "note")], theirs)
    assert slower[0].reason.endswith("; note")


def test_the_report_notes_what_a_shape_loses() -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 32, 10, 10))
    y = b.relu(b.conv(x, 24, kernel=1, name="thin"))
    y = b.relu(b.conv(y, 32, kernel=3, pads="same", name="wide"))
    b.output(y)
    if lanes() != 16:
        pytest.skip("the notes are those of vectors of 16")
    pipeline = "fuse,winograd{tiles=4},pack"
    notes = {n.op: n.note for n in ic.compile(b.build(), pipeline=pipeline).report.nodes}
    assert notes["WinogradConv"] == (
        "24 of 32 channels of its blocks are used; its tiles of 4x4 cover 1.44 times the image"
    )
    assert notes["FusedConv"].startswith("24 of 32 channels of its blocks are used")


# -- both for real ---------------------------------------------------------------------------------


def test_every_node_of_a_network_is_in_a_kernel_of_onnxruntime(tmp_path: Path) -> None:
    source = read_source("zoo:lenet5", "zoo:lenet5", 0, 2, tmp_path)
    theirs = peer_steps(source, 1, 3, 0)
    assert set().union(*(t.nodes for t in theirs)) == {n.name for n in source.graph}
    assert sum(len(t.nodes) for t in theirs) == len(source.graph)
    assert all(t.seconds >= 0 for t in theirs)


def test_layers_of_both_for_real(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    ic.export_onnx(chain(), file, check=False)
    source = read_source("m", str(file), None, None, tmp_path)
    executable = ic.compile(source.graph, threads=2)
    ours = our_steps(executable, source.graph, seeded_inputs(source.graph), 3)
    assert ours is not None
    names = {n.name for n in source.graph}
    assert set().union(*(s.nodes for s in ours)) == names
    layers = matched(source.graph, ours, peer_steps(source, 1, 3, 0))
    assert sum(x.nodes for x in layers) == len(names)
    assert any(x.seconds and x.peer_seconds is not None for x in layers)
    total = sum(s.seconds for s in ours)
    assert sum(x.seconds or 0.0 for x in layers) == pytest.approx(total)


def test_a_backend_without_a_profile_has_no_steps() -> None:
    graph = chain()
    executable = ic.compile(graph, backend="interpret")
    x = np.ones((1, 3, 8, 8), np.float32)
    assert our_steps(executable, graph, {"x": x}, 1) is None


@pytest.mark.parametrize("threads", [1, 2])
def test_the_profile_of_a_program_names_the_nodes_of_its_report(threads: int) -> None:
    b = ic.Builder("net")
    x = b.input("x", (1, 3, 8, 8))
    y = b.softmax(b.relu(b.conv(x, 4, kernel=3)))
    b.output(b.reshape(y, (1, -1)))
    executable = ic.compile(b.build(), threads=threads, pipeline="")
    program = executable.prepare({})
    assert isinstance(program, Profiled)
    given = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    before = executable(given)
    steps = program.profile([given], 3)
    assert all(s.seconds >= 0 and s.line for s in steps)
    working = {n.node for n in program.report.nodes if n.kernel != "view"}
    assert {s.node for s in steps} == working
    assert np.array_equal(before[0], executable(given)[0])


def test_a_node_that_runs_in_python_is_timed_too() -> None:
    text = """graph @g(%x: f32[2, 5]) -> (%c: f32[5, 2]) {
      %a = Relu(%x) : f32[2, 5]
      %b = onnx.Einsum(%a) {opset = 12, equation = "ij->ji"} : f32[5, 2]
      %c = Relu(%b) : f32[5, 2]
    }"""
    program = ic.compile(ic.parse(text), pipeline="").prepare({})
    assert isinstance(program, Profiled)
    assert [n.op for n in program.report.fallbacks] == ["onnx.Einsum"]
    steps = program.profile([np.ones((2, 5), np.float32)], 2)
    assert [s.node for s in steps] == ["a", "b", "c"]
    assert all(s.seconds > 0 for s in steps)


def test_the_peak_is_a_method_of_the_backend() -> None:
    assert isinstance(find_backend("numba_cpu"), MeasuresPeak)
    assert not isinstance(find_backend("interpret"), MeasuresPeak)
