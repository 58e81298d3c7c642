"""Ctrl-C at a moment when the code that runs can take it."""

from __future__ import annotations

import signal
import threading
from importlib.machinery import ExtensionFileLoader
from types import FrameType

# how long an extension is given before the interrupt is tried again, in seconds
PATIENCE = 0.05


def put_off_in_extensions() -> None:
    """From here on an interrupt waits until no extension module is being loaded.

    What an extension runs while it starts (onnx's makes Python's enums) often takes no exception,
    nor do the callbacks of the import system: the process would crash, or the interrupt be lost.
    Where the caller, or whoever started the process, has a handler of their own, or ignores
    interrupts, it stays. Call it from the main thread.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    if not _is_loading_extension(frame):
        signal.default_int_handler(number, frame)
    again = threading.Timer(PATIENCE, signal.raise_signal, [number])
    again.daemon = True
    again.start()


def _is_loading_extension(frame: FrameType | None) -> bool:
    if frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        return True
    while frame is not None:
        if frame.f_code.co_name in {"create_module", "exec_module"} and isinstance(
            frame.f_locals.get("self"), ExtensionFileLoader
        ):
            return True
        frame = frame.f_back
    return False
