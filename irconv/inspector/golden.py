"""Golden listings of every stage: written once, read by people, compared ever after."""

from __future__ import annotations

import difflib
import re
from itertools import islice
from pathlib import Path

from irconv.errors import printable
from irconv.inspector.demands import Verdict
from irconv.inspector.dump import stage_name
from irconv.inspector.trace import Trace

_STAGE = re.compile(r"\d{2,}_\w+\.ir")
# of the difference, in the verdict
SHOWN_LINES = 6


def golden_listings(trace: Trace) -> dict[str, str]:
    """The listing of each stage by file name: 00_source.ir, 01_fold.ir, ...

    Big constants are named by their digests, so that a changed weight changes the listing.
    """
    names = ["source", *(p.stage.pass_.name for p in trace.passes)]
    return {
        stage_name(i, name): f"{graph}\n"
        for i, (name, graph) in enumerate(zip(names, trace.stages, strict=True))
    }


def update_golden(trace: Trace, folder: Path) -> list[Path]:
    """Writes the listings into `folder` and removes those of stages that are no more."""
    listings = golden_listings(trace)
    folder.mkdir(parents=True, exist_ok=True)
    for name in _present(folder) - listings.keys():
        (folder / name).unlink()
    for name, text in listings.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in listings]


def compare_golden(trace: Trace, folder: Path) -> list[Verdict]:
    """One verdict for each stage that differs, or one that says that none does."""
    listings = golden_listings(trace)
    found = [
        Verdict(f"golden {name}", False, told)
        for name, text in listings.items()
        if (told := _difference(folder / name, text)) is not None
    ]
    gone = sorted(_present(folder) - listings.keys())
    found += [Verdict(f"golden {name}", False, "the pipeline has no such stage") for name in gone]
    return found or [Verdict("golden", True, f"{len(listings)} stages are as they were")]


def _present(folder: Path) -> set[str]:
    return {p.name for p in folder.glob("*.ir") if _STAGE.fullmatch(p.name)}


def _difference(file: Path, text: str) -> str | None:
    """What differs, in one line; None where nothing does."""
    if not file.is_file():
        return "there is no such file (--update-golden writes it)"
    try:
        golden = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "the file is not UTF-8"
    if golden == text:
        return None
    lines = difflib.unified_diff(golden.splitlines(), text.splitlines(), lineterm="", n=0)
    changed = [line for line in islice(lines, 2, None) if not line.startswith("@@")]
    shown = " | ".join(printable(line) for line in changed[:SHOWN_LINES])
    more = f" | ... {len(changed)} lines" if len(changed) > SHOWN_LINES else ""
    return f"{shown}{more}"
