"""`irconv bisect`, its reproducers, and those that a failing pass leaves behind."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import irconv as ic
from irconv.errors import ModelError, PassError, UsageError
from irconv.inspector.reproducer import replay, save_reproducer
from irconv.ir_files import load_ir, save_ir
from irconv.pipeline import lower
from tests.bisect_cases import WRONG, irconv, network, network_file, replayed
from tests.wrong_passes import RefuseStride

PLUGIN = ("--plugin", WRONG)


def bisected(folder: Path, model: str, pipeline: str, *more: object) -> dict[str, object]:
    done = irconv("bisect", model, "-p", pipeline, "-o", folder, "--json", *more, *PLUGIN, status=1)
    found = json.loads(done.stdout)["finding"]
    assert isinstance(found, dict)
    return found


# -- what the issue asks for ---------------------------------------------------------------------


def shell(*words: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as its users run it."""
    # one thread of BLAS: two of them wait for each other where the other workers keep the cores
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(WRONG.parent.parent)}
    command = [sys.executable, "-m", "irconv", *map(str, words)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_wrong_rewrite_of_resnet50_is_found_and_its_reproducer_replays(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    pipeline = "canonicalize,fold,fold_batchnorm,forget_relu,fuse,im2col"
    model = ("light:resnet50", "--random-weights", 0)
    done = shell("bisect", *model, "-p", pipeline, "-o", folder, "--json", *PLUGIN)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)["finding"]
    assert (found["index"], found["pass"], found["kind"]) == (4, "forget_relu", "numerics")
    assert (found["rule"], found["rewrite"], found["rewrites"]) == ("fuse_relu", 17, 33)
    assert found["source"].startswith("tests/wrong_passes.py:")
    assert found["nodes"] == [123, 2]
    assert [n.op.name for n in load_ir(folder / "graph.ir")] == ["Conv", "Relu"]
    again = shell(*shlex.split(found["command"])[1:])
    assert again.returncode == 1
    assert again.stdout.startswith("pass forget_relu fails as it did: an output moved by")


# -- the command ---------------------------------------------------------------------------------


def test_what_is_found_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = network_file(tmp_path)
    done = irconv("bisect", model, "-p", "fold,forget_relu", *PLUGIN, status=1)
    lines = done.stdout.splitlines()
    told = {line.split()[0]: line for line in lines if line.strip()}
    assert told["fold"].split() == ["fold", "0.0e+00"]
    assert told["rewrite"].startswith("rewrite  4 of 6: fuse_relu (tests/wrong_passes.py:")
    assert told["rewrite"].endswith("on %relu2")
    assert told["graph"] == "graph    shrunk from 25 nodes to 2: %out1: f32[1, 1, 1, 1]"
    assert told["folder"] == "folder   reproducer-forget_relu"
    assert done.stderr.splitlines()[-1] == (
        "error[bisect]: pass forget_relu, rule fuse_relu is at fault"
    )
    # a second one does not overwrite the first
    irconv("bisect", model, "-p", "fold,forget_relu", *PLUGIN, status=1)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [
        "reproducer-forget_relu",
        "reproducer-forget_relu-2",
    ]


def test_a_right_pipeline_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = network_file(tmp_path)
    done = irconv("bisect", model, "-p", "fold,fuse,im2col")
    assert done.stdout.splitlines()[-1] == "no pass moves an output by more than 0.001"
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []


def test_onnxruntime_is_a_reference(tmp_path: Path) -> None:
    model = str(tmp_path / "net.onnx")
    ic.export_onnx(network(), model)
    against = ("--against", "onnxruntime")
    assert irconv("bisect", model, "-p", "fold,fuse", *against).stdout.endswith("0.001\n")
    found = bisected(tmp_path / "found", model, "fold,forget_relu", *against)
    assert (found["rule"], found["nodes"]) == ("fuse_relu", [25, 2])


def test_a_check_that_proves_nothing_fails(tmp_path: Path) -> None:
    model = network_file(tmp_path)
    done = irconv("bisect", model, "-p", "fold", "--tolerance", 0.5, status=1)
    assert "error[numerics]: the check is void: a second input moves an output by" in done.stderr


MISTAKES = {
    "no model": ([], "a MODEL and a --pipeline are needed"),
    "no pipeline": (["zoo:lenet5"], "a MODEL and a --pipeline are needed"),
    "reference": (["zoo:lenet5", "-p", "fold", "--against", "torch"], "unknown reference"),
    "tolerance": (["zoo:lenet5", "-p", "fold", "--tolerance", "nan"], "wrong --tolerance"),
    "pass": (["zoo:lenet5", "-p", "fuze"], "unknown pass fuze (did you mean fuse?)"),
    "folder": (["zoo:lenet5", "-p", "fold", "-o", "."], "the folder of the reproducer is taken"),
    "replay": (["--replay", "nowhere"], "nowhere: not the folder of a reproducer"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_request_is_one_line(words: list[str], message: str) -> None:
    done = irconv("bisect", *words, "--quiet", status=2)
    (line,) = done.stderr.splitlines()
    assert message in line
    assert done.stdout == ""


# -- the folder ----------------------------------------------------------------------------------


def test_a_reproducer_holds_all_that_a_replay_needs(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    model = network_file(tmp_path)
    found = bisected(folder, model, "fold,forget_relu", "--seed", 3)
    names = {"README.txt", "graph.ir", "graph.npz", "inputs.npz", "plugin.py", "reproducer.json"}
    assert {p.name for p in folder.iterdir()} == names
    facts = json.loads((folder / "reproducer.json").read_text())
    assert (facts["pipeline"], facts["seed"], facts["tolerance"]) == ("forget_relu", 3, 1e-3)
    assert {"python", "numpy", "onnxruntime"} <= facts["versions"].keys()
    assert facts["replays"] is True
    assert facts["command"] == found["command"]
    assert facts["origin"].startswith(f"irconv bisect {model} -p fold,forget_relu --against")
    assert facts["inputs"] == ["out1"]
    with np.load(folder / "inputs.npz", allow_pickle=False) as arrays:
        assert arrays["input0"].shape == (1, 1, 1, 1)
    readme = (folder / "README.txt").read_text()
    assert facts["command"] in readme
    assert "fuse_relu (tests/wrong_passes.py:" in readme


def test_a_fault_that_is_mended_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    bisected(folder, network_file(tmp_path), "fold,forget_relu")
    plugin = folder / "plugin.py"
    text = plugin.read_text()
    assert "None if forgotten else Relu()" in text
    plugin.write_text(text.replace("None if forgotten else Relu()", "Relu()"))
    assert replayed(folder, status=0) == "pass forget_relu: the fault is gone\n"
    plugin.write_text(text.replace("op = conv.op", "op = 1 / 0"))
    assert replayed(folder).startswith(
        "pass forget_relu fails in another way: the pass failed: div"
    )


def test_a_replay_without_its_plugin_names_the_pass(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    bisected(folder, network_file(tmp_path), "fold,forget_relu")
    done = irconv("bisect", "--replay", folder, status=2)
    assert "unknown pass forget_relu" in done.stderr


BROKEN = {
    "no facts": ("reproducer.json", None),
    "no JSON": ("reproducer.json", b"{"),
    "a list": ("reproducer.json", b"[]"),
    "another version": ("reproducer.json", b'{"version": 99}'),
    "no fault": ("reproducer.json", b'{"version": 1}'),
    "no inputs": ("inputs.npz", None),
    "not an archive": ("inputs.npz", b"nothing"),
    "an archive cut off": ("inputs.npz", b"PK\x03\x04cut"),
}


@pytest.mark.parametrize(("file", "content"), BROKEN.values(), ids=BROKEN)
def test_a_broken_folder_is_refused(tmp_path: Path, file: str, content: bytes | None) -> None:
    with pytest.raises(PassError) as caught:
        lower(network(), [RefuseStride()])
    folder = save_reproducer(caught.value, tmp_path / "found")
    facts = json.loads((folder / "reproducer.json").read_text())
    (folder / "reproducer.json").write_text(json.dumps(facts | {"pipeline": "fold"}))
    replay(folder)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    with pytest.raises(ModelError, match="not the folder of a reproducer"):
        replay(folder)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"pipeline": "fold,fuse"}, "has not one pass"),
        ({"pipeline": ""}, "has not one pass"),
        ({"tolerance": "nan"}, "a tolerance from 0"),
        ({"tolerance": -1}, "a tolerance from 0"),
        ({"tolerance": "x"}, "could not convert"),
        ({"fault": None}, "NoneType"),
    ],
)
def test_changed_facts_are_refused(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(PassError) as caught:
        lower(network(), [RefuseStride()])
    folder = save_reproducer(caught.value, tmp_path / "found")
    facts = json.loads((folder / "reproducer.json").read_text()) | {"pipeline": "fold"}
    (folder / "reproducer.json").write_text(json.dumps(facts | changed))
    with pytest.raises(ModelError, match=told) as refused:
        replay(folder)
    assert "lacks" not in str(refused.value)


# -- a pass that fails in another command ----------------------------------------------------------


def test_a_failing_pass_leaves_a_reproducer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = network_file(tmp_path)
    for command in (
        ("opt", model, "-p", "fold,refuse_stride,fuse", "-o", "-"),
        ("run", model, "-b", "interpret", "-p", "fold,refuse_stride"),
        ("export", model, "-p", "refuse_stride", "-o", "out.onnx"),
        ("check", model, "-p", "refuse_stride", "--max-error", 1),
    ):
        done = irconv(*command, "--quiet", *PLUGIN, status=1)
        (line,) = done.stderr.splitlines()
        assert line.startswith("error[pass]: pass refuse_stride after ")
        assert "the pass failed: no kernel for this stride: got (2, 2) (replay it: irconv " in line
        folder = tmp_path / "reproducer-refuse_stride"
        assert [n.op.name for n in load_ir(folder / "graph.ir")] == ["Relu", "Conv"]
        facts = json.loads((folder / "reproducer.json").read_text())
        assert facts["origin"].startswith("irconv ")
        assert command[0] in facts["origin"].split()
        assert replayed(folder).startswith("pass refuse_stride fails as it did: no kernel")
        shutil.rmtree(folder)


def test_a_graph_that_does_not_verify_leaves_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IRCONV_REPRODUCERS", str(tmp_path / "here"))
    (tmp_path / "here").mkdir()
    done = irconv("opt", network_file(tmp_path), "-p", "break_types", *PLUGIN, status=1)
    folder = tmp_path / "here" / "reproducer-break_types"
    assert f"replay it: irconv bisect --replay {folder}" in done.stderr
    assert replayed(folder).startswith("pass break_types fails as it did:")


def test_nothing_is_left_where_it_is_not_wanted_or_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = network_file(tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setenv("IRCONV_REPRODUCERS", "")
    done = irconv("opt", model, "-p", "refuse_stride", *PLUGIN, status=1)
    assert done.stderr.endswith("got (2, 2)\n")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IRCONV_REPRODUCERS", str(tmp_path / "file"))
    done = irconv("opt", model, "-p", "refuse_stride", *PLUGIN, status=1)
    assert "(no reproducer was written: Not a directory)" in done.stderr
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "file"])


def test_a_library_call_writes_only_what_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PassError) as caught:
        ic.lower(network(), [RefuseStride()])
    assert list(tmp_path.iterdir()) == []
    folder = ic.save_reproducer(caught.value, "mine")
    assert folder == Path("mine")
    assert (folder / "graph.ir").is_file()
    with pytest.raises(UsageError, match="the folder of the reproducer is taken"):
        ic.save_reproducer(caught.value, "mine")


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    graph = network()
    graph.rename(graph.value("relu2"), '../"><img src=x>\n\u202e$(rm)')
    save_ir(graph, tmp_path / "net.ir")
    folder = tmp_path / "found"
    done = irconv(
        "bisect", tmp_path / "net.ir", "-p", "forget_relu", "-o", folder, *PLUGIN, status=1
    )
    for text in (done.stdout, (folder / "README.txt").read_text()):
        assert "\\n\\u202e" in text
        assert "\u202e" not in text
    assert {p.name for p in tmp_path.iterdir()} == {"found", "net.ir", "net.npz"}
    assert replayed(folder).startswith("pass forget_relu fails as it did")
