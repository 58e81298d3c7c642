"""Memory that kernels read and write: on cache lines, what is large on large pages."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

from irconv.types import Array

LINE = 64
LARGE_PAGE = 2 << 20
FIRST, GROWTH, MOST = 64 << 10, 4, 64 << 20  # bytes of a block's pieces

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def aligned(count: int, dtype: np.dtype[Any]) -> Array:
    """An uninitialised flat array that starts on a cache line; see `in_one_block`."""
    block = _block.get()
    nbytes = count * dtype.itemsize
    space = _space(nbytes) if block is None else block.take(nbytes)
    return space.view(dtype)


class Block:
    """Memory for arrays that live as long as each other, side by side.

    Its pieces grow, so that it is nowhere much larger than what was taken of it.
    """

    def __init__(self) -> None:
        self._piece: Array = np.empty(0, np.uint8)
        self._next = FIRST

    def take(self, nbytes: int) -> Array:
        """Uninitialised bytes that start on a cache line."""
        if nbytes > self._piece.size:
            if 2 * nbytes > self._next:
                return _space(nbytes)  # the piece at hand goes on with what is smaller
            self._piece = _space(self._next)
            self._next = min(GROWTH * self._next, MOST)
        taken = self._piece[:nbytes]
        self._piece = self._piece[-(-nbytes // LINE) * LINE :]
        return taken


_block: ContextVar[Block | None] = ContextVar("block", default=None)


@contextmanager
def one_block() -> Iterator[None]:
    """All that `aligned` gives inside is of one block."""
    token = _block.set(Block())
    try:
        yield
    finally:
        _block.reset(token)


def in_one_block(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function, its arrays of `aligned` side by side: for those that are kept together.

    Arrays that are read one after the other then share pages, and large pages at that.
    """

    @wraps(function)
    def inside(*args: Arguments.args, **named: Arguments.kwargs) -> Result:
        with one_block():
            return function(*args, **named)

    return inside


def _space(nbytes: int) -> Array:
    """Uninitialised bytes that start on a cache line, or on a large page where they fill one."""
    if nbytes >= LARGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        return _on_large_pages(nbytes)
    space = np.empty(nbytes + LINE, np.uint8)
    start = -space.ctypes.data % LINE
    return space[start : start + nbytes]


def _on_large_pages(nbytes: int) -> Array:
    try:
        mapped = mmap.mmap(-1, nbytes + LARGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"no memory for {nbytes} bytes") from error
    space = np.frombuffer(mapped, np.uint8)
    start = -space.ctypes.data % LARGE_PAGE
    with suppress(OSError):  # a kernel without large pages
        # not past the end: what is left of a page would take all of one
        mapped.madvise(mmap.MADV_HUGEPAGE, start, nbytes // LARGE_PAGE * LARGE_PAGE)
    return space[start : start + nbytes]
