"""The page of the live report: the editor of the pipeline, with the report in a frame below."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from irconv.inspector.html import json_text


@dataclass(frozen=True, slots=True)
class Page:
    """A page and the Content-Security-Policy that it is sent with."""

    html: bytes
    policy: str


def shell(state: Mapping[str, Any]) -> Page:
    """The page of a session's state; all text in it is data, shown as text."""
    import jinja2

    style, script = _file("live.css"), _file("live.js")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    # our own style and script, and JSON in which no character can end its element
    parts = {"style": style, "script": script, "state": json_text(state)}
    template = environment.from_string(_file("live.html"))
    html = template.render(title=state["title"], **{k: _Trusted(v) for k, v in parts.items()})
    return Page(html.encode(), _policy(script, style))


class _Trusted(str):
    """Text that goes into the page as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _policy(script: str, style: str) -> str:
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _file(name: str) -> str:
    return (resources.files("irconv.inspector.live") / name).read_text(encoding="utf-8")
