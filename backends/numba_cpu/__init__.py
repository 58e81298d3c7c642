"""Runs graphs on the CPU with kernels compiled by Numba."""

from __future__ import annotations

from typing import ClassVar

from irconv.backend import Options
from irconv.backends.numba_cpu.assemble import assemble
from irconv.backends.numba_cpu.peak import peak_flops
from irconv.backends.numba_cpu.program import CpuProgram
from irconv.graph import Graph


class NumbaCpu:
    """Runs graphs on the CPU with kernels compiled by Numba."""

    name: ClassVar[str] = "numba_cpu"
    default_pipeline: ClassVar[str] = "canonicalize,fold,fold_batchnorm,fuse,canonicalize"

    def unavailable(self) -> str | None:
        """Nothing is missing: Numba is a dependency of irconv."""
        return None

    def compile(self, graph: Graph, options: Options, pipeline: str) -> CpuProgram:
        """The program of a graph that was lowered already."""
        return assemble(graph, options, pipeline)

    def peak_flops(self, threads: int) -> float:
        """Float32 operations a second of the micro-kernel, by `threads` threads at once."""
        return peak_flops(threads)
