"""Ctrl-C while extension modules are loaded."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType

import pytest

from irconv import interrupts


@pytest.fixture
def handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts.put_off_in_extensions()
    yield
    signal.signal(signal.SIGINT, before)


class Loader(ExtensionFileLoader):
    """Interrupted while its module starts."""

    started = False

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        signal.raise_signal(signal.SIGINT)
        self.started = True
        return ModuleType(spec.name)


def test_the_interrupt_comes_when_the_extension_is_loaded(handler: None) -> None:
    loader = Loader("x", "x.so")
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it comes some time later
        loader.create_module(ModuleSpec("x", loader))
        end = time.monotonic() + 30
        while time.monotonic() < end:
            time.sleep(interrupts.PATIENCE)
    assert loader.started


def test_elsewhere_it_comes_at_once(handler: None) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_who_ignores_interrupts_goes_on_doing_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.put_off_in_extensions()
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN
