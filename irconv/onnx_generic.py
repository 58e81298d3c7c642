"""Operators without a class of their own: the generic op holds trusted versions."""

from __future__ import annotations

from typing import Any

from irconv.errors import ModelError
from irconv.onnx_site import Site
from irconv.onnx_trusted import STANDS_FOR, TRUSTED
from irconv.ops.generic import Generic


def raise_generic(site: Site) -> None:
    """The node as it stands, meaning its own version; raises ModelError if that is not trusted."""
    name, version = site.op_type, site.version
    if version not in TRUSTED.get(name, ()):
        raise ModelError(
            f"{name}-{version} is not supported",
            where=str(site.record),
            hint="no class holds it, and no test vouches for ONNX's reference of this version",
        )
    pairs: list[tuple[str, Any]] = []
    for key, value in site.record.attributes.items():
        if not isinstance(value, (int, float, str, tuple)):
            raise ModelError(f"{name}: a tensor as attribute {key} is not supported")
        pairs.append((key, value))
    count = max((i + 1 for i, o in enumerate(site.record.outputs) if o), default=1)
    name, version = STANDS_FOR.get((name, version), (name, version))
    op = Generic(op_type=name, opset=version, n_outputs=count, onnx_attributes=tuple(sorted(pairs)))
    site.finish(op, site.operands)
