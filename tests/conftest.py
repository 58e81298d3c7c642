"""What all tests share: the golden switch, the GPU mark, fixed random tests, their own cache."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

from irconv import registry

_OWN_CACHE = pytest.StashKey[str]()

# Fixed and seeded: the suite finds the same things each time; campaigns choose another profile.
hypothesis.settings.register_profile(
    "fixed", derandomize=True, deadline=None, database=None, print_blob=True
)
hypothesis.settings.register_profile("campaign", deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden",
        action="store_true",
        help="write what the passes print now into tests/cases, then read the difference",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled code out of the user's cache; workers inherit the first process's folder."""
    if "IRCONV_CACHE_DIR" not in os.environ:
        config.stash[_OWN_CACHE] = tempfile.mkdtemp(prefix="irconv-tests-")
        os.environ["IRCONV_CACHE_DIR"] = config.stash[_OWN_CACHE]


def pytest_unconfigure(config: pytest.Config) -> None:
    folder = config.stash.get(_OWN_CACHE, None)
    if folder is not None:
        os.environ.pop("IRCONV_CACHE_DIR", None)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_plugin_stays() -> Iterator[None]:
    """What a test's --plugin registered is gone after it: later tests ask the registry for all."""
    before = list(registry._plugins)
    yield
    if registry._plugins != before:
        registry._plugins[:] = before
        for known in (registry.ops, registry.passes, registry.backends):
            known.cache_clear()


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") is not None:
        reason = _no_gpu()
        if reason:
            pytest.skip(reason)


@functools.cache
def _no_gpu() -> str:
    """Say why no device can be used, or nothing; asked only when a `gpu` test is about to run."""
    if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in {"", "0"}:
        return "the CUDA simulator is no device"
    try:
        from numba import cuda
    except ImportError as error:
        return f"numba-cuda cannot be imported: {error}"
    return "" if cuda.is_available() else "no NVIDIA device"


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written instead of compared."""
    return bool(request.config.getoption("--update-golden"))
