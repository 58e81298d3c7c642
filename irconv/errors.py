"""One family of errors: what is wrong, where, what was expected, what came, and what to do."""

from __future__ import annotations

import unicodedata
from typing import Any, ClassVar

NAME_LIMIT = 120


def printable(name: object, limit: int = NAME_LIMIT) -> str:
    """`name` made safe for a terminal: control, bidi and unpaired characters are escaped, the rest
    kept.

    A text longer than `limit` characters is shortened and its length is told.
    """
    text = str(name)
    if len(text) > limit:
        text, tail = text[:limit], f"...({len(text)} characters)"
    else:
        tail = ""
    return "".join(_escaped(c) for c in text) + tail


def _escaped(character: str) -> str:
    # Cc control, Cf format (bidi overrides), Cs surrogates, Zl/Zp line separators
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"}:
        return character.encode("unicode_escape").decode("ascii")
    return character


class IrconvError(Exception):
    """Any error that irconv raises on purpose.

    `str(error)` is one line. `details()` adds the listing with the guilty line marked, if there is
    one.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 2

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: object = None,
        got: object = None,
        hint: str | None = None,
        listing: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.hint = hint
        self.listing = listing

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        if self.expected is not None:
            text += f": expected {self.expected}"
        if self.got is not None:
            text += f"{',' if self.expected is not None else ':'} got {self.got}"
        if self.hint:
            text += f" ({self.hint})"
        return " ".join(text.split())

    def details(self) -> str:
        """The one line, and below it the listing with the guilty line marked."""
        return f"{self}\n{self.listing}" if self.listing else str(self)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(cls: type[IrconvError], state: dict[str, object]) -> IrconvError:
    error = cls(str(state["what"]))
    error.__dict__.update(state)
    return error


class UsageError(IrconvError):
    """A command was given an argument that it does not take."""

    code = "usage"


class GraphError(IrconvError):
    """A graph was built or edited wrongly: operands, types, attributes, names."""

    code = "graph"


class VerifyError(IrconvError):
    """A graph does not verify: the guilty line is marked in `listing`."""

    code = "verify"


class ParseError(IrconvError):
    """A listing (.ir) cannot be read."""

    code = "parse"


class ModelError(IrconvError):
    """A model file is missing, broken, hostile, or uses what irconv refuses."""

    code = "model"


class PipelineError(IrconvError):
    """The text of a pipeline is wrong: an unknown pass, an unknown option, a wrong value."""

    code = "pipeline"


class PassError(IrconvError):
    """A pass failed; its input graph is as it was.

    `attempt` (irconv.pipeline.Attempt) holds that graph, for a reproducer; a pickle leaves it out.
    """

    code = "pass"
    exit_status = 1

    def __init__(self, what: str, *, attempt: Any = None, **details: Any) -> None:
        super().__init__(what, **details)
        self.attempt = attempt

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), {**self.__dict__, "attempt": None}))


class BackendError(IrconvError):
    """A backend is unknown, not available here, or cannot run what it was given."""

    code = "backend"


class InputError(IrconvError):
    """An input of a call is wrong: its name, count, shape or dtype."""

    code = "input"


class BudgetError(IrconvError):
    """Something would be larger than the stated budget; nothing was built."""

    code = "budget"


class ExportError(IrconvError):
    """A graph cannot be written as asked; nothing was written."""

    code = "export"


class NumericsError(IrconvError):
    """A result differs from its reference by more than the numbers policy allows."""

    code = "numerics"
    exit_status = 1
