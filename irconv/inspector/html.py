"""The report: one static HTML file with everything inside it, drawn from the document."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from irconv.errors import printable
from irconv.inspector.graph_layout import Layout, layout
from irconv.inspector.neighbourhood import shown_ids
from irconv.views.svg import STYLE, without_style

# in this order they are one script
SCRIPTS = (
    *("dom", "store", "diff", "scroll", "text", "graph", "panel", "overview", "change"),
    *("remarks", "kernels", "layers", "palette", "main"),
)
# a text longer than this is held compressed
PLAIN = 1 << 16


def save_html(document: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Writes the report of a document (see docs/report-schema.md); gives the path."""
    place = Path(path)
    place.write_text(report(document), encoding="utf-8")
    return place


def report(document: Mapping[str, Any]) -> str:
    """The report of a document as HTML.

    It needs no network and no server. A Content-Security-Policy lets only its own script and style
    run; all text of the model is data, which the script shows as text.
    """
    import jinja2

    style, script = page_file("page.css"), _script()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string(page_file("page.html"))
    chunks = [(name, _Trusted(text)) for name, text in _chunks(document)]
    return template.render(
        title=printable(document["graph"]),
        version=document["irconv"],
        policy=policy(script, style),
        style=_Trusted(style),
        script=_Trusted(script),
        chunks=chunks,
    )


class _Trusted(str):
    """Text that goes into the page as it is: our own script and style, and JSON that cannot end
    its element.
    """

    __slots__ = ()

    def __html__(self) -> str:
        return self


@cache
def page_file(name: str) -> str:
    """One of the files in `irconv/inspector/page`."""
    return (resources.files("irconv.inspector.page") / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    parts = "\n".join(page_file(f"{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


def policy(script: str, style: str) -> str:
    """What the browser lets the page do: run this script, use this style, show pictures in it."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _chunks(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The pieces of data, by the id of their element; what only some pages show stands alone."""
    packed = pack(document)
    layers = packed.pop("layers")
    kernels = packed.pop("kernels")
    packed["layers"] = {
        key: _layer_head(layer) | {"chunk": index}
        for index, (key, layer) in enumerate(layers.items())
    }
    packed["kernels"] = {key: _kernel_head(kernel) for key, kernel in kernels.items()}
    yield "document", json_text(packed)
    yield "kernel-sources", _compressed(kernels)
    for index, layer in enumerate(layers.values()):
        yield f"layer-{index}", _compressed([_plain_view(v) for v in layer.get("views", ())])
    yield "view-style", json_text(STYLE)


def _layer_head(layer: Mapping[str, Any]) -> dict[str, Any]:
    names = [view["name"] for view in layer.get("views", ())]
    return {k: v for k, v in layer.items() if k != "views"} | {"names": names}


def _plain_view(view: Mapping[str, Any]) -> dict[str, Any]:
    """A view whose picture leaves out the style that all of them share."""
    return {**view, "svg": without_style(view["svg"])}


def _kernel_head(kernel: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in kernel.items() if not isinstance(v, str) or len(v) < 200}


def json_text(data: Any) -> str:
    """JSON that may stand in an HTML element: no character in it can end the element."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _compressed(data: Any) -> str:
    plain = json_text(data)
    if len(plain) < PLAIN:
        return plain
    # no time in it: the same report has the same bytes
    packed = gzip.compress(plain.encode(), 9, mtime=0)
    return json_text({"gzip": base64.b64encode(packed).decode()})


class _Pool:
    """Things that are held once and named by their place."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.places: dict[Any, int] = {}

    def place(self, item: Any, key: Callable[[Any], Any] = lambda item: item) -> int:
        found = key(item)
        if found not in self.places:
            self.places[found] = len(self.items)
            self.items.append(item)
        return self.places[found]


def pack(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with what its stages share held once, and with the layout of each stage."""
    lines, nodes = _Pool(), _Pool()
    layouts = _layouts(document)
    stages = [_pack_stage(s, lines, nodes) for s in document["stages"]]
    pictures = _Pool()
    for stage, (shape, total) in zip(stages, layouts, strict=True):
        stage["layout"] = pictures.place(shape.to_json(), key=json_text)
        stage["drawn"] = len(shape.places) if total > len(shape.places) else None
    rest = {k: v for k, v in document.items() if k != "stages"}
    pool = {"lines": lines.items, "nodes": nodes.items, "layouts": pictures.items}
    return _finite(rest | {"stages": stages, "pool": pool})  # type: ignore[no-any-return]


def _pack_stage(stage: Mapping[str, Any], lines: _Pool, nodes: _Pool) -> dict[str, Any]:
    held = dict(stage)
    held["lines"] = [lines.place(line) for line in stage["lines"]]
    for kind in ("nodes", "parameters"):
        held[kind] = [
            [nodes.place({k: v for k, v in n.items() if k != "line"}, repr), n["line"]]
            for n in stage.get(kind, ())
        ]
    held["rewrites"] = [
        r | {k: [lines.place(line) for line in r[k]] for k in ("before_lines", "after_lines")}
        for r in stage["rewrites"]
    ]
    return held


def _layouts(document: Mapping[str, Any]) -> list[tuple[Layout, int]]:
    """The layout of each stage, and how many nodes and inputs it would have if it were whole."""
    found: list[tuple[Layout, int]] = []
    for index, stage in enumerate(document["stages"]):
        keep = shown_ids(document["stages"], index)
        picture = layout(stage["nodes"], keep)
        whole = len(picture.places) if keep is None else len(stage["nodes"])
        found.append((picture, whole))
    return found


def _finite(data: Any) -> Any:
    """JSON has no infinity and no NaN: the page shows their text."""
    match data:
        case float() if data != data or data in (float("inf"), float("-inf")):
            return str(data)
        case dict():
            return {k: _finite(v) for k, v in data.items()}
        case list() | tuple():
            return [_finite(v) for v in data]
    return data
