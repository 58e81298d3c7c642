"""Prints how ONNX's own test suite fares against irconv, and fails where it should not fare so.

`python -m tests.conformance [--write] [PATTERN...]`: all tests, or those whose whole names match.
`--write` writes the list of refused tests and docs/conformance.md anew.
"""

from __future__ import annotations

import datetime as dt
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numba
import numpy as np
import onnx

import irconv
from tests.onnx_suite import (
    CRASHED,
    DISPUTED,
    PASSED,
    RANDOM,
    REFUSED,
    REFUSED_LIST,
    WRONG,
    Outcome,
    named,
    refused_list,
    run_suite,
    table,
)

PAGE = Path(__file__).parent.parent / "docs" / "conformance.md"

# why a test's model is refused, by what its message says
REASONS = {
    "control flow": ("of kind graph",),
    "strings": ("strings are",),
    "sequences, optionals": ("is not a dense tensor", "Sequence", "Optional"),
    "operators of other domains": ("of another domain", "ml.", "preview."),
    "training": ("training mode",),
}
OTHER = "other operators and versions"


def main() -> int:
    """Runs the suite; 1 if an answer is wrong or a refusal is not on the list."""
    options = [a for a in sys.argv[1:] if a.startswith("-")]
    patterns = [a for a in sys.argv[1:] if not a.startswith("-")]
    if set(options) - {"--write"} or (options and patterns):
        print(__doc__, file=sys.stderr)
        return 2
    outcomes = run_suite(patterns)
    if options:
        REFUSED_LIST.write_text("\n".join(named(outcomes, REFUSED)) + "\n", "utf-8")
        PAGE.write_text(page(outcomes), "utf-8")
    new = set(named(outcomes, REFUSED)) - set(refused_list())
    for outcome in outcomes:
        if patterns or outcome.name in new or outcome.status not in (PASSED, REFUSED):
            print(f"{outcome.status:<8} {outcome.name} {outcome.message}")
    print(table(outcomes))
    if new:
        print(f"refused, and not in {REFUSED_LIST.name}: {', '.join(sorted(new))}")
    gone = set(refused_list()) - set(named(outcomes, REFUSED))
    if gone and not patterns:
        print(f"no longer refused, so to be taken out of {REFUSED_LIST.name} (--write does it):")
        print(", ".join(sorted(gone)))
    bad = bool(new or (gone and not patterns) or named(outcomes, WRONG) or named(outcomes, CRASHED))
    return int(bad)


def page(outcomes: Sequence[Outcome]) -> str:
    """docs/conformance.md: the counts, what is refused and why, what cannot be compared."""
    reasons = Counter(_reason(o.message) for o in outcomes if o.status == REFUSED)
    refused = "\n".join(f"- {reason}: {count}" for reason, count in reasons.most_common())
    return f"""# ONNX's own test suite

`make conformance` runs the suite that the `onnx` package holds (`onnx.backend.test`) against
`irconv.onnx_backend`, on `numba_cpu` with its default pipeline. It fails if an answer is wrong, or
if a test is refused that is not in `tests/conformance_refused.txt`.

{table(outcomes)}

irconv {irconv.__version__}, onnx {onnx.__version__}, NumPy {np.__version__}, Numba
{numba.__version__}, Python {platform.python_version()}; {dt.datetime.now(dt.UTC):%Y-%m-%d}.
This page is written by `python -m tests.conformance --write`.

- **refused**: irconv raised an error on purpose, which names what it does not support.
- **wrong**: an answer beyond the suite's tolerance.
- **crashed**: any other error.
- **random**: the expected numbers are one draw of NumPy's; ONNX does not say how to draw.
- **disputed**: the suite takes scale * length for the new length, also where that is a fraction;
  the standard's text says the length of the resized tensor, and onnxruntime computes that too.

Refused, by reason:

{refused}

Random or disputed:

{_listed(outcomes)}
"""


def _reason(message: str) -> str:
    for reason, signs in REASONS.items():
        if any(sign in message for sign in signs):
            return reason
    return OTHER


def _listed(outcomes: Sequence[Outcome]) -> str:
    names = sorted((o.status, o.name) for o in outcomes if o.status in (RANDOM, DISPUTED))
    return "\n".join(f"- {status}: `{name}`" for status, name in names)


if __name__ == "__main__":
    raise SystemExit(main())
