"""Changes model files and listings at random; each must load or be refused by a typed error.

`python -m tests.mutants [--count 5000] [--seed 0] [--jobs 2]` (`make mutants`) ends with status 1
where one took longer than two seconds or 500 MB, raised anything else, or crashed.
"""

from __future__ import annotations

import argparse
import functools
import gc
import multiprocessing
import random
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from onnx.backend.test.loader import load_model_tests

from irconv.errors import IrconvError, PassError
from irconv.graph import Graph
from irconv.listing import write
from irconv.onnx_import import load
from irconv.pipeline import lower
from irconv.text import parse
from irconv.verify import verify

# what loads must go through these too
PIPELINE = "canonicalize,fold,fold_batchnorm,fuse,im2col,canonicalize"
SECONDS = 2
BYTES = 500 << 20
CASES = Path(__file__).parent / "cases"
# sizes, axes and versions that programs trip over
ODD = (0, 1, -1, 2, 3, 7, 64, 65, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
ODD_TEXT = ("", "x", "y", "\0", "\u202e", "<script>", "a" * 5000, "ai.onnx", "Conv", "../w")

Choose = Callable[[Any], Any]


@dataclass
class Tally:
    """What became of the mutants."""

    ends: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list)

    def merge(self, other: Tally) -> None:
        """Adds what another run met."""
        self.ends.update(other.ends)
        self.slowest = max(self.slowest, other.slowest)
        self.findings += other.findings


@functools.cache
def models() -> tuple[bytes, ...]:
    """Small models of ONNX's suite: every operator, and whole networks cut small."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tests = load_model_tests(kind="node")
    data = {case.model.SerializeToString() for case in tests if case.model is not None}
    return tuple(sorted(d for d in data if len(d) < 20_000))


@functools.cache
def listings() -> tuple[str, ...]:
    """The listings of the golden cases, before and after their passes."""
    texts = [path.read_text("utf-8") for path in sorted(CASES.rglob("*.ir"))]
    halves = [part for text in texts for part in text.split("// pass:")]
    return tuple(half[half.index("graph @") :] for half in halves if "graph @" in half)


# -- ways to change a file -------------------------------------------------------------------------


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to four bytes flipped, taken out, doubled, or replaced by a piece of the file."""
    buffer = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(buffer) + 1)
        length = rng.choice((1, 1, 2, 8, 40))
        match rng.choice(("flip", "flip", "cut", "double", "move", "end")):
            case "flip":
                for i in range(place, min(place + length, len(buffer))):
                    buffer[i] ^= 1 << rng.randrange(8)
            case "cut":
                del buffer[place : place + length]
            case "double":
                buffer[place:place] = buffer[place : place + length]
            case "move":
                start = rng.randrange(len(buffer) + 1)
                buffer[place : place + length] = buffer[start : start + length]
            case "end":
                del buffer[max(place, 1) :]
        if not buffer:
            buffer = bytearray(b"\x08")
    return bytes(buffer)


def changed_fields(data: bytes, rng: random.Random) -> bytes:
    """One to three fields of the protobuf replaced by odd values; the file stays well formed."""
    model = onnx.ModelProto()
    model.ParseFromString(data)
    for _ in range(rng.randint(1, 3)):
        message = rng.choice(list(_messages(model)))
        fields = message.ListFields()
        if fields:
            described, value = rng.choice(fields)
            _replace(message, described, value, rng)
    return model.SerializeToString()


def _messages(message: Any) -> Iterator[Any]:
    yield message
    for described, value in message.ListFields():
        if described.message_type is not None:
            for child in value if hasattr(value, "__len__") else [value]:
                yield from _messages(child)


def _replace(message: Any, described: Any, value: Any, rng: random.Random) -> None:
    odd = {
        "int": lambda: rng.choice(ODD),
        "str": lambda: rng.choice(ODD_TEXT),
        "bytes": lambda: rng.randbytes(rng.choice((0, 1, 7, 64))),
        "float": lambda: rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf"))),
    }
    name = described.name
    try:
        if not hasattr(value, "append"):  # one value
            if described.message_type is not None or rng.random() < 0.2:
                message.ClearField(name)
            else:
                setattr(message, name, odd[type(value).__name__]())
        elif rng.random() < 0.4:
            del value[rng.randrange(len(value))]
        elif described.message_type is not None:
            value.add().CopyFrom(rng.choice(list(value)))
        elif rng.random() < 0.5:
            value.append(odd[type(value[0]).__name__]())
        else:
            value[rng.randrange(len(value))] = odd[type(value[0]).__name__]()
    except ValueError:
        return  # a number that the field cannot hold


def changed_text(text: str, rng: random.Random) -> str:
    """One to three pieces of a listing cut, doubled, moved, or replaced by odd ones."""
    for _ in range(rng.randint(1, 3)):
        words = text.split(" ")
        place = rng.randrange(len(words))
        match rng.choice(("cut", "double", "move", "odd", "character")):
            case "cut":
                del words[place : place + rng.randint(1, 3)]
            case "double":
                words[place:place] = words[place : place + rng.randint(1, 3)]
            case "move":
                words[place] = rng.choice(words)
            case "odd":
                words[place] = str(rng.choice((*ODD, *ODD_TEXT, "[[[[", "{", "%", "1e999", "f32[")))
            case "character":
                at = rng.randrange(max(1, len(words[place])))
                words[place] = words[place][:at] + chr(rng.randrange(256)) + words[place][at + 1 :]
        text = " ".join(words) or " "
    return text


# -- what must hold --------------------------------------------------------------------------------


class TooSlowError(BaseException):
    """A mutant took longer than it may."""


@contextmanager
def bounded() -> Iterator[None]:
    """At most SECONDS of the processor's time and BYTES of memory from here on."""

    def stop(number: int, frame: object) -> None:
        raise TooSlowError

    page = resource.getpagesize()
    used = int(Path("/proc/self/statm").read_text().split()[0]) * page
    before = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
        resource.setrlimit(resource.RLIMIT_AS, before)


def look(mutant: bytes | str, tally: Tally) -> None:
    """Loads or parses one mutant; what is not as it must be is a finding."""
    start = time.process_time()
    try:
        with bounded():
            graph = parse(mutant) if isinstance(mutant, str) else load(mutant)
            _check(graph)
        end = "loaded"
    except IrconvError as error:
        end = f"refused: {error.code}"
        if "MemoryError" in str(error):
            tally.findings.append(f"out of memory: {error!r}")
        if "\n" in str(error) or "\x1b" in str(error) or len(str(error)) > 4000:
            tally.findings.append(f"not one printable line: {error!r}")
    except BaseException as error:
        end = "finding"
        tally.findings.append(f"{type(error).__name__}: {str(error)[:300]}")
        if isinstance(error, KeyboardInterrupt):
            raise
    tally.slowest = max(tally.slowest, time.process_time() - start)
    tally.ends[f"{'listing' if isinstance(mutant, str) else 'file'} {end}"] += 1


def _check(graph: Graph) -> None:
    verify(graph)
    arrays = {v.digest: v.array for v in graph.parameters.values() if v.array is not None}
    if parse(write(graph), arrays) != graph:
        raise AssertionError("its listing does not parse back to it")
    try:
        lower(graph, PIPELINE)
    except PassError as error:
        raise AssertionError(f"a pass failed: {error}") from error


def mutant_of(number: int) -> bytes | str:
    """The mutant of a seed."""
    rng = random.Random(number)
    kind = rng.choice(("bytes", "fields", "fields", "text"))
    if kind == "text":
        return changed_text(rng.choice(listings()), rng)
    data = rng.choice(models())
    return changed_bytes(data, rng) if kind == "bytes" else changed_fields(data, rng)


def campaign(count: int, seed: int) -> Tally:
    """The mutants of the seeds from `seed` on."""
    tally = Tally()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(seed, seed + count):
            known = len(tally.findings)
            look(mutant_of(number), tally)
            for place in range(known, len(tally.findings)):
                tally.findings[place] = f"--seed {number} --count 1: {tally.findings[place]}"
    gc.collect()
    return tally


def _campaign(job: tuple[int, int]) -> Tally:
    return campaign(*job)


def main() -> int:
    """Prints what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    piece = 250
    jobs = [(min(piece, given.count - i), given.seed + i) for i in range(0, given.count, piece)]
    total = Tally()
    with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
        for tally in pool.imap_unordered(_campaign, jobs):
            total.merge(tally)
            print(*tally.findings, sep="\n", file=sys.stderr)
    print(f"{given.count} mutants, {len(total.findings)} findings, slowest {total.slowest:.2f} s")
    print(*(f"{n:7}  {end}" for end, n in sorted(total.ends.items())), sep="\n")
    return int(bool(total.findings))


if __name__ == "__main__":
    raise SystemExit(main())
