"""What a pass is, the text form of a pipeline, and the hook between passes."""

from __future__ import annotations

import dataclasses
import re
import time
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias

from irconv.algorithms import AlgorithmChoice
from irconv.collector import paused_collector
from irconv.errors import IrconvError, PassError, PipelineError, printable
from irconv.graph import Graph, Node
from irconv.provenance import Record
from irconv.registry import nearest, passes
from irconv.rewrite import Remark, Rewrite, Rewriter
from irconv.verify import verify

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True)
class Pass:
    """A pass over a graph. Subclasses are frozen dataclasses in `passes/<name>.py`; fields are the
    options.

    `exact`: its result is bit-equal on integer-valued data (see the numbers policy). `repeatable`:
    a second run changes nothing; else the reason why not.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = False
    repeatable: ClassVar[bool | str] = True

    def __init_subclass__(cls) -> None:
        cls.name = _CAMEL.sub("_", cls.__name__).lower()

    def run(self, graph: Graph, rewriter: Rewriter) -> None:
        """Changes `graph`, which is the pass's own copy, through `rewriter`."""
        raise NotImplementedError(f"{self.name}.run")

    def __str__(self) -> str:
        options = [
            f"{f.name}={_option_text(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}{{{','.join(options)}}}" if options else self.name


@dataclass(frozen=True)
class Stage:
    """What one pass did: the graphs before and after, its rewrites, remarks, and seconds.

    `choices`: of algorithms, by the names of the nodes before. `rewrites`: one for each record,
    where they were asked for.
    """

    pass_: Pass
    before: Graph
    after: Graph
    fired: Counter[str]
    remarks: tuple[Remark, ...]
    records: tuple[Record, ...]
    seconds: float
    choices: Mapping[str, AlgorithmChoice] = field(default_factory=dict)
    rewrites: tuple[Rewrite, ...] = ()

    @property
    def changed(self) -> bool:
        return bool(self.records)


@dataclass(frozen=True)
class Attempt:
    """What a pass that failed was given, what it rewrote, and what it tried last.

    `rule` and `node` are those of the last attempt, also where the fault came after it.
    """

    pass_: Pass
    before: Graph
    records: tuple[Record, ...]
    rule: str
    node: str


Hook: TypeAlias = "Callable[[Stage], None]"
Pipeline: TypeAlias = "str | Sequence[Pass | str]"


def lower(
    graph: Graph,
    pipeline: Pipeline,
    hook: Hook | None = None,
    describe: Callable[[Node], str] | None = None,
) -> Graph:
    """A new graph: `graph` after the passes of `pipeline` (`"fold,fuse{pool=false},im2col"`), in
    order.

    `hook` is called with a Stage after each pass. With `describe`, which writes a node down, a
    stage tells each rewrite with the nodes before and after, also those that no stage holds.
    Raises PipelineError for a wrong text, VerifyError if the graph is not valid, PassError if a
    pass fails; `graph` is never changed.
    """
    chosen = parse_pipeline(pipeline)
    verify(graph)
    for index, current in enumerate(chosen):
        stage = run_pass(graph, current, chosen[:index], describe)
        graph = stage.after
        if hook is not None:
            hook(stage)
    return graph if chosen else graph.copy()


@paused_collector()
def run_pass(
    graph: Graph,
    current: Pass,
    done: Sequence[Pass] = (),
    describe: Callable[[Node], str] | None = None,
    at_most: int | None = None,
) -> Stage:
    """What `current` does to a copy of `graph`, verified; `at_most` stops it after some rewrites.

    Raises PassError, which tells the passes that were `done` before and holds an Attempt.
    """
    copy = graph.copy()
    rewriter = Rewriter(copy, current.name, describe, at_most)
    known = len(copy.provenance)
    start = time.perf_counter()
    try:
        current.run(copy, rewriter)
        rewriter.finish()
        verify(copy)
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        after = ", ".join(map(str, done)) or "no other pass"
        records = tuple(copy.provenance.records[known:])
        raise PassError(
            f"the pass failed: {error}",
            where=f"pass {current} after {after}",
            listing=error.listing if isinstance(error, IrconvError) else None,
            attempt=Attempt(current, graph, records, *rewriter.last_tried()),
        ) from error
    return Stage(
        current,
        graph,
        copy,
        rewriter.fired,
        tuple(rewriter.remarks),
        tuple(copy.provenance.records[known:]),
        time.perf_counter() - start,
        dict(rewriter.choices),
        tuple(rewriter.rewrites),
    )


def pipeline_text(pipeline: Pipeline) -> str:
    """The normal form of a pipeline's text."""
    return ",".join(map(str, parse_pipeline(pipeline)))


def parse_pipeline(pipeline: Pipeline) -> tuple[Pass, ...]:
    """The passes of a pipeline given as text, or as a sequence of pass objects and texts."""
    if not isinstance(pipeline, str):
        return tuple(p for item in pipeline for p in _as_passes(item))
    return tuple(_parse_pass(text) for text in _split(pipeline))


def _as_passes(item: Pass | str) -> tuple[Pass, ...]:
    return parse_pipeline(item) if isinstance(item, str) else (item,)


_PASS = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\{([^{}]*)\})?\s*")


def _split(text: str) -> list[str]:
    if not text.strip():
        return []
    found = re.findall(r"(?:[^,{}]|\{[^{}]*\})+", text)
    if ",".join(found) != text:
        raise PipelineError(
            "not a pipeline", expected="name{option=value},name,...", got=printable(text)
        )
    return found


def _parse_pass(text: str) -> Pass:
    match = _PASS.fullmatch(text)
    if match is None:
        raise PipelineError(
            "not a pass", expected="name or name{option=value}", got=repr(printable(text))
        )
    known = passes()
    name = match[1]
    if name not in known:
        raise PipelineError(f"unknown pass {name}", hint=nearest(name, list(known)))
    options = [item for item in (match[2] or "").split(",") if item.strip()]
    return known[name](**dict(_parse_option(known[name], item) for item in options))  # type: ignore[no-any-return]


def _parse_option(cls: type[Pass], text: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in text.partition("="))
    hints = typing.get_type_hints(cls)
    fields = {f.name: hints[f.name] for f in dataclasses.fields(cls)}
    if key not in fields:
        known = list(fields) or ["none"]
        raise PipelineError(
            f"pass {cls.name} has no option {printable(key)}", hint=nearest(key, known)
        )
    if not equals:
        raise PipelineError(f"option {key} of {cls.name} needs a value", expected=f"{key}=value")
    return key, _option_value(cls.name, key, value, fields[key])


_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(-?\d{1,18})([KMG]?|[KMG]iB)")


def _option_value(name: str, key: str, text: str, hint: Any) -> Any:
    if typing.get_origin(hint) is typing.Literal:
        choices = typing.get_args(hint)
        if text in choices:
            return text
        expected = " or ".join(map(str, choices))
    elif hint is bool:
        if text in ("true", "false"):
            return text == "true"
        expected = "true or false"
    elif hint is int:
        match = _SIZE.fullmatch(text)
        if match:
            return int(match[1]) * _UNITS[match[2]]
        expected = "an integer, such as 64 or 2GiB"
    elif hint is float:
        try:
            return float(text)
        except ValueError:
            expected = "a number"
    else:
        return text
    raise PipelineError(
        f"option {key} of {name} is wrong", expected=expected, got=repr(printable(text))
    )


def _option_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value and value % (1 << 20) == 0:
        gib = value % (1 << 30) == 0
        return f"{value >> 30}GiB" if gib else f"{value >> 20}MiB"
    return str(value)
