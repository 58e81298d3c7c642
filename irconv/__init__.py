"""A compiler for convolutional networks: small graphs, visible passes, three lowered forms."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

from irconv import errors
from irconv.executable import compile  # noqa: A004 - the public name, as in torch.compile
from irconv.graph import Graph
from irconv.interpret import interpret
from irconv.pipeline import lower
from irconv.text import parse
from irconv.verify import verify

if TYPE_CHECKING:
    from irconv import onnx_backend, views, zoo
    from irconv.analysis.report import matrix_report
    from irconv.builder import Builder
    from irconv.export import export_onnx
    from irconv.inspector.bisect import bisect
    from irconv.inspector.reproducer import save_reproducer
    from irconv.inspector.trace import trace
    from irconv.onnx_import import load

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "Builder",
    "Graph",
    "bisect",
    "compile",
    "errors",
    "export_onnx",
    "interpret",
    "load",
    "lower",
    "matrix_report",
    "onnx_backend",
    "parse",
    "save_reproducer",
    "trace",
    "verify",
    "views",
    "zoo",
]


# In a checkout `passes/` and `backends/` stand beside this folder, not in it. Appending the
# checkout to `__path__` would also make irconv.irconv and irconv.tests importable, as second
# copies, so a finder answers for these two names only. It comes first because an editable
# install of another checkout may have a finder of its own for the same names.
class _CheckoutFinder:
    _root = Path(__file__).parent.parent

    @classmethod
    def find_spec(cls, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name not in {"irconv.passes", "irconv.backends"}:
            return None
        folder = cls._root / name.removeprefix("irconv.")
        return spec_from_file_location(name, folder / "__init__.py")


if (_CheckoutFinder._root / "pyproject.toml").is_file() and not (
    Path(__file__).with_name("passes").exists()
):
    sys.meta_path.insert(0, _CheckoutFinder)


# Names whose modules read ONNX, or that not every program needs, are imported when first asked for.
_LATER = {
    "Builder": "irconv.builder",
    "bisect": "irconv.inspector.bisect",
    "export_onnx": "irconv.export",
    "load": "irconv.onnx_import",
    "matrix_report": "irconv.analysis.report",
    "onnx_backend": "irconv.onnx_backend",
    "save_reproducer": "irconv.inspector.reproducer",
    "trace": "irconv.inspector.trace",
    "views": "irconv.views",
    "zoo": "irconv.zoo",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'irconv' has no attribute {name!r}")
    module = import_module(_LATER[name])
    found = module if module.__name__ == f"irconv.{name}" else getattr(module, name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
