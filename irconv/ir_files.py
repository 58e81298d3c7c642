"""Writes a graph as a listing (.ir) with its big constants in an .npz beside it, and reads it."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from irconv.errors import ModelError, ParseError, printable
from irconv.graph import Graph, array_digest
from irconv.interpret import content
from irconv.listing import INLINE_ELEMENTS, parameter_line, write
from irconv.text import parse
from irconv.types import DTYPES, Array, dtype_name
from irconv.verify import verify

TEXT_BYTES = 1 << 30


def save_ir(graph: Graph, path: str | os.PathLike[str], *, provenance: bool = False) -> None:
    """Writes `path` (the listing) and, where it has big constants, `.npz` of the same stem.

    Constants are stored once, under their digests, never pickled. Both files are replaced whole or
    not at all, the constants first.
    """
    place = Path(path)
    if place.suffix == ".npz":
        raise ModelError(
            "a listing cannot have the name of its constants",
            where=printable(place),
            hint=f"call it {printable(place.with_suffix('.ir').name)}",
        )
    arrays: dict[str, Array] = {}
    for value in graph.parameters.values():
        if f"#{value.digest}" in parameter_line(value):
            arrays[value.digest] = content(value)
    if arrays:
        _replace(place.with_suffix(".npz"), lambda file: _write_arrays(file, arrays))
    text = write(graph, provenance=provenance) + "\n"
    _replace(place, lambda file: file.write(text.encode()))


def _write_arrays(file: object, arrays: dict[str, Array]) -> None:
    """An .npz with entries `<digest>.<dtype>`; what NumPy's format lacks is stored as bytes."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]
        for digest in sorted(arrays):
            array = np.ascontiguousarray(arrays[digest]).reshape(arrays[digest].shape)
            short = dtype_name(array.dtype)
            plain = (
                array
                if array.dtype.kind != "V" and array.dtype.isbuiltin == 1
                else array.view(np.uint8)
            )
            # a fixed date: the same graph gives the same bytes
            entry = zipfile.ZipInfo(f"{digest}.{short}.npy", (1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, plain, allow_pickle=False)


def _replace(place: Path, fill: object) -> None:
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            fill(file)  # type: ignore[operator]
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def load_ir(path: str | os.PathLike[str]) -> Graph:
    """The graph of a listing, with the constants of the `.npz` beside it if there is one, verified.

    Raises ParseError with the guilty line, VerifyError, or ModelError for an unreadable file.
    """
    place = Path(path)
    try:
        if place.stat().st_size > TEXT_BYTES:
            raise ModelError(
                "the listing is too long",
                where=printable(place),
                expected=f"at most {TEXT_BYTES} bytes",
            )
        text = place.read_bytes().decode("utf-8")
    except OSError as error:
        raise ModelError(
            f"cannot read the listing: {error.strerror}", where=printable(place)
        ) from None
    except UnicodeDecodeError:
        raise ParseError("the listing is not UTF-8", where=printable(place)) from None
    graph = parse(text, _read_arrays(place.with_suffix(".npz")))
    verify(graph)
    return graph


def _read_arrays(place: Path) -> dict[str, Array]:
    if not place.is_file():
        return {}
    found: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(place) as archive:
            for entry in archive.infolist():
                digest, array = _read_array(archive, entry)
                found[digest] = array
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise ModelError(
            f"cannot read the constants: {printable(error)}", where=printable(place)
        ) from None
    return found


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[str, Array]:
    digest, _, rest = entry.filename.partition(".")
    short = rest.removesuffix(".npy")
    if short not in DTYPES or entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"unexpected entry {entry.filename!r}")
    with archive.open(entry) as stream:
        try:
            array = np.lib.format.read_array(stream, allow_pickle=False)
        except MemoryError:
            # the header is believed before the bytes are there
            raise ValueError(f"{digest} claims more elements than fit") from None
    dtype = DTYPES[short]
    if array.dtype != dtype:
        array = array.view(dtype)
    if array_digest(array) != digest:
        raise ValueError(f"the content of {digest} is not what its name says")
    return digest, array


__all__ = ["INLINE_ELEMENTS", "load_ir", "save_ir"]
