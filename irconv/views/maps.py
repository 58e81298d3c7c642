"""Draws arrays as pictures: images, filters, activation maps."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from irconv.types import Array
from irconv.views import names, svg
from irconv.views.blocks import MARGIN, Block, below, block, paragraph
from irconv.views.colours import DARK, diverging, grey, ink
from irconv.views.picture import Picture
from irconv.views.svg import Element

Scale: TypeAlias = Literal["grey", "signed"]
# an array of at most so many elements is drawn cell by cell, a larger one as an image
CELLS = 256
_STORED = 0xFFFF  # bytes of a block of deflate that is not compressed


def drawn(
    inner: Block, title: str, caption: str, data: Mapping[str, object], part: str = ""
) -> Picture:
    """The finished picture: the block on paper, and below it which part is drawn."""
    whole = inner
    if part:
        letters = max(40, int(inner.width / 6.8))
        whole = below([inner, paragraph(f"Drawn: {part}.", letters, "muted small")], 16)
    width, height = whole.width + 2 * MARGIN, whole.height + 2 * MARGIN
    text = svg.document([whole.at(MARGIN, MARGIN)], width, height, title, caption)
    return Picture(svg=text, title=title, caption=caption, part=part, data=data)


def limit_of(array: Array) -> float:
    """The largest finite magnitude: the end of a signed scale."""
    finite = np.abs(array[np.isfinite(array)])
    return float(finite.max()) if finite.size else 0.0


def colour_of(scale: Scale, low: float, high: float) -> Callable[[float], str]:
    """The colour of a number: grey from `low` to `high`, or blue to orange around zero."""
    if scale == "grey":
        return lambda value: grey(value, low, high)
    end = max(abs(low), abs(high))
    return lambda value: diverging(value, end)


def array_block(
    array: Array,
    width: float,
    scale: Scale = "signed",
    ends: tuple[float, float] | None = None,
    mark: str = "",
    first: int = 0,
    written: bool = False,
) -> Block:
    """A map [rows, columns] (or [columns]) as a block `width` wide; or a picture [rows, columns, 3]
    of red, green and blue from 0 to 1.

    Small maps have a cell for each element with its exact value (`data-v`) and, where `mark` is
    "o" or "i", its flat index from `first` on; large ones are an image of 256 shades.
    """
    array = np.asarray(array, np.float64)
    shown = array[None] if array.ndim == 1 else array
    low, high = ends or _ends(shown, scale)
    cell = width / shown.shape[1]
    if shown.ndim == 2 and shown.size <= CELLS:
        cells = _cells(shown, cell, colour_of(scale, low, high), mark, first, written)
        return block(cells, width, cell * shown.shape[0])
    return _raster(*_levels(shown, scale, low, high), width)


def _ends(array: Array, scale: Scale) -> tuple[float, float]:
    if scale == "signed":
        return -limit_of(array), limit_of(array)
    finite = array[np.isfinite(array)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _cells(
    array: Array,
    cell: float,
    colour: Callable[[float], str],
    mark: str,
    first: int,
    written: bool,
) -> Iterator[Element]:
    texts, size = _numbers(array, cell) if written else ([], 0)
    for n, (place, value) in enumerate(np.ndenumerate(array)):
        fill = colour(float(value))
        top, left = place[0] * cell, place[1] * cell
        marks: dict[str, object] = {f"data_{mark}": first + n} if mark else {}
        marks["data_v"] = names.exact(value)
        yield svg.rect(left, top, cell, cell, "cell", fill=fill, **marks)
        if size:
            class_ = f"number s{size} {ink(fill)} middle"
            yield svg.text(left + cell / 2, top + cell / 2 + 0.35 * size, texts[n], class_)


def _numbers(array: Array, cell: float) -> tuple[list[str], int]:
    """The texts of all cells and their size, so that the widest stays in its cell; of two digits
    where three do not, and size 0 where none can be read.
    """
    for digits in (3, 2):
        texts = [names.short(float(value), digits) for value in array.flat]
        widest = max(svg.text_width(text, 1) for text in texts)
        size = int(min(13, 0.34 * cell, (cell - 3) / widest))
        if size >= 8:
            return texts, size
    return texts, size if size >= 7 else 0


def _levels(array: Array, scale: Scale, low: float, high: float) -> tuple[Array, Array | None]:
    """The colours of all elements: uint8 [rows, columns] of greys, or of places in a palette
    [colours, 3], or [rows, columns, 3].
    """
    if array.ndim == 3:
        return np.round(255 * np.clip(array, 0, 1)).astype(np.uint8), None
    if scale == "grey":
        span = high - low if high > low else 1.0
        part = np.nan_to_num((array - low) / span)
        return np.round(255 * np.clip(part, 0, 1)).astype(np.uint8), None
    end = max(abs(low), abs(high)) or 1.0
    steps = np.round(127 * np.clip(np.nan_to_num(array / end), -1, 1)) + 127
    steps[np.isnan(array)] = 255
    shades = [_rgb(diverging((i - 127) / 127, 1.0)) for i in range(255)]
    return steps.astype(np.uint8), np.array([*shades, _rgb(diverging(np.nan, 1.0))], np.uint8)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def _raster(levels: Array, palette: Array | None, width: float) -> Block:
    height = width * levels.shape[0] / levels.shape[1]
    href = "data:image/png;base64," + b64encode(png(levels, palette)).decode("ascii")
    size = {"width": width, "height": height}
    # an attribute, not a style: a page may forbid styles in its elements
    image = svg.element(
        "image", href=href, image_rendering="pixelated", preserveAspectRatio="none", **size
    )
    return block([image, svg.rect(0, 0, width, height, "line")], width, height)


def frame_mark(x: float, y: float, width: float, height: float) -> Element:
    """A frame on a map: dark, for the cells of a map are light in the dark too."""
    return svg.rect(x, y, width, height, fill="none", stroke=DARK, stroke_width=2)


def png(levels: Array, palette: Array | None = None) -> bytes:
    """A PNG file of uint8 [rows, columns] (greys, or places in a palette [256, 3]) or [rows,
    columns, 3].

    Not compressed, so that its bytes do not depend on the version of zlib (PNG and deflate: RFC
    2083, RFC 1951 section 3.2.4).
    """
    rows, columns = levels.shape[:2]
    kind = 3 if palette is not None else 2 if levels.ndim == 3 else 0
    lines = np.ascontiguousarray(levels).reshape(rows, -1)
    raw = np.concatenate([np.zeros((rows, 1), np.uint8), lines], axis=1).tobytes()
    head = struct.pack(">IIBBBBB", columns, rows, 8, kind, 0, 0, 0)
    colours = [] if palette is None else [(b"PLTE", palette.tobytes())]
    chunks = [(b"IHDR", head), *colours, (b"IDAT", _stored(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def _stored(raw: bytes) -> bytes:
    parts = [raw[i : i + _STORED] for i in range(0, len(raw), _STORED)] or [b""]
    blocks = [
        struct.pack("<BHH", i == len(parts) - 1, len(part), len(part) ^ _STORED) + part
        for i, part in enumerate(parts)
    ]
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(raw))


def key_block(scale: Scale, low: float, high: float, width: float = 120) -> Block:
    """The scale of colours, with the numbers at its ends."""
    colour = colour_of(scale, low, high)
    start = low if scale == "grey" else -max(abs(low), abs(high))
    end = high if scale == "grey" else -start
    steps = 24
    values: Any = np.linspace(start, end, steps)
    part = width / steps
    bars = [
        svg.rect(i * part, 0, part + 0.5, 10, fill=colour(float(v))) for i, v in enumerate(values)
    ]
    texts = [
        svg.text(0, 24, names.short(start), "small muted"),
        svg.text(width, 24, names.short(end), "small muted end"),
    ]
    return block([*bars, *texts], width, 28)
