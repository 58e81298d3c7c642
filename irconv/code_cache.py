"""Machine code kept on disk, in a folder that only this user may write."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import warnings
from pathlib import Path

import platformdirs

_MAGIC = b"irconv-code-1\n"
_state = {"enabled": True, "warned": False}


def set_enabled(enabled: bool) -> None:
    """Switch the cache on disk on or off for this process."""
    _state["enabled"] = enabled


def folder() -> Path | None:
    """The cache folder, made with mode 0700 if absent; None, after one warning, if unusable.

    `IRCONV_CACHE_DIR` names it, else it is `irconv` in the user's cache folder. A folder that
    belongs to another user, or that others may write, is not used: code would be run from it.
    """
    if not _state["enabled"]:
        return None
    try:
        return usable_folder()
    except (OSError, RuntimeError) as error:
        _warn(f"compiled kernels are not cached: {error}")
        return None


def usable_folder() -> Path:
    """The cache folder, made if absent; raises OSError, saying why, where it cannot be used."""
    named = os.environ.get("IRCONV_CACHE_DIR")
    place = Path(named) if named else Path(platformdirs.user_cache_dir("irconv", appauthor=False))
    if not place.is_absolute():
        raise OSError(f"the cache folder '{place}' is not an absolute path")
    place = place / "kernels"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(f"'{place}' is not a folder")
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise OSError(f"'{place}' belongs to another user")
        if found.st_mode & 0o022:
            raise OSError(f"'{place}' can be written by others; its mode must be 0700")
    return place


def _warn(message: str) -> None:
    if not _state["warned"]:
        _state["warned"] = True
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def read(name: str) -> bytes | None:
    """What is stored under `name`, unchecked; None if absent."""
    place = folder()
    if place is None:
        return None
    try:
        return (place / name).read_bytes()
    except OSError:
        return None


def load(name: str) -> tuple[str, bytes] | None:
    """The symbol and object code stored under `name`; None if absent or damaged."""
    data = read(name)
    if data is None:
        return None
    head, mark, code = data.removeprefix(_MAGIC).partition(b"\n")
    if not data.startswith(_MAGIC) or not mark:
        return None
    return _checked(head, code)


def _checked(head: bytes, code: bytes) -> tuple[str, bytes] | None:
    try:
        entry = json.loads(head)
        symbol, digest = entry["symbol"], entry["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(symbol, str) or digest != _digest(symbol, code):
        return None
    return symbol, code


def _digest(symbol: str, code: bytes) -> str:
    return hashlib.sha256(symbol.encode() + b"\0" + code).hexdigest()


def store(name: str, symbol: str, code: bytes) -> None:
    """Keep object code under `name`, as `write` does."""
    head = json.dumps({"symbol": symbol, "sha256": _digest(symbol, code)}).encode()
    write(name, _MAGIC + head + b"\n" + code)


def write(name: str, data: bytes) -> None:
    """Keep `data` under `name`, atomically; a failure costs the cache, not the work."""
    place = folder()
    if place is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=place)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(place / name)
        except OSError:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        _warn(f"compiled kernels are not cached: {error}")
