"""Prints how ONNX's whole test suite fares against irconv: `python tests/conformance.py [PATTERN]`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from onnx_suite import CRASHED, PASSED, WRONG, run_suite, table


def main() -> int:
    """Runs the suite; 1 if any answer is wrong."""
    outcomes = run_suite(sys.argv[1:])
    for outcome in outcomes:
        if outcome.status != PASSED:
            print(f"{outcome.status:<8} {outcome.name}: {outcome.message}")
    print(table(outcomes))
    return int(any(o.status in (WRONG, CRASHED) for o in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
