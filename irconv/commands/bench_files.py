"""The files that `irconv bench` writes: JSON, a page of tables, a chart."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from irconv.bench.chart import chart
from irconv.bench.markdown import markdown
from irconv.bench.rows import Results
from irconv.commands import console
from irconv.errors import UsageError, printable


class Outputs:
    """The files that are written in the end."""

    def __init__(self, json: str | None, page: Path | None, plot: Path | None) -> None:
        self.json, self.page, self.plot = json, page, plot

    def check(self) -> None:
        """Tells now, and not after an hour, that a file has no folder."""
        files = [Path(self.json) if self.json and self.json != "-" else None, self.page, self.plot]
        for file in filter(None, files):
            if not file.absolute().parent.is_dir():
                raise UsageError("no such folder", got=printable(file.parent))

    def write(self, results: Results) -> None:
        """Writes all of them."""
        if self.json == "-":
            console.result_json(results.to_json())
        elif self.json is not None:
            self._put(Path(self.json), console.json_text(results.to_json()) + "\n")
        if self.plot is not None:
            self._put(self.plot, chart(results))
        if self.page is not None:
            self._put(self.page, markdown(results, self._picture()))

    def options(self) -> Iterator[str]:
        """The arguments that ask for them."""
        for option, file in (
            ("--json", self.json),
            ("--markdown", self.page),
            ("--plot", self.plot),
        ):
            yield from (option, str(file)) if file else ()

    def _picture(self) -> str | None:
        """The chart as seen from the page."""
        if self.plot is None or self.page is None:
            return None
        return Path(os.path.relpath(self.plot, self.page.parent)).as_posix()

    def _put(self, file: Path, text: str) -> None:
        file.write_text(text, encoding="utf-8")
        console.note(f"wrote {printable(file)}")
