"""The options of `irconv bench` that take several values, and the command that they make."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from irconv.backend import Precision
from irconv.bench.campaign import Request
from irconv.bench.peers import PEERS, installed_peers
from irconv.commands import console
from irconv.errors import BackendError, UsageError, printable
from irconv.registry import nearest


def peers_of(against: list[str] | None) -> tuple[str, ...]:
    """The engines to compare with; raises BackendError for one that is not here."""
    here = installed_peers()
    if against is None:
        for name in PEERS:
            if name not in here:
                console.note(f"{name} is not installed: without it")
        return here
    chosen = [p for item in against for p in item.split(",") if p != "none"]
    for name in chosen:
        if name not in PEERS:
            hint = nearest(name, [*PEERS, "none"])
            raise BackendError("unknown engine", got=printable(name), hint=hint)
        if name not in here:
            raise BackendError(f"{name} is not installed", hint=f"pip install {name}")
    return tuple(dict.fromkeys(chosen))


def precisions_of(text: str) -> tuple[Precision, ...]:
    """`strict,fast` as precisions, each once; raises UsageError."""
    found: dict[Precision, None] = {}
    for word in text.split(","):
        match word.strip():
            case "strict" | "fast" as one:
                found[one] = None
            case other:
                raise UsageError(
                    "wrong --precision",
                    expected="strict, fast or strict,fast",
                    got=printable(other),
                )
    return tuple(found)


def numbers_of(option: str, text: str, limit: int | None) -> Iterator[int]:
    """`1,8` as numbers, each once; raises UsageError."""
    words = dict.fromkeys(word.strip() for word in text.split(","))
    for word in words:
        if not word.isdecimal() or int(word) < 1 or (limit is not None and int(word) > limit):
            span = "1 or more" if limit is None else f"from 1 to {limit}"
            raise UsageError(
                f"wrong {option}", expected=f"numbers {span}, such as 1,2", got=printable(text)
            )
        yield int(word)


def words_of(named: Sequence[str], request: Request, outputs: Iterable[str]) -> Iterator[str]:
    """The arguments that ask for the same again; what has its default is left out."""
    plain = Request(())
    yield from named
    yield from (w for p in request.peers or ("none",) for w in ("--against", p))
    if request.backend != plain.backend:
        yield from ("--backend", request.backend)
    yield from (w for p in request.pipelines if p is not None for w in ("--pipeline", p))
    yield from ("--precision", ",".join(request.precisions))
    yield from ("--threads", ",".join(map(str, request.threads)))
    if request.batches != plain.batches:
        yield from ("--batch", ",".join(map(str, request.batches)))
    yield from ("--runs", str(request.runs))
    for option, value, usual in (
        ("--random-weights", request.random_weights, plain.random_weights),
        ("--seed", request.seed, plain.seed),
    ):
        yield from (option, str(value)) if value != usual else ()
    yield from ("--layers",) if request.layers else ()
    yield from ("--tune",) if request.tune else ()
    yield from () if request.memory else ("--no-memory",)
    yield from outputs
