"""`irconv check`: golden stages, an error bound, demands; and `--from-stage`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from irconv.builder import Builder
from irconv.demo_data import model_path
from irconv.errors import UsageError
from irconv.graph import Graph, Node, Value
from irconv.inspector.check import check
from irconv.inspector.demands import Demand
from irconv.inspector.trace import trace
from irconv.ir_files import load_ir
from irconv.onnx_import import load
from irconv.ops.activation import Relu
from irconv.ops.elementwise import Mul
from irconv.pipeline import Pass, lower
from irconv.rewrite import Rewriter, rule
from tests.bisect_cases import WRONG, irconv, network, network_file
from tests.wrong_passes import ForgetRelu

DIGITS = str(model_path())
PIPELINE = "fold,fold_batchnorm,fuse,im2col"


def judged(graph: Graph, pipeline: str, demand: str) -> tuple[bool, str]:
    verdict = Demand.parse(demand).judge(trace(graph, pipeline))
    assert verdict.what == demand
    return verdict.holds, verdict.told


def two_users() -> Graph:
    """A convolution whose result a ReLU and a sum read."""
    b = Builder("twice", seed=0)
    x = b.input("x", ("N", 2, 5, 5))
    y = b.conv(x, 2, kernel=3, pads=1, name="conv3")
    b.output(b.add(y, b.relu(y, name="relu"), name="sum"))
    return b.build()


# -- demands -------------------------------------------------------------------------------------

HOLDS = {
    "a pass, in the past": ("fused:conv1", "fuse_activation fired in pass fuse"),
    "a pass": ("fuse:conv1", "fuse_activation fired in pass fuse"),
    "a rule": ("fuse_residual:conv4", "fuse_residual fired in pass fuse"),
    "of what became of it": ("im2col:conv2", "conv_to_product fired in pass im2col"),
    "of an activation": ("fused:relu1", "fuse_activation fired in pass fuse"),
    "none": ("not fused:fc2", "it did not fire"),
    "none of a rule": ("not fuse_pool:conv1", "it did not fire"),
}


@pytest.mark.parametrize(("demand", "told"), HOLDS.values(), ids=HOLDS)
def test_a_demand_that_holds(demand: str, told: str) -> None:
    assert judged(load_digits(), PIPELINE, demand) == (True, told)


def load_digits() -> Graph:
    return load(DIGITS)


def test_a_demand_that_fails_tells_what_was_declined() -> None:
    holds, told = judged(two_users(), "fold,fuse", "fused:conv3")
    assert not holds
    assert told.split("; ")[0] == "fuse_activation declined: its result has two users"


def test_a_demand_that_fails_without_a_remark_tells_what_was_seen() -> None:
    graph = load_digits()
    holds, told = judged(graph, "fold,fuse", "fused:conv1")
    assert not holds
    reason = "its only user is BatchNormalization %bn1, which cannot be fused into it"
    assert told == f"fuse declined: {reason} (fold_batchnorm first)"
    holds, told = judged(graph, PIPELINE, "fuse_pool:conv1")
    assert not holds
    assert told.startswith("fuse_pool of fuse left alone the Conv %")


def test_a_rule_that_must_not_fire_and_did() -> None:
    assert judged(load_digits(), PIPELINE, "not fused:conv1") == (
        False,
        "fuse_activation fired in pass fuse",
    )


NO_DEMANDS = {
    "no colon": ("fused", "not a demand: expected RULE:NODE or not RULE:NODE"),
    "no rule": (":conv1", "not a demand"),
    "no node": ("fused:", "not a demand"),
    "another rule": ("fuzed:conv1", "no such rule or pass: got fuzed (did you mean fuse?)"),
    "a pass of another pipeline": ("winograd:conv1", "no such rule or pass: got winograd"),
    "another node": ("fused:conv9", "the model has no such node: got conv9"),
    "an input": ("fused:image", "the model has no such node: got image"),
}


@pytest.mark.parametrize(("demand", "message"), NO_DEMANDS.values(), ids=NO_DEMANDS)
def test_a_demand_that_means_nothing_is_refused(demand: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        judged(load_digits(), PIPELINE, demand)


def test_a_node_with_a_colon_in_its_name() -> None:
    graph = two_users()
    graph.rename(graph.value("conv3"), "a:b")
    assert judged(graph, "im2col", "im2col:a:b")[0]


# -- numbers -------------------------------------------------------------------------------------


def test_an_error_within_its_bound() -> None:
    checked = check(load_digits(), PIPELINE, max_error=1e-4)
    (verdict,) = checked.verdicts
    assert checked.holds
    assert re.fullmatch(r"at most \d\.\de-\d\d after any pass; allowed 0.0001", verdict.told)


def test_an_error_beyond_its_bound_names_the_pass() -> None:
    checked = check(network(), ["fold", ForgetRelu(), "canonicalize"], max_error=1e-3)
    assert not checked.holds
    (verdict,) = [v for v in checked.verdicts if not v.holds]
    assert verdict.told.startswith("after forget_relu an output is off by ")
    assert verdict.told.endswith("more than 0.001 (irconv bisect finds the rewrite)")


def test_a_bound_that_proves_nothing_fails() -> None:
    checked = check(network(), "fold", max_error=0.9)
    assert [v.told[:5] for v in checked.verdicts if not v.holds] == ["void:"]


@rule(Relu)
def scale(node: Node, rewriter: Rewriter) -> Value | None:
    """A ReLU of 1.00001 x: too little for the bound, and not exact."""
    if isinstance(node.operands[0].producer.op, Mul):  # type: ignore[union-attr]
        return None
    factor = rewriter.constant(np.float32([1.00001]), "factor")
    return rewriter.emit(Relu(), rewriter.emit(Mul(), node.operand(0), factor, name="more"))


@dataclass(frozen=True)
class AlmostExact(Pass):
    exact: ClassVar[bool] = True

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        rewriter.apply([scale])


def test_an_exact_pass_must_be_exact() -> None:
    checked = check(network(), [AlmostExact()], max_error=1e-3)
    failed = [v for v in checked.verdicts if not v.holds]
    assert [v.what for v in failed] == ["exact almost_exact"]
    assert failed[0].told.startswith("not bit-equal on integers: %")


# -- golden --------------------------------------------------------------------------------------


def test_golden_stages_are_written_compared_and_updated(tmp_path: Path) -> None:
    golden = tmp_path / "golden"
    base = ("check", DIGITS, "--golden", golden)
    done = irconv(*base, "-p", PIPELINE, "--update-golden")
    assert done.stderr == f"wrote 5 listings into {golden}\n"
    assert done.stdout == "ok   golden: 5 stages are as they were\n"
    names = ["00_source.ir", "01_fold.ir", "02_fold_batchnorm.ir", "03_fuse.ir", "04_im2col.ir"]
    assert sorted(p.name for p in golden.iterdir()) == names
    assert (golden / names[2]).read_text() == f"{lower(load_digits(), 'fold,fold_batchnorm')}\n"
    # another pipeline, another stage
    done = irconv(*base, "-p", "fold,fold_batchnorm,fuse{pool=false}", status=1)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAIL golden 03_fuse.ir: ")
    assert "-  %pool2 = FusedConv(" in lines[0]
    assert lines[1] == "FAIL golden 04_im2col.ir: the pipeline has no such stage"
    assert done.stderr == "error[check]: 2 of 2 checks fail\n"
    # what is no stage of ours stays
    (golden / "notes.ir").write_text("mine")
    irconv(*base, "-p", "fold", "--update-golden")
    assert sorted(p.name for p in golden.iterdir()) == [*names[:2], "notes.ir"]


def test_a_golden_stage_that_is_missing_or_no_text(tmp_path: Path) -> None:
    base = ("check", DIGITS, "-p", "fold", "--golden", tmp_path)
    irconv(*base, "--update-golden")
    (tmp_path / "01_fold.ir").write_bytes(b"\xff\xfe")
    assert "FAIL golden 01_fold.ir: the file is not UTF-8" in irconv(*base, status=1).stdout
    (tmp_path / "01_fold.ir").unlink()
    told = "FAIL golden 01_fold.ir: there is no such file (--update-golden writes it)\n"
    assert irconv(*base, status=1).stdout == told


# -- the command ---------------------------------------------------------------------------------


def test_one_page_tells_all(tmp_path: Path) -> None:
    page = tmp_path / "check.html"
    done = irconv(
        *("check", DIGITS, "-p", PIPELINE, "--max-error", 1e-4, "-o", page),
        *("--require", "fused:conv1", "--require", "fused:fc2"),
        status=1,
    )
    assert done.stdout.splitlines()[0] == "ok   fused:conv1: fuse_activation fired in pass fuse"
    assert done.stdout.splitlines()[1].startswith("FAIL fused:fc2: ")
    assert done.stdout.splitlines()[2].startswith("ok   error: at most ")
    text = page.read_text()
    assert text.startswith("<!doctype html>")
    assert "Content-Security-Policy" in text
    as_json = irconv(
        "check", DIGITS, "-p", PIPELINE, "--require", "fused:fc2", "--json", status=1
    ).stdout
    data = json.loads(as_json)
    assert data["holds"] is False
    assert [c["what"] for c in data["checks"]] == ["fused:fc2"]
    assert [p["pass"] for p in data["trace"]["passes"]] == PIPELINE.split(",")


def test_the_document_holds_the_verdicts_and_the_command() -> None:
    checked = check(load_digits(), PIPELINE, require=["fused:conv1"])
    told = checked.document("irconv check digits.onnx")
    assert told["checks"] == [
        {"what": "fused:conv1", "holds": True, "told": "fuse_activation fired in pass fuse"}
    ]
    assert told["command"] == "irconv check digits.onnx"


MISTAKES = {
    "nothing": (["-p", "fold"], "nothing to check"),
    "no folder": (["-p", "fold", "--golden", "nowhere"], "no such folder: got nowhere"),
    "update what": (["-p", "fold", "--update-golden"], "--update-golden needs --golden DIR"),
    "bound": (["-p", "fold", "--max-error", "nan"], "wrong --max-error"),
    "page": (["-p", "fold", "--max-error", "1", "-o", "a.txt"], "a path that ends in .html"),
    "demand": (["-p", "fuse", "--require", "fused"], "not a demand"),
    "pass": (["-p", "fuze", "--max-error", "1"], "unknown pass fuze"),
}


@pytest.mark.parametrize(("words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_request_is_one_line(words: list[str], message: str) -> None:
    done = irconv("check", DIGITS, *words, "--quiet", status=2)
    (line,) = done.stderr.splitlines()
    assert message in line
    assert done.stdout == ""


# -- from an edited stage ------------------------------------------------------------------------


def test_a_lowering_goes_on_from_an_edited_stage(tmp_path: Path) -> None:
    stages = tmp_path / "stages"
    whole = ("opt", DIGITS, "-p", PIPELINE, "--dump-stages", stages, "--quiet")
    irconv(*whole, "-o", tmp_path / "whole.ir")
    again = irconv(*whole, "--from-stage", 2, "-o", tmp_path / "again.ir")
    assert [line.split()[0] for line in again.stdout.splitlines()[1:3]] == ["fuse", "im2col"]
    assert load_ir(tmp_path / "again.ir") == load_ir(tmp_path / "whole.ir")
    third = stages / "03_fuse.ir"
    third.write_text(third.read_text().replace("activation = Relu", "activation = Tanh"))
    irconv(*whole, "--from-stage", 3, "-o", tmp_path / "edited.ir")
    edited = load_ir(tmp_path / "edited.ir")
    assert load_ir(stages / "04_im2col.ir") == edited
    functions = [str(n.op.attributes()["activation"]) for n in edited if n.op.name == "FusedMatMul"]
    assert all(f.startswith("Tanh") for f in functions), functions
    assert len(functions) == 5
    # the model is not read: the stage is the model
    irconv("opt", "-p", PIPELINE, "nowhere.onnx", "--dump-stages", stages, "--from-stage", 0, "-q")


FROM = {
    "no folder": (["-p", "fold", "--from-stage", "0"], "--from-stage needs --dump-stages DIR"),
    "another pipeline": (
        ["-p", "fuse", "--dump-stages", "DIR", "--from-stage", "1"],
        "expected 01_fuse.ir, got 01_fold.ir",
    ),
    "too far": (
        ["-p", "fold", "--dump-stages", "DIR", "--from-stage", "2"],
        "no such stage: expected 0 to 1, got 2",
    ),
    "not written": (
        ["-p", "fold,fuse", "--dump-stages", "DIR", "--from-stage", "2"],
        "expected 02_fuse.ir, got none of this number",
    ),
}


@pytest.mark.parametrize(("words", "message"), FROM.values(), ids=FROM)
def test_a_stage_that_is_not_there(tmp_path: Path, words: list[str], message: str) -> None:
    irconv("opt", DIGITS, "-p", "fold", "--dump-stages", tmp_path, "-q")
    given = [str(tmp_path) if word == "DIR" else word for word in words]
    done = irconv("opt", DIGITS, *given, "-q", status=2)
    (line,) = done.stderr.splitlines()
    assert message in line


def test_a_stage_edited_wrongly_names_its_line(tmp_path: Path) -> None:
    model = network_file(tmp_path)
    folder = tmp_path / "stages"
    irconv("opt", model, "-p", "fold,fuse", "--dump-stages", folder, "-q")
    first = folder / "01_fold.ir"
    first.write_text(first.read_text().replace("%relu1 = Relu(%conv1)", "%relu1 = Relu(%gone)"))
    done = irconv(
        *("opt", model, "-p", "fold,fuse", "--dump-stages", folder, "--from-stage", 1, "-q"),
        status=2,
    )
    assert "gone" in done.stderr


def test_the_command_of_a_failing_check_says_the_plugin_s_pass(tmp_path: Path) -> None:
    done = irconv(
        *("check", network_file(tmp_path), "-p", "fold,forget_relu", "--max-error", 1e-3),
        *("--require", "fuse_relu:conv2", "--plugin", WRONG),
        status=1,
    )
    assert (
        done.stdout.splitlines()[0] == "ok   fuse_relu:conv2: fuse_relu fired in pass forget_relu"
    )
    assert done.stdout.splitlines()[1].startswith("FAIL error: after forget_relu")
