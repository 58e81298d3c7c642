"""A compiler for convolutional networks: small graphs, visible passes, three lowered forms."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

__version__ = "0.1.0"


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

# The public face: imports below this line, each name also in __all__.

__all__ = ["__version__"]
