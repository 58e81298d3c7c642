"""Measured times of algorithms, kept on disk beside the compiled kernels."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from irconv import code_cache
from irconv.algorithms import Layer
from irconv.graph import Graph, Value

# seconds of each algorithm, by the work of a layer
Times: TypeAlias = "dict[str, dict[str, float]]"

_VERSION = 1


def key_of(graph: Graph, *settings: str) -> str:
    """A digest of the structure of `graph` and of settings: ops, types, edges; no weights, no
    names.
    """
    digest = hashlib.sha256(f"{_VERSION}\0".encode())
    numbers: dict[Value, int] = {}

    def known(value: Value) -> str:
        number = numbers.setdefault(value, len(numbers))
        return f"{number}: {value.type}"

    lines = [f"input {known(v)}" for v in graph.inputs]
    for node in graph:
        operands = ", ".join(known(v) if v is not None else "_" for v in node.operands)
        lines.append(f"{node.op!r} ({operands}) -> {', '.join(map(known, node.results))}")
    lines += [f"output {known(v)}" for v in graph.outputs]
    for text in (*settings, *lines):
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def load(key: str, layers: Sequence[Layer]) -> Times | None:
    """The times of exactly these layers that are stored under `key`.

    None if absent, and for anything else than such times: it is written anew then.
    """
    data = code_cache.read(_file_name(key))
    if data is None:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("key") != key:
        return None
    return _checked(found.get("seconds"), {layer.work: layer.algorithms for layer in layers})


def _checked(found: Any, expected: Mapping[str, Sequence[str]]) -> Times | None:
    if not isinstance(found, dict) or found.keys() != expected.keys():
        return None
    for work, algorithms in expected.items():
        times = found[work]
        if not isinstance(times, dict) or times.keys() != set(algorithms):
            return None
        if not all(type(t) is float and 0 < t < math.inf for t in times.values()):
            return None
    return {work: {a: found[work][a] for a in names} for work, names in expected.items()}


def store(key: str, times: Times) -> None:
    """Keeps times under `key`, where there is a folder for it."""
    text = json.dumps({"key": key, "seconds": times}, indent=1)
    code_cache.write(_file_name(key), text.encode() + b"\n")


def _file_name(key: str) -> str:
    return f"tuned-{key[:32]}.json"
