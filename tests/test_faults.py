"""Faults of the system around it: full disks, no home, several processes at once, short memory."""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SYSTEM = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": str(ROOT),
    "PYTHONDONTWRITEBYTECODE": "1",  # Python would leave half of one on a full disk
}
RUN = """
import hashlib, sys
import numpy as np
import irconv as ic
b = ic.Builder("net", seed=0)
x = b.input("x", (1, 3, 8, 8))
b.output(b.relu(x), "y")
graph = b.build()
y, = ic.compile(graph, pipeline='', threads=1)(np.ones((1, 3, 8, 8), np.float32))
np.testing.assert_allclose(y, ic.interpret(graph, {"x": np.ones((1, 3, 8, 8), "f4")})["y"], 1e-5)
print(hashlib.sha256(y.tobytes()).hexdigest())
"""


def start(*words: str, limit: int | None = None, **env: str) -> subprocess.Popen[str]:
    """A Python process; no file that it writes may pass `limit` bytes, as on a full disk."""

    def limit_files() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *words],
        env={**SYSTEM, **env},
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=limit_files,  # noqa: PLW1509 - it calls nothing that takes a lock
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, list[str]]:
    """(status, what it printed, the lines that it told on stderr)."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err.splitlines()


def test_a_full_disk_leaves_the_older_export_whole(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"an older model")
    words = ("-m", "irconv", "-q", "export", "zoo:lenet5", "-o", str(target))
    status, out, told = finished(start(*words, limit=20_000, IRCONV_CACHE_DIR=str(tmp_path / "c")))
    assert (status, out) == (2, "")
    assert told[-1] == f"error[export]: {target}: cannot write: File too large"
    assert target.read_bytes() == b"an older model"
    assert [p.name for p in tmp_path.iterdir() if p.name != "c"] == ["model.onnx"]


def test_a_full_disk_costs_the_cache_and_one_warning(tmp_path: Path) -> None:
    status, out, told = finished(start("-c", RUN, limit=100, IRCONV_CACHE_DIR=str(tmp_path)))
    assert status == 0, told
    assert len(out.split()) == 1
    warned = [line for line in told if "RuntimeWarning" in line]
    assert len(warned) == 1
    assert "not cached" in warned[0]
    assert all(p.stat().st_size == 0 for p in tmp_path.rglob("*") if p.is_file())


@pytest.mark.parametrize("env", [{"HOME": "/proc/nowhere"}, {"IRCONV_CACHE_DIR": "/proc/x"}])
def test_without_a_place_for_the_cache_it_works(env: dict[str, str], tmp_path: Path) -> None:
    status, out, told = finished(start("-c", RUN, **env))
    assert status == 0, told
    assert len(out.split()) == 1
    assert sum("RuntimeWarning" in line for line in told) == 1


def test_processes_that_compile_at_once_agree(tmp_path: Path) -> None:
    processes = [start("-c", RUN, IRCONV_CACHE_DIR=str(tmp_path)) for _ in range(3)]
    found = [finished(p) for p in processes]
    assert [status for status, _, _ in found] == [0, 0, 0], found
    assert len({out for _, out, _ in found}) == 1
    left = list((tmp_path / "kernels").iterdir())
    assert left
    assert not [p for p in left if p.name.startswith("tmp")]
    again = finished(start("-c", RUN, IRCONV_CACHE_DIR=str(tmp_path)))
    assert again[:2] == found[0][:2]
    assert len(hashlib.sha256().hexdigest()) == len(again[1].strip())
