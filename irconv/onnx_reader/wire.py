"""Reads protobuf's wire encoding from a stream, so that weights are copied only once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from irconv.errors import ModelError
from irconv.types import Array

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class WireError(ModelError):
    """The bytes are no protobuf message."""


class Stream:
    """A cursor over the bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.position = 0

    def error(self, what: str, expected: object = None, got: object = None) -> WireError:
        return WireError(what, where=f"byte {self.position}", expected=expected, got=got)

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        data = self.file.read(count)
        if len(data) != count:
            raise self.error("the file ends early", f"{count} bytes", len(data))
        self.position += count
        return data

    def skip(self, count: int) -> None:
        self.file.seek(count, io.SEEK_CUR)
        self.position += count

    def array(self, count: int) -> Array:
        """The next `count` bytes in an array of their own: the only copy that is made of them."""
        place = np.empty(count, np.uint8)
        view, filled = memoryview(place.data), 0
        while filled < count:
            got = self.file.readinto(view[filled:])  # type: ignore[attr-defined]
            if not got:
                raise self.error("the file ends early", f"{count} bytes", filled)
            filled += got
        self.position += count
        return place

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFF_FFFF_FFFF_FFFF
            shift += 7
            if shift > 63:
                raise self.error("a varint is longer than 10 bytes")

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """(number, wire type, value or length) up to `end`; the caller reads payloads of BYTES."""
        while self.position < end:
            key = self.varint()
            number, wire = key >> 3, key & 7
            if number == 0 or wire not in (VARINT, FIXED64, BYTES, FIXED32):
                raise self.error("not a protobuf field", got=f"field {number}, wire type {wire}")
            if wire == VARINT:
                value = self.varint()
            elif wire == BYTES:
                value = self.varint()
                if value > end - self.position:
                    raise self.error(
                        "a field reaches past its message",
                        f"at most {end - self.position} bytes",
                        value,
                    )
            else:
                value = int.from_bytes(self.take(8 if wire == FIXED64 else 4), "little")
            following = self.position + (value if wire == BYTES else 0)
            yield number, wire, value
            if self.position != following:
                raise self.error("a field was not read whole")
        if self.position != end:
            raise self.error("a message does not end where it says", end)


def key(number: int, wire: int) -> bytes:
    """The bytes that open a field."""
    return varint_bytes(number << 3 | wire)


def varint_bytes(value: int) -> bytes:
    """A number as protobuf writes it."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
