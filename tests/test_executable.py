"""Executables: what they take and refuse, how they compile, pickle and are let go."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from irconv.backend import Options
from irconv.errors import BackendError, GraphError, InputError, PipelineError, VerifyError
from irconv.executable import KEPT_PROGRAMS, Executable, available_cores
from irconv.executable import compile as build
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.ops import activation as act
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add
from irconv.ops.functions import Neg
from irconv.ops.identity import Identity
from irconv.passes.fold import Fold
from irconv.types import TensorType

F32 = np.dtype(np.float32)
ROOT = Path(__file__).parent.parent
X = np.arange(6, dtype=F32).reshape(2, 3)


def doubling(shape: tuple = (2, 3), dtype: str = "f32", name: str = "x") -> Graph:
    """y = x + x."""
    graph = Graph("double")
    x = graph.add_input(name, TensorType(dtype, shape))
    graph.set_outputs([graph.add_node(Add(), [x, x], ["y"]).result])
    return graph


def convolving(shape: tuple = (1, 2, 5, 5)) -> Graph:
    graph = Graph("net")
    x = graph.add_input("x", TensorType("f32", shape))
    w = graph.add_parameter("w", np.arange(54, dtype=F32).reshape(3, 2, 3, 3))
    y = graph.add_node(Conv((3, 3)), [x, w], ["c"]).result
    graph.set_outputs([graph.add_node(act.Relu(), [y], ["y"]).result])
    return graph


# -- calling --------------------------------------------------------------------------------------


def test_arrays_in_order_a_dict_and_run():
    executable = build(doubling())
    x = np.arange(6, dtype=F32).reshape(2, 3)
    found = executable(x)
    assert isinstance(found, tuple)
    np.testing.assert_array_equal(found[0], x + x)
    for named in (executable.run({"x": x}), executable({"x": x})):
        assert list(named) == ["y"]
        np.testing.assert_array_equal(named["y"], x + x)


def test_names_and_types_of_inputs_and_outputs():
    executable = build(doubling(("N", 3)))
    assert executable.inputs == {"x": TensorType("f32", ("N", 3))}
    assert executable.outputs == {"y": TensorType("f32", ("N", 3))}
    assert repr(executable) == "<Executable numba_cpu: {'x': f32[N, 3]} -> {'y': f32[N, 3]}>"


def test_outputs_belong_to_the_caller():
    graph = doubling()
    x, y = graph.inputs[0], graph.outputs[0]
    again = graph.add_node(Identity(), [y]).result
    constant = graph.add_parameter("k", np.float32([7]))
    graph.set_outputs([y, again, x, constant, y])
    executable = build(graph, pipeline="")
    given = np.arange(6, dtype=F32).reshape(2, 3)
    kept = given.copy()
    first = executable(given)
    assert len({r.ctypes.data for r in first}) == 5
    for result in first:
        assert result.flags.owndata
        assert result.flags.writeable
        assert result.flags.c_contiguous
        result[...] = 99
    np.testing.assert_array_equal(given, kept)
    second = executable(given)
    for a, b in zip(second, (kept * 2, kept * 2, kept, np.float32([7]), kept * 2), strict=True):
        np.testing.assert_array_equal(a, b)


def test_inputs_are_never_written():
    executable = build(convolving(), pipeline="")
    x = np.arange(50, dtype=F32).reshape(1, 2, 5, 5)
    kept = x.copy()
    x.flags.writeable = False
    executable(x)
    np.testing.assert_array_equal(x, kept)


# -- compiling ------------------------------------------------------------------------------------


def test_what_compile_refuses():
    graph = doubling()
    for named, error, said in (
        (
            {"backend": "numba_cp"},
            BackendError,
            "unknown backend numba_cp .did you mean numba_cpu",
        ),
        ({"precision": "exact"}, BackendError, "precision: expected strict or fast, got exact"),
        ({"threads": 0}, BackendError, "threads: expected an integer from 1 to 256, got 0"),
        ({"threads": -3}, BackendError, "threads"),
        ({"threads": 100_000}, BackendError, "threads"),
        ({"threads": 1.5}, BackendError, "threads: expected an integer from 1 to 256, got 1.5"),
        ({"threads": "2"}, BackendError, "threads"),
        ({"pipeline": "fols"}, PipelineError, "unknown pass fols .did you mean fold"),
    ):
        with pytest.raises(error, match=said):
            build(graph, **named)
    graph.inputs = ()
    with pytest.raises(VerifyError):
        build(graph)


def test_threads_default_to_the_cores_of_this_process():
    assert available_cores() >= 1
    assert build(doubling()).report.threads == available_cores()
    assert build(doubling(), threads=np.int64(2)).report.threads == 2


def test_pipelines_as_text_as_passes_and_not_at_all():
    graph = convolving()
    x = np.ones((1, 2, 5, 5), F32)
    expected = interpret(graph, {"x": x})["y"]
    for pipeline, kernels in (
        (None, ["pack", "convolve_blocks", "unpack"]),
        ("", ["convolve", "clamp"]),
        ([Fold(), "im2col"], ["im2col", "convolve", "view", "clamp"]),
    ):
        executable = build(graph, pipeline=pipeline)
        np.testing.assert_array_equal(executable(x)[0], expected)
        used = [n.kernel for n in executable.report.nodes]
        assert [k for k in used if k != "view"] == [k for k in kernels if k != "view"]
    assert executable.report.pipeline == "fold,im2col"


def test_the_graph_that_was_compiled_may_change_later():
    graph = doubling(("N",))
    executable = build(graph, pipeline="")
    graph.set_op(graph.node("y"), Neg())
    graph.set_operand(graph.node("y"), 1, None)
    graph.rename(graph.inputs[0], "other")
    np.testing.assert_array_equal(executable.run({"x": X[0]})["y"], X[0] * 2)


def test_the_report():
    report = build(convolving(), pipeline="fuse", threads=2).report
    assert (report.backend, report.pipeline, report.threads) == ("numba_cpu", "fuse", 2)
    assert report.fallbacks == ()
    assert report.macs == 3 * 3 * 3 * 2 * 9
    assert report.memory.outputs == 4 * 3 * 3 * 3
    assert report.compile_seconds > 0
    assert [r.rule for r in report.remarks] == []
    assert json.loads(json.dumps(report.to_json()))["nodes"][0]["kernel"] == "convolve"
    text = str(report)
    assert "numba_cpu (fast, 2 threads), pipeline fuse" in text
    assert report.table().row_count == 1


def test_remarks_of_the_passes_are_in_the_report():
    graph = convolving()
    graph.set_outputs([*graph.outputs, graph.value("c")])
    report = build(graph, pipeline="fuse").report
    assert report.remarks
    assert all(r.node == "c" or r.node == "y" for r in report.remarks)


def test_one_source_line_a_step():
    source = build(convolving(), pipeline="").source
    lines = source.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("0  convolve(")
    assert lines[1] == "1  clamp(output[0], arena[64]) : f32[1, 3, 3, 3]"


# -- sizes ----------------------------------------------------------------------------------------


def test_report_and_source_before_the_first_call():
    executable = build(convolving(("N", 2, 5, 5)))
    assert executable.report.sizes == (("N", 1),)
    assert "convolve" in executable.source
    executable(np.zeros((4, 2, 5, 5), F32))
    assert executable.report.sizes == (("N", 4),)


def test_no_report_where_sizes_of_one_cannot_be():
    executable = build(convolving((1, 2, "H", "W")))
    with pytest.raises(BackendError, match=r"nothing is compiled yet.*call it once"):
        executable.report  # noqa: B018
    executable(np.zeros((1, 2, 7, 6), F32))
    assert executable.report.sizes == (("H", 7), ("W", 6))
    with pytest.raises(GraphError, match="kernel is larger"):
        executable(np.zeros((1, 2, 2, 2), F32))


def test_symbols_are_bound_by_the_inputs():
    graph = Graph("two")
    a = graph.add_input("a", TensorType("f32", ("N", "M")))
    b = graph.add_input("b", TensorType("f32", ("M",)))
    c = graph.add_input("c", TensorType("f32", (graph.inputs[0].shape[0] * 2, 1)))
    y = graph.add_node(Add(), [a, b]).result
    graph.set_outputs([y, graph.add_node(Neg(), [c]).result])
    executable = build(graph)
    first, _ = executable(X, X[0], np.zeros((4, 1), F32))
    np.testing.assert_array_equal(first, X + X[0])
    for batch in (0, 1, 5):
        x = np.ones((batch, 3), F32)
        found = executable(x, X[0], np.zeros((2 * batch, 1), F32))
        assert [r.shape for r in found] == [(batch, 3), (2 * batch, 1)]
    with pytest.raises(
        InputError, match="input b: size M differs between inputs: expected 3, got 2"
    ):
        executable(X, X[0, :2], np.zeros((4, 1), F32))
    with pytest.raises(InputError, match=r"input c: wrong shape: expected \[4, 1\], got \[3, 1\]"):
        executable(X, X[0], np.zeros((3, 1), F32))


def test_a_symbol_that_no_size_tells_is_refused():
    graph = Graph("product")
    n = TensorType("f32", ("N",)).shape[0]
    x = graph.add_input("x", TensorType("f32", (n * 2,)))
    graph.set_outputs([graph.add_node(Neg(), [x]).result])
    with pytest.raises(BackendError, match="the size N is no size of an input by itself"):
        build(graph)


class Counting:
    """A backend that notes what it compiles."""

    name = "interpret"
    default_pipeline = ""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.compiled: list[int] = []

    def compile(self, graph, options, pipeline):
        self.compiled.append(int(str(graph.inputs[0].shape[0])))
        return self.inner.compile(graph, options, pipeline)


def counted(graph: Graph) -> tuple[Executable, list[int]]:
    from irconv.backends.interpret import Interpret

    backend = Counting(Interpret())
    return Executable(graph, backend, "", Options()), backend.compiled


def test_the_last_eight_sizes_are_kept():
    executable, compiled = counted(doubling(("N",)))
    for n in [*range(1, KEPT_PROGRAMS + 1), 1, *range(2, 9)]:
        executable(np.ones(n, F32))
    assert compiled == [1, 2, 3, 4, 5, 6, 7, 8]
    executable(np.ones(1, F32))  # used last now: 2 goes when 9 comes
    executable(np.ones(9, F32))
    executable(np.ones(1, F32))
    assert compiled == [*range(1, 10)]
    executable(np.ones(2, F32))
    assert compiled == [*range(1, 10), 2]
    assert len(executable._programs) == KEPT_PROGRAMS


def test_a_graph_of_known_sizes_is_compiled_at_once():
    executable, compiled = counted(doubling((3,)))
    executable.prepare({})
    executable(np.ones(3, F32))
    assert compiled == [3]


# -- release and pickle ---------------------------------------------------------------------------


def test_release():
    graph = doubling(("N",))
    executable = build(graph)
    executable(np.ones(2, F32))
    executable.release()
    np.testing.assert_array_equal(executable(np.ones(2, F32))[0], [2, 2])
    with pytest.raises(BackendError, match="the source graph was released: got new sizes"):
        executable(np.ones(3, F32))
    with pytest.raises(BackendError, match="released cannot be pickled"):
        pickle.dumps(executable)
    assert len(graph.inputs[0].uses) == 2  # the caller's graph is as it was
    np.testing.assert_array_equal(build(graph)(np.ones(3, F32))[0], [2, 2, 2])


def test_pickle():
    graph = convolving(("N", 2, 5, 5))
    odd = graph.add_parameter("odd", np.float32([np.nan, 1]), trainable=False)
    graph.set_outputs([*graph.outputs, odd])
    executable = build(graph, pipeline="fuse,im2col", precision="strict", threads=3, tune=True)
    x = np.arange(100, dtype=F32).reshape(2, 2, 5, 5)
    expected = executable(x)
    again = pickle.loads(pickle.dumps(executable))
    for a, b in zip(again(x), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    report = again.report
    assert (report.pipeline, report.precision, report.threads) == ("fuse,im2col", "strict", 3)
    assert report.notes == executable.report.notes


def test_a_deep_graph_pickles():
    graph = Graph("deep")
    x = graph.add_input("x", TensorType("f32", (2,)))
    for _ in range(2001):
        x = graph.add_node(Neg(), [x]).result
    graph.set_outputs([x])
    executable = build(graph, backend="interpret")
    again = pickle.loads(pickle.dumps(executable))
    np.testing.assert_array_equal(again(np.float32([1, -2]))[0], [-1, 2])


def test_a_pickle_in_another_process(tmp_path):
    executable = build(convolving())
    place = tmp_path / "executable.pickle"
    place.write_bytes(pickle.dumps(executable))
    program = (
        "import pickle, sys, numpy as np\n"
        "e = pickle.loads(open(sys.argv[1], 'rb').read())\n"
        "print(e(np.ones((1, 2, 5, 5), 'f4'))[0].sum())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(place)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert ran.stdout.strip() == str(executable(np.ones((1, 2, 5, 5), F32))[0].sum()), ran.stderr


def test_parameters_of_every_make():
    for array in (X.astype(">f4"), np.asfortranarray(X), np.repeat(X, 2, 1)[:, ::2]):
        graph = Graph("parameters")
        x = graph.add_input("x", TensorType("f32", (2, 3)))
        p = graph.add_parameter("p", array)
        graph.set_outputs([graph.add_node(Add(), [x, p]).result, p])
        for found in (build(graph), pickle.loads(pickle.dumps(build(graph)))):
            total, same = found(X)
            np.testing.assert_array_equal(total, X * 2)
            np.testing.assert_array_equal(same, X)
