"""Pauses Python's cyclic garbage collector where many objects are made that all stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collector() -> Iterator[None]:
    """No collection of cycles meanwhile.

    A graph of 100,000 nodes is half a million objects that refer to each other; looking through
    them again and again while more are made took a third of the time of copying and parsing it.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
