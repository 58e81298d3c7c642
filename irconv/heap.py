"""Gives memory that was freed back to the system."""

from __future__ import annotations

import ctypes
import gc
import os


def trim() -> None:
    """Frees what only cycles of references hold, then returns free memory to the system.

    The C library of Linux keeps what large arrays leave between others that live; other libraries
    return it by themselves.
    """
    gc.collect()
    if os.name == "posix":
        give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if give_back is not None:
            give_back(0)
