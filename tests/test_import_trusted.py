"""Each trusted version of a generic op agrees with ONNX's own vectors or with onnxruntime."""

from __future__ import annotations

import functools
import warnings
from collections import defaultdict
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests

from irconv.errors import ModelError
from irconv.interpret import interpret
from irconv.onnx_import import load
from irconv.onnx_node import qualified, split_domain
from irconv.onnx_reader.trusted import STANDS_FOR, TRUSTED
from irconv.registry import ops
from irconv.types import Array

# at most so many vectors of a version; they are many for some
CASES = 4
# vectors that no generic op runs (a Dropout that does not train), or that say more than it does
PASSED_OVER = ("bfloat16", "qk_matmul", "test_dropout")
PAIRS = sorted((op, version) for op, versions in TRUSTED.items() for version in versions)


@functools.cache
def cases() -> dict[str, list[Any]]:
    """ONNX's vectors of single standard nodes, by op."""
    found: dict[str, list[Any]] = defaultdict(list)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    for case in tests:
        nodes = case.model.graph.node if case.model is not None else ()
        if len(nodes) == 1:
            found[qualified(nodes[0].domain, nodes[0].op_type)].append(case)
    return found


def at_version(case: Any, op_type: str, version: int) -> tuple[Any, list[Any]] | None:
    """The model and its data at a version: ONNX's results, or onnxruntime's."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    domain, name = split_domain(op_type)
    opset = next(o.version for o in model.opset_import if o.domain == domain)
    inputs, outputs = case.data_sets[0]
    if onnx.defs.get_schema(name, opset, domain).since_version == version:
        return _with_constants(model, inputs), [outputs]
    if domain or "with_output_shape" in case.name:  # onnxruntime counts its indices otherwise
        return None
    held = [o for o in range(7, 27) if onnx.defs.has(op_type, "") and _since(op_type, o) == version]
    if not held:
        return None
    model.opset_import[0].version = max(held)
    model.ir_version = min(model.ir_version, 10)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [i.name for i in session.get_inputs()]
        outputs = session.run(None, dict(zip(names, map(_array, inputs), strict=True)))
    except Exception:  # noqa: BLE001 - it has many, for what this version did not have yet
        return None
    return _with_constants(model, inputs), [outputs]


def _since(op_type: str, opset: int) -> int:
    try:
        return int(onnx.defs.get_schema(op_type, opset).since_version)
    except onnx.defs.SchemaError:
        return 0


def _with_constants(model: Any, inputs: list[Any]) -> tuple[Any, dict[str, Array]]:
    """Small integer inputs are made constants: they decide shapes."""
    given = {}
    for value, data in zip(list(model.graph.input), inputs, strict=True):
        array = _array(data)
        if array.dtype.kind in "iu" and array.ndim <= 1 and array.size < 20:
            model.graph.initializer.append(numpy_helper.from_array(array, value.name))
        else:
            given[value.name] = array
    return model, given


def _array(data: Any) -> Array:
    found = numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else data
    return np.asarray(found)


def _differs(mine: Array, theirs: Array, case: Any) -> bool:
    theirs = _array(theirs)
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        return True
    wide = [a.astype(np.float64) if a.dtype.kind not in "biuc" else a for a in (mine, theirs)]
    return not np.allclose(*wide, rtol=case.rtol or 1e-3, atol=case.atol or 1e-7, equal_nan=True)


@pytest.mark.parametrize(("op_type", "version"), PAIRS)
def test_a_trusted_version(op_type: str, version: int) -> None:
    compared = 0
    for case in cases()[op_type]:
        found = at_version(case, op_type, version)
        if found is None or any(part in case.name for part in PASSED_OVER):
            continue
        (model, given), (outputs,) = found
        try:
            graph = load(model)
        except ModelError:
            continue  # what is refused within a version needs no trust
        name = STANDS_FOR.get((op_type, version), (op_type, version))[0]
        assert graph.nodes[0].op.name == f"onnx.{name}"
        results = interpret(graph, given).values()
        wrong = [_differs(m, t, case) for m, t in zip(results, outputs, strict=True)]
        assert not any(wrong), case.name
        compared += 1
        if compared == CASES:
            break
    assert compared, f"nothing vouches for {op_type}-{version}"


def test_no_native_op_is_on_the_list() -> None:
    assert not set(TRUSTED) & set(ops())
