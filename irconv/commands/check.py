"""`irconv check`: judge a lowering for continuous integration."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from irconv.commands import console
from irconv.commands.options import Batch, Json, Model, RandomWeights, Seed, read_model
from irconv.errors import UsageError, printable
from irconv.inspector.check import Checked, check_bound
from irconv.inspector.check import check as check_graph
from irconv.inspector.demands import Demand
from irconv.inspector.golden import update_golden
from irconv.inspector.html import save_html
from irconv.inspector.trace import trace
from irconv.pipeline import parse_pipeline, pipeline_text


def check(
    model: Model,
    pipeline: Annotated[
        str, typer.Option("--pipeline", "-p", help="The passes, as text: fold,fuse,im2col.")
    ] = "",
    golden: Annotated[
        Path | None,
        typer.Option("--golden", metavar="DIR", help="Listings that every stage must equal."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update-golden", help="Write the listings instead of comparing them.")
    ] = False,
    max_error: Annotated[
        float | None,
        typer.Option(
            "--max-error", help="No pass may move an output more, relative to its largest number."
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="RULE:NODE", help='"fused:conv3", "not fused:conv3".'),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the report to this .html file.")
    ] = None,
    batch: Batch = None,
    random_weights: RandomWeights = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Check a lowering: golden listings of its stages, an error bound, rules that must have fired.

    Status 0 where all holds, 1 where something does not, 2 for a wrong request. RULE is the name of
    a rule or of a pass (fused means fuse), NODE a node of the model.
    """
    passes = parse_pipeline(pipeline)
    demands = [Demand.parse(text) for text in require or ()]
    check_bound(max_error)
    _check_request(golden, update, max_error, demands, output)
    graph = read_model(model, batch, random_weights)
    if update and golden is not None:
        files = update_golden(trace(graph, passes), golden)
        console.note(f"wrote {len(files)} listings into {printable(golden, 400)}")
    checked = check_graph(
        graph, passes, golden=golden, max_error=max_error, require=demands, seed=seed
    )
    if output is not None:
        words = ["irconv", "check", model, "-p", pipeline_text(passes)]
        words += ["--golden", str(golden)] if golden is not None else []
        words += ["--max-error", str(max_error)] if max_error is not None else []
        words += [word for text in require or () for word in ("--require", text)]
        words += ["--batch", batch] if batch is not None else []
        words += ["--random-weights", str(random_weights)] if random_weights is not None else []
        _save(checked, output, printable(shlex.join([*words, "-o", str(output)]), 4000))
    if json:
        console.result_json(checked.to_json())
    else:
        for verdict in checked.verdicts:
            mark = "ok  " if verdict.holds else "FAIL"
            console.result(f"{mark} {verdict.what}: {verdict.told}")
    if not checked.holds:
        failed = sum(not v.holds for v in checked.verdicts)
        console.complain(f"error[check]: {failed} of {len(checked.verdicts)} checks fail")
        raise typer.Exit(1)


def _check_request(
    golden: Path | None,
    update: bool,
    max_error: float | None,
    demands: list[Demand],
    output: Path | None,
) -> None:
    if update and golden is None:
        raise UsageError("--update-golden needs --golden DIR")
    if golden is None and max_error is None and not demands:
        raise UsageError(
            "nothing to check", hint="--golden DIR, --max-error E or --require RULE:NODE"
        )
    if golden is not None and not update and not golden.is_dir():
        raise UsageError(
            "no such folder", got=printable(golden, 400), hint="--update-golden makes it"
        )
    if output is not None and output.suffix != ".html":
        raise UsageError(
            "wrong --output", expected="a path that ends in .html", got=printable(output)
        )


def _save(checked: Checked, output: Path, command: str) -> None:
    save_html(checked.document(command), output)
    console.note(f"wrote {printable(output, 400)}")
