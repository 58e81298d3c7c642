"""Who may import whom, read from the source of irconv/, passes/ and backends/."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = {"irconv": "irconv", "passes": "irconv.passes", "backends": "irconv.backends"}
HEAVY = ("cuda", "jinja2", "matplotlib", "numba", "onnx", "onnxruntime", "scipy.sparse.linalg")
VAGUE = {"common", "helper", "helpers", "misc", "util", "utilities", "utils"}


@dataclass(frozen=True)
class Import:
    """One imported name: `target` is the longest dotted name that the statement says."""

    module: str  # who imports
    target: str
    where: str  # file:line
    in_function: bool
    for_types_only: bool

    def reaches(self, *packages: str) -> bool:
        return any(_inside(self.target, package) for package in packages)


@dataclass(frozen=True)
class House:
    """All modules (name -> file) and all that they import."""

    modules: dict[str, str]
    imports: tuple[Import, ...]


def _inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def read_house(root: Path) -> House:
    modules: dict[str, str] = {}
    imports: list[Import] = []
    for folder, package in FOLDERS.items():
        for file in sorted((root / folder).rglob("*.py")):
            parts = file.relative_to(root / folder).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join((package, *(parts[:-1] if is_package else parts)))
            label = file.relative_to(root).as_posix()
            modules[name] = label
            reader = _Reader(name, name if is_package else name.rpartition(".")[0], label)
            reader.visit(ast.parse(file.read_bytes(), label))
            imports += reader.found
    return House(modules, tuple(imports))


class _Reader(ast.NodeVisitor):
    def __init__(self, module: str, package: str, label: str) -> None:
        self.module, self.package, self.label = module, package, label
        self.functions = self.type_blocks = 0
        self.found: list[Import] = []

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = node.module or ""
        if node.level:
            parents = self.package.split(".")
            kept = parents[: len(parents) - node.level + 1]
            origin = ".".join([*kept, *([origin] if origin else [])])
        for alias in node.names:
            self._add(origin if alias.name == "*" else f"{origin}.{alias.name}", node.lineno)

    def visit_Call(self, node: ast.Call) -> None:
        """Count `import_module("a.b")` as an import where the name is written out."""
        called = node.func.attr if isinstance(node.func, ast.Attribute) else None
        called = node.func.id if isinstance(node.func, ast.Name) else called
        if called in {"import_module", "__import__"} and node.args:
            match node.args[0]:
                case ast.Constant(value=str(name)):
                    self._add(name, node.lineno)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        types_only = ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        self.type_blocks += types_only
        for child in node.body:
            self.visit(child)
        self.type_blocks -= types_only
        self.visit(node.test)
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self.functions += 1
        self.generic_visit(node)
        self.functions -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 -- ast calls it so
    visit_Lambda = visit_FunctionDef  # noqa: N815 -- ast calls it so

    def _add(self, target: str, line: int) -> None:
        where = f"{self.label}:{line}"
        flags = self.functions > 0, self.type_blocks > 0
        self.found.append(Import(self.module, target, where, *flags))


def wrong_directions(house: House) -> Iterator[str]:
    for used in house.imports:
        if used.reaches("passes", "backends"):
            yield f"{used.where}: bare `{used.target}`: write irconv.{used.target}"
        elif used.reaches(*_forbidden_to(used.module)) and not _own_backend(used):
            yield f"{used.where}: {used.module} must not import {used.target}"


def _forbidden_to(module: str) -> tuple[str, ...]:
    if _inside(module, "irconv.passes"):
        return ("irconv.backends",)
    return ("irconv.passes", "irconv.backends")


def _own_backend(used: Import) -> bool:
    own = ".".join(used.module.split(".")[:3])
    return _inside(own, "irconv.backends") and own.count(".") == 2 and _inside(used.target, own)


def hidden_imports(house: House) -> Iterator[str]:
    for used in house.imports:
        if used.in_function and not used.reaches(*HEAVY):
            yield f"{used.where}: `{used.target}` is imported inside a function"


def vague_names(house: House) -> Iterator[str]:
    for name, label in house.modules.items():
        if name.rpartition(".")[2].lower() in VAGUE:
            yield f"{label}:1: `{name}` says nothing about what is in it"


def import_cycles(house: House) -> Iterator[str]:
    """Name one cycle of each knot in what runs at import; that a package runs first is no edge."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for used in house.imports:
        target = _module_of(used.target, house.modules)
        if target and not used.in_function and not used.for_types_only:
            graph.add_edge(used.module, target, where=used.where)
    for knot in nx.strongly_connected_components(graph):
        part = graph.subgraph(knot)
        if part.number_of_edges():
            edges = nx.find_cycle(part, min(knot))
            yield "cycle: " + ", ".join(f"{part.edges[a, b]['where']} {a} -> {b}" for a, b in edges)


def _module_of(target: str, modules: dict[str, str]) -> str | None:
    """`irconv.graph.Node` is a name in irconv.graph; `irconv.graph` is a module itself."""
    if target in modules:
        return target
    parent = target.rpartition(".")[0]
    return parent if parent in modules else None


RULES = (wrong_directions, hidden_imports, vague_names, import_cycles)


def findings(root: Path) -> list[str]:
    house = read_house(root)
    return [line for rule in RULES for line in rule(house)]


def test_imports_keep_the_rules() -> None:
    house = read_house(ROOT)
    assert {"irconv", "irconv.passes", "irconv.backends"} <= house.modules.keys()
    assert "\n".join(findings(ROOT)) == ""


ALLOWED = {
    "irconv/__init__.py": "from irconv.graph import Graph",
    "irconv/graph.py": "import networkx as nx\nfrom irconv import op"
    "\nif TYPE_CHECKING:\n    from irconv.text import parse",
    "irconv/op.py": "def f():\n    from scipy.sparse import linalg\n    import onnxruntime.capi",
    "irconv/text.py": "import irconv.graph",
    "irconv/registry.py": "def find(name):\n    return import_module('irconv.passes.' + name)",
    "passes/fold.py": "from irconv.graph import Graph",
    "passes/fuse.py": "from .fold import Fold\nfrom irconv.passes.fold import Fold",
    "backends/onnx/__init__.py": "from .write import f\nfrom irconv.backends.onnx import write",
    "backends/onnx/write.py": "import onnx\nfrom irconv.graph import Graph",
}


def _write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_what_the_rules_allow(tmp_path: Path) -> None:
    _write(tmp_path, ALLOWED)
    assert findings(tmp_path) == []


def _loop(first: str, second: str, back: str) -> str:
    return f"cycle: {first} -> {second.split()[1]}, {second} -> {back}"


FORBIDDEN = {
    "core to pass": (
        {"irconv/op.py": "\nfrom irconv.passes.fold import Fold"},
        ["irconv/op.py:2: irconv.op must not import irconv.passes.fold.Fold"],
    ),
    "core to backends, for types": (
        {"irconv/op.py": "if TYPE_CHECKING:\n    from irconv import backends"},
        ["irconv/op.py:2: irconv.op must not import irconv.backends"],
    ),
    "core to pass, relative": (
        {"irconv/op.py": "from .passes import fold"},
        ["irconv/op.py:1: irconv.op must not import irconv.passes.fold"],
    ),
    "core to pass, by its name": (
        {"irconv/op.py": "x = importlib.import_module('irconv.passes.fold')"},
        ["irconv/op.py:1: irconv.op must not import irconv.passes.fold"],
    ),
    "pass to backend": (
        {"passes/fold.py": "from irconv.backends.onnx import write"},
        ["passes/fold.py:1: irconv.passes.fold must not import irconv.backends.onnx.write"],
    ),
    "backend to pass": (
        {"backends/onnx/write.py": "import irconv.passes"},
        ["backends/onnx/write.py:1: irconv.backends.onnx.write must not import irconv.passes"],
    ),
    "backend to backend": (
        {"backends/onnx/write.py": "from .. import b"},
        ["backends/onnx/write.py:1: irconv.backends.onnx.write must not import irconv.backends.b"],
    ),
    "bare name": (
        {"tests/x.py": "import passes", "passes/fold.py": "import passes.fuse"},
        ["passes/fold.py:1: bare `passes.fuse`: write irconv.passes.fuse"],
    ),
    "light import in a function": (
        {"irconv/op.py": "class A:\n    def f(self):\n        import json, onnx"},
        ["irconv/op.py:3: `json` is imported inside a function"],
    ),
    "own module in a function, and only the solver of scipy is heavy": (
        {"irconv/op.py": "async def f():\n    from . import graph\n    import scipy.sparse"},
        [
            "irconv/op.py:2: `irconv.graph` is imported inside a function",
            "irconv/op.py:3: `scipy.sparse` is imported inside a function",
        ],
    ),
    "vague file and folder": (
        {"irconv/ops/util.py": "", "passes/common/__init__.py": ""},
        [
            "irconv/ops/util.py:1: `irconv.ops.util` says nothing about what is in it",
            "passes/common/__init__.py:1: `irconv.passes.common` says nothing about what is in it",
        ],
    ),
    "cycle": (
        {"irconv/a.py": "from irconv.b import x", "irconv/b.py": "\nimport irconv.a"},
        [_loop("irconv/a.py:1 irconv.a", "irconv/b.py:2 irconv.b", "irconv.a")],
    ),
    "cycle through a package": (
        {"irconv/o/__init__.py": "from . import a", "irconv/o/a.py": "from . import Op"},
        [_loop("irconv/o/__init__.py:1 irconv.o", "irconv/o/a.py:1 irconv.o.a", "irconv.o")],
    ),
    "a module that imports itself": (
        {"irconv/a.py": "import irconv.a"},
        ["cycle: irconv/a.py:1 irconv.a -> irconv.a"],
    ),
}


@pytest.mark.parametrize(("files", "expected"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_the_rules_forbid(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    _write(tmp_path, files)
    assert findings(tmp_path) == expected
