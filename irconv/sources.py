"""Digests of source files: what they made is stale once they change."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=64)
def folder_digest(folder: Path) -> str:
    """Of all Python files in a folder and those below it, as they were when first asked for."""
    files = sorted(folder.rglob("*.py"))
    return _digest((file.relative_to(folder).as_posix(), file) for file in files)


def modules_digest(names: Iterable[str]) -> str:
    """Of modules by name; for one of a package, of all in the folder of its file."""
    digest = hashlib.sha256()
    for name in sorted(set(names)):
        module = sys.modules.get(name)
        file = Path(getattr(module, "__file__", None) or "")
        if getattr(module, "__package__", None) and file.is_file():
            text = folder_digest(file.parent)
        else:  # a plugin's file, or what was typed in
            text = _digest([(file.name, file)]) if file.is_file() else ""
        digest.update(f"{name}\0{text}\0".encode())
    return digest.hexdigest()


def _digest(files: Iterable[tuple[str, Path]]) -> str:
    digest = hashlib.sha256()
    for name, file in files:
        digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
