"""Reads a listing back into a graph, and keeps its big constants in a side .npz."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from irconv.attributes import make_op
from irconv.collector import paused_collector
from irconv.dim import Dim, known, parse_dim, unquoted
from irconv.errors import GraphError, ParseError, printable
from irconv.graph import NAME_LENGTH, Graph, Node, Value, infer
from irconv.layout import Layout
from irconv.op import Op
from irconv.provenance import Record, Ref
from irconv.registry import nearest, ops
from irconv.types import DTYPES, Array, TensorType, Type

T = TypeVar("T")

LINE_LIMIT = 1 << 20
NESTING_LIMIT = 8
LARGEST = 1 << 20  # of the numbers of a layout
SHOWN = 120  # characters of a guilty line
TYPE_LIMIT = 400  # characters of a type in a message

_STRING = r'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(rf"({_STRING}|[A-Za-z0-9_./$]+)")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_DIGEST = re.compile(r"#([0-9a-f]{24})")
_FLOAT = re.compile(r"-?(?:inf|nan|\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+)(?![A-Za-z0-9_])")
_INTEGER = re.compile(r"-?\d{1,20}(?![A-Za-z0-9_.])")
_DIM = re.compile(rf"(?:{_STRING}|[^,\]\"])+")
_SPACE = re.compile(r"[ \t]*")


@paused_collector()
def parse(text: str, arrays: Mapping[str, Array] | None = None) -> Graph:
    """The graph that a listing describes; `arrays` maps digests to the contents of big constants.

    A constant whose digest is not in `arrays` stays without content: it can be looked at, not run.
    Raises ParseError with the guilty line marked; VerifyError is left to `verify`.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    reader = _Reader(lines, arrays or {})
    return reader.graph_text()


class _Line:
    """A cursor over one line."""

    def __init__(self, text: str, number: int) -> None:
        self.text = text
        self.number = number
        self.position = 0
        if len(text) > LINE_LIMIT:
            self.text = ""
            raise self.error("the line is too long", f"at most {LINE_LIMIT} characters", len(text))

    def error(self, what: str, expected: object = None, got: object = None) -> ParseError:
        start = max(0, self.position - 60)
        shown = printable(self.text[start : start + SHOWN], SHOWN)
        mark = " " * len(printable(self.text[start : self.position], SHOWN)) + "^"
        return ParseError(
            what,
            where=f"line {self.number}, column {self.position + 1}",
            expected=expected,
            got=got if got is not None else self._rest(),
            listing=f"  {shown}\n  {mark}",
        )

    def _rest(self) -> str:
        rest = self.text[self.position : self.position + 24]
        return repr(printable(rest)) if rest else "the end of the line"

    def skip(self) -> None:
        match = _SPACE.match(self.text, self.position)
        self.position = match.end() if match else self.position

    def accept(self, what: str) -> bool:
        self.skip()
        if self.text.startswith(what, self.position):
            self.position += len(what)
            return True
        return False

    def expect(self, what: str) -> None:
        if not self.accept(what):
            raise self.error("unexpected text", repr(what))

    def match(self, pattern: re.Pattern[str]) -> str | None:
        self.skip()
        found = pattern.match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return found[0]

    def need(self, pattern: re.Pattern[str], what: str) -> str:
        found = self.match(pattern)
        if found is None:
            raise self.error("unexpected text", what)
        return found

    def name(self) -> str:
        found = self.need(_NAME, "a name")
        name = unquoted(found) if found.startswith('"') else found
        if len(name) > NAME_LENGTH:
            raise self.error("a name is too long", f"at most {NAME_LENGTH} characters", len(name))
        return name

    def end(self) -> None:
        self.skip()
        if self.position != len(self.text):
            raise self.error("unexpected text", "the end of the line")


class _Reader:
    def __init__(self, lines: list[str], arrays: Mapping[str, Array]) -> None:
        self.lines = lines
        self.arrays = arrays
        self.graph = Graph()

    def graph_text(self) -> Graph:
        rows = [
            _Line(text, number)
            for number, text in enumerate(self.lines, 1)
            if text.strip() and not text.lstrip().startswith("//")
        ]
        if not rows:
            raise ParseError("the listing is empty", expected="graph @name(...) -> (...) {")
        outputs = self._header(rows[0])
        closed = False
        for line in rows[1:]:
            if closed:
                raise line.error("text after the end of the graph", "nothing")
            closed = line.accept("}")
            if closed:
                line.end()
            else:
                self._statement(line)
        if not closed:
            raise ParseError("the graph is not closed", expected="}", got="the end of the text")
        self._set_outputs(rows[0], outputs)
        return self.graph

    def _header(self, line: _Line) -> list[tuple[str, str]]:
        line.expect("graph")
        line.expect("@")
        self.graph.name = line.name()
        line.expect("(")
        while not line.accept(")"):
            line.expect("%")
            name = line.name()
            line.expect(":")
            declared = self._tensor_type(line)
            self._guard(line, self.graph.add_input, name, declared)
            if not line.accept(","):
                line.expect(")")
                break
        line.expect("->")
        line.expect("(")
        outputs = []
        while not line.accept(")"):
            line.expect("%")
            name = line.name()
            line.expect(":")
            outputs.append((name, str(self._type(line))))
            if not line.accept(","):
                line.expect(")")
                break
        line.expect("{")
        line.end()
        return outputs

    def _set_outputs(self, line: _Line, outputs: list[tuple[str, str]]) -> None:
        for name, text in outputs:
            if name not in self.graph:
                raise line.error("an output is not defined", got=f"%{printable(name)}")
            if str(self.graph.value(name).type) != text:
                raise line.error(
                    f"the type of output %{printable(name)} differs from its definition",
                    self.graph.value(name).type,
                    text,
                )
        self.graph.set_outputs(self.graph.value(name) for name, _ in outputs)

    def _guard(self, line: _Line, build: Callable[..., T], *arguments: Any) -> T:
        """Calls `build`; an error of the graph gets this line marked."""
        try:
            return build(*arguments)
        except GraphError as error:
            if isinstance(error, ParseError):
                raise
            line.position = 0
            told = line.error(str(error))
            told.got = None  # the error has told what came
            raise told from error

    def _statement(self, line: _Line) -> None:
        for keyword in ("param ", "const "):
            if line.accept(keyword):
                return self._parameter(line, trainable=keyword == "param ")
        return self._node(line)

    def _parameter(self, line: _Line, trainable: bool) -> None:
        line.expect("%")
        name = line.name()
        line.expect(":")
        declared = self._tensor_type(line)
        if not declared.is_static:
            raise line.error("a constant has known sizes", got=declared)
        line.expect("=")
        digest = line.match(_DIGEST)
        array = self._stored(line, declared, digest[1:]) if digest else self._inline(line, declared)
        line.end()
        value = Value(
            name, declared, array=array, trainable=trainable, digest=digest[1:] if digest else None
        )
        self._guard(line, self.graph.adopt_parameter, value)

    def _stored(self, line: _Line, declared: TensorType, digest: str) -> Array | None:
        array = self.arrays.get(digest)
        if array is None:
            return None
        if array.dtype != declared.dtype or array.shape != declared.shape:
            raise line.error(
                "the stored array is of another type", declared, f"{array.dtype}{array.shape}"
            )
        view = array.view()
        view.flags.writeable = False
        return view

    def _inline(self, line: _Line, declared: TensorType) -> Array:
        value = self._attribute(line)
        flat = list(value) if isinstance(value, tuple) else [value]
        size = declared.size
        if len(flat) != size or isinstance(value, tuple) != bool(declared.rank):
            raise line.error(
                "the elements do not fill the shape", declared, f"{len(flat)} elements"
            )
        if not all(isinstance(x, (bool, int, float)) for x in flat):
            raise line.error("an element is not a number")
        try:
            array = np.array(flat, dtype=object).astype(declared.dtype)
            array = array.reshape([known(d) for d in declared.shape])
        except (OverflowError, ValueError, TypeError) as error:
            raise line.error(
                "an element does not fit the element type", declared, str(error)
            ) from None
        array.flags.writeable = False
        return array

    def _node(self, line: _Line) -> None:
        names = [self._result(line)]
        while line.accept(","):
            names.append(self._result(line))
        line.expect("=")
        op_name = line.need(_WORD, "an op")
        operands = self._operands(line)
        attributes = self._attributes(line, 0) if line.accept("{") else {}
        op = self._op(line, op_name, attributes)
        line.expect(":")
        types = [self._type(line)]
        while line.accept(","):
            types.append(self._type(line))
        origins = self._origins(line)
        line.end()
        node = self._guard(line, self._build, op, operands, names, types)
        if origins:
            self._remember(node, origins)

    def _build(
        self,
        op: Op,
        operands: list[Value | None],
        names: list[str],
        types: list[TensorType | str],
    ) -> Node:
        for name in names:
            if name in self.graph:
                raise GraphError(f"%{printable(name)} is defined twice")
        if op.n_results != len(names):
            raise GraphError(f"{op.name} has {op.n_results} results", got=len(names))
        declared: list[Type] = [t for t in types if not isinstance(t, str)]
        if len(declared) != len(types):
            declared = list(infer(op, operands, names))
            found = [str(t) for t in declared]
            given = [str(t) for t in types]
            if found != given:
                raise GraphError(
                    "the type differs from the inferred one",
                    expected=printable(", ".join(found), TYPE_LIMIT),
                    got=printable(", ".join(given), TYPE_LIMIT),
                )
        return self.graph.add_node(op, operands, names, types=declared)

    def _result(self, line: _Line) -> str:
        line.expect("%")
        return line.name()

    def _operands(self, line: _Line) -> list[Value | None]:
        line.expect("(")
        operands: list[Value | None] = []
        while not line.accept(")"):
            operands.append(None if line.accept("_") else self._operand(line))
            if not line.accept(","):
                line.expect(")")
                break
        return operands

    def _operand(self, line: _Line) -> Value:
        line.expect("%")
        start = line.position
        name = line.name()
        if name not in self.graph:
            line.position = start
            raise line.error("the operand is not defined before its use", got=f"%{printable(name)}")
        return self.graph.value(name)

    def _op(self, line: _Line, name: str, attributes: dict[str, Any]) -> Op:
        known = ops()
        if name not in known and not name.startswith("onnx."):
            raise line.error(f"unknown op ({nearest(name, sorted(known))})", got=printable(name))
        return self._guard(line, make_op, name, attributes)

    def _attributes(self, line: _Line, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not line.accept("}"):
            key = line.need(_WORD, "an attribute")
            if key in found:
                raise line.error(f"attribute {key} is given twice")
            line.expect("=")
            found[key] = self._attribute(line, depth)
            if not line.accept(","):
                line.expect("}")
                break
        return found

    def _attribute(self, line: _Line, depth: int = 0) -> Any:
        if depth > NESTING_LIMIT:
            raise line.error("nested too deeply", f"at most {NESTING_LIMIT} levels")
        if line.accept("["):
            return self._list(line, depth)
        if line.text.startswith('"', line.position):
            return unquoted(line.need(re.compile(_STRING), "a string"))
        for pattern, read in ((_FLOAT, float), (_INTEGER, int)):
            number = line.match(pattern)
            if number is not None:
                return read(number)
        word = line.need(_WORD, "a value")
        constants = {"true": True, "false": False, "none": None}
        if word in constants:
            return constants[word]
        inner = self._attributes(line, depth + 1) if line.accept("{") else {}
        return self._op(line, word, inner)

    def _list(self, line: _Line, depth: int) -> tuple[Any, ...]:
        items = []
        while not line.accept("]"):
            items.append(self._attribute(line, depth + 1))
            if not line.accept(","):
                line.expect("]")
                break
        return tuple(items)

    def _tensor_type(self, line: _Line) -> TensorType:
        dtype = line.need(_WORD, "an element type")
        if dtype not in DTYPES:
            raise line.error(
                f"unknown element type ({nearest(dtype, list(DTYPES))})", got=printable(dtype)
            )
        line.expect("[")
        shape: list[Dim] = []
        while not line.accept("]"):
            text = line.need(_DIM, "a size")
            shape.append(self._guard(line, parse_dim, text))
            if isinstance(shape[-1], int) and shape[-1] < 0:
                raise line.error("a size is negative", got=shape[-1])
            if not line.accept(","):
                line.expect("]")
                break
        if not line.accept("{"):
            return TensorType(dtype, shape)
        return self._guard(
            line, self._laid_out, TensorType(dtype, shape), self._attributes(line, 1)
        )

    def _laid_out(self, plain: TensorType, given: dict[str, Any]) -> TensorType:
        block, halo = given.get("block"), given.get("halo")
        numbers = (block, *halo) if isinstance(halo, tuple) else (None,)
        if len(given) != 2 or any(type(n) is not int or n > LARGEST for n in numbers):
            raise GraphError("wrong layout", expected="{block = 16, halo = [...]}", got=str(given))
        return plain.with_layout(Layout(block, halo))  # type: ignore[arg-type]  # ints, as checked

    def _type(self, line: _Line) -> TensorType | str:
        """A type; of a matrix only the text, because its op infers it."""
        if not line.accept("matrix<"):
            return self._tensor_type(line)
        return "matrix<" + line.need(re.compile(r"(?:->|[^<>])*>"), "a matrix type")

    def _origins(self, line: _Line) -> list[str]:
        names: list[str] = []
        if not line.accept("from"):
            return names
        line.expect("[")
        while not line.accept("]"):
            names.append(self._result(line))
            if not line.accept(","):
                line.expect("]")
                break
        return names

    def _remember(self, node: Node, origins: list[str]) -> None:
        # the originals are not in this text: they get uids of their own, so that names survive
        old = tuple(Ref(Value(n, TensorType("f32", ())).uid, "node", n) for n in origins)
        new = (Ref(node.uid, "node", node.name, node.op.name),)
        self.graph.provenance.add(Record("read", "from", "", old, new))
