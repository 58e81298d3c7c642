"""The exported file: bytes, names, metadata, checks, and what leaves no file behind."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from irconv.attributes import make_op
from irconv.backends.onnx import comparing, program, saving
from irconv.backends.onnx.program import rounded_up
from irconv.builder import Builder
from irconv.errors import ExportError, InputError, NumericsError
from irconv.executable import compile as compile_graph
from irconv.export import export_onnx
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops.activation import Relu
from irconv.ops.elementwise import Add, Mul
from irconv.ops.identity import Identity
from irconv.ops.shape import Reshape
from irconv.pipeline import lower
from irconv.types import TensorType
from tests.export_cases import graph_of

PIPELINE = "fuse,im2col"


def small(batch: int | str = "N", name: str = "small") -> Graph:
    b = Builder(name, seed=0)
    x = b.input("x", (batch, 3, 8, 8))
    y = b.max_pool(b.relu(b.conv(x, 8, kernel=3, pads=1)), 2)
    b.output(b.softmax(b.dense(b.flatten(y), 10, name="logits")), "prob")
    return b.build()


def run_file(path: Path, **arrays: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, arrays)]


@pytest.mark.parametrize("pipeline", ["", PIPELINE, "fuse,conv_matrix"])
def test_two_exports_are_the_same_bytes_under_any_hash_seed(tmp_path: Path, pipeline: str) -> None:
    script = (
        "import sys, pathlib; sys.path.insert(0, '.')\n"
        "from tests.test_export_file import small, lower, export_onnx\n"
        "export_onnx(lower(small(), sys.argv[2]), pathlib.Path(sys.argv[1]), pipeline=sys.argv[2])"
    )
    written = []
    for seed in ("0", "1"):
        path = tmp_path / f"{seed}.onnx"
        command = [sys.executable, "-W", "error", "-c", script, str(path), pipeline]
        subprocess.run(command, check=True, env={"PYTHONHASHSEED": seed, "PATH": ""})
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    told = export_onnx(lower(small(), PIPELINE), path, pipeline=PIPELINE)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (8, 17)
    assert model.producer_name == "irconv"
    data = {p.key: p.value for p in model.metadata_props}
    assert data["irconv.pipeline"] == PIPELINE
    assert data["irconv.checked_with"] == f"onnxruntime {onnxruntime.__version__}"
    assert data["irconv.batches"] == "1 2 7"
    assert told.error is not None
    assert 0 < told.error <= float(data["irconv.error"]) < 1e-5
    assert told.bytes == path.stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_the_metadata_tells_the_passes_that_changed_the_graph(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_onnx(lower(small(), "conv_matrix,im2col"), path)
    data = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert data["irconv.pipeline"] == "conv_matrix"  # nothing was left for im2col


def test_names_types_and_initializers(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_onnx(small(), path)
    graph = onnx.load(path).graph
    assert [v.name for v in graph.input] == ["x"]
    assert [v.name for v in graph.output] == ["prob"]
    assert {"conv1.weight", "conv1.bias"} <= {t.name for t in graph.initializer}
    known = {v.name for v in graph.value_info}
    results = {name for node in graph.node for name in node.output}
    assert results - known == {"prob"}
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_every_value_of_a_lowered_form_has_a_type(tmp_path: Path) -> None:
    for pipeline in (PIPELINE, "fuse,conv_matrix", "conv_matrix{form=literal}"):
        export_onnx(lower(small(), pipeline), tmp_path / "m.onnx")
        graph = onnx.load(tmp_path / "m.onnx").graph
        results = {name for node in graph.node for name in node.output}
        assert results - {v.name for v in graph.value_info} == {"prob"}


@pytest.mark.parametrize("opset", [13, 15, 18, 21, 24, 26])
def test_the_lowest_ir_version_that_holds_the_opset(tmp_path: Path, opset: int) -> None:
    told = export_onnx(small(), tmp_path / "m.onnx", opset=opset)
    assert told.ir_version == {13: 7, 15: 8, 18: 8, 21: 10, 24: 12, 26: 13}[opset]


@pytest.mark.parametrize("opset", [12, 27, 0])
def test_an_opset_that_onnxruntime_does_not_read_is_refused(tmp_path: Path, opset: int) -> None:
    with pytest.raises(ExportError, match="expected 13 to 26"):
        export_onnx(small(), tmp_path / "m.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("batch", [1, 2, 7, 0])
@pytest.mark.parametrize(
    "pipeline", ["", PIPELINE, "fuse,conv_matrix", "conv_matrix{form=literal}"]
)
def test_the_batch_is_dynamic(tmp_path: Path, pipeline: str, batch: int) -> None:
    graph = small()
    export_onnx(lower(graph, pipeline), tmp_path / "m.onnx", check=False)
    x = np.random.default_rng(0).standard_normal((batch, 3, 8, 8), np.float32)
    (got,) = run_file(tmp_path / "m.onnx", x=x)
    expected = interpret(graph, {"x": x})["prob"]
    assert got.shape == expected.shape == (batch, 10)
    assert np.allclose(got, expected, atol=1e-6)


def test_functions_keep_the_fused_nodes(tmp_path: Path) -> None:
    lowered = lower(small(), "fuse")
    told = export_onnx(lowered, tmp_path / "m.onnx", functions=True)
    model = onnx.load(tmp_path / "m.onnx")
    assert [f.name for f in model.functions] == ["FusedConv.Relu.MaxPool"]
    assert [n.op_type for n in model.graph.node if n.domain == "irconv"] == [
        "FusedConv.Relu.MaxPool"
    ]
    (call,) = [n for n in model.graph.node if n.domain == "irconv"]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in call.attribute}
    assert attributes["kernel_shape"] == [3, 3]
    assert told.error is not None
    plain = export_onnx(lowered, tmp_path / "p.onnx")
    assert plain.bytes != told.bytes
    assert not onnx.load(tmp_path / "p.onnx").functions


def test_external_data_lies_beside_the_model(tmp_path: Path) -> None:
    graph = small()
    told = export_onnx(graph, tmp_path / "m.onnx", external_data=True)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["m.onnx", "m.onnx.data"]
    assert told.bytes == sum(p.stat().st_size for p in tmp_path.iterdir())
    model = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    locations = {
        e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"
    }
    assert locations == {"m.onnx.data"}
    x = np.ones((2, 3, 8, 8), np.float32)
    (got,) = run_file(tmp_path / "m.onnx", x=x)
    assert np.allclose(got, interpret(graph, {"x": x})["prob"], atol=1e-6)


# -- what is not written -------------------------------------------------------------------------


def _wrong(write: Callable[..., object]) -> Callable[..., object]:
    """Exports another network than asked."""

    def emit(graph: Graph, *rest: object) -> object:
        other = graph.copy()
        bias = next(v for n, v in other.parameters.items() if n.endswith("bias"))
        bias.array = np.asarray(bias.array) + np.float32(1)
        return write(other, *rest)

    return emit


def test_a_failed_comparison_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"older")
    monkeypatch.setattr(program, "emit", _wrong(program.emit))
    with pytest.raises(NumericsError, match="nothing was written"):
        export_onnx(small(), path)
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_one_hot_softmax_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder("hot", seed=0)
    x = b.input("x", ("N", 4))
    bias = np.array([4000.0, 0.0, 0.0], np.float32)
    b.output(b.softmax(b.dense(x, 3, b=bias, name="logits")), "prob")
    monkeypatch.setattr(program, "emit", _wrong_by(program.emit, 20.0))
    with pytest.raises(NumericsError, match="output logits"):
        export_onnx(b.build(), tmp_path / "m.onnx")


def _wrong_by(write: Callable[..., object], gap: float) -> Callable[..., object]:
    def emit(graph: Graph, *rest: object) -> object:
        other = graph.copy()
        bias = next(v for v in other.parameters.values() if v.shape == (3,))
        bias.array = np.asarray(bias.array) + np.float32([0, 0, gap])
        return write(other, *rest)

    return emit


def test_constant_outputs_make_a_weak_check_and_the_file_says_so(tmp_path: Path) -> None:
    graph = Graph("flat")
    x = graph.add_input("x", TensorType("f32", ("N", 3)))
    big = graph.add_parameter("big", np.full(3, 1e6, np.float32))
    graph.set_outputs(graph.add_node(Add(), [x, big], ["y"]).results)
    told = export_onnx(graph, tmp_path / "m.onnx")
    assert told.notes == ("the inputs of the comparison hardly move the outputs",)
    data = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert "hardly move" in data["irconv.notes"]


def test_the_given_inputs_are_used(tmp_path: Path) -> None:
    graph = small()
    x = np.ones((3, 3, 8, 8), np.float32)
    told = export_onnx(graph, tmp_path / "m.onnx", inputs={"x": x})
    assert told.batches == (3, 1, 2, 7)
    with pytest.raises(InputError, match="wrong shape"):
        export_onnx(graph, tmp_path / "n.onnx", inputs={"x": x[:, :2]})
    assert not (tmp_path / "n.onnx").exists()


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no such folder"):
        export_onnx(small(), tmp_path / "none" / "m.onnx")
    with pytest.raises(ExportError, match="not a regular file"):
        export_onnx(small(), tmp_path)
    with pytest.raises(ExportError, match="not a path"):
        export_onnx(small(), str(tmp_path / "a\0b.onnx"))


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "m.onnx"
    target.write_text("mine")
    link.symlink_to(target)
    export_onnx(small(), link, check=False)
    assert target.read_text() == "mine"
    assert not link.is_symlink()


def test_an_interrupt_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"older")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "compare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(small(), path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert path.read_bytes() == b"older"


# -- names, outputs, runtimes --------------------------------------------------------------------


def test_odd_names_are_kept_and_meet_no_other(tmp_path: Path) -> None:
    odd = [
        "a/Reshape",
        "a/shape",
        '"><img src=x>',
        "two words",
        "\u202eright",
        "x):\n import os",
        "y",
    ]
    graph = Graph("odd")
    value = graph.add_input("a", TensorType("f32", ("N", 2, 3)))
    for name in odd:
        value = graph.add_node(Relu(), [value], [name]).result
    shape = graph.add_parameter("s", np.array([0, -1], np.int64))
    graph.set_outputs([graph.add_node(Reshape(), [value, shape], ["a/shape.1"]).result])
    export_onnx(graph, tmp_path / "m.onnx")
    written = onnx.load(tmp_path / "m.onnx").graph
    names = [t.name for t in written.initializer] + [o for n in written.node for o in n.output]
    assert len(set(names)) == len(names)
    assert {*odd, "a/shape.1"} <= set(names)


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    graph = Graph("odd")
    x = graph.add_input("x", TensorType("f32", (2,)))
    graph.set_outputs([graph.add_node(Relu(), [x], ["\ud800"]).result])
    with pytest.raises(ExportError, match=r"not Unicode text.*rename"):
        export_onnx(graph, tmp_path / "m.onnx")


def test_outputs_that_are_inputs_parameters_or_listed_twice(tmp_path: Path) -> None:
    graph = Graph("edges")
    x = graph.add_input("x", TensorType("f32", ("N", 2)))
    p = graph.add_parameter("p", np.arange(600, dtype=np.float32))
    y = graph.add_node(Identity(), [x], ["y"]).result
    graph.set_outputs([y, x, p, y])
    export_onnx(graph, tmp_path / "m.onnx")
    given = np.ones((3, 2), np.float32)
    results = run_file(tmp_path / "m.onnx", x=given)
    assert [r.shape for r in results] == [(3, 2), (3, 2), (600,), (3, 2)]
    again = compile_graph(graph, backend="onnx")(given)
    assert isinstance(again, tuple)
    assert [r.shape for r in again] == [r.shape for r in results]
    assert len({id(r) for r in again}) == 4
    assert all(r.flags.writeable and r is not given for r in again)


def test_parameters_that_share_their_memory_are_stored_once(tmp_path: Path) -> None:
    graph = Graph("tied")
    array = np.arange(400, dtype=np.float32)
    x = graph.add_input("x", TensorType("f32", ("N", 400)))
    y = graph.add_node(Mul(), [x, graph.add_parameter("p", array)], ["y"]).result
    z = graph.add_node(Mul(), [y, graph.add_parameter("q", array)], ["z"]).result
    graph.set_outputs([z])
    told = export_onnx(graph, tmp_path / "m.onnx")
    assert told.bytes < 1.5 * array.nbytes


def test_where_onnxruntime_lacks_an_op_the_reference_compares(tmp_path: Path) -> None:
    graph = graph_of(("Softplus", {}, ["bf16[N, 3]"]))
    told = export_onnx(graph, tmp_path / "m.onnx", opset=22)
    assert told.checked_with.startswith("onnx.reference")
    data = {p.key: p.value for p in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert data["irconv.checked_with"] == told.checked_with
    assert "onnxruntime lacks" in data["irconv.notes"]


def test_the_error_is_rounded_up_to_one_digit() -> None:
    assert [rounded_up(e) for e in (0.0, 3.2e-7, 4e-7, 9.1e-5, 1.0)] == [
        "0", "4e-07", "4e-07", "1e-04", "1e+00",
    ]  # fmt: skip


def test_differences() -> None:
    one, nan = np.array([1.0, np.nan, np.inf]), np.array([1.0, 1.0, np.inf])
    assert comparing.difference(one, one) == 0
    assert comparing.difference(one, nan) == np.inf
    assert comparing.difference(np.array([1.0]), np.array([-2.0])) == 1.5
    assert comparing.difference(np.array([1]), np.array([2])) == np.inf
    assert comparing.difference(np.array([1]), np.array([2]), may_round=True) == 0


# -- the backend ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", ["", "fuse", PIPELINE, "fuse,conv_matrix"])
def test_the_backend_runs_each_form(pipeline: str) -> None:
    graph = small()
    run = compile_graph(graph, backend="onnx", pipeline=pipeline)
    for batch in (0, 2):
        x = np.random.default_rng(1).standard_normal((batch, 3, 8, 8), np.float32)
        (got,) = run(x)
        assert np.allclose(got, interpret(graph, {"x": x})["prob"], atol=1e-6)
        assert got.flags.writeable
    assert not run.report.fallbacks
    assert "Softmax" in run.source


def test_what_onnxruntime_cannot_run_falls_back_node_by_node() -> None:
    graph = Graph("mixed")
    x = graph.add_input("x", TensorType("f32", ("N", 4)))
    y = graph.add_node(Relu(), [x], ["y"]).result
    half = graph.add_node(make_op("Cast", {"to": "bf16"}), [y], ["half"]).result
    bent = graph.add_node(make_op("Softplus", {}), [half], ["bent"]).result
    back = graph.add_node(make_op("Cast", {"to": "f32"}), [bent], ["back"]).result
    noise = graph.add_node(make_op("RandomNormalLike", {"seed": 1.0}), [back], ["noise"]).result
    graph.set_outputs([graph.add_node(Relu(), [noise], ["z"]).result, back])
    run = compile_graph(graph, backend="onnx")
    given = np.linspace(-2, 2, 8, dtype=np.float32).reshape(2, 4)
    expected = interpret(graph, {"x": given})
    for name, got in run.run({"x": given}).items():
        assert np.allclose(got, expected[name], atol=1e-6), name
    assert {n.node for n in run.report.fallbacks} == {"half", "bent", "back", "noise"}
    assert "by Op.run: %noise" in run.source


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("irconv").debug("not shown")
    export_onnx(small(), tmp_path / "m.onnx")
    assert capfd.readouterr() == ("", "")


def test_past_2_gb_the_weights_go_to_a_second_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "FILE_LIMIT", 4000)
    export_onnx(small(), tmp_path / "m.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    with pytest.raises(ExportError, match="external_data=True"):
        export_onnx(small(), tmp_path / "n.onnx", external_data=False)


def test_the_source_shows_names_escaped() -> None:
    graph = Graph("odd")
    x = graph.add_input("x", TensorType("f32", (2,)))
    graph.set_outputs([graph.add_node(Relu(), [x], ["red \x1b[31m"]).result])
    source = compile_graph(graph, backend="onnx").source
    assert "red " in source
    assert "\x1b" not in source
