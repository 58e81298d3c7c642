"""`irconv doctor`: what this machine offers, and what is wrong with it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import Any

from irconv import __version__, code_cache
from irconv.commands import console
from irconv.commands.options import Json
from irconv.errors import printable
from irconv.executable import available_cores
from irconv.registry import backends

PACKAGES = (
    *("numpy", "numba", "llvmlite", "onnx", "onnxruntime", "networkx", "scipy", "rich", "typer"),
    *("platformdirs", "protobuf", "numba-cuda", "openvino"),
)
FEATURES = (
    "sse4_2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512vl",
    "avx512_bf16",
    "amx_tile",
    "asimd",
)


def doctor(json: Json = False) -> None:
    """Tell versions, CPU, cache, backends, CUDA and onnxruntime's providers."""
    facts = {
        "irconv": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cpu": cpu_facts(),
        "versions": versions(),
        "cache": cache_facts(),
        "backends": {n: cls().unavailable() or "ready" for n, cls in backends().items()},
        "cuda": cuda_state(),
        "onnxruntime_providers": onnxruntime_providers(),
    }
    if json:
        console.result_json(facts)
    else:
        console.show(_table(facts))


def versions() -> dict[str, str | None]:
    """The version of each package that matters; None where it is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def cpu_facts() -> dict[str, Any]:
    """The CPU's model, the cores that this process may use, and its vector instructions."""
    model, flags = platform.processor() or platform.machine(), frozenset[str]()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        pairs = (line.partition(":") for line in info.read_text(errors="replace").splitlines())
        fields = {name.strip(): value.strip() for name, _, value in pairs}
        model = fields.get("model name", model)
        flags = frozenset(fields.get("flags", fields.get("Features", "")).split())
    present = [f for f in FEATURES if f in flags]
    return {"model": model, "cores": available_cores(), "features": present}


def cache_facts() -> dict[str, Any]:
    """The folder of compiled kernels, and whether it can be used."""
    try:
        folder = code_cache.usable_folder()
    except (OSError, RuntimeError) as error:
        return {"folder": None, "state": f"not used: {printable(error)}"}
    files = [f for f in folder.iterdir() if f.is_file()]
    return {
        "folder": str(folder),
        "state": "ready" if os.access(folder, os.W_OK) else "read-only",
        "files": len(files),
        "bytes": sum(f.stat().st_size for f in files),
    }


def cuda_state() -> str:
    """Whether Numba finds a CUDA device, in one line."""
    try:
        from numba import cuda

        found: Any = cuda
        devices = [d.name for d in found.gpus] if found.is_available() else []
    except Exception as error:  # noqa: BLE001 - a broken driver raises all kinds of things
        return f"not usable: {type(error).__name__}: {printable(error)}"
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in devices]
    return ", ".join(names) or "no device"


def onnxruntime_providers() -> list[str]:
    """onnxruntime's execution providers, none where it cannot be imported."""
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())


def _table(facts: dict[str, Any]) -> Any:
    table = console.table("", "")
    table.show_header = False
    for name, value in facts.items():
        for label, text in _lines(name, value):
            table.add_row(console.name(label), console.name(text, limit=600))
    return table


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [(f"{name} {k}", _plain(v)) for k, v in value.items()]
    return [(name.replace("_", " "), _plain(value))]


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "not installed" if value is None else str(value)
