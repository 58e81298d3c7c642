"""A live session: the pipeline as it stands, its last report, and what to copy."""

from __future__ import annotations

import dataclasses
import threading
import typing
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

from irconv.errors import PipelineError, printable
from irconv.inspector.live.worker import Answer, Request, Shows, Worker
from irconv.pipeline import Pass, parse_pipeline, pipeline_text
from irconv.registry import first_sentence, passes

PIPELINE_LIMIT = 20_000
_WAITING = b"<!doctype html><title>irconv</title><p>The first report is being made.</p>"


class RefusedError(Exception):
    """A request that is not answered, with its status."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Texts:
    """How the same is had outside the page: functions of the pipeline and what is shown."""

    command: Callable[[str, Shows], str]
    python: Callable[[str, Shows], str]


class Session:
    """What the server serves; one report is made at a time."""

    def __init__(
        self,
        worker: Worker,
        title: str,
        pipeline: str,
        texts: Texts,
        *,
        shows: Shows | None = None,
        seed: int = 0,
        backend: str = "numba_cpu",
    ) -> None:
        self.report = _WAITING
        self._worker, self._title, self._texts = worker, title, texts
        self._pipeline, self._shows = pipeline_text(pipeline), shows or Shows()
        self._seed, self._backend = seed, backend
        self._busy = threading.Lock()
        self._made = 0

    def state(self) -> dict[str, Any]:
        """What the page begins with, plain data."""
        return {
            "title": printable(self._title),
            "known": {name: _described(cls) for name, cls in passes().items()},
            "shows": asdict(self._shows),
            **self._now(),
        }

    def trace(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Makes the report of `{"pipeline": text, "shows": {"numerics": true, ...}}`; raises
        RefusedError.
        """
        pipeline, shows = wanted.get("pipeline"), _shows(wanted.get("shows", {}))
        if not isinstance(pipeline, str):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "a pipeline as text is needed")
        if len(pipeline) > PIPELINE_LIMIT:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"more than {PIPELINE_LIMIT} characters")
        if not self._busy.acquire(blocking=False):
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "another report is being made")
        try:
            return self._traced(pipeline, shows)
        finally:
            self._busy.release()

    def _traced(self, pipeline: str, shows: Shows) -> dict[str, Any]:
        try:
            text = pipeline_text(pipeline)
        except PipelineError as error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, printable(error, 2000)) from None
        command = self._texts.command(text, shows)
        found = self._worker.ask(Request(text, shows, self._seed, self._backend, command))
        if found.error:
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, found.error)
        return self._keep(found, text, shows)

    def _keep(self, found: Answer, pipeline: str, shows: Shows) -> dict[str, Any]:
        self.report = found.html
        self._pipeline, self._shows = pipeline, shows
        self._made += 1
        told = {"done": list(found.steps), "notes": list(found.notes), "report": self._made}
        return told | self._now()

    def _now(self) -> dict[str, Any]:
        return {
            "pipeline": self._pipeline,
            "steps": [_step(p) for p in parse_pipeline(self._pipeline)],
            "command": self._texts.command(self._pipeline, self._shows),
            "python": self._texts.python(self._pipeline, self._shows),
        }

    def close(self) -> None:
        """Ends the worker."""
        self._worker.close()


def _shows(wanted: object) -> Shows:
    known = {f.name for f in dataclasses.fields(Shows)}
    if not isinstance(wanted, dict) or not known.issuperset(wanted):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "shows: expected " + ", ".join(sorted(known)))
    return Shows(**{name: value is True for name, value in wanted.items()})


def _step(current: Pass) -> dict[str, Any]:
    """A pass of a pipeline and all its options, as text."""
    options = {f.name: _text(getattr(current, f.name)) for f in dataclasses.fields(current)}
    return {"name": current.name, "options": options}


def _described(cls: type[Pass]) -> dict[str, Any]:
    """A pass to choose from: its sentence, and its options with their defaults and choices."""
    hints = typing.get_type_hints(cls)
    return {
        "sentence": first_sentence(cls),
        "options": [_option(f, hints[f.name]) for f in dataclasses.fields(cls)],
    }


def _option(field: dataclasses.Field[Any], hint: Any) -> dict[str, Any]:
    choices = list(map(str, typing.get_args(hint))) if _is_literal(hint) else []
    if hint is bool:
        choices = ["true", "false"]
    known = field.default is not dataclasses.MISSING
    return {
        "name": field.name,
        "default": _text(field.default) if known else "",
        "choices": choices,
    }


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is typing.Literal


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
