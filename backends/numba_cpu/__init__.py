"""Runs graphs on the CPU with kernels compiled by Numba."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from irconv.backend import Options
from irconv.backends.numba_cpu import machine, native
from irconv.backends.numba_cpu.assemble import assemble
from irconv.backends.numba_cpu.bandwidth import read_bandwidth
from irconv.backends.numba_cpu.peak import peak_flops
from irconv.backends.numba_cpu.program import CpuProgram
from irconv.graph import Graph
from irconv.sources import folder_digest

_FUSED = "canonicalize,fold,fold_batchnorm,hoist_pool,fuse,canonicalize"


def pipeline_for(options: Options) -> str:
    """Fused nodes on blocks of one vector's channels; Winograd's transforms where allowed."""
    block = machine.tile(np.dtype(np.float32)).lanes
    threads = f"{{threads={options.threads}}}" if options.threads > 1 else ""
    stages = [
        _FUSED,
        *([f"winograd{threads}"] if options.precision == "fast" else []),
        "pack" if block == 16 else f"pack{{block={block}}}",
        "fuse_preactivation",
        "fuse_pairs{least=524288}",  # half of a second cache
    ]
    return ",".join(stages)


class NumbaCpu:
    """Runs graphs on the CPU with kernels compiled by Numba."""

    name: ClassVar[str] = "numba_cpu"
    default_pipeline: ClassVar[str] = pipeline_for(Options())

    def unavailable(self) -> str | None:
        """Nothing is missing: Numba is a dependency of irconv."""
        return None

    def pipeline_for(self, options: Options) -> str:
        """The pipeline for this precision and number of threads on this machine."""
        return pipeline_for(options)

    def compile(self, graph: Graph, options: Options, pipeline: str) -> CpuProgram:
        """The program of a graph that was lowered already."""
        return assemble(graph, options, pipeline)

    def machine_version(self) -> str:
        """A digest of this backend's source, of its compilers and of the CPU."""
        return f"{native.version()} {folder_digest(Path(__file__).parent)}"

    def peak_flops(self, threads: int) -> float:
        """Float32 operations a second of the micro-kernel, by `threads` threads at once."""
        return peak_flops(threads)

    def read_bandwidth(self, threads: int) -> float:
        """Bytes a second that `threads` threads read from memory together."""
        return read_bandwidth(threads)
