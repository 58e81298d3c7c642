"""Sizes of dimensions: integers, or polynomials over named symbols in one normal form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd
from operator import index, mul
from typing import TypeAlias

from irconv.errors import GraphError, printable


@dataclass(frozen=True, slots=True)
class FloorDiv:
    """The atom `numerator // denominator`, where nothing could be cancelled."""

    numerator: Expr
    denominator: Dim

    def __str__(self) -> str:
        return f"({self.numerator})//{_factor(self.denominator)}"


Atom: TypeAlias = "str | FloorDiv"
# a product of atoms with their powers, sorted: N*N*M is (("M", 1), ("N", 2))
Monomial: TypeAlias = "tuple[tuple[Atom, int], ...]"


@dataclass(frozen=True, slots=True)
class Expr:
    """A polynomial with integer coefficients that is not a constant; build it with `symbol`, `+`,
    `*`, `//`.

    Two expressions are equal when their normal forms are.
    """

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Dim) -> Dim:
        if isinstance(other, int) and other == 0:
            return self
        return _polynomial([*self.terms, *_terms(other)])

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + other * -1

    def __rsub__(self, other: int) -> Dim:
        return self * -1 + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            # the order of the terms stays
            return Expr(tuple((m, c * other) for m, c in self.terms)) if other else 0
        return _polynomial((_times(a, b), x * y) for a, x in self.terms for b, y in _terms(other))

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        if not isinstance(other, int):
            return _divide(self, other)
        if other <= 0:
            raise GraphError("a size is divided", expected="a positive divisor", got=other)
        whole = _polynomial((m, c // other) for m, c in self.terms if c % other == 0)
        rest = _polynomial((m, c) for m, c in self.terms if c % other)
        if isinstance(rest, int):
            return whole + rest // other
        # (3*N + 5)//2 == (3*N + 1)//2 + 2: the constant is reduced, so that equal forms meet
        constant = dict(rest.terms).get((), 0)
        return whole + constant // other + _reduced(rest - constant, constant % other, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return 0 if other == 0 else _atom(FloorDiv(Expr((((), other),)), self))

    def __str__(self) -> str:
        parts = [_term_text(m, c) for m, c in self.terms]
        return parts[0] + "".join(f" - {p[1:]}" if p[0] == "-" else f" + {p}" for p in parts[1:])

    __repr__ = __str__


Dim: TypeAlias = "int | Expr"


def symbol(name: str) -> Expr:
    """The size called `name`, known at run time and never negative."""
    return _atom(name)


def _atom(atom: Atom) -> Expr:
    return Expr(((((atom, 1),), 1),))


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return dim.terms if isinstance(dim, Expr) else (((), dim),)


def _times(a: Monomial, b: Monomial) -> Monomial:
    powers = dict(a)
    for atom, power in b:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=lambda item: str(item[0])))


def _polynomial(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    total: dict[Monomial, int] = {}
    for monomial, coefficient in terms:
        total[monomial] = total.get(monomial, 0) + coefficient
    kept = {m: c for m, c in total.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return Expr(tuple(sorted(kept.items(), key=_term_order)))


def _reduced(terms: Dim, constant: int, divisor: int) -> Dim:
    """(terms + constant)//divisor in lowest terms: (2*N + 1)//4 is N//2, and (N//2)//2 is N//4."""
    if isinstance(terms, int):
        return (terms + constant) // divisor
    common = gcd(divisor, *(c for _, c in terms.terms))
    if common > 1:
        # what the constant adds below the common factor never reaches the next whole number
        return (_polynomial((m, c // common) for m, c in terms.terms) + constant // common) // (
            divisor // common
        )
    inner = _lone_quotient(terms)
    if inner is not None and isinstance(inner.denominator, int):
        # (a//b + c)//d == (a + b*c)//(b*d)
        return (inner.numerator + inner.denominator * constant) // (inner.denominator * divisor)
    return _atom(FloorDiv(_expression(terms + constant), divisor))


def _lone_quotient(terms: Expr) -> FloorDiv | None:
    """The quotient that `terms` is, if it is one alone."""
    if len(terms.terms) != 1 or terms.terms[0][1] != 1 or len(terms.terms[0][0]) != 1:
        return None
    atom, power = terms.terms[0][0][0]
    return atom if isinstance(atom, FloorDiv) and power == 1 else None


def _expression(dim: Dim) -> Expr:
    assert isinstance(dim, Expr)
    return dim


def _term_order(term: tuple[Monomial, int]) -> tuple[int, str]:
    monomial = term[0]
    return (-sum(power for _, power in monomial), _term_text(monomial, 1))


def _divide(numerator: Expr, denominator: Expr) -> Dim:
    if len(denominator.terms) == 1:
        (monomial, coefficient) = denominator.terms[0]
        divided = [_cancel(m, c, monomial, coefficient) for m, c in numerator.terms]
        if all(term is not None for term in divided):
            return _polynomial(term for term in divided if term is not None)
    if numerator == denominator:
        return 1
    return _atom(FloorDiv(numerator, denominator))


def _cancel(
    monomial: Monomial, coefficient: int, by: Monomial, by_coefficient: int
) -> tuple[Monomial, int] | None:
    powers = dict(monomial)
    for atom, power in by:
        powers[atom] = powers.get(atom, 0) - power
    if coefficient % by_coefficient or any(power < 0 for power in powers.values()):
        return None
    left = tuple(sorted(((a, p) for a, p in powers.items() if p), key=lambda i: str(i[0])))
    return left, coefficient // by_coefficient


def _atom_text(atom: Atom) -> str:
    if isinstance(atom, FloorDiv):
        return str(atom)
    return atom if _PLAIN.fullmatch(atom) else quoted(atom)


def quoted(text: str) -> str:
    """`text` in double quotes, everything outside printable ASCII escaped."""
    body = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if " " <= c <= "~" else f"\\u{{{ord(c):x}}}" for c in body) + '"'


def _term_text(monomial: Monomial, coefficient: int) -> str:
    lone = coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1
    # a quotient beside a factor is bracketed: 2*((N)//3), which is not (2*N)//3
    texts = [
        f"({a})" if isinstance(a, FloorDiv) and not lone else _atom_text(a) for a, _ in monomial
    ]
    atoms = [t if p == 1 else f"{t}^{p}" for t, (_, p) in zip(texts, monomial, strict=True)]
    if not atoms:
        return str(coefficient)
    if coefficient == 1:
        return "*".join(atoms)
    return ("-" if coefficient == -1 else f"{coefficient}*") + "*".join(atoms)


def _factor(dim: Dim) -> str:
    simple = isinstance(dim, int) or (len(dim.terms) == 1 and dim.terms[0][1] == 1)
    return str(dim) if simple else f"({dim})"


_PLAIN = re.compile(r"[A-Za-z_?][A-Za-z0-9_.?]*")


def known(dim: Dim) -> int:
    """The integer that a size is; raises GraphError where it is symbolic."""
    if not isinstance(dim, int):
        raise GraphError("a size must be known", got=dim)
    return dim


def product(dims: Iterable[Dim]) -> Dim:
    """The product of sizes; 1 of none."""
    return reduce(mul, dims, 1)


_NONE: frozenset[str] = frozenset()


def symbols_of(dim: Dim) -> frozenset[str]:
    """The names of all symbols in `dim`."""
    if isinstance(dim, int):
        return _NONE
    found: set[str] = set()
    pending: list[Dim] = [dim]
    while pending:
        for monomial, _ in _terms(pending.pop()):
            for atom, _power in monomial:
                if isinstance(atom, FloorDiv):
                    pending += [atom.numerator, atom.denominator]
                else:
                    found.add(atom)
    return frozenset(found)


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """`dim` with each symbol that `sizes` names replaced by its size."""
    if isinstance(dim, int) or not (symbols_of(dim) & sizes.keys()):
        return dim

    def value(atom: Atom) -> Dim:
        if isinstance(atom, FloorDiv):
            return substitute(atom.numerator, sizes) // substitute(atom.denominator, sizes)
        return sizes.get(atom, symbol(atom))

    return _sum(
        coefficient * product(value(atom) for atom, power in monomial for _ in range(power))
        for monomial, coefficient in dim.terms
    )


def _sum(dims: Iterable[Dim]) -> Dim:
    total: Dim = 0
    for dim in dims:
        total = total + dim
    return total


def as_dim(value: int | str | Expr) -> Dim:
    """A size from an integer, a symbol's name, or an expression as text (`"2*N + 1"`)."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, str):
        return parse_dim(value)
    try:
        return index(value)
    except TypeError:
        raise GraphError("not a size", expected="an integer", got=printable(value)) from None


_TOKEN = re.compile(
    r'\s*(?:(\d{1,19})|([A-Za-z_?][A-Za-z0-9_.?]*)|("(?:[^"\\]|\\.)*")|(//|[-+*^()]))'
)
_ESCAPE = re.compile(r'\\(?:u\{([0-9a-f]{1,6})\}|(["\\]))')


def unquoted(text: str) -> str:
    """The text that `quoted` wrote."""

    def character(match: re.Match[str]) -> str:
        return chr(min(int(match[1], 16), 0x10FFFF)) if match[1] else match[2]

    return _ESCAPE.sub(character, text[1:-1])


def parse_dim(text: str) -> Dim:
    """Reads the text of an expression back. Raises GraphError where it is none."""
    if _PLAIN.fullmatch(text):
        return symbol(text)
    if text.isdecimal() and text.isascii() and len(text) < 20:
        return int(text)
    tokens: list[str] = []
    position = 0
    while position < len(text.rstrip()):
        match = _TOKEN.match(text, position)
        if match is None or len(tokens) > 1000:
            raise _not_a_size(text)
        tokens.append(match[0].strip())
        position = match.end()
    reader = _Reader(tokens, text)
    dim = reader.total()
    if reader.tokens:
        raise _not_a_size(text)
    return dim


def _not_a_size(text: str) -> GraphError:
    return GraphError(
        "not a size", expected="an integer, a name, or an expression", got=printable(text)
    )


class _Reader:
    """Recursive descent over the tokens of one expression; nesting is limited."""

    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens = tokens[::-1]
        self.text = text
        self.depth = 0

    def _next(self, *choices: str) -> str | None:
        return self.tokens.pop() if self.tokens and self.tokens[-1] in choices else None

    def total(self) -> Dim:
        value = self._product()
        while operator := self._next("+", "-"):
            right = self._product()
            value = value + right if operator == "+" else value - right
        return value

    def _product(self) -> Dim:
        value = self._factor()
        apply: dict[str, Callable[[Dim, Dim], Dim]] = {
            "*": lambda a, b: a * b,
            "//": lambda a, b: a // b,
        }
        while operator := self._next("*", "//"):
            right = self._factor()
            if operator == "//" and right == 0:
                raise _not_a_size(self.text)
            value = apply[operator](value, right)
        return value

    def _factor(self) -> Dim:
        if self._next("-"):
            return self._factor() * -1
        value = self._primary()
        if self._next("^"):
            power = self._primary()
            if not isinstance(power, int) or not 0 <= power <= 16:
                raise _not_a_size(self.text)
            value = product([value] * power)
        return value

    def _primary(self) -> Dim:
        token = self.tokens.pop() if self.tokens else ""
        if token == "(":
            self.depth += 1
            if self.depth > 20:
                raise _not_a_size(self.text)
            value = self.total()
            if not self._next(")"):
                raise _not_a_size(self.text)
            self.depth -= 1
            return value
        if token.isdigit():
            return int(token)
        if token.startswith('"'):
            return symbol(unquoted(token))
        if not token or not _PLAIN.fullmatch(token):
            raise _not_a_size(self.text)
        return symbol(token)
