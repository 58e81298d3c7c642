"""Ops that ONNX has, as they stand, at an opset where they mean the same."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from irconv.backends.onnx.records import Emitter, Site
from irconv.errors import ExportError, printable
from irconv.onnx_node import split_domain
from irconv.onnx_reader.schema import attribute_default, known_operators
from irconv.onnx_reader.schema_table import Schema, schema
from irconv.op import Op
from irconv.types import DTYPES

OPSETS = range(13, 27)
# fields of our classes that ONNX tells by the number of outputs
_OWN_FIELDS = frozenset({"n_outputs"})


def standard(out: Emitter, site: Site) -> tuple[str, ...]:
    """The op as it stands; ExportError where the opset has no such op or attribute."""
    found = schema_at(site.op.name, out.opset)
    if len(site.operands) > found.max_inputs:
        raise needs_newer(
            site.op.name, out.opset, f"takes {found.max_inputs} operands, not {len(site.operands)}"
        )
    attributes = attributes_at(site.op, found, out.opset)
    return out.add_node(site.op.name, site.operands, attributes, len(site.results))


def schema_at(name: str, opset: int) -> Schema:
    """What ONNX says of an operator at an opset; raises ExportError where it has none."""
    found = schema(name, opset)
    if found is None and name not in known_operators():
        raise ExportError(f"{printable(name)} has no form in ONNX")
    if found is None or found.deprecated:
        raise needs_newer(name, opset, "does not exist")
    return found


def needs_newer(name: str, opset: int, what: str) -> ExportError:
    """The error for an op that a newer opset can say, told with the lowest that might."""
    newer = [v for v in OPSETS if v > opset and schema(name, v) is not None]
    since = next((v for v in newer if schema(name, v) != schema(name, opset)), None)
    return ExportError(
        f"{printable(name)} {what} at opset {opset}",
        expected=f"opset {since} or newer" if since else "an older opset",
        got=opset,
        hint=f"export with opset={since}" if since else None,
    )


def attributes_at(op: Op, found: Schema, opset: int) -> dict[str, Any]:
    """The attributes to write: those that are not what the schema's version assumes anyway."""
    shown = {k: v for k, v in op.attributes().items() if k not in _OWN_FIELDS}
    for key, value in shown.items():
        if key not in found.attributes:
            raise needs_newer(op.name, opset, f"has no attribute {key} (here {value!r})")
    written = {}
    for key, (kind, required) in found.attributes.items():
        value = getattr(op, key, None)
        if value is None:
            continue
        value = attribute_value(value, kind)
        if required or value != attribute_default(op.name, found.since_version, key):
            written[key] = value
    return written


def attribute_value(value: Any, kind: str) -> Any:
    """An attribute of ours as ONNX's kind has it: a dtype becomes its number."""
    if kind == "INT":
        return dtype_number(value) if isinstance(value, str) else int(value)
    if kind == "FLOAT":
        return float(value)
    if kind == "FLOATS":
        return tuple(float(v) for v in value)
    return value


def dtype_number(name: str) -> int:
    """ONNX's number of the element type called `name` here."""
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[name])))


def generic(out: Emitter, site: Site) -> tuple[str, ...]:
    """A generic op, where its version at this opset means what the graph's version means."""
    op: Any = site.op
    domain, name = split_domain(op.op_type)
    if domain:
        raise ExportError(f"{name} of {domain} has no form in the standard domain")
    found = schema_at(op.op_type, out.opset)
    if not same_meaning(op.op_type, op.opset, out.opset):
        meant = schema(op.op_type, op.opset)
        since = meant.since_version if meant is not None else op.opset
        raise ExportError(
            f"{printable(op.op_type)} means another thing at opset {out.opset} than in this graph",
            expected=f"version {since} of the operator",
            got=f"version {found.since_version}",
            hint=f"export with opset={max(since, OPSETS[0])}",
        )
    attributes = {key: value for key, value in op.onnx_attributes if value is not None}
    return out.add_node(op.op_type, site.operands, attributes, len(site.results))


@cache
def same_meaning(name: str, a: int, b: int) -> bool:
    """Whether two versions of an operator differ in element types at most."""
    import onnx

    if schema(name, a) is None or schema(name, b) is None:
        return False
    one, other = onnx.defs.get_schema(name, a, ""), onnx.defs.get_schema(name, b, "")
    if one.since_version == other.since_version:
        return True
    return bool(_signature(one) == _signature(other) and _words(one.doc) == _words(other.doc))


def _signature(found: Any) -> tuple[Any, ...]:
    attributes = {
        name: (a.type, a.required, a.default_value.SerializeToString(deterministic=True))
        for name, a in found.attributes.items()
    }
    operands = [(p.name, p.option) for p in (*found.inputs, *found.outputs)]
    return attributes, operands, found.min_input, found.min_output


def _words(doc: str | None) -> list[str]:
    return (doc or "").split()
