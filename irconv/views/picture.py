"""What a view returns: an SVG, its title, its caption, and the part of the layer that is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from irconv.errors import UsageError, printable
from irconv.views.svg import without_style


@dataclass(frozen=True)
class Picture:
    """One drawn view of a layer.

    `svg` is a stand-alone file; `caption` says in a sentence or two what is seen, with the layer's
    own numbers; `part` says which part of the layer is drawn, exactly, and is empty when all of it
    is; `data` holds the numbers that the caption states.
    """

    svg: str = field(repr=False)
    title: str
    caption: str
    part: str = ""
    data: Mapping[str, object] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Writes the SVG. UsageError where the name is not `*.svg`, or cannot be written."""
        file = Path(path)
        if file.suffix.lower() != ".svg":
            raise UsageError(
                "a picture is saved as SVG", expected="a name ending in .svg", got=printable(path)
            )
        try:
            file.write_text(self.svg, encoding="utf-8")
        except OSError as error:
            raise UsageError("the picture was not written", where=printable(error)) from error

    def inline(self) -> str:
        """The SVG without its style, for a page that includes `irconv.views.svg.STYLE` itself."""
        return without_style(self.svg)

    def _repr_svg_(self) -> str:
        return self.svg
