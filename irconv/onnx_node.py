"""One ONNX node by itself: its schema, its result types, its reference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from irconv.dim import Dim, symbol
from irconv.errors import GraphError, printable
from irconv.op import UNKNOWN
from irconv.registry import nearest
from irconv.types import AnyDType, Array, TensorType, as_dtype

if TYPE_CHECKING:
    import onnx
    from onnx.reference import ReferenceEvaluator

# the newest that this was read against; what a later one means is not known here
NEWEST_OPSET = 28
# beyond this a size cannot be a tensor's; ONNX's shape inference also returns overflowed ones
_SIZE_LIMIT = 1 << 40
# ranks that definitions tell, where ONNX's shape inference says nothing without a constant operand
_RANKS = {
    "Attention": 4,
    "BlackmanWindow": 1,
    "HammingWindow": 1,
    "HannWindow": 1,
    "MelWeightMatrix": 2,
    "STFT": 4,
}

# defaults that ONNX's shape inference does not take for what its schema says
_SAID: dict[str, dict[str, Any]] = {"STFT": {"onesided": 1}}
# ONNX's domains beside the standard one: `ml.Binarizer` is the Binarizer of ai.onnx.ml
DOMAINS = {
    "ml": "ai.onnx.ml",
    "preview": "ai.onnx.preview",
    "training": "ai.onnx.preview.training",
}

Pairs = tuple[tuple[str, Any], ...]


def qualified(domain: str, name: str) -> str:
    """What `split_domain` splits; the domain is the standard one, "", or one of DOMAINS."""
    short = next((s for s, d in DOMAINS.items() if d == domain), "")
    return f"{short}.{name}" if short else name


def split_domain(op_type: str) -> tuple[str, str]:
    """The domain and the name in it: `("ai.onnx.ml", "Binarizer")` of "ml.Binarizer"."""
    short, _, name = op_type.rpartition(".")
    return (DOMAINS[short], name) if short in DOMAINS else ("", op_type)


@lru_cache(maxsize=1024)
def schema(op_type: str, opset: int) -> onnx.defs.OpSchema:
    """The version of a standard op that holds at `opset`; raises GraphError where there is none."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= newest:
        raise GraphError(
            f"{printable(op_type)}: no such opset", expected=f"1 to {newest}", got=opset
        )
    domain, name = split_domain(op_type)
    try:
        found = onnx.defs.get_schema(name, opset, domain)
    except onnx.defs.SchemaError:
        known = sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == domain})
        raise GraphError(
            "no such ONNX op",
            got=f"{printable(op_type)} at opset {opset}",
            hint=nearest(op_type, known) if len(op_type) < 64 else None,
        ) from None
    if found.deprecated:
        raise GraphError("a deprecated ONNX op has no meaning", got=f"{op_type} at opset {opset}")
    return found


@lru_cache(maxsize=1024)
def operand_signature(op_type: str, opset: int) -> str:
    """The operands as `Op.operands` writes them: `"X, W?"`."""
    found = schema(op_type, opset)
    kinds = type(found).FormalParameterOption
    marks = {
        kinds.Single: "",
        kinds.Optional: "?",
        kinds.Variadic: "*" if found.min_input == 0 else "+",
    }
    return ", ".join(f"{p.name}{marks[p.option]}" for p in found.inputs)


def checked_attributes(op_type: str, opset: int, pairs: Pairs, n_outputs: int) -> Pairs:
    """`pairs` with whole numbers made floats where floats are meant.

    Raises GraphError for an attribute that the schema does not know, of a wrong kind, or missing.
    """
    found = schema(op_type, opset)
    if not max(1, found.min_output) <= n_outputs <= found.max_output:
        expected = f"{found.min_output} to {found.max_output}"
        raise GraphError(
            f"{op_type} has another number of outputs", expected=expected, got=n_outputs
        )
    given = dict(pairs)
    if len(given) != len(pairs):
        raise GraphError(f"{op_type}: an attribute is given twice")
    for name in given:
        if name not in found.attributes:
            raise GraphError(
                f"{op_type} has no attribute {printable(name)}",
                hint=nearest(name, [*found.attributes]),
            )
    for name, attribute in found.attributes.items():
        if attribute.required and name not in given:
            raise GraphError(f"{op_type} needs the attribute {name}")
    return tuple((k, _fitting(op_type, k, v, _kind(found, k))) for k, v in pairs)


def _kind(found: onnx.defs.OpSchema, name: str) -> str:
    """INT, FLOATS, TENSOR ..."""
    kind: str = found.attributes[name].type.name  # type: ignore[attr-defined]  # an enumeration
    return kind


_KINDS: dict[str, tuple[type, ...]] = {"INT": (int,), "FLOAT": (float, int), "STRING": (str,)}


def _fitting(op_type: str, name: str, value: Any, kind: str) -> Any:
    single = kind.removesuffix("S")
    if single not in _KINDS:
        raise GraphError(
            f"{op_type}: an attribute of kind {kind.lower()} is not supported", got=name
        )
    if isinstance(value, tuple) != kind.endswith("S"):
        raise GraphError(
            f"attribute {name} of {op_type} is of the wrong type", expected=kind.lower()
        )
    items = value if isinstance(value, tuple) else (value,)
    if any(not isinstance(x, _KINDS[single]) or isinstance(x, bool) for x in items):
        raise GraphError(
            f"attribute {name} of {op_type} is of the wrong type", expected=kind.lower()
        )
    plain = tuple(float(x) for x in items) if single == "FLOAT" else items
    return plain if isinstance(value, tuple) else plain[0]


def _model(
    op_type: str, opset: int, pairs: Pairs, n_outputs: int, inputs: Sequence[Any], constants: Any
) -> onnx.ModelProto:
    """A model of one node; `inputs` are value infos, None where an operand is absent."""
    import onnx

    domain, name = split_domain(op_type)
    node = onnx.NodeProto(op_type=name, domain=domain)
    node.input.extend("" if value is None else value.name for value in inputs)
    node.output.extend(f"y{i}" for i in range(n_outputs))
    found = schema(op_type, opset)
    for name, value in (_SAID.get(op_type, {}) | dict(pairs)).items():
        kind = int(getattr(onnx.AttributeProto, _kind(found, name)))
        node.attribute.append(onnx.helper.make_attribute(name, value, attr_type=kind))
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output]
    named = [value for value in inputs if value is not None]
    graph = onnx.helper.make_graph([node], "one", named, outputs, constants)
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(domain, opset)], ir_version=10
    )


def _value_info(name: str, dtype: AnyDType, shape: Sequence[int | str | None] | None) -> Any:
    import onnx

    number = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    return onnx.helper.make_tensor_value_info(name, number, shape)


def inferred(
    op_type: str,
    opset: int,
    pairs: Pairs,
    n_outputs: int,
    types: Sequence[TensorType | None],
    constants: Sequence[Array | None],
) -> tuple[TensorType, ...]:
    """The result types by ONNX's shape inference; a size that it does not tell is unknown.

    Raises GraphError where it refuses, tells no rank, or tells a size that cannot be.
    """
    import onnx

    names: dict[str, Dim] = {}
    inputs = [
        None if t is None else _value_info(f"x{i}", t.dtype, [_named(d, names) for d in t.shape])
        for i, t in enumerate(types)
    ]
    stored = [
        onnx.numpy_helper.from_array(np.asarray(a, order="C"), f"x{i}")
        for i, a in enumerate(constants)
        if a is not None
    ]
    model = _model(op_type, opset, pairs, n_outputs, inputs, stored)
    try:
        answer = onnx.shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise GraphError(f"{op_type}: {_reason(error)}") from None
    rank = _told_rank(op_type, types)
    return tuple(_result(op_type, v, names, rank) for v in answer.graph.output)


def _told_rank(op_type: str, types: Sequence[TensorType | None]) -> int | None:
    """The rank that the op's definition tells, whatever its operands hold."""
    given = dict(enumerate(types))
    like = given.get(0)
    if op_type in {"CenterCropPad", "MaxUnpool"} and like is not None:
        return like.rank
    return _RANKS.get(op_type)


def _named(dim: Dim, names: dict[str, Dim]) -> int | str:
    """A size as ONNX takes it; an expression gets a name, equal ones the same."""
    if isinstance(dim, int):
        return dim
    name = f"d{dim!s}"
    names[name] = dim
    return name


def _reason(error: Exception) -> str:
    """What is said at the end of ONNX's chain of causes."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1] if lines else type(error).__name__, 300)


def _result(op_type: str, value: Any, names: dict[str, Dim], rank: int | None) -> TensorType:
    """A result's type; `rank` is what the op's definition tells where inference tells no shape."""
    import onnx

    if not value.type.HasField("tensor_type") or not value.type.tensor_type.elem_type:
        raise GraphError(f"{op_type}: a result is no dense tensor of known element type")
    found = value.type.tensor_type
    if not found.HasField("shape") and rank is None:
        raise GraphError(
            f"{op_type}: the rank of a result is not known",
            hint="an operand that is no constant decides it",
        )
    if found.elem_type == onnx.TensorProto.STRING:
        raise GraphError(f"{op_type}: strings are not supported")
    dtype = as_dtype(onnx.helper.tensor_dtype_to_np_dtype(found.elem_type))
    if not found.HasField("shape"):
        return TensorType(dtype, [symbol(UNKNOWN)] * (rank or 0))
    return TensorType(dtype, [_size(op_type, d, names) for d in found.shape.dim])


def _size(op_type: str, dim: Any, names: dict[str, Dim]) -> Dim:
    if dim.HasField("dim_value"):
        if not 0 <= dim.dim_value <= _SIZE_LIMIT:
            raise GraphError(f"{op_type}: a size of a result cannot be", got=dim.dim_value)
        return int(dim.dim_value)
    return names.get(dim.dim_param, symbol(UNKNOWN))


@lru_cache(maxsize=256)
def evaluator(
    op_type: str,
    opset: int,
    pairs: Pairs,
    n_outputs: int,
    signature: tuple[AnyDType | None, ...],
) -> ReferenceEvaluator:
    """ONNX's reference for one node whose operands have these element types (None: absent)."""
    from onnx.reference import ReferenceEvaluator

    inputs = [None if d is None else _value_info(f"x{i}", d, None) for i, d in enumerate(signature)]
    return ReferenceEvaluator(_model(op_type, opset, pairs, n_outputs, inputs, []))
