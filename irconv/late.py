"""Modules that are imported when something of them is first used."""

from __future__ import annotations

import importlib
from typing import Any


class Late:
    """Stands for a module: `nx = Late("networkx")`. Few programs need it, all would wait for it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)
