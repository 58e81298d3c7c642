"""Every example runs, and the pictures in docs/views are what the examples draw."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import irconv as ic
from irconv.views import ConvLayer, Picture
from tests.test_views_filters import images

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "views.md"
FOLDER = ROOT / "docs" / "views"
# trains with torch, and writes no picture
OTHERS = {"train_digits"}
NAMES = sorted({f.stem for f in (ROOT / "examples").glob("*.py")} - OTHERS)
LARGEST = 200_000


@cache
def example(name: str) -> ModuleType:
    spec = spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def drawn(name: str) -> dict[str, Picture]:
    if name == "edge_filter":
        pytest.importorskip("sklearn", reason="the photograph comes with scikit-learn")
        pytest.importorskip("PIL", reason="scikit-learn reads its photograph with Pillow")
    found: dict[str, Picture] = example(name).pictures()
    return found


def facts(svg: str) -> list[tuple[str, dict[str, str]]]:
    """What a picture says, layout and style aside: its title, and the data of all its elements."""
    root = ET.fromstring(svg)
    found = [(e.tag, {k: v for k, v in e.attrib.items() if k[:5] == "data-"}) for e in root.iter()]
    title = next(e.text or "" for e in root.iter() if e.tag.endswith("title"))
    return [("title", {"text": title}), *((tag, data) for tag, data in found if data)]


def assert_same_facts(found: str, saved: str, where: str) -> None:
    """Equal, but for numbers that another processor rounds otherwise."""
    for (tag, data), (other, expected) in zip(facts(found), facts(saved), strict=True):
        assert (tag, sorted(data)) == (other, sorted(expected)), where
        for key, value in data.items():
            if key == "data-v":
                near = pytest.approx(float(expected[key]), rel=1e-3, abs=1e-5, nan_ok=True)
                assert float(value) == near, where
            else:
                assert value == expected[key], where
    for a, b in zip(images(found), images(saved), strict=True):
        assert np.abs(a.astype(int) - b).max() <= 3, where


@pytest.mark.parametrize("name", NAMES)
def test_the_pictures_are_what_the_example_draws(name: str) -> None:
    for file, picture in drawn(name).items():
        saved = (FOLDER / f"{file}.svg").read_text(encoding="utf-8")
        assert_same_facts(picture.svg, saved, f"{file}.svg: run examples/{name}.py")
        assert len(saved) < LARGEST


def test_every_picture_has_an_example_and_a_place_on_the_page() -> None:
    files = {f.stem for f in FOLDER.iterdir()}
    sources = "".join((ROOT / "examples" / f"{name}.py").read_text() for name in NAMES)
    assert {f for f in files if f'"{f}":' not in sources} == set()
    page = PAGE.read_text()
    assert set(re.findall(r"\]\(views/(\w+)\.svg\)", page)) == files
    assert set(re.findall(r"\]\(\.\./examples/(\w+)\.py\)", page)) == set(NAMES)
    anchors = {re.sub(r"[^\w -]", "", h).lower().replace(" ", "-")
               for h in re.findall(r"^## (.*)$", page, re.MULTILINE)}  # fmt: skip
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors


def test_an_example_is_a_script(tmp_path: Path) -> None:
    script = ROOT / "examples" / "how_far.py"
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-W", "error", script, tmp_path]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert sorted(f.name for f in tmp_path.iterdir()) == [
        "receptive_field.svg",
        "receptive_field_alexnet.svg",
    ]
    assert "2n+1" not in done.stdout
    assert f"wrote {tmp_path.resolve() / 'receptive_field.svg'}: " in done.stdout
    table = done.stdout[: done.stdout.index("\nprob ")]
    shown = re.findall(r"^```\n(node .*?)```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert table.startswith(shown[0].rstrip("\n"))


@pytest.mark.parametrize(
    ("name", "module", "wanted"),
    [
        ("edge_filter", "sklearn", "'.[examples]'"),
        ("edge_filter", "PIL", "'.[examples]'"),
        ("train_digits", "torch", "torch '.[examples]'"),
    ],
)
def test_an_example_says_what_it_needs(name: str, module: str, wanted: str) -> None:
    code = f"import runpy, sys; sys.modules[{module!r}] = None; runpy.run_path(sys.argv[1])"
    script = ROOT / "examples" / f"{name}.py"
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code, script]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    told = f"{module} is missing; in a checkout: pip install {wanted}\n"
    assert (done.returncode, done.stderr) == (1, told)


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(words, env=env, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "conv2.svg").stat().st_size > 1000


def test_the_small_filter_has_the_matrix_of_the_page() -> None:
    layer = ConvLayer.of(example("matrix_of_a_filter").layer())
    a, b, c, d = layer.weights.reshape(-1).tolist()
    assert layer.matrix.dense().tolist() == [
        [a, b, 0, c, d, 0, 0, 0, 0],
        [0, a, b, 0, c, d, 0, 0, 0],
        [0, 0, 0, a, b, 0, c, d, 0],
        [0, 0, 0, 0, a, b, 0, c, d],
    ]


def test_the_padded_filter_keeps_the_size() -> None:
    layer = ConvLayer.of(example("same_size").layer())
    assert layer.out_shape == layer.in_shape
    weights = (layer.matrix.dense() != 0).sum(1).reshape(3, 3)
    assert weights.tolist() == [[4, 6, 4], [6, 9, 6], [4, 6, 4]]


def test_the_curve_is_found_where_it_is() -> None:
    picture = drawn("curve_detector")["curve_detector"]
    (answers,) = picture.data["maps"]  # type: ignore[misc]
    curve = example("curve_detector").drawn(example("curve_detector").CURVE)
    assert answers[4, 5] == answers.max() == 30 * 50 * curve.sum()
    answers[4, 5] = 0
    assert answers.max() < 0.5 * 30 * 50 * curve.sum()


def test_the_face_is_found_once_and_only_whole() -> None:
    smile = example("smile")
    graph, face = smile.network(), smile.face()
    found = ic.interpret(graph, {"image": face[None]})["face"]
    assert np.argwhere(found[0, 0]).tolist() == [[1, 2]]
    for lost in ((slice(2, 4), slice(3, 5)), (slice(2, 4), slice(7, 9)), (8, slice(4, 8))):
        part = face.copy()
        part[(0, *lost)] = 0
        assert not ic.interpret(graph, {"image": part[None]})["face"].any()


def test_a_step_of_descent_keeps_what_is_shared_and_what_is_zero() -> None:
    gradient_step = example("gradient_step")
    x, wanted = gradient_step.problem()
    start = ConvLayer.of(gradient_step.layer(np.array([0.5, -1.0, 2.0, 1.5], np.float32))).matrix
    after, loss = gradient_step.step(start, x, wanted)
    places = start.with_weights(np.arange(1, 5, dtype=np.float32)).dense()
    dense = after.dense()
    assert not dense[places == 0].any()
    for place in range(1, 5):
        assert set(dense[places == place]) == {after.weights.reshape(-1)[place - 1]}
    # against differences of the loss, one free weight at a time
    for k in range(4):
        moved = start.weights.astype(np.float64).reshape(-1)
        moved[k] += 1e-6
        error = start.with_weights(moved).dense().astype(np.float64) @ x - wanted
        slope = (0.5 * float(error @ error) - loss) / 1e-6
        step = float((start.weights - after.weights).reshape(-1)[k]) / gradient_step.RATE
        assert step == pytest.approx(slope, rel=1e-4, abs=1e-4)
    assert gradient_step.step(after, x, wanted)[1] < loss


def test_dense_layers_hold_most_of_alexnets_weights() -> None:
    steps = drawn("architectures")["alexnet"].data["steps"]
    dense = sum(s.weights for s in steps if s.kind == "dense")  # type: ignore[attr-defined]
    assert round(dense / 1e6, 1) == 58.6
