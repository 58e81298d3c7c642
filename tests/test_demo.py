"""The demo: four forms, all backends, one accuracy; and the files it leaves."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner, Result

from irconv.cli import app
from irconv.demo import FORMS, Score, demo_backends, faults
from irconv.demo_data import load_test_set

README = Path(__file__).parent.parent / "README.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "made"


@pytest.fixture(scope="module")
def shown(folder: Path) -> Result:
    """The demo as a user sees it, run once."""
    done = CliRunner().invoke(app, ["demo", "--out", str(folder)])
    assert done.exit_code == 0, (done.stderr, done.exception)
    return done


def test_it_shows_the_graph_and_what_each_pass_changed(shown: Result) -> None:
    assert "%conv4 = Conv(%relu3, %conv4.weight)" in shown.stdout
    assert shown.stdout.count("pass ") >= len(FORMS)
    assert "im2col: -4 Conv  +4 FusedMatMul  +4 Im2Col  +4 Reshape" in shown.stdout
    assert "+4 ConvMatrix" in shown.stdout


def test_every_form_is_as_accurate_on_every_backend(shown: Result) -> None:
    rows = re.findall(
        r"^(.+?)  +(\S+)(?: \(onnxruntime\))? +(\d+\.\d+)% +(\S+) +\S+$", shown.stdout, re.MULTILINE
    )
    table = {(form, backend): (float(a), float(d)) for form, backend, a, d in rows}
    expected = {(form, backend) for form in FORMS for backend in demo_backends()}
    assert table.keys() == expected | {("as imported", "interpret")}
    assert {accuracy for accuracy, _ in table.values()} == {99.78}
    assert max(difference for _, difference in table.values()) < 1e-5
    assert "onnx" in demo_backends()


@pytest.mark.parametrize("form", FORMS)
def test_the_exported_models_are_as_accurate_in_onnxruntime(
    shown: Result, folder: Path, form: str
) -> None:
    path = folder / f"digits_{form.replace(' ', '_')}.onnx"
    assert f"wrote {path}" in shown.stdout
    images, labels = load_test_set()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (prob,) = session.run(None, {"image": images.astype(np.float32)})
    assert float(np.mean(prob.argmax(1) == labels)) == pytest.approx(449 / 450)


def test_the_readme_shows_what_the_demo_prints(shown: Result, folder: Path) -> None:
    (block,) = re.findall(
        r"^\$ make demo\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL
    )
    printed = {
        _shape(line) for line in shown.stdout.replace(str(folder), "irconv-demo").split("\n")
    }
    assert [x for x in block.splitlines() if x != "..." and _shape(x) not in printed] == []


def _shape(line: str) -> str:
    """A line without its measured numbers and the space that they take."""
    return " ".join(re.sub(r"\d+(\.\d+)?(e-\d+)?", "#", line).split())


GOOD = Score("as imported", "interpret", 0.9978, 0.0, 1e-6)


def test_it_fails_where_a_form_is_less_accurate() -> None:
    assert faults([GOOD, GOOD]) == []
    (fault,) = faults([GOOD, replace(GOOD, form="fused", backend="numba_cpu", accuracy=0.99)])
    assert fault == "fused on numba_cpu: accuracy 99.00% is not the interpreter's 99.78%"
    (fault,) = faults([replace(GOOD, accuracy=0.97)])
    assert fault == "accuracy 97.00% is below 98%"


def test_a_failed_demo_has_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irconv.commands.demo.faults", lambda _: ["this went wrong"])
    monkeypatch.setattr("irconv.demo.FORMS", {"fused": "fuse"})
    monkeypatch.setattr("irconv.demo.SHOWN_BACKENDS", ("onnx",))
    done = CliRunner().invoke(app, ["demo", "--json", "--out", str(tmp_path)])
    assert done.exit_code == 1
    assert done.stderr.endswith("error[numerics]: this went wrong\n")
