"""Predicted seconds of one convolution: direct, and by Winograd's transforms.

A deterministic model from six numbers of the machine. Its few constants were fitted to measured
layers of VGG, ResNet, Inception and SqueezeNet (56..224 wide with 64 channels, to 7 wide with 512).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal, TypeAlias

from irconv.geometry import ConvGeometry
from irconv.winograd import KERNEL, POINTS

Form: TypeAlias = Literal["direct", "fused", "phased"]

FLOAT = 4  # bytes
MIB = 1 << 20
# Of the peak: what the register tile reaches.
TILE_RATE = 0.88
# Of the shorter of two streams that overlap (products and their operands), what still shows.
EXPOSED = 0.25
# What a transform takes, over the time its bytes need to and from the second cache.
TRANSFORM = 1.8
# How often V and M cross the third cache: written (read first, then sent back), and read.
CROSSINGS = 4
# How much longer weights take that are read again for each block of tiles, beside V and M.
AGAIN = 1.5
# Of the second cache: V and M of a block of tiles.
BLOCK_SHARE = 0.75
# How much longer the weights take where one group of tiles leaves no time to ask for the next ones.
LONE_GROUP = 1.25
GROUP = 14  # tiles of a register tile
PANEL = 2  # its vectors of channels
STEP_SECONDS = 1e-6  # to begin and end one more step with all threads


@dataclass(frozen=True)
class Machine:
    """Six numbers: GFLOP/s of a core, GB/s of a core from its caches and of all from memory, bytes
    of the second cache of a core and of the third; and floats in a vector.
    """

    peak: float = 272.0
    l2: float = 221.0
    l3: float = 102.0
    dram: float = 43.0
    l2_bytes: int = MIB
    l3_bytes: int = 32 * MIB
    lanes: int = 16


MACHINE = Machine()


@dataclass(frozen=True)
class Prediction:
    """What one way to compute a convolution would take, and the bytes of its weights."""

    form: Form
    seconds: float
    weight_bytes: int


def predictions(
    geometry: ConvGeometry,
    batch: int,
    threads: int,
    machine: Machine = MACHINE,
    resident: bool = False,
) -> dict[int, Prediction]:
    """The predictions of one 3x3 convolution with stride 1 and one group, by the tile of its
    transforms; 0 is the direct convolution. Weights that are `resident` stay in the third cache
    from one run to the next, others come from memory.
    """
    found = {0: direct(geometry, batch, threads, machine, resident)}
    for tile in sorted(POINTS):
        found[tile] = winograd(geometry, tile, batch, threads, machine, resident)
    return found


def direct(
    geometry: ConvGeometry,
    batch: int,
    threads: int,
    machine: Machine = MACHINE,
    resident: bool = False,
) -> Prediction:
    """The direct convolution on blocks of channels, with any window and groups."""
    depth, rows = (
        _whole(n // geometry.group, machine.lanes)
        for n in (geometry.in_channels, geometry.out_channels)
    )
    pairs = depth * rows * geometry.group * geometry.taps
    compute = 2 * pairs * batch * prod(geometry.out) / _rate(machine, threads)
    seconds = _overlapped(compute, pairs * FLOAT / _source(machine, threads, resident))
    return Prediction("direct", seconds + STEP_SECONDS, pairs * FLOAT)


def winograd(
    geometry: ConvGeometry,
    tile: int,
    batch: int,
    threads: int,
    machine: Machine = MACHINE,
    resident: bool = False,
) -> Prediction:
    """F(tile, 3), in the faster of its two forms."""
    work = _Work(geometry, tile, batch, threads, machine, resident)
    fused, phased = work.fused(), work.phased()
    if fused <= phased:
        return Prediction("fused", fused, work.weight_bytes)
    return Prediction("phased", phased, work.weight_bytes)


@dataclass(frozen=True)
class _Work:
    """The parts of one Winograd convolution, in seconds."""

    geometry: ConvGeometry
    tile: int
    batch: int
    threads: int
    machine: Machine
    resident: bool

    @property
    def depth(self) -> int:
        return _whole(self.geometry.in_channels, self.machine.lanes)

    @property
    def rows(self) -> int:
        return _whole(self.geometry.out_channels, self.machine.lanes)

    @property
    def points(self) -> int:
        return (self.tile + KERNEL - 1) ** 2

    @property
    def tiles(self) -> int:
        return self.batch * prod(-(-size // self.tile) for size in self.geometry.out)

    @property
    def weight_bytes(self) -> int:
        return self.points * self.depth * self.rows * FLOAT

    @property
    def products(self) -> float:
        pairs = self.points * self.tiles * self.depth * self.rows
        return 2 * pairs / _rate(self.machine, self.threads)

    @property
    def transforms(self) -> float:
        """To V and from M, and what x and y take longer from further away."""
        moved = 2 * self.points * self.depth + (self.points + self.tile**2) * self.rows
        near = TRANSFORM * moved * self.tiles * FLOAT / (self.machine.l2 * 1e9 * self.threads)
        pixels = self.depth * prod(self.geometry.image) + self.rows * prod(self.geometry.out)
        image = self.batch * pixels * FLOAT
        far = 0.0 if image < self.machine.l2_bytes else image / self._l3
        return near + far

    @property
    def groups(self) -> int:
        """Groups of tiles, each the rows of one register tile."""
        return -(-self.tiles // GROUP)

    def streamed(self, groups: int, readers: int) -> float:
        """The weights, once, for as many groups of tiles at a time: each of `readers` threads reads
        a part of them.
        """
        once = self.weight_bytes / _source(self.machine, readers, self.resident)
        return once * (LONE_GROUP if groups < 2 else 1)

    @property
    def _l3(self) -> float:
        return self.machine.l3 * 1e9 * self.threads

    def fused(self) -> float:
        """Blocks of tiles, each through the whole algorithm; each streams all weights."""
        busiest = -(-self.groups // self.threads)
        of_group = (self.depth + PANEL * self.machine.lanes) * self.points * FLOAT * GROUP
        together = max(int(BLOCK_SHARE * self.machine.l2_bytes / of_group), 1)
        again = AGAIN * (-(-busiest // together) - 1) * self.weight_bytes
        uneven = busiest * self.threads / self.groups
        streamed = self.streamed(min(together, busiest), 1)
        transforms = self.transforms * uneven + STEP_SECONDS
        products = self.products * uneven
        if self.weight_bytes > self.machine.l3_bytes // 2:
            # the weights do not stay in the third cache from block to block
            again_seconds = again * self.threads / (self.machine.dram * 1e9)
            return _overlapped(products, streamed) + again_seconds + transforms
        near = self.weight_bytes < self.machine.l2_bytes // 2
        again_seconds = 0.0 if near else again / (self.machine.l3 * 1e9)
        return _overlapped(products, streamed + again_seconds) + transforms

    def phased(self) -> float:
        """All tiles through each phase; V and M go through the third cache where they are large."""
        between = self.tiles * self.points * (self.depth + self.rows) * FLOAT
        spilled = between > self.machine.l2_bytes * self.threads
        crossing = CROSSINGS * between / self._l3 if spilled else 0.0
        products = _overlapped(self.products, self.streamed(self.groups, self.threads))
        return products + self.transforms + crossing + 3 * STEP_SECONDS


def _whole(count: int, lanes: int) -> int:
    return -(-count // lanes) * lanes


def _rate(machine: Machine, threads: int) -> float:
    """Floating point operations per second of all threads."""
    return TILE_RATE * machine.peak * 1e9 * threads


def _source(machine: Machine, threads: int, resident: bool) -> float:
    """Bytes of weights per second, to all threads."""
    return 1e9 * (machine.l3 * threads if resident else machine.dram)


def _overlapped(a: float, b: float) -> float:
    return max(a, b) + EXPOSED * min(a, b)
