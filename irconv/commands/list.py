"""`irconv list`: the ops, passes, backends and networks there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from irconv import zoo
from irconv.commands import console
from irconv.commands.options import Json
from irconv.errors import UsageError, printable
from irconv.light_models import LIGHT_MODELS
from irconv.registry import backends, first_sentence, nearest, ops, passes

GENERIC = "Generic"


def _summaries(things: Mapping[str, Any]) -> dict[str, str]:
    return {name: first_sentence(thing) for name, thing in things.items()}


def _ops() -> dict[str, str]:
    return _summaries({name: cls for name, cls in sorted(ops().items()) if name != GENERIC})


def _backends() -> dict[str, str]:
    told = {}
    for name, cls in backends().items():
        missing = cls().unavailable()
        told[name] = first_sentence(cls) + (f" (not here: {missing})" if missing else "")
    return told


def _light() -> dict[str, str]:
    return {f"light:{n}": "A model inside the installed onnx package." for n in LIGHT_MODELS}


def _zoo() -> dict[str, str]:
    known = zoo.networks() | {"digits": zoo.digits}
    return {f"zoo:{n}": first_sentence(f) for n, f in known.items()}


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "ops": _ops,
    "passes": lambda: _summaries(passes()),
    "backends": _backends,
    "zoo": _zoo,
    "light": _light,
}


def list_all(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="One of: " + ", ".join(KINDS) + ".")
    ] = None,
    json: Json = False,
) -> None:
    """List the ops, passes, backends, zoo networks and light models, each in one sentence."""
    if kind is not None and kind not in KINDS:
        raise UsageError("unknown kind", got=printable(kind), hint=nearest(kind, list(KINDS)))
    found = {name: list_kind() for name, list_kind in KINDS.items() if kind in (None, name)}
    if json:
        console.result_json(found)
        return
    for name, things in found.items():
        table = console.table("", "", title=f"{name} ({len(things)})")
        table.show_header = False
        for thing, sentence in things.items():
            table.add_row(console.name(thing), console.name(sentence, limit=600))
        console.show(table)
        console.result("")
    if "ops" in found:
        console.result(
            "These ops are native. Any other standard ONNX op on dense tensors of numbers or\n"
            "booleans is held by the generic op, as onnx.NAME: it runs by ONNX's reference\n"
            "implementation, and every report names it."
        )
