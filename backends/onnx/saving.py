"""Writes a model into a folder beside its target, then under its name in one step."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from irconv.backends.onnx.proto import FILE_LIMIT, Model, chunks, external, metadata, raw
from irconv.errors import ExportError, printable

# looks at the written file; returns the metadata to add
Examine = Callable[[Path], Mapping[str, str]]


def save(model: Model, path: Path, external_data: bool | None, examine: Examine) -> int:
    """Writes `model` to `path` (and `<path>.data`) if `examine` does not raise; the bytes written.

    Until then an older file stays as it is. Big tensors go to the second file where `external_data`
    says so, or by default where one file would pass 2 GB.
    """
    target = _checked(path)
    outside = model.weight_bytes > FILE_LIMIT if external_data is None else external_data
    if not outside and model.weight_bytes > FILE_LIMIT:
        raise ExportError(
            "a file holds at most 2 GB",
            got=f"{model.weight_bytes} bytes of weights",
            hint="external_data=True",
        )
    folder = _made_folder(target)
    try:
        draft = folder / target.name
        _write_all(model, draft, outside)
        with draft.open("ab") as file:
            _write(file, [metadata(examine(draft))])
        return _publish(folder, target)
    except OSError as error:
        raise ExportError(
            f"cannot write: {error.strerror or error}", where=printable(path)
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _checked(path: Path) -> Path:
    where = printable(path)
    if "\0" in str(path) or not path.name:
        raise ExportError("not a path to write to", where=where)
    if not path.parent.is_dir():
        raise ExportError("no such folder", where=printable(path.parent))
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return path
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise ExportError("not a regular file", where=where, hint="choose another name")
    return path


def _made_folder(target: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=".irconv-", dir=target.parent))
    except OSError as error:
        raise ExportError(
            f"cannot write: {error.strerror}", where=printable(target.parent)
        ) from error


def _write_all(model: Model, draft: Path, outside: bool) -> None:
    if not outside:
        with draft.open("wb") as file:
            _write(file, chunks(model))
        return
    data = draft.with_name(draft.name + ".data")
    proto, placed = external(model, data.name)
    with data.open("wb") as file:
        for offset, array in placed:
            file.seek(offset)
            file.write(raw(array))
        _settle(file)
    with draft.open("wb") as file:
        _write(file, chunks(Model(proto, {})))


def _write(file: BinaryIO, parts: Iterable[bytes | memoryview]) -> None:
    file.writelines(parts)
    _settle(file)


def _settle(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _publish(folder: Path, target: Path) -> int:
    """Gives the files their names, the data first: a model never stands without its data."""
    total = 0
    allowed = 0o666 & ~_umask()
    for draft in sorted(folder.iterdir(), key=lambda f: f.name == target.name):
        draft.chmod(allowed)
        total += draft.stat().st_size
        draft.replace(target.with_name(draft.name))
    descriptor = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return total


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
