"""Times several engines in turns, so that all of them see the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from irconv.types import Array

Engine: TypeAlias = "Callable[[Mapping[str, Array]], Sequence[Array]]"

# a pool that still spins after its run would slow whoever runs next; onnxruntime's spun for 35 ms
PAUSE_SECONDS = 0.05
RUNS_A_TURN = 5


@dataclass(frozen=True)
class Timing:
    """Seconds of each timed run."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile."""
        if len(self.seconds) < 2:
            return self.median, self.median
        first, _, third = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return first, third

    @property
    def spread(self) -> float:
        """The interquartile range relative to the median."""
        first, third = self.quartiles
        return (third - first) / self.median if self.median else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain data, in milliseconds."""
        first, third = self.quartiles
        return {
            "median_ms": self.median * 1e3,
            "quartiles_ms": [first * 1e3, third * 1e3],
            "min_ms": min(self.seconds) * 1e3,
            "spread": self.spread,
            "runs": len(self.seconds),
        }


def interleaved(
    engines: Mapping[str, Engine],
    runs: int,
    draw: Callable[[], Mapping[str, Array]],
    pause: float = PAUSE_SECONDS,
    failed: Callable[[str, Exception], None] | None = None,
) -> dict[str, Timing]:
    """Runs all engines in turns until each has `runs` timed runs.

    A turn begins with a pause and one untimed run, so that nobody is timed in the wake of another.
    `draw` gives new inputs: each run of a turn has inputs of its own, the same for every engine.
    An engine that raises is told to `failed`, if that is given, and has no timing.
    """
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    while any(len(found) < runs for found in seconds.values()):
        first, *rest = [draw() for _ in range(RUNS_A_TURN + 1)]
        for name, found in list(seconds.items()):
            time.sleep(pause)
            try:
                found += _turn(engines[name], first, rest[: runs - len(found)])
            except Exception as error:
                if failed is None:
                    raise
                del seconds[name]
                failed(name, error)
    return {name: Timing(tuple(found)) for name, found in seconds.items()}


def _turn(
    run: Engine, first: Mapping[str, Array], rest: Sequence[Mapping[str, Array]]
) -> list[float]:
    run(first)
    seconds = []
    for inputs in rest:
        start = time.perf_counter()
        run(inputs)
        seconds.append(time.perf_counter() - start)
    return seconds
