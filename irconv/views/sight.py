"""How far one axis of a value sees along the same axis of the input: an interval that moves on in
even steps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import TypeAlias

# first and last input place that is seen; None where nothing is
Interval: TypeAlias = "tuple[int, int] | None"


@dataclass(frozen=True)
class Sight:
    """What output place `o` of one axis sees: `intervals[o % period]`, moved on by `shift` for
    each whole period in `o`.

    Away from the border: places outside the image are counted like others. The period is 1 but
    for transposed convolutions; the shift is 0 where every place sees the same.
    (The arithmetic for a period of 1: Araujo, Norris, Sim, Computing Receptive Fields of
    Convolutional Neural Networks, Distill 2019.)
    """

    intervals: tuple[Interval, ...]
    shift: int

    @property
    def period(self) -> int:
        return len(self.intervals)

    @property
    def jump(self) -> Fraction:
        """Input places from one output place to the next, on average."""
        return Fraction(self.shift, self.period)

    @property
    def size(self) -> int:
        """The largest number of input places from the first to the last that is seen."""
        return max((i[1] - i[0] + 1 for i in self.intervals if i is not None), default=0)

    def at(self, place: int) -> Interval:
        """What output `place` sees, borders not considered."""
        turns, phase = divmod(place, self.period)
        found = self.intervals[phase]
        move = turns * self.shift
        return None if found is None else (found[0] + move, found[1] + move)

    def windowed(self, kernel: int, stride: int, dilation: int, pad: int) -> Sight:
        """What a window over this axis sees: taps `o * stride - pad + k * dilation`."""
        period = self.period // gcd(self.period, stride)
        intervals = (
            hull(self.at(o * stride - pad + k * dilation) for k in {*range(kernel)})
            for o in range(period)
        )
        return Sight(tuple(intervals), self.shift * stride * period // self.period)

    def transposed(self, kernel: int, stride: int, dilation: int, pad: int) -> Sight:
        """What a transposed window sees: places `i` with `i * stride + k * dilation - pad = o`."""
        period = self.period * stride
        intervals = tuple(
            hull(
                self.at((o + pad - k * dilation) // stride)
                for k in range(kernel)
                if (o + pad - k * dilation) % stride == 0
            )
            for o in range(period)
        )
        return Sight(intervals, self.shift).reduced()

    def repeated(self, period: int) -> Sight:
        """The same with a longer period, a multiple of this one's."""
        intervals = tuple(self.at(o) for o in range(period))
        return Sight(intervals, self.shift * (period // self.period))

    def reduced(self) -> Sight:
        """The same with the shortest period."""
        for period in range(1, self.period):
            if self.period % period == 0 and self.shift % (self.period // period) == 0:
                short = Sight(self.intervals[:period], self.shift * period // self.period)
                if short.repeated(self.period) == self:
                    return short
        return self


SELF = Sight(((0, 0),), 1)
"""What the input sees of itself."""


def constant(interval: Interval) -> Sight:
    """Every output place sees the same."""
    return Sight((interval,), 0)


def union(sights: Iterable[Sight]) -> tuple[Sight, ...]:
    """One sight for each pace: those that move on alike are joined to one."""
    found: dict[Fraction, Sight] = {}
    for sight in sights:
        before = found.get(sight.jump)
        found[sight.jump] = sight if before is None else _joined(before, sight)
    return tuple(found[jump] for jump in sorted(found))


def _joined(a: Sight, b: Sight) -> Sight:
    period = lcm(a.period, b.period)
    a, b = a.repeated(period), b.repeated(period)
    pairs = zip(a.intervals, b.intervals, strict=True)
    return Sight(tuple(hull(pair) for pair in pairs), a.shift).reduced()


def hull(intervals: Iterable[Interval]) -> Interval:
    """The interval from the first place to the last."""
    found = [i for i in intervals if i is not None]
    return (min(i[0] for i in found), max(i[1] for i in found)) if found else None
