"""Why a layer of ours takes longer than the same layer in onnxruntime, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from irconv.bench.ort_profile import PeerStep
from irconv.conv_costs import MACHINE, Machine
from irconv.report import NodeReport

TICK = 1e-6  # onnxruntime's profile tells whole microseconds
LARGE_PART = 0.25  # of the time that is lost, or of all of it
NEAR_PEAK = 0.85
BORDER = "clear_halo"


@dataclass(frozen=True)
class OurStep:
    """One node of the compiled graph: which nodes of the source graph it is, and its seconds.

    `spread`: the interquartile range of these. `kernels`: seconds of each kernel. `constants`:
    bytes that it reads of weights. `reason`: what the report says.
    """

    report: NodeReport
    nodes: frozenset[str]
    seconds: float
    reason: str = ""
    spread: float = 0.0
    kernels: Mapping[str, float] | None = None
    constants: int = 0


@dataclass(frozen=True)
class Limits:
    """What the machine gives: GFLOP/s of all threads (None: not measured), and the model's."""

    threads: int = 1
    peak: float | None = None
    machine: Machine = MACHINE


def explain(ours: Sequence[OurStep], theirs: Sequence[PeerStep], flops: int, limits: Limits) -> str:
    """The reasons that the figures give for a layer that is slower, those that say most first.

    At the end stands what the report says of the nodes.
    """
    found = list(_not_told(ours, theirs)) or [
        *_borders(ours, theirs),
        *_copies(ours, theirs),
        *_traffic(ours, limits),
        *_rates(ours, theirs, flops, limits),
    ]
    said = (s.reason for s in ours if s.reason)
    return "; ".join(dict.fromkeys((*found, *said)))


def _seconds(steps: Sequence[OurStep | PeerStep]) -> float:
    return sum(step.seconds for step in steps)


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.1f} us"


def _not_told(ours: Sequence[OurStep], theirs: Sequence[PeerStep]) -> Iterator[str]:
    """A difference that the clocks cannot tell."""
    lost = _seconds(ours) - _seconds(theirs)
    spread = sum(step.spread for step in ours)
    if lost <= TICK * len(theirs):
        yield f"{_us(lost)} are within the microsecond of onnxruntime's clock"
    elif lost <= spread:
        yield f"{_us(lost)} are within the spread of our runs, {_us(spread)}"


def _borders(ours: Sequence[OurStep], theirs: Sequence[PeerStep]) -> Iterator[str]:
    """Zeros around the results, which onnxruntime does without."""
    lost = _seconds(ours) - _seconds(theirs)
    border = sum((step.kernels or {}).get(BORDER, 0.0) for step in ours)
    if border > LARGE_PART * lost:
        yield f"{_us(border)} to zero the border that its readers need as padding"


def _copies(ours: Sequence[OurStep], theirs: Sequence[PeerStep]) -> Iterator[str]:
    """What only changes a layout: Pack and Unpack."""
    own = [step for step in ours if not step.nodes]
    if own:
        moved = sum(step.report.bytes for step in own)
        reorders = "+".join(dict.fromkeys(t.op for t in theirs if not t.nodes))
        yield (
            f"{moved / 1e6:.2f} MB are copied where the network begins and ends; onnxruntime "
            + (f"has {reorders} of its own there" if reorders else "reads the input as it is")
        )


def _traffic(ours: Sequence[OurStep], limits: Limits) -> Iterator[str]:
    """Bytes that take a large part of the time at the rate of where they come from."""
    seconds, machine = _seconds(ours), limits.machine
    weights = sum(step.constants for step in ours)
    if weights / (machine.dram * 1e9) > LARGE_PART * seconds and weights > machine.l2_bytes:
        part = weights / (machine.dram * 1e9) / seconds
        yield f"its weights, {weights / 1e6:.1f} MB, take {part:.0%} of its time from memory"
    moved = sum(step.report.bytes for step in ours) - weights
    near = moved < machine.l2_bytes * limits.threads
    least = moved / ((machine.l2 if near else machine.l3) * 1e9 * limits.threads)
    which = "second" if near else "third"
    if least > LARGE_PART * seconds:
        yield f"{moved / 1e6:.2f} MB of the {which} cache need {least / seconds:.0%} of its time"
    elif not any(step.report.macs for step in ours):
        yield (
            f"not bound by memory: {moved / 1e6:.2f} MB of the {which} cache need {_us(least)} "
            f"of its {_us(seconds)}, the rest are the kernel's instructions"
        )


def _rates(
    ours: Sequence[OurStep], theirs: Sequence[PeerStep], flops: int, limits: Limits
) -> Iterator[str]:
    """How near both are to the arithmetic limit; for what has none, the bytes a second of both."""
    seconds, others = _seconds(ours), _seconds(theirs)
    if not seconds or not others:
        return
    if flops and limits.peak:
        mine, peers = (flops / s / 1e9 / limits.peak for s in (seconds, others))
        both = f"{mine:.0%} of the peak, onnxruntime {peers:.0%}"
        yield f"both are near the limit: {both}" if mine > NEAR_PEAK else both
    elif not flops:
        moved = sum(step.report.bytes for step in ours)
        mine, peers = (moved / s / 1e9 for s in (seconds, others))
        yield f"{mine:.0f} GB/s of operands and results, onnxruntime {peers:.0f}"
