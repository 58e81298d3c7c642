"""The command line: results, messages and exit status of each command."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import pytest
from typer.testing import CliRunner, Result

import irconv as ic
from irconv import code_cache
from irconv.cli import app
from irconv.demo_data import model_path
from irconv.registry import passes

DIGITS = str(model_path())
PIPELINE = "fold,fold_batchnorm,fuse,im2col"


def irconv(*arguments: object, status: int = 0) -> Result:
    # a width that some program before it has set would fold the tables
    env: dict[str, str | None] = {"COLUMNS": None, "LINES": None}
    done = CliRunner().invoke(app, [str(a) for a in arguments], env=env)
    assert done.exit_code == status, (done.stdout, done.stderr, done.exception)
    return done


def told(*arguments: object, status: int = 2) -> str:
    """Give the one line that tells what was wrong with a request."""
    done = irconv(*arguments, "--quiet", status=status)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


# -- the whole ---------------------------------------------------------------------------------


def test_version() -> None:
    assert irconv("--version").stdout == f"irconv {ic.__version__}\n"


def test_without_a_command_it_shows_the_help_and_asks_for_one() -> None:
    done = irconv(status=2)
    for command in ("demo", "run", "opt", "export", "emit", "bench", "list", "doctor"):
        assert re.search(rf"\b{command}\b", done.stdout)


@pytest.mark.parametrize(
    "command", ["demo", "run", "opt", "export", "emit", "bench", "list", "doctor"]
)
def test_help_of_each_command(command: str) -> None:
    done = irconv(command, "--help")
    assert f"irconv {command}" in done.stdout or f"{command} [OPTIONS]" in done.stdout
    assert done.stderr == ""


MISTAKES = {
    "missing file": (["run", "no/such.onnx"], "error[model]: no/such.onnx: cannot read the file"),
    "unknown pass": (["opt", DIGITS, "-p", "fuze"], "unknown pass fuze (did you mean fuse?)"),
    "unknown option of a pass": (["opt", DIGITS, "-p", "conv_matrix{frm=tap}"], "no option frm"),
    "not a pipeline": (["opt", DIGITS, "-p", "fuse{"], "error[pipeline]"),
    "unknown backend": (["run", DIGITS, "--backend", "interpet"], "did you mean interpret?"),
    "unknown network": (["run", "zoo:resnet51"], "did you mean resnet50"),
    "unknown light model": (["run", "light:nothing"], "error[model]"),
    "unknown input": (["run", DIGITS, "-i", "img=x.npy"], "no input is called img"),
    "no file for an input": (["run", DIGITS, "-i", "image=no.npy"], "error[file]"),
    "input without a file": (["run", DIGITS, "-i", "image"], "expected NAME=FILE.npy"),
    "unknown reference": (["run", DIGITS, "--against", "torch"], "unknown reference"),
    "wrong batch": (["run", DIGITS, "--batch", "-3"], "error[usage]: wrong --batch"),
    "unknown kind": (["list", "opps"], "did you mean ops?"),
    "unknown engine": (["bench", DIGITS, "--against", "onnxruntim"], "did you mean onnxruntime?"),
    "wrong output": (["opt", DIGITS, "-o", "x.txt"], "a path that ends in .ir"),
    "no model": (["run"], "Missing argument 'MODEL'"),
    "unknown command": (["runn", DIGITS], "No such command 'runn'"),
    "unknown flag": (["run", DIGITS, "--fast"], "No such option: --fast"),
    "wrong number": (["run", DIGITS, "--threads", "many"], "Invalid value for '--threads'"),
    "unknown precision": (["run", DIGITS, "--precision", "best"], "'--precision'"),
    "missing plugin": (["list", "--plugin", "no.py"], "no such plugin"),
    "negative seed": (["run", DIGITS, "--seed", "-1"], "error[usage]: Invalid value for '--seed'"),
    "negative weights": (["run", "zoo:lenet5", "--random-weights", "-1"], "'--random-weights'"),
    "digits": (
        ["inspect", DIGITS, "--batch", "9" * 5000, "--json"],
        "wrong --batch",
    ),
    "no end of time": (["inspect", DIGITS, "--serve", "--time-limit", "inf"], "'--time-limit'"),
    "no end of memory": (["inspect", DIGITS, "--serve", "--memory-limit", "9" * 20], "-limit'"),
    "too large a batch": (["run", DIGITS, "--batch", str(1 << 40)], "from 0 to 2147483647"),
    "export to stdout": (["export", DIGITS, "-o", "-"], "expected the name of a file, got -"),
    "opset": (["export", DIGITS, "-o", "x.onnx", "--opset", "99"], "opset"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_told_in_one_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, expected = MISTAKES[case]
    assert expected in told(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_not_an_onnx_file(tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    file.write_text("<html>hello</html>")
    assert re.search(r"x\.onnx: byte \d+: not an ONNX model", told("run", file))
    file.write_bytes(b"")
    assert "x.onnx: the file is empty" in told("run", file)


def test_stages_in_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "stages").write_text("")
    line = told("opt", DIGITS, "-p", "fold", "--dump-stages", tmp_path / "stages")
    assert line.startswith("error[file]: File exists")


def test_closed_streams() -> None:
    command = f"exec {shlex.quote(sys.executable)} -m irconv list passes >&- 2>&-"
    assert subprocess.run(["/bin/sh", "-c", command], check=False).returncode == 0


def test_a_traceback_only_with_debug() -> None:
    arguments = ("opt", DIGITS, "-p", "fuze")
    assert "Traceback" not in irconv(*arguments, status=2).stderr
    done = irconv(*arguments, "--debug", status=2)
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error[pipeline]: unknown pass fuze")


def test_a_defect_is_one_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr("irconv.commands.options.resolve_model", broken)
    line = told("run", DIGITS, status=1)
    assert line.startswith(r"error[internal]: ZeroDivisionError: two\nlines (a defect of irconv")


def test_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("irconv.commands.options.resolve_model", interrupted)
    assert irconv("run", DIGITS, status=130).stdout == ""


def test_a_graph_that_does_not_verify(tmp_path: Path) -> None:
    file = tmp_path / "wrong.ir"
    file.write_text("graph @g(%x: f32[2]) -> (%y: f32[3]) {\n  %y = Relu(%x) : f32[3]\n}\n")
    line = told("opt", file)
    assert "%y" in line
    assert "f32[2]" in line
    assert "f32[3]" in line


PLUGIN = '''
"""A pass of one's own."""
from dataclasses import dataclass
from irconv.pipeline import Pass

@dataclass(frozen=True)
class ShoutLouder(Pass):
    """Does nothing, loudly."""

    def run(self, graph, rewriter):
        pass
'''


@pytest.mark.parametrize("place", ["before", "after"])
def test_plugin(tmp_path: Path, place: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    plugin = ("--plugin", file)
    words = (*plugin, "list", "passes") if place == "before" else ("list", "passes", *plugin)
    assert "Does nothing, loudly." in irconv(*words).stdout
    irconv("opt", DIGITS, "-p", "shout_louder", *plugin)


def hostile(file: Path) -> Path:
    """Write a model whose names are terminal codes and markup."""
    x = oh.make_tensor_value_info("x\x1b[31m[bold red]", 1, [2])
    y = oh.make_tensor_value_info("y\x1b]0;owned\x07\u202e[bold red][/]", 1, [2])
    node = oh.make_node("Relu", [x.name], [y.name])
    graph = oh.make_graph([node], "g\x1b[2J", [x], [y])
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, file)
    return file


@pytest.mark.parametrize(
    "words",
    [
        ["run", "-b", "interpret", "--report"],
        ["opt", "-p", "fuse", "--remarks", "--provenance"],
        ["emit", "-b", "interpret"],
        ["run", "-i", "q=1"],
    ],
)
def test_names_of_a_model_reach_the_terminal_escaped(tmp_path: Path, words: list[str]) -> None:
    file = hostile(tmp_path / "m.onnx")
    done = CliRunner().invoke(app, [words[0], str(file), *words[1:]])
    shown = done.stdout + done.stderr
    assert "[bold red]" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e]", shown)


# -- run, emit ---------------------------------------------------------------------------------


def test_run_tells_each_output() -> None:
    done = irconv("run", DIGITS, "--backend", "interpret", "--batch", "2", "--against", "interpret")
    lines = done.stdout.splitlines()
    assert lines[0] == "%prob: f32[2, 10]"
    assert re.fullmatch(r"  min \S+  mean 0.1  max \S+  std \S+", lines[1])
    assert lines[2].startswith("  top 5 of row 0: ")
    assert lines[-1].endswith("0.0e+00 of the largest output: agrees (tolerance 0.001)")


def test_run_with_inputs_and_outputs_in_files(tmp_path: Path) -> None:
    image = np.random.default_rng(3).random((3, 1, 8, 8), np.float32)
    np.save(tmp_path / "image.npy", image)
    done = irconv(
        *("run", DIGITS, "-b", "interpret", "--json"),
        *("-i", f"image={tmp_path / 'image.npy'}", "-o", tmp_path / "out.npz"),
    )
    (expected,) = ic.interpret(ic.load(DIGITS), {"image": image}).values()
    with np.load(tmp_path / "out.npz") as found:
        assert found.files == ["output0"]
        np.testing.assert_array_equal(found["output0"], expected)
    (output,) = json.loads(done.stdout)["outputs"]
    assert (output["name"], output["shape"]) == ("prob", [3, 10])
    assert output["top"][0][0] == int(expected[0].argmax())
    assert "wrote %prob as output0" in done.stderr


def test_run_with_a_wrong_shape_or_type(tmp_path: Path) -> None:
    for array, expected in (
        (np.zeros((1, 1, 8, 9), np.float32), "wrong shape"),
        (np.zeros((1, 1, 8, 8)), "wrong element type"),
    ):
        np.save(tmp_path / "x.npy", array)
        line = told("run", DIGITS, "-b", "interpret", "-i", f"image={tmp_path / 'x.npy'}")
        assert expected in line
    (tmp_path / "x.npy").write_bytes(b"nonsense")
    assert "not a .npy file" in told("run", DIGITS, "-i", f"image={tmp_path / 'x.npy'}")


def test_run_never_unpickles(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([print], dtype=object), allow_pickle=True)
    assert "not a .npy file" in told("run", DIGITS, "-i", f"image={tmp_path / 'x.npy'}")


def test_run_against_onnxruntime_reads_the_file_itself() -> None:
    done = irconv("run", DIGITS, "-b", "interpret", "--against", "onnxruntime", "--json")
    found = json.loads(done.stdout)
    assert found["against"] == "onnxruntime"
    assert 0 < found["error"] < 1e-5


def test_run_fails_where_the_reference_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("irconv.commands.run.interpret", lambda g, i: {"prob": np.ones((1, 10))})
    done = irconv("run", DIGITS, "-b", "interpret", "--against", "interpret", status=1)
    assert "DIFFERS" in done.stdout
    assert done.stderr.startswith("error[numerics]: against interpret: largest difference")


def test_run_is_the_same_for_the_same_seed() -> None:
    words = ("run", "zoo:lenet5", "-b", "interpret")
    first, second = irconv(*words).stdout, irconv(*words).stdout
    assert first == second
    assert irconv(*words, "--seed", 1).stdout != first
    assert irconv(*words, "--random-weights", 1).stdout != first


def test_run_hints_at_random_weights_where_those_of_a_light_model_say_nothing() -> None:
    words = ("run", "light:squeezenet", "-b", "interpret")
    assert irconv(*words).stderr == (
        "note: the best classes are equal: constant weights (try --random-weights 0)\n"
    )
    assert irconv(*words, "--random-weights", 0).stderr == ""


def test_a_piped_report_keeps_its_words_and_the_pipeline_whole() -> None:
    pipeline = "canonicalize,fold,fold_batchnorm,fuse,conv_matrix{form=literal},canonicalize"
    words = ("run", DIGITS, "-b", "interpret", "--report", "-p", pipeline)
    lines = irconv(*words).stdout.splitlines()
    assert any(line.endswith(f"pipeline {pipeline}, N = 1") for line in lines)
    rows = [line for line in lines if line.startswith("\u2502")]
    assert rows
    assert all(len(row.split("\u2502")) == 8 and row.split("\u2502")[1].strip() for row in rows)


def test_run_of_the_demos_network_by_its_name() -> None:
    words = ("-b", "interpret", "--seed", 3)
    found = irconv("run", "zoo:digits", *words).stdout
    assert found == irconv("run", DIGITS, *words).stdout
    assert "f32[2, 10]" in irconv("run", "zoo:digits", *words, "--batch", 2).stdout
    line = told("run", "zoo:digits", "--random-weights", 1)
    assert line == (
        "error[model]: no random weights for this network: got zoo:digits "
        "(it is trained; the others of the zoo take them)"
    )
    assert told("run", "zoo:digit").endswith("(did you mean digits?)")
    assert "zoo:digits" in irconv("list", "zoo").stdout


def test_emit_shows_the_program() -> None:
    source = irconv("emit", DIGITS, "-b", "interpret").stdout
    assert source.startswith("graph @digits(%image: f32[1, 1, 8, 8])")


# -- opt ---------------------------------------------------------------------------------------


def test_opt_prints_the_listing_and_the_table() -> None:
    lines = irconv("opt", DIGITS, "-p", PIPELINE).stdout.splitlines()
    assert lines[0].startswith("graph @digits(")
    head = next(i for i, line in enumerate(lines) if line.startswith("pass "))
    assert lines[head].split() == ["pass", "changed", "matches", "nodes", "Mmac", "MB", "ms"]
    rows = {line.split()[0]: line.split() for line in lines[head + 1 : head + 5]}
    assert rows["fold"][1:4] == ["no", "0", "21"]
    assert rows["fuse"][1:4] == ["yes", "8", "18->10"]
    assert "fold_batchnorm: -3 BatchNormalization" in lines
    assert max(map(len, lines[head:])) <= 80


def test_opt_checks_numerics() -> None:
    done = irconv("opt", DIGITS, "-p", PIPELINE, "--check-numerics", "--json")
    found = {p["pass"]: p["numerics"] for p in json.loads(done.stdout)["passes"]}
    assert found["fold"]["error"] == 0
    # folding rounds the folded weights to float32 and is not called exact
    assert 0 < found["fold_batchnorm"]["error"] < 1e-6
    assert found["fold_batchnorm"]["exact"] is None
    for name in ("fuse", "im2col"):
        assert found[name]["exact"]["holds"]
        assert found[name]["exact"]["compared"] > 5
    table = irconv("opt", DIGITS, "-p", PIPELINE, "--check-numerics").stdout
    assert table.count(" exact ") == 2


def test_opt_fails_where_a_pass_changes_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter([0.0, 0.5, 0.5])
    monkeypatch.setattr("irconv.inspector.numerics.array_error", lambda *_: next(numbers, 0.5))
    done = irconv("opt", DIGITS, "-p", "fold,fold_batchnorm", "--check-numerics", status=1)
    assert "error[numerics]: pass fold_batchnorm: the outputs moved by 5.0e-01" in done.stderr


def test_opt_remarks(tmp_path: Path) -> None:
    done = irconv("opt", "zoo:lenet5", "-p", "conv_matrix{form=literal,budget=1}", "--remarks")
    remarks = [line for line in done.stdout.splitlines() if line.startswith("remark: ")]
    assert len(remarks) == 3
    assert "form=tap takes" in remarks[0]


def test_opt_tells_remarks_after_the_listing_and_the_table() -> None:
    done = irconv("opt", "zoo:digits", "-p", "fold,fuse", "--remarks")
    lines = done.stdout.splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith(("}", "pass ", "fuse: ")))
    (first, *rest) = [
        i for i, t in enumerate(lines) if t.startswith("remark: ") and ": fuse decl" in t
    ]
    assert last < first
    assert len(rest) == 3  # two more before a batch normalization, and the last Gemm
    assert lines[first] == (
        "remark: fuse: %conv1: fuse declined: its only user is BatchNormalization %bn1, "
        "which cannot be fused into it (fold_batchnorm first)"
    )


def test_opt_prints_after_change() -> None:
    shown = irconv("opt", DIGITS, "-p", "fold,fuse", "--print-after-change").stdout
    assert "// after fuse\ngraph @digits" in shown
    assert "// after fold\n" not in shown


def test_opt_verifies_and_times_each_pass() -> None:
    done = irconv("opt", DIGITS, "-p", PIPELINE, "--verify-each", "--time-passes")
    assert done.stderr.count("listing reads back") == 4
    assert done.stdout.rstrip().endswith("100.0%  all passes")


def test_opt_dumps_stages_that_load_again(tmp_path: Path) -> None:
    irconv("opt", DIGITS, "-p", PIPELINE, "--dump-stages", tmp_path / "s", "--provenance", "-q")
    files = sorted(p.name for p in (tmp_path / "s").glob("*.ir"))
    names = ["source", "fold", "fold_batchnorm", "fuse", "im2col"]
    assert files == [f"{i:02d}_{name}.ir" for i, name in enumerate(names)]
    graph = ic.load(DIGITS)
    image = np.random.default_rng(0).random((2, 1, 8, 8), np.float32)
    expected = ic.interpret(graph, {"image": image})["prob"]
    for i, file in enumerate(files):
        stage = ic.load(tmp_path / "s" / file)
        assert stage == ic.lower(graph, ",".join(names[1 : i + 1]))
        np.testing.assert_allclose(ic.interpret(stage, {"image": image})["prob"], expected, 1e-5)


def test_opt_writes_the_result(tmp_path: Path) -> None:
    done = irconv("opt", DIGITS, "-p", "fuse", "-o", tmp_path / "x.ir")
    assert not done.stdout.startswith("graph")
    assert ic.load(tmp_path / "x.ir") == ic.lower(ic.load(DIGITS), "fuse")
    done = irconv("opt", DIGITS, "-p", "fuse", "-o", "-")
    assert len(ic.parse(done.stdout)) == len(ic.load(tmp_path / "x.ir"))
    assert "FusedConv" in done.stdout
    assert done.stderr.startswith("pass ")


def test_opt_shows_where_nodes_come_from() -> None:
    shown = irconv("opt", DIGITS, "-p", "fuse,im2col", "--provenance").stdout
    (line,) = (x for x in shown.splitlines() if x.strip().startswith("%pool2 = "))
    assert "%conv2" in line.partition(" from ")[2]


# -- export, list, doctor ------------------------------------------------------------------------


def test_export(tmp_path: Path) -> None:
    file = tmp_path / "digits.onnx"
    done = irconv("export", DIGITS, "-p", "fold,im2col", "-o", file, "--json")
    found = json.loads(done.stdout)
    assert found["opset"] == 17
    assert found["error"] < 1e-5
    ops = {n.op_type for n in onnx.load(file).graph.node}
    assert "Conv" not in ops
    assert "MatMul" in ops
    assert "MatMul" in {n.op.name for n in ic.load(file)}


def test_list_names_everything_there_is() -> None:
    found = json.loads(irconv("list", "--json").stdout)
    assert set(found) == {"ops", "passes", "backends", "zoo", "light"}
    assert found["passes"].keys() == passes().keys()
    assert found["ops"]["Conv"].startswith("Convolution")
    assert len(found["light"]) == 9
    assert {"zoo:lenet5", "zoo:resnet152"} <= found["zoo"].keys()
    assert "interpret" in found["backends"]
    shown = " ".join(irconv("list").stdout.split())
    assert f"zoo:digits {found['zoo']['zoo:digits']} " in shown
    assert "held by the generic op" in shown


def test_doctor() -> None:
    found = json.loads(irconv("doctor", "--json").stdout)
    assert found["irconv"] == ic.__version__
    assert found["versions"]["onnx"] == onnx.__version__
    assert found["backends"]["interpret"] == "ready"
    assert found["cpu"]["cores"] >= 1
    assert "CPUExecutionProvider" in found["onnxruntime_providers"]
    assert found["cache"]["folder"]
    assert "cache folder" in irconv("doctor").stdout


def test_no_cache_may_stand_anywhere_and_is_for_one_call() -> None:
    for line in (["--no-cache", "list", "passes"], ["list", "passes", "--no-cache"]):
        irconv(*line)
        assert code_cache.folder() is None
        irconv("list", "passes")
        assert code_cache.folder() is not None
