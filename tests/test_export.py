"""Every op at old and new opsets: onnxruntime gives what the interpreter gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from irconv.backends.onnx.comparing import difference
from irconv.backends.onnx.emit import emit
from irconv.backends.onnx.proto import model_of
from irconv.backends.onnx.sessions import LacksOpError, Run, open_reference, open_session
from irconv.errors import ExportError
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.onnx_reader.schema import known_operators
from irconv.registry import ops
from irconv.types import Array
from tests.export_cases import CASES, Case, case_id, graph_of, inputs_of

# the opset below which ONNX cannot say an op, or not with these attributes
SINCE = {
    "BitwiseAnd": 18, "BitwiseOr": 18, "BitwiseXor": 18, "BitwiseNot": 18, "onnx.Trilu": 14,
}  # fmt: skip
# draw numbers: they have no twin in another runtime
RANDOM = {name for name, op in ops().items() if op.random}


def session(graph: Graph, opset: int) -> Run:
    model = model_of(emit(graph, opset))
    try:
        return open_session(model, threads=1)
    except LacksOpError:
        return open_reference(model)


def assert_same(
    graph: Graph, run: Run, given: Mapping[str, Array], tolerance: float = 1e-5
) -> None:
    expected = interpret(graph, given)
    for (name, reference), got in zip(expected.items(), run(given), strict=True):
        assert (got.shape, got.dtype) == (reference.shape, reference.dtype), name
        assert difference(got, reference, may_round=True) <= tolerance, name


def since(case: Case) -> int:
    return SINCE.get(case[0], SINCE.get(f"{case[0]}-{next(iter(case[1]), '')}", 13))


@pytest.mark.parametrize("case", CASES, ids=map(case_id, CASES))
def test_each_op_at_each_opset(case: Case) -> None:
    graph = graph_of(case)
    for opset in (13, 17, 18, 26):
        if opset >= since(case):
            run = session(graph, opset)
            for batch in (1, 2, 7):
                assert_same(graph, run, inputs_of(graph, batch))


@pytest.mark.parametrize("case", CASES, ids=map(case_id, CASES))
def test_batch_0_gives_an_empty_result(case: Case) -> None:
    graph = graph_of(case)
    if not graph.inputs:
        return
    run = session(graph, max(18, since(case)))
    given = inputs_of(graph, 0)
    if any("N" in v.type.symbols() for v in graph.outputs):
        for value, got in zip(graph.outputs, run(given), strict=True):
            assert list(got.shape) == [0 if str(d) == "N" else d for d in value.shape]


@pytest.mark.parametrize("name", sorted(SINCE))
def test_what_an_opset_cannot_say_is_refused_with_the_fix(name: str) -> None:
    key = name.partition("-")[2]
    case = next(c for c in CASES if c[0] == name.partition("-")[0] and (not key or key in c[1]))
    with pytest.raises(ExportError) as caught:
        emit(graph_of(case), 13)
    assert "opset 13" in str(caught.value)
    assert caught.value.hint == f"export with opset={SINCE[name]}"
    assert "y" in str(caught.value.where)


def test_every_op_of_onnx_has_a_case() -> None:
    tested = {case[0] for case in CASES}
    assert sorted(set(ops()) & set(known_operators()) - tested - RANDOM) == []


def test_a_generic_op_is_written_only_where_it_means_the_same() -> None:
    case: Case = ("onnx.GridSample", {"opset": 16}, ["f32[N, 1, 4, 4]", "f32[N, 2, 2, 2]"])
    graph = graph_of(case)
    assert_same(graph, session(graph, 17), inputs_of(graph, 2), 1e-4)
    with pytest.raises(ExportError, match="GridSample means another thing at opset 20"):
        emit(graph, 20)
    newer = graph_of((case[0], {"opset": 20}, case[2]))
    with pytest.raises(ExportError, match="opset=20"):
        emit(newer, 17)


def test_a_random_op_keeps_its_seed_and_its_shape() -> None:
    graph = graph_of(("RandomNormalLike", {"seed": 3.0}, ["f32[N, 5]"]))
    (got,) = session(graph, 17)({"x0": np.zeros((2, 5), np.float32)})
    assert got.shape == (2, 5)
    assert len(set(got.reshape(-1).tolist())) == 10
