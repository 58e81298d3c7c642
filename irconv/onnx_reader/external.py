"""Reads weights that lie in a file beside the model, inside the model's folder and nowhere else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np

from irconv.errors import ModelError, printable
from irconv.types import Array

_KEYS = {"location", "offset", "length", "checksum", "basepath"}


def read_external(folder: Path | None, entries: dict[str, str], size: int) -> Array:
    """`size` bytes of a tensor's data as uint8; raises ModelError for any place that is not safe.

    The path is walked component by component and no symbolic link is followed, so that what was
    checked is what is opened. Like ONNX's own loader, a file with several hard links is refused.
    """
    unknown = sorted(set(entries) - _KEYS)
    if unknown:
        raise ModelError("unknown entry of external data", got=printable(unknown[0]))
    if folder is None:
        raise ModelError(
            "the model keeps weights in another file, but has no folder", hint="load it by its path"
        )
    offset = _number(entries, "offset", 0)
    if _number(entries, "length", size) != size:
        raise ModelError(
            "the length of external data is not the tensor's",
            expected=size,
            got=printable(entries["length"]),
        )
    handle = _open(folder, _components(entries.get("location", "")))
    with os.fdopen(handle, "rb", buffering=0) as file:
        return _read(file.fileno(), offset, size)


def _number(entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise ModelError(f"the {key} of external data is no number", got=printable(text))
    return int(text)


def _components(location: str) -> list[str]:
    parts = [p for p in location.split("/") if p not in {"", "."}]
    bad = (
        not parts
        or "\0" in location
        or "\\" in location
        or location.startswith("/")
        or ".." in parts
        or (len(location) > 1 and location[1] == ":")
        or "*/_ORT_MEM_ADDR_/*" in location
    )
    if bad:
        raise ModelError(
            "external data lies outside of the model's folder",
            expected="a relative path without ..",
            got=repr(printable(location)),
        )
    return parts


def _open(folder: Path, parts: list[str]) -> int:
    """A descriptor of the file, opened without following a link."""
    shown = printable("/".join(parts))
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    place = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        for part in parts[:-1]:
            inner = os.open(part, flags | getattr(os, "O_DIRECTORY", 0), dir_fd=place)
            os.close(place)
            place = inner
        found = os.open(parts[-1], flags, dir_fd=place)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelError(
            f"external data cannot be opened: {reason}",
            got=shown,
            hint="it must be a regular file inside the model's folder; links are not followed",
        ) from None
    finally:
        os.close(place)
    about = os.fstat(found)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink > 1:
        os.close(found)
        what = "is no regular file" if not stat.S_ISREG(about.st_mode) else "has several hard links"
        raise ModelError(f"the file of external data {what}", got=shown)
    return found


def _read(handle: int, offset: int, size: int) -> Array:
    length = os.fstat(handle).st_size
    if offset + size > length:
        raise ModelError(
            "external data reaches past the end of its file",
            expected=f"{offset + size} bytes",
            got=length,
        )
    place = np.empty(size, np.uint8)
    view, filled = memoryview(place.data), 0
    while filled < size:
        got = os.preadv(handle, [view[filled : filled + (1 << 30)]], offset + filled)
        if not got:
            raise ModelError("the file of external data was cut while it was read")
        filled += got
    return place
