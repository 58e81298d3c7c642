"""Runs a model in onnxruntime, or in ONNX's reference where onnxruntime lacks an op."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from irconv.backends.onnx.proto import Model, chunks, external
from irconv.errors import ExportError, printable
from irconv.types import Array, TensorType, dtype_name

# from arrays by name to the outputs in order
Run: TypeAlias = Callable[[Mapping[str, Array]], list[Array]]
# what onnxruntime takes and gives as NumPy arrays
_EXCHANGED = frozenset(
    ("f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "bool")
)


class LacksOpError(Exception):
    """onnxruntime has no kernel for an op, or no way to be given one of the element types."""


def open_session(source: Model | str, threads: int) -> Run:
    """A session of a model (big tensors are not copied) or file; LacksOpError, ExportError."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # what goes wrong comes as an exception; the log would go to the terminal
    options.log_severity_level = 4
    kept: list[Any] = []
    try:
        session = onnxruntime.InferenceSession(
            source if isinstance(source, str) else _inside(source, options, kept),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:
        if type(error).__name__ == "NotImplemented":
            raise LacksOpError(printable(error, 300)) from error
        raise ExportError(
            "onnxruntime cannot load the model", got=printable(error, 400), hint="try another opset"
        ) from error

    def run(named: Mapping[str, Array]) -> list[Array]:
        # `kept` holds the arrays that the session reads its weights from
        assert kept is not None
        return [np.asarray(y) for y in session.run(None, dict(named))]

    return run


def _inside(model: Model, options: Any, kept: list[Any]) -> bytes:
    import onnxruntime

    proto, _ = external(model, "memory")
    arrays = [np.ascontiguousarray(a) for a in model.big.values()]
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(a) for a in arrays]
    kept += [arrays, values]
    options.add_external_initializers(list(model.big), values)
    return bytes(proto.SerializeToString(deterministic=True))


def open_reference(model: Model) -> Run:
    """ONNX's own reference implementation of the model."""
    import onnx
    import onnx.reference

    proto = onnx.load_model_from_string(b"".join(chunks(model)))
    evaluator = onnx.reference.ReferenceEvaluator(proto)

    def run(named: Mapping[str, Array]) -> list[Array]:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return [np.asarray(y) for y in evaluator.run(None, dict(named))]

    return run


def exchanged(types: Sequence[TensorType]) -> bool:
    """Whether onnxruntime takes all these element types as NumPy arrays."""
    return all(dtype_name(t.dtype) in _EXCHANGED for t in types)


def runtime_name() -> str:
    """`onnxruntime 1.31.1`."""
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


def reference_name() -> str:
    """`onnx.reference 1.23.0`."""
    import onnx

    return f"onnx.reference {onnx.__version__}"
