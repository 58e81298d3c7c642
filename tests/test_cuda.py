"""The CUDA backend where there is no device: what it says, its simulator, its kernels as PTX."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from irconv import zoo
from irconv.backend import find_backend
from irconv.backends import numba_cuda
from irconv.backends.numba_cuda import NumbaCuda
from irconv.errors import BackendError
from irconv.pipeline import lower
from tests.cuda_cases import Case, cases

ROOT = Path(__file__).parent.parent
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in {"", "0"}
FAMILIES = (
    "convolution", "matrices", "movement", "normalisation", "patches", "pointwise", "pools",
    "products", "reductions",
)  # fmt: skip


def run(*arguments: str, simulator: bool) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own: numba reads the simulator's switch when it is imported."""
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    environment |= {"NUMBA_ENABLE_CUDASIM": "1"} if simulator else {}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_every_kernel_and_network_under_the_simulator() -> None:
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    # no plugin that this process was given (xdist's workers, say) reaches into the other
    plain = ("-p", "no:cacheprovider", "-p", "no:xdist")
    done = run("-m", "pytest", "-q", *plain, "tests/test_cuda_kernels.py", simulator=True)
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2000:]
    summary = done.stdout.strip().splitlines()[-1]
    assert re.search(r"\d{3} passed", summary)
    assert "skipped" not in summary


# -- what is missing ------------------------------------------------------------------------------


def test_the_backend_is_listed_without_importing_numba_cuda() -> None:
    text = "import sys, irconv.backends.numba_cuda as b; print(b.NumbaCuda.name)"
    done = run("-c", text + "; print('numba' in sys.modules)", simulator=False)
    assert done.stdout.split() == ["numba_cuda", "False"], done.stderr


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_cuda, "find_spec", lambda name: None)
    assert str(NumbaCuda().unavailable()).startswith("the package numba-cuda is missing")
    with pytest.raises(BackendError, match=r"numba_cuda cannot run here.*irconv\[cuda\]"):
        find_backend("numba_cuda")


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba_cuda, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "numba.cuda.core", None)
    assert str(NumbaCuda().unavailable()).startswith("numba-cuda cannot be imported")


def test_no_device_is_one_clear_line() -> None:
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    text = "import irconv.backend as b, numba.cuda as c; print(c.is_available())"
    done = run("-c", text + "; b.find_backend('numba_cuda')", simulator=False)
    if done.stdout.split() == ["True"]:
        pytest.skip("there is an NVIDIA device")
    last = done.stderr.strip().splitlines()[-1]
    assert "backend numba_cuda cannot run here" in last
    assert "no NVIDIA device can be used" in last
    assert "NUMBA_ENABLE_CUDASIM=1" in last


# -- the networks of the zoo ----------------------------------------------------------------------


@pytest.mark.parametrize("pipeline", ["", NumbaCuda.default_pipeline, "fold,im2col"])
@pytest.mark.parametrize("network", ["googlenet", "m5", "mobilenet_v2", "resnet18", "text_cnn"])
def test_every_node_of_a_network_has_a_kernel(network: str, pipeline: str) -> None:
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    table = importlib.import_module("irconv.backends.numba_cuda.table")
    graph = lower(zoo.networks()[network](batch=1), pipeline)
    reasons = {node.op.name: table.bind(node) for node in graph}
    assert {name: why for name, why in reasons.items() if isinstance(why, str)} == {}


# -- PTX ------------------------------------------------------------------------------------------


def signatures(
    chosen: list[Case],
) -> dict[tuple[str, tuple[str, ...]], tuple[Any, tuple[Any, ...]]]:
    """Every (kernel, argument types) that the cases launch, and those of the sparse matrix."""
    from numba import types
    from numba.np.numpy_support import from_dtype

    table = importlib.import_module("irconv.backends.numba_cuda.table")
    graphs = [case.build(dtype)[0] for case in chosen for dtype in ("float32", "float64")]
    convs = [c.build(d)[0] for c in chosen if c.name == "conv_1d" for d in ("float32", "float64")]
    graphs += [lower(g, f"conv_matrix{{form={f}}}") for g in convs for f in ("tap", "literal")]
    found = {}
    for launch in (one for graph in graphs for node in graph for one in table.bind(node)):
        elements = [from_dtype(argument.dtype) for argument in launch.arguments]
        elements += [types.int64, from_dtype(launch.dtype)]
        arrays = tuple(types.Array(element, 1, "C") for element in elements)
        found[launch.name, tuple(map(str, elements))] = (launch.kernel, arrays)
    return found


def all_kernels() -> set[str]:
    """The names of all kernels of the backend's families."""
    modules = [importlib.import_module(f"irconv.backends.numba_cuda.{name}") for name in FAMILIES]
    return {
        thing.__name__
        for module in modules
        for thing in vars(module).values()
        if hasattr(thing, "py_func") and thing.__module__ == module.__name__ and _is_kernel(thing)
    }


def _is_kernel(dispatcher: Any) -> bool:
    return not dispatcher.targetoptions.get("device")


def compiler_missing() -> str:
    """Why no PTX can be made here, or nothing."""
    if SIMULATED:
        return "the simulator does not compile"
    pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
    from numba.cuda.cudadrv import nvvm

    return "" if nvvm.is_available() else "the compiler NVVM is not installed"


@pytest.mark.slow
def test_every_kernel_compiles_to_ptx_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    reason = compiler_missing()
    if reason:
        pytest.skip(reason)
    from numba import cuda
    from numba.cuda import dispatcher

    target = (8, 0)
    if cuda.is_available():
        target = cuda.get_current_device().compute_capability
    else:
        # device functions ask the device for its generation
        device = SimpleNamespace(compute_capability=target)
        monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    found = signatures(cases())
    for (name, types), (kernel, arrays) in found.items():
        ptx, _ = cuda.compile_ptx(kernel, arrays, cc=target)
        assert f".target sm_{target[0]}{target[1]}" in ptx
        assert ".entry" in ptx, name
        assert "float64" in types or ".f64" not in ptx or name in DOUBLE_INSIDE, (name, types)
    assert {name for name, _ in found} == all_kernels()


# with an activation inside: Gelu computes in float64, and the angles' reduction does
DOUBLE_INSIDE = {"convolve", "product", "tap_product", "literal_product", "unary"}
