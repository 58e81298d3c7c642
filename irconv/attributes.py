"""Makes an op from the text of its name and attributes, checking both."""

from __future__ import annotations

import dataclasses
import types
import typing
from functools import cache
from typing import Any

from irconv.errors import GraphError, printable
from irconv.op import Op
from irconv.registry import nearest, ops


def make_op(name: str, attributes: dict[str, Any]) -> Op:
    """The op called `name`. Raises GraphError for an unknown op or attribute, or a value of a wrong
    type.
    """
    known = ops()
    cls = known.get(name)
    if cls is None and name.startswith("onnx."):
        return _make(
            known["Generic"], name, {"op_type": name.removeprefix("onnx."), **_generic(attributes)}
        )
    if cls is None:
        raise GraphError("unknown op", got=printable(name), hint=nearest(name, sorted(known)))
    return _make(cls, name, attributes)


def _generic(attributes: dict[str, Any]) -> dict[str, Any]:
    """A generic op holds ONNX's attributes as pairs, beside its own two fields."""
    own: dict[str, Any] = {k: attributes[k] for k in ("opset", "n_outputs") if k in attributes}
    pairs = tuple((k, v) for k, v in attributes.items() if k not in own)
    return {**own, "onnx_attributes": pairs}


def _make(cls: Any, name: str, attributes: dict[str, Any]) -> Op:
    hints = _hints(cls)
    for key, value in attributes.items():
        if key not in hints:
            raise GraphError(
                f"{printable(name)} has no attribute {printable(key)}",
                hint=nearest(key, sorted(hints)),
            )
        if not _fits(value, hints[key]):
            raise GraphError(
                f"attribute {key} of {name} is of the wrong type",
                expected=_shown(hints[key]),
                got=repr(value),
            )
    missing = [k for k in _required(cls) if k not in attributes]
    if missing:
        raise GraphError(f"{name} needs the attribute {missing[0]}")
    op: Op = cls(**{k: _exact(v, hints[k]) for k, v in attributes.items()})
    return op


def _exact(value: Any, hint: Any) -> Any:
    """A whole number as the float that is wanted: there is one way to say 1.0."""
    return float(value) if hint is float else value


@cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.init}


@cache
def _required(cls: Any) -> tuple[str, ...]:
    return tuple(
        f.name
        for f in dataclasses.fields(cls)
        if f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, h) for h in typing.get_args(hint))
    if hint is type(None):
        return value is None
    if origin is tuple:
        return isinstance(value, tuple) and _items_fit(value, typing.get_args(hint))
    if hint in (int, float):
        kinds = (int, float) if hint is float else int
        return isinstance(value, kinds) and not isinstance(value, bool)
    return isinstance(value, hint)


def _items_fit(items: tuple[Any, ...], hints: tuple[Any, ...]) -> bool:
    if len(hints) == 2 and hints[1] is Ellipsis:
        return all(_fits(x, hints[0]) for x in items)
    return len(items) == len(hints) and all(map(_fits, items, hints))


def _shown(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
