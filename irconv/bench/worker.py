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

from irconv.backend import Precision
from irconv.bench.peers import PEERS
from irconv.errors import BackendError, printable
from irconv.executable import Executable
from irconv.executable import compile as compile_graph
from irconv.graph import Graph
from irconv.inputs import bind_symbols
from irconv.models import resolve_model
from irconv.onnx_import import load
from irconv.types import Array

OURS = "irconv"
RUNS = 3


@dataclass(frozen=True)
class Job:
    """What to measure: an engine (`irconv`, or the name of a peer) on a model and its inputs."""

    engine: str
    model: str
    file: str | None  # the ONNX file that peers read; ours reads it too where the model is one
    inputs: str  # an .npz by the names of the inputs
    batch: int | str | None = None
    random_weights: int | None = None
    threads: int = 1
    backend: str = "numba_cpu"
    pipeline: str | None = None
    precision: Precision = "fast"


@dataclass(frozen=True)
class Held:
    """Seconds to compile (for a peer: to load); bytes above the imports held while running, and at
    the peak. None where the system does not tell.
    """

    compile_seconds: float
    resident: int | None
    peak: int | None


def measure(job: Job, cache: str | None = None) -> Held:
    """Does a job in a fresh process; `cache` is the folder of compiled kernels that it uses."""
    env = dict(os.environ) | ({"IRCONV_CACHE_DIR": cache} if cache else {})
    command = [sys.executable, "-m", "irconv.bench.worker", json.dumps(asdict(job))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"measuring {job.engine} failed", got=printable(last, 400))
    return Held(**json.loads(done.stdout.splitlines()[-1]))


def work(job: Job) -> Held:
    """Does a job in this process."""
    with np.load(job.inputs, allow_pickle=False) as archive:
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
    graph = source(job)
    start = time.perf_counter()
    executable = compiled(job, graph, inputs)
    seconds = time.perf_counter() - start
    executable.release()
    return lambda: executable.run(inputs), seconds


def source(job: Job) -> Graph:
    """The graph of a job: from the file that the peers read, where that is the model itself."""
    if job.file is not None and not job.model.startswith("zoo:") and job.batch is None:
        return load(job.file)
    return resolve_model(job.model, job.batch, job.random_weights)


def compiled(job: Job, graph: Graph, inputs: Mapping[str, Array]) -> Executable:
    """The executable of a job, with the program for the sizes of `inputs` made."""
    executable = compile_graph(graph, job.backend, job.pipeline, job.precision, job.threads)
    executable.prepare(bind_symbols(graph.inputs, [inputs[v.name] for v in graph.inputs]))
    return executable


def _peer(job: Job, inputs: Mapping[str, Array]) -> Callable[[], Any]:
    peer = PEERS[job.engine](Path(str(job.file)), job.threads)
    return lambda: peer(inputs)


def _import_engine(job: Job) -> None:
    """What an engine imports is not what its model holds."""
    if job.engine == "onnxruntime":
        import onnxruntime

        onnxruntime.get_available_providers()
    elif job.engine == OURS:
        import onnx

        onnx.defs.onnx_opset_version()
        if job.backend.startswith("numba"):
            import numba

            numba.get_num_threads()


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
    sys.stdout.write(json.dumps(asdict(work(Job(**json.loads(sys.argv[1]))))) + "\n")
