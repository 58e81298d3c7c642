"""Memory: what is free, a clear refusal where it is not enough, giving back what was freed."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path

from irconv.errors import BudgetError

_FACTS = Path("/proc/meminfo")
LEVER = "a smaller batch needs less; im2col needs more than the other forms"


def available_bytes() -> int | None:
    """The memory that a program may still take without swapping; None where nobody tells."""
    try:
        lines = dict(line.split(":", 1) for line in _FACTS.read_text("ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, LookupError):
        return None


def require(nbytes: int, what: str) -> None:
    """Raises BudgetError where `nbytes` more are not free: before anything is allocated."""
    free = available_bytes()
    if free is not None and nbytes > free:
        raise BudgetError(
            f"the memory is not enough for {what}",
            expected=f"at most the {free / 1e9:.1f} GB that are free",
            got=f"{nbytes / 1e9:.1f} GB",
            hint=LEVER,
        )


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
