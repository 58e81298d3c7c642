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
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
