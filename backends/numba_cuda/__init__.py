"""The CUDA backend: one plain kernel a node, on an NVIDIA device or under Numba's simulator."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import ClassVar, cast

from irconv.backend import Options, Program
from irconv.graph import Graph

_INSTALL = "`pip install 'irconv[cuda]'` brings it"
_SIMULATOR = "NUMBA_ENABLE_CUDASIM=1, set before Python starts, runs the kernels without a device"


class NumbaCuda:
    """One plain kernel a node, written with numba-cuda, on a device or under its simulator."""

    name: ClassVar[str] = "numba_cuda"
    default_pipeline: ClassVar[str] = "canonicalize,fold,fold_batchnorm,fuse"

    def unavailable(self) -> str | None:
        """What is missing: the package, the driver or a device, the compiler."""
        if find_spec("numba_cuda") is None:
            return f"the package numba-cuda is missing; {_INSTALL}"
        try:
            from numba import cuda
            from numba.cuda.core import config
        except ImportError as error:
            return f"numba-cuda cannot be imported: {error}"
        if config.ENABLE_CUDASIM or cuda.is_available():
            return None
        return f"{_missing()}; {_SIMULATOR}"

    def compile(self, graph: Graph, options: Options, pipeline: str) -> Program:
        """The program of a graph of known sizes. Kernels are compiled when they first run."""
        # by its name: the kernels' modules import numba.cuda, which may be absent where this
        # backend is only listed
        program = import_module(f"{__name__}.program")
        return cast(Program, program.CudaProgram(graph, options, pipeline))


def _missing() -> str:
    from numba.cuda.cudadrv import nvvm
    from numba.cuda.cudadrv.driver import driver

    error = driver.initialization_error
    if error is not None:
        text = " ".join(str(error).split())
        return f"no NVIDIA device can be used: {text}"
    if not nvvm.is_available():
        return f"the compiler NVVM is missing; {_INSTALL}"
    return "no NVIDIA device was found"
