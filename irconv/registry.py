"""Finds families of ops, passes and backends by file name, and those of other packages by entry
point.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from irconv.errors import IrconvError, printable
from irconv.op import Op

_plugins: list[ModuleType] = []


def register_plugin(module: ModuleType) -> None:
    """Makes the passes, ops and backends that `module` defines known by their names."""
    _plugins.append(module)
    ops.cache_clear()
    passes.cache_clear()
    backends.cache_clear()


def plugin_files() -> tuple[Path, ...]:
    """The files of the plugins that were loaded."""
    return tuple(Path(m.__file__) for m in _plugins if m.__file__ is not None)


@cache
def ops() -> dict[str, type[Op]]:
    """All op classes by name."""
    modules = [*_modules("irconv.ops"), *_plugins]
    return {c.__name__: c for m in modules for c in _classes(m, Op)}


@cache
def passes() -> dict[str, type[Any]]:
    """All pass classes by the name of their file."""
    return _found("irconv.passes", "run")


@cache
def backends() -> dict[str, type[Any]]:
    """All backend classes by the name of their folder."""
    return _found("irconv.backends", "compile")


def backend_class(name: str) -> type[Any] | None:
    """The backend called `name`; of our own backends only its folder is imported."""
    if name in _module_names("irconv.backends"):
        return _own(_module("irconv.backends", name), "compile")
    return backends().get(name)


def _found(group: str, method: str) -> dict[str, type[Any]]:
    """The classes called as their modules in the package `group`, and those of other packages."""
    own = [_own(module, method) for module in _modules(group)]
    found = {cls.name: cls for cls in own if cls is not None}
    for cls in _foreign(group, method):
        found.setdefault(cls.name, cls)
    return dict(sorted(found.items()))


def _own(module: ModuleType, method: str) -> type[Any] | None:
    name = module.__name__.rpartition(".")[2]
    return next(
        (
            c
            for c in _classes(module, object)
            if getattr(c, "name", None) == name and hasattr(c, method)
        ),
        None,
    )


def _module_names(package_name: str) -> list[str]:
    package = importlib.import_module(package_name)
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


def _module(package_name: str, name: str) -> ModuleType:
    return importlib.import_module(f"{package_name}.{name}")


def _modules(package_name: str) -> list[ModuleType]:
    return [_module(package_name, name) for name in _module_names(package_name)]


def _classes(module: ModuleType, base: type) -> list[type[Any]]:
    """The public classes that `module` itself defines (or a backend's folder re-exports)."""
    return [
        c
        for name, c in vars(module).items()
        if inspect.isclass(c)
        and issubclass(c, base)
        and not name.startswith("_")
        and (c.__module__ == module.__name__ or c.__module__.startswith(module.__name__ + "."))
    ]


def _foreign(group: str, method: str) -> list[type[Any]]:
    classes = [entry.load() for entry in entry_points(group=group)]
    classes += [c for m in _plugins for c in _classes(m, object)]
    return [c for c in classes if isinstance(getattr(c, "name", None), str) and hasattr(c, method)]


def nearest(name: str, known: list[str]) -> str:
    """A hint that names what is close to `name` among `known`, or all of them."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(map(printable, close)) + "?"
    return "known: " + ", ".join(map(printable, known))


def first_sentence(thing: object) -> str:
    """The first sentence of a docstring; it is the help."""
    text = inspect.getdoc(thing)
    if not text:
        raise IrconvError("no docstring", where=str(thing))
    return " ".join(text.split("\n\n")[0].split())
