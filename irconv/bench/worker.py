"""One engine in a process of its own: what it takes to compile, and the memory it then holds."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from irconv import registry
from irconv.backend import Precision, find_backend
from irconv.bench.peers import PEERS, load_openvino
from irconv.errors import BackendError, printable
from irconv.executable import Executable
from irconv.executable import compile as compile_graph
from irconv.graph import Graph
from irconv.inputs import bind_symbols
from irconv.models import resolve_model
from irconv.types import Array

OURS = "irconv"
RUNS = 3


@dataclass(frozen=True)
class Job:
    """What to measure: an engine (`irconv`, or the name of a peer) on a model and its inputs.

    Ours makes its graph of `model`, `batch` and `random_weights`, by `resolve_model`.
    """

    engine: str
    model: str
    file: str  # the ONNX file that peers read
    batch: int | None = None
    random_weights: int | None = None
    threads: int = 1
    backend: str = "numba_cpu"
    pipeline: str | None = None
    precision: Precision = "fast"
    tune: bool = False


@dataclass(frozen=True)
class Held:
    """Seconds to compile (for a peer: to load); bytes above the imports held while running, and at
    the peak. None where the system does not tell.

    Of ours the source graph is released before the bytes that are held are counted; the peak has
    it. Machine code is what a model holds; what Python imports to make it is not.
    """

    compile_seconds: float
    resident: int | None
    peak: int | None


def measure(job: Job, inputs: str, cache: str | None = None) -> Held:
    """Does a job in a fresh process.

    `inputs` is an .npz file by the names of the inputs; `cache` the folder of compiled kernels.
    """
    env = dict(os.environ) | ({"IRCONV_CACHE_DIR": cache} if cache else {})
    command = [sys.executable, "-m", "irconv.bench.worker", json.dumps(asdict(job)), inputs]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"measuring {job.engine} failed", got=printable(last, 400))
    return Held(**json.loads(done.stdout.splitlines()[-1]))


def work(job: Job, stored: str) -> Held:
    """Does a job in this process."""
    with np.load(stored, allow_pickle=False) as archive:
        inputs = {name: archive[name] for name in archive.files}
    _import_engine(job)
    before = _settled()
    _forget_peak()
    start = time.perf_counter()
    if job.engine == OURS:
        run, seconds = _ours(job, inputs)
    else:
        run = _peer(job, inputs)
        seconds = time.perf_counter() - start
    for _ in range(RUNS):
        run()
    after, peak = _settled(), _status("VmHWM")
    if before is None or after is None or peak is None:
        return Held(seconds, None, None)
    return Held(seconds, after - before, peak - before)


def _ours(job: Job, inputs: Mapping[str, Array]) -> tuple[Callable[[], Any], float]:
    graph = resolve_model(job.model, job.batch, job.random_weights)
    start = time.perf_counter()
    executable = compiled(job, graph, inputs)
    seconds = time.perf_counter() - start
    executable.release()
    return lambda: executable.run(inputs), seconds


def compiled(job: Job, graph: Graph, inputs: Mapping[str, Array]) -> Executable:
    """The executable of a job, with the program for the sizes of `inputs` made."""
    executable = compile_graph(
        graph, job.backend, job.pipeline, job.precision, job.threads, job.tune
    )
    executable.prepare(bind_symbols(graph.inputs, [inputs[v.name] for v in graph.inputs]))
    return executable


def _peer(job: Job, inputs: Mapping[str, Array]) -> Callable[[], Any]:
    peer = PEERS[job.engine](Path(job.file), job.threads)
    return lambda: peer(inputs)


def _import_engine(job: Job) -> None:
    """What an engine imports is not what its model holds."""
    if job.engine == OURS:
        import onnx

        onnx.defs.onnx_opset_version()
        registry.ops()
        registry.passes()
        find_backend(job.backend)
        if job.backend.startswith("numba"):
            import numba

            numba.get_num_threads()
    elif job.engine == "onnxruntime":
        import onnxruntime

        onnxruntime.get_available_providers()
    elif job.engine == "openvino":
        load_openvino()


def _settled() -> int | None:
    """Resident bytes, once what Python freed went back to the system."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # a C library may lack it
        ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def _status(field: str) -> int | None:
    file = Path("/proc/self/status")
    if not file.is_file():
        return None
    line = next((x for x in file.read_text().splitlines() if x.startswith(f"{field}:")), None)
    return int(line.split()[1]) * 1024 if line else None


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # then the peak is that of the imports at least


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(work(Job(**json.loads(sys.argv[1])), sys.argv[2]))) + "\n")
