"""What ONNX's schemas say of an operator: versions, attributes, how many operands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from irconv.errors import printable
from irconv.onnx_node import DOMAINS, qualified
from irconv.onnx_reader.records import NodeRecord, Problems, Refused
from irconv.onnx_reader.schema_table import Schema, schema
from irconv.registry import nearest


@cache
def known_operators() -> tuple[str, ...]:
    """The names of all standard operators."""
    import onnx

    return tuple(sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}))


def check_node(node: NodeRecord, opsets: Mapping[str, int], problems: Problems) -> Schema | None:
    """The node's schema; what does not fit it is added to `problems`, and None returned.

    `opsets`: the version of each domain that the model imports, the standard one as "".

    Absent results at the end of an operator that may leave them out are dropped.
    """
    before = len(problems.found)
    if node.domain and node.domain not in DOMAINS.values():
        problems.add(
            "an operator of another domain",
            where=node,
            expected="a standard operator",
            got=f"{printable(node.domain)}::{printable(node.op_type)}",
        )
        return None
    opset = opsets.get(node.domain)
    if opset is None:
        problems.add(
            "the model imports no version of an operator's domain",
            where=node,
            got=node.domain or "the standard domain",
        )
        return None
    found = schema(qualified(node.domain, node.op_type), opset) if "." not in node.op_type else None
    if found is None:
        problems.add(
            "unknown operator",
            where=node,
            got=f"{printable(node.op_type)} at opset {opset}",
            hint=nearest(node.op_type[:100], list(known_operators()))
            if len(node.op_type) < 100
            else None,
        )
        return None
    if found.deprecated:
        problems.add(
            f"{node.op_type} is deprecated at opset {opset} and has no meaning", where=node
        )
    _check_counts(node, found, problems)
    _check_attributes(node, found, problems)
    return found if len(problems.found) == before else None


def _check_counts(node: NodeRecord, found: Schema, problems: Problems) -> None:
    inputs, outputs = len(node.inputs), len(node.outputs)
    if not found.min_inputs <= inputs <= found.max_inputs:
        problems.add(
            f"{node.op_type} has the wrong number of inputs",
            where=node,
            expected=_range(found.min_inputs, found.max_inputs),
            got=inputs,
        )
    if not found.min_outputs <= outputs <= found.max_outputs:
        problems.add(
            f"{node.op_type} has the wrong number of outputs",
            where=node,
            expected=_range(found.min_outputs, found.max_outputs),
            got=outputs,
        )
    if node.op_type != "Split":  # its outputs count its parts
        node.outputs = _trimmed(node.outputs, found.min_outputs)
    for place, (name, is_optional) in enumerate(
        zip(node.inputs, found.optional_inputs, strict=False)
    ):
        if not name and not is_optional:
            problems.add(
                f"input {place} of {node.op_type} is required", where=node, got="an empty name"
            )
    if found.variadic and not all(node.inputs[len(found.optional_inputs) :]):
        problems.add(f"an input of {node.op_type} is empty", where=node)


def _trimmed(names: tuple[str, ...], least: int) -> tuple[str, ...]:
    """Without absent results at the end, but at least as many as the operator always has."""
    count = len(names)
    while count > least and not names[count - 1]:
        count -= 1
    return names[:count]


def _range(low: int, high: int) -> str:
    if low == high:
        return str(low)
    return f"{low} or more" if high > 1 << 20 else f"{low} to {high}"


def _check_attributes(node: NodeRecord, found: Schema, problems: Problems) -> None:
    for name, value in node.attributes.items():
        if name not in found.attributes:
            problems.add(
                f"{node.op_type}-{found.since_version} has no such attribute",
                where=node,
                got=printable(name),
                hint=nearest(name[:100], sorted(found.attributes)),
            )
        elif isinstance(value, Refused):
            problems.add(
                f"an attribute of kind {value.kind} is not supported", where=node, got=name
            )
        elif not _fits(value, found.attributes[name][0]):
            problems.add(
                f"attribute {name} is of the wrong type",
                where=node,
                expected=found.attributes[name][0].lower(),
                got=type(value).__name__,
            )
        elif _has_nan(value) and node.op_type not in {"Constant", "Pad"}:
            problems.add(f"attribute {name} is not a number", where=node, got=value)
    for name, (_, required) in found.attributes.items():
        if required and name not in node.attributes:
            problems.add(f"attribute {name} is missing", where=node)


def _fits(value: Any, kind: str) -> bool:
    match kind:
        case "FLOAT":
            return isinstance(value, float)
        case "INT":
            return isinstance(value, int)
        case "STRING":
            return isinstance(value, str)
        case "TENSOR":
            return isinstance(value, np.ndarray)
        case "FLOATS" | "INTS" | "STRINGS":
            element = {"FLOATS": float, "INTS": int, "STRINGS": str}[kind]
            return isinstance(value, tuple) and all(isinstance(x, element) for x in value)
    return False


def _has_nan(value: Any) -> bool:
    items = value if isinstance(value, tuple) else (value,)
    return any(isinstance(x, float) and x != x for x in items)  # only NaN differs from itself


def attribute_default(op_type: str, version: int, name: str) -> Any:
    """The default that ONNX's schema gives an attribute, None where it has none."""
    import onnx

    proto = onnx.defs.get_schema(op_type, version, "").attributes[name].default_value
    if not proto.name:
        return None
    value = onnx.helper.get_attribute_value(proto)
    return value.decode() if isinstance(value, bytes) else value
