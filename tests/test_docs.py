"""The documents: every Python example runs, the picture is what its script draws."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from irconv import errors
from irconv.cli import COMMANDS, app

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\S+\.py)\n")


def blocks(document: str) -> list[str]:
    return BLOCK.findall((ROOT / document).read_text())


def python(code: str, cwd: Path, checkout: Path) -> str:
    """Run an example as a user would, warnings being errors."""
    env = dict(os.environ) | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    words = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, with the files that CONTRIBUTING.md tells the reader to add."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("irconv", "passes", "backends"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    for block in blocks("CONTRIBUTING.md"):
        named = FILE.match(block)
        if named is not None:
            place = copy / named[1]
            place.parent.mkdir(exist_ok=True)
            assert not place.exists()
            place.write_text(block.removeprefix(named[0]))
    return copy


def test_the_readme_example_has_about_15_lines_and_runs(tmp_path: Path) -> None:
    (example,) = blocks("README.md")
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) <= 15
    printed = python(example, tmp_path, ROOT)
    assert "numba_cpu" in printed
    assert (tmp_path / "net.onnx").stat().st_size > 10_000


def test_the_examples_of_contributing_run(tmp_path: Path, checkout: Path) -> None:
    files = {m[1] for m in map(FILE.match, blocks("CONTRIBUTING.md")) if m}
    assert files == {
        "irconv/ops/threshold.py",
        "passes/split_threshold.py",
        "backends/lines/__init__.py",
    }
    uses = [b for b in blocks("CONTRIBUTING.md") if not FILE.match(b)]
    assert len(uses) == 3
    for use in uses:
        python(use, tmp_path, checkout)


def test_what_contributing_adds_is_listed(tmp_path: Path, checkout: Path) -> None:
    code = "import irconv.cli; irconv.cli.app(['list', '--json'])"
    printed = python(code, tmp_path, checkout)
    for name, sentence in (
        ("SoftThreshold", "Moves each element towards zero by `threshold`, and stops there."),
        ("split_threshold", "Writes a soft threshold in ops that every backend has."),
        ("lines", "Emits a graph as straight-line Python that calls each op."),
    ):
        assert f'"{name}": "{sentence}"' in printed


def test_what_contributing_adds_is_as_clean_as_the_rest(checkout: Path) -> None:
    files = [m[1] for m in map(FILE.match, blocks("CONTRIBUTING.md")) if m]
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        pytest.skip("ruff is not installed")
    words = [ruff, "format", "--check", "--config", "pyproject.toml", *files]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    words = [ruff, "check", "--config", "pyproject.toml", "--ignore", "S102", *files]
    done = subprocess.run(words, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_picture_is_what_its_script_draws(tmp_path: Path) -> None:
    drawn = tmp_path / "matrix_view.svg"
    script = ROOT / "docs" / "draw_matrix_view.py"
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script, "--output", drawn], env=env, check=True)
    assert drawn.read_bytes() == (ROOT / "docs" / "matrix_view.svg").read_bytes()
    cells = list(ET.parse(drawn).getroot().iter("{http://www.w3.org/2000/svg}rect"))
    assert [cell.get("class") for cell in cells].count("cell zero") == 4 * 9 - 4 * 4
    assert sum("data-w" in cell.attrib for cell in cells) == 4 + 4 * 4


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (ROOT / link.partition("#")[0]).exists()] == []


def test_the_commands_of_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text()
    named = set(re.findall(r"^irconv (\w+) (?: |model)", text, re.MULTILINE))
    assert named == set(COMMANDS) - {"demo"}


ERRORS = ROOT / "docs" / "errors.md"
SAVED = {
    "operands.ir": "graph @g(%x: f32[2]) -> (%y: f32[2]) {\n  %y = Relu(%x, %x) : f32[2]\n}\n",
    "types.ir": "graph @g(%x: f32[2]) -> (%y: f32[3]) {\n  %y = Relu(%x) : f32[3]\n}\n",
    "page.onnx": "<html>not found</html>",
}


def test_the_page_of_errors_shows_the_files_that_it_names() -> None:
    page = ERRORS.read_text("utf-8")
    for name, text in SAVED.items():
        assert f"`{name}`" in page
        assert text in page


def test_every_error_has_its_section() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type)]
    family = [k for k in kinds if issubclass(k, errors.IrconvError) and k is not errors.IrconvError]
    page = ERRORS.read_text("utf-8")
    for kind in family:
        assert f"\n## {kind.code}\n\n`{kind.__name__}`, status {kind.exit_status}: " in page
    assert set(re.findall(r"^## ([a-z]+)$", page, re.MULTILINE)) == {k.code for k in family}


@pytest.mark.parametrize(
    ("command", "told"),
    re.findall(r"^\$ irconv (.*)\n(error.*)$", ERRORS.read_text("utf-8"), re.MULTILINE),
)
def test_the_errors_are_told_as_the_page_says(
    command: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in SAVED.items():
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, shlex.split(command), prog_name="irconv")
    assert done.stderr.splitlines()[-1] == told
    assert done.exit_code == 2
