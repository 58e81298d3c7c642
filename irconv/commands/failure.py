"""A pass that fails in a command leaves a reproducer behind, which the error's line names."""

from __future__ import annotations

import os
from pathlib import Path

from irconv.errors import BudgetError, IrconvError, PassError, printable
from irconv.inspector.bisect import bisect_failure
from irconv.inspector.reproducer import fresh_folder, save_finding

# where reproducers are left: the current folder unless it says another; none where it is empty
FOLDER = "IRCONV_REPRODUCERS"
SECONDS = 10.0


def leave_reproducer(error: PassError, command: str) -> None:
    """Writes a reproducer of a pass that failed and adds its name to the hint of `error`.

    What goes wrong meanwhile is told in the hint too: the error itself matters more.
    """
    place = os.environ.get(FOLDER, ".")
    # what would be too large is refused, and that is no fault
    if not place or error.attempt is None or isinstance(error.__cause__, BudgetError):
        return
    try:
        finding = bisect_failure(error, SECONDS)
        folder = fresh_folder(Path(place), f"reproducer-{finding.pass_.name}")
        saved = save_finding(finding, folder, origin=command, seconds=SECONDS)
        told = f"replay it: {saved.command}"
    except OSError as failure:
        told = f"no reproducer was written: {failure.strerror or printable(failure)}"
    except (IrconvError, MemoryError) as failure:
        told = f"no reproducer was written: {printable(failure, 400)}"
    error.hint = f"{error.hint}; {told}" if error.hint else told
