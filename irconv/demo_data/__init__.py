"""The trained digit classifier of the demo and the held-out images that it never saw."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def model_path() -> Path:
    """The ONNX file: input `image` float32 `[N, 1, 8, 8]` (0..16), output `prob` `[N, 10]`."""
    return Path(str(files(__name__) / "digits.onnx"))


def load_test_set() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The 450 held-out images, uint8 `[450, 1, 8, 8]` with values 0..16, and labels `[450]`."""
    file = files(__name__) / "digits_test.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        return arrays["images"].astype(np.uint8), arrays["labels"].astype(np.int64)
