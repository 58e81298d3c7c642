"""The built wheel, installed outside the checkout, and the checkout, used without an install."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

import irconv

ROOT = Path(__file__).parent.parent
FOLDERS = {"irconv": "irconv", "passes": "irconv/passes", "backends": "irconv/backends"}
PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE")
WHERE_FROM = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.import_module(name).__file__
    except ModuleNotFoundError as error:
        found[name] = f"no module {error.name}"
print(json.dumps(found))
"""


def _python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    """Run this Python without the caller's import path; give back what it printed."""
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONSAFEPATH"}}
    env |= {"PYTHONDONTWRITEBYTECODE": "1"} | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _where_from(*names: str, cwd: Path, path: Path | None = None) -> dict[str, str]:
    found: dict[str, str] = json.loads(_python("-c", WHERE_FROM, *names, cwd=cwd, path=path))
    return found


def _shipped_files() -> dict[str, Path]:
    """Give each file of the three folders under the name it must have in the wheel."""
    return {
        f"{place}/{file.relative_to(ROOT / folder).as_posix()}": file
        for folder, place in FOLDERS.items()
        for file in sorted((ROOT / folder).rglob("*"))
        if file.is_file() and not any(_is_by_product(p) for p in file.relative_to(ROOT).parts)
    }


def _is_by_product(part: str) -> bool:
    return part == "__pycache__" or part.startswith(".")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: a build in place would pack what an earlier one left in build/."""
    source = tmp_path_factory.mktemp("source")
    for name in PROJECT_FILES:
        shutil.copy(ROOT / name, source)
    for folder in FOLDERS:
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    out = tmp_path_factory.mktemp("wheel")
    pip = ("-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    _python(*pip, "--wheel-dir", str(out), ".", cwd=source)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile")
    _python(*pip, "--target", str(target), str(wheel), cwd=target)
    return target


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_package_list_equals_the_disk() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {name.rpartition("/")[0] for name in _shipped_files()}
    assert settings["packages"] == sorted(folder.replace("/", ".") for folder in folders)


def test_every_folder_of_code_is_a_package() -> None:
    files = _shipped_files()
    folders = {name.rpartition("/")[0] for name in files if name.endswith(".py")}
    assert [f for f in sorted(folders) if f"{f}/__init__.py" not in files] == []


def test_wheel_holds_every_file_and_one_top_level_name(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"irconv-{irconv.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"irconv", info}
    assert {name for name in names if not name.startswith(info)} == set(_shipped_files())
    assert f"{info}/licenses/LICENSE" in names


def test_wheel_metadata(metadata: Message) -> None:
    assert metadata["Name"] == "irconv"
    assert metadata["Version"] == irconv.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "bench",
        "cuda",
        "examples",
        "viz",
        "dev",
    }
    assert metadata["Description-Content-Type"] == "text/markdown"


def test_core_dependencies(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = "jinja2 networkx numba numpy onnx onnxruntime platformdirs protobuf rich scipy typer"
    assert sorted(line.split(">=")[0] for line in needed) == names.split()


def test_installed_wheel_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    names = ("irconv", "irconv.passes", "irconv.backends", "passes", "backends", "irconv.tests")
    assert _where_from(*names, cwd=tmp_path, path=installed) == {
        "irconv": str(installed / "irconv/__init__.py"),
        "irconv.passes": str(installed / "irconv/passes/__init__.py"),
        "irconv.backends": str(installed / "irconv/backends/__init__.py"),
        "passes": "no module passes",
        "backends": "no module backends",
        "irconv.tests": "no module irconv.tests",
    }
    assert (installed / "irconv/py.typed").is_file()


def test_installed_wheel_beside_a_strangers_project(installed: Path, tmp_path: Path) -> None:
    """Find the wheel's own passes, even unpacked where a pyproject.toml and passes/ stand."""
    shutil.copytree(installed / "irconv", tmp_path / "irconv")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "passes").mkdir()
    (tmp_path / "passes/__init__.py").touch()
    found = _where_from("irconv.passes", cwd=tmp_path)
    assert found == {"irconv.passes": str(tmp_path / "irconv/passes/__init__.py")}


def test_checkout_needs_no_install() -> None:
    names = ("irconv", "irconv.passes", "irconv.backends", "irconv.irconv", "irconv.tests")
    assert _where_from(*names, cwd=ROOT) == {
        "irconv": str(ROOT / "irconv/__init__.py"),
        "irconv.passes": str(ROOT / "passes/__init__.py"),
        "irconv.backends": str(ROOT / "backends/__init__.py"),
        "irconv.irconv": "no module irconv.irconv",
        "irconv.tests": "no module irconv.tests",
    }


def test_checkout_wins_over_the_editable_install_of_another(tmp_path: Path) -> None:
    """Do as setuptools' editable finder does, for a checkout that is not this one."""
    code = f"""
import sys
from importlib.util import spec_from_file_location
class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "irconv.passes":
            return spec_from_file_location(name, {str(tmp_path / "__init__.py")!r})
sys.meta_path.append(Finder)
import irconv.passes
print(irconv.passes.__file__)
"""
    (tmp_path / "__init__.py").touch()
    assert _python("-c", code, cwd=ROOT).strip() == str(ROOT / "passes/__init__.py")


def test_checkout_pickles_across_processes(tmp_path: Path) -> None:
    """Send a class of irconv.passes to a spawned process, which must find the same module."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "irconv", copy / "irconv", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "pyproject.toml").touch()
    (copy / "passes").mkdir()
    (copy / "passes/__init__.py").touch()
    (copy / "passes/probe.py").write_text("class Probe:\n    pass\n")
    (copy / "main.py").write_text(
        "import multiprocessing\n"
        "from irconv.passes.probe import Probe\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(type(pool.apply(Probe)) is Probe)\n"
    )
    assert _python("main.py", cwd=copy).strip() == "True"
