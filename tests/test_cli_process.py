"""The command line as a process: streams, pipes, encodings, colours, interruption."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from irconv.demo_data import model_path

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "irconv"]
ESCAPE = b"\x1b"


def _take_interrupts() -> None:
    """A job in the background is started with interrupts ignored, and its children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: object, **env: str) -> subprocess.Popen[bytes]:
    full = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "NO_COLOR", "FORCE_COLOR"}}
    full |= {"PYTHONPATH": str(ROOT)} | env
    words = [*COMMAND, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        words,
        env=full,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        preexec_fn=_take_interrupts,  # noqa: PLW1509 - it calls nothing that takes a lock
    )


def test_piped_output_has_no_codes_and_a_row_is_a_line() -> None:
    process = start("list")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == b""
    assert ESCAPE not in out
    lines = out.decode().splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    told = "Makes one node of a convolution or product and the bias, residual, activation, "
    fuse = [line.split(maxsplit=1) for line in lines if line.startswith("fuse ")]
    assert fuse == [["fuse", f"{told}pool after it."]]


def test_a_mistake_has_status_2_and_leaves_stdout_empty() -> None:
    process = start("run", "no.onnx")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert err.decode().splitlines() == [
        "error[model]: no.onnx: cannot read the file: No such file or directory"
    ]


def test_a_closed_pipe_is_no_error() -> None:
    process = start("opt", model_path(), "-p", "fuse")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) in (0, 1)


def test_a_terminal_that_knows_only_ascii(tmp_path: Path) -> None:
    listing = tmp_path / "g.ir"
    listing.write_text(
        'graph @g(%"\\u00fc": f32[2]) -> (%y: f32[2]) {\n  %y = Relu(%"\\u00fc") : f32[2]\n}\n'
    )
    process = start("run", listing, "-b", "interpret", "--report", PYTHONIOENCODING="ascii")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.isascii()


@pytest.mark.parametrize("no_color", ["", "1"])
def test_on_a_terminal_it_is_bold_and_never_coloured_with_no_color(no_color: str) -> None:
    pty = pytest.importorskip("pty")
    leader, follower = pty.openpty()
    env = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    env |= {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "NO_COLOR": no_color}
    with subprocess.Popen([*COMMAND, "list", "passes"], env=env, stdout=follower) as process:
        os.close(follower)
        seen = b""
        while part := _read(leader):
            seen += part
    os.close(leader)
    assert process.returncode == 0
    assert b"\x1b[1m" in seen
    assert not re.search(rb"\x1b\[[0-9;]*3[0-9]", seen)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side was closed
        return b""


def test_interrupted_it_ends_with_130() -> None:
    endless = ("-b", "interpret", "--against", "none", "--no-memory", "--runs", "1000000000")
    process = start("bench", "zoo:lenet5", *endless)
    assert process.stderr is not None
    assert b"lenet5" in process.stderr.readline()  # it has begun, and will not end by itself
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err


def test_import_is_light() -> None:
    code = (
        "import sys, irconv as ic\n"
        "heavy = {'onnx', 'onnxruntime', 'numba', 'torch', 'jinja2', 'matplotlib', 'typer'}\n"
        "heavy |= {'networkx', 'scipy.special', 'scipy.sparse'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "import irconv.interpret, irconv.verify, irconv.text, irconv.inspector.trace\n"
        "names = [ic.load, ic.lower, ic.compile, ic.interpret, ic.verify, ic.parse, ic.trace]\n"
        "print(all(map(callable, [*names, ic.export_onnx, ic.Builder, ic.zoo.lenet5])))"
    )
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "True"]
