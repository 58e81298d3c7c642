"""ONNX's schemas as plain facts, those of one opset kept on disk beside the compiled kernels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from irconv import code_cache
from irconv.onnx_node import qualified, split_domain

if TYPE_CHECKING:
    import onnx

_VERSION = 1  # of the file


@dataclass(frozen=True, slots=True)
class Schema:
    """One version of one operator; `attributes` maps names to (kind, required)."""

    op_type: str
    since_version: int
    deprecated: bool
    attributes: dict[str, tuple[str, bool]]
    min_inputs: int
    max_inputs: int
    min_outputs: int
    max_outputs: int
    optional_inputs: tuple[bool, ...]
    variadic: bool


def schema(op_type: str, opset: int) -> Schema | None:
    """The version of an operator that holds at `opset` of its domain; None where there is none."""
    return _table(split_domain(op_type)[0], opset).get(op_type)


@cache
def _table(domain: str, opset: int) -> dict[str, Schema]:
    """The operators of an opset of a domain, by name.

    ONNX makes all its schemas of all versions when it is asked for one, and keeps them: 7 MB.
    """
    import onnx

    text = f"{_VERSION} {onnx.__version__} {domain} {opset}"
    name = f"schemas-{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    found = _stored(code_cache.read(name), text)
    if found is None:
        found = {s.op_type: s for s in _of_onnx(domain, opset)}
        stored = {"of": text, "schemas": [asdict(s) for s in found.values()]}
        code_cache.write(name, json.dumps(stored).encode())
    return found


def _stored(data: bytes | None, text: str) -> dict[str, Schema] | None:
    """The table of a file; None for anything else than one that was written for `text`."""
    try:
        held = json.loads(data or b"")
        if held["of"] != text:
            return None
        return {row["op_type"]: _schema(row) for row in held["schemas"]}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _schema(row: dict[str, Any]) -> Schema:
    kinds = {name: (kind, required) for name, (kind, required) in row["attributes"].items()}
    return Schema(**{**row, "attributes": kinds, "optional_inputs": tuple(row["optional_inputs"])})


def _of_onnx(domain: str, opset: int) -> Iterator[Schema]:
    import onnx

    names = {s.name for s in onnx.defs.get_all_schemas_with_history() if s.domain == domain}
    for name in sorted(names):
        try:
            found = onnx.defs.get_schema(name, opset, domain)
        except onnx.defs.SchemaError:
            continue
        yield _facts(qualified(domain, name), found)


def _facts(op_type: str, found: onnx.defs.OpSchema) -> Schema:
    import onnx

    kinds = onnx.defs.OpSchema.FormalParameterOption
    return Schema(
        op_type,
        found.since_version,
        found.deprecated,
        {
            name: (str(a.type).rpartition(".")[2], a.required)
            for name, a in found.attributes.items()
        },
        found.min_input,
        found.max_input,
        found.min_output,
        found.max_output,
        tuple(p.option == kinds.Optional for p in found.inputs),
        bool(found.inputs) and found.inputs[-1].option == kinds.Variadic,
    )
