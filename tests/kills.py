"""Kills irconv at random moments of compiling and exporting, and looks at what is left.

`python -m tests.kills [--times 100] [--seed 0]` (`make kills`) ends with status 1 where a file was
half written under its final name, or where the next start did not give the right answer.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODEL = "zoo:lenet5"
# a part of the network: what is left to compile after a kill takes a second or two
PIPELINE = "fold,fuse,im2col"


@dataclass(frozen=True)
class Work:
    """One folder in which irconv compiles, with a cache of its own, and exports."""

    folder: Path

    @property
    def exported(self) -> Path:
        return self.folder / "model.onnx"

    def run(self, limit: float | None = None) -> tuple[bool, float]:
        """Compiles, runs and exports; (was it killed at `limit` seconds, the seconds it took)."""
        code = (
            "import irconv as ic, numpy as np\n"
            "g = ic.zoo.lenet5(batch=1)\n"
            f"e = ic.compile(g, pipeline={PIPELINE!r}, threads=1)\n"
            "x = np.ones((1, 1, 28, 28), np.float32)\n"
            "np.testing.assert_allclose(e(x)[0], ic.interpret(g, [x])[g.outputs[0].name], 1e-4)\n"
            f"ic.export_onnx(ic.lower(g, {PIPELINE!r}), {str(self.exported)!r})\n"
        )
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "IRCONV_CACHE_DIR": str(self.folder / "cache"),
        }
        start = time.monotonic()
        with subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE
        ) as child:
            try:
                _, told = child.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                child.send_signal(signal.SIGKILL)
                return True, time.monotonic() - start
        if child.returncode:
            raise AssertionError(f"the run failed: {told.decode(errors='replace')[-2000:]}")
        return False, time.monotonic() - start


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill_once(work: Work, limit: float, whole: str) -> bool:
    """Whether the run was killed before its end. Raises AssertionError where it left a ruin."""
    killed, _ = work.run(limit)
    if work.exported.exists():
        assert digest(work.exported) == whole, "a half-written file stands under its final name"
        work.exported.unlink()
    return killed


def campaign(times: int, seed: int) -> int:
    """How many of `times` runs were killed before their end.

    Every fourth begins without a cache; after every third comes one that nobody kills.
    """
    rng = random.Random(seed)
    killed = 0
    with tempfile.TemporaryDirectory() as name:
        work = Work(Path(name))
        _, cold = work.run()
        whole = digest(work.exported)
        _, warm = work.run()
        for number in range(times):
            is_cold = number % 4 == 0
            if is_cold:
                shutil.rmtree(work.folder / "cache")
            killed += kill_once(work, rng.uniform(0.2, 1.0) * (cold if is_cold else warm), whole)
            if number % 3 == 2:
                work.run()
                assert digest(work.exported) == whole
    return killed


def main() -> int:
    """Prints how many were killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    killed = campaign(given.times, given.seed)
    print(f"{killed} of {given.times} runs were killed before their end; nothing was left broken")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
