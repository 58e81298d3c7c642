"""Which operands in blocks a kernel may overwrite with its result: it reads each element just
before it writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from irconv.backends.numba_cpu.blocked.convolve import convolve
from irconv.backends.numba_cpu.blocked.convolve_row import ConvolveStep
from irconv.backends.numba_cpu.blocked.winograd import WinogradStep
from irconv.backends.numba_cpu.launch import Launch
from irconv.backends.numba_cpu.storages import Storages
from irconv.graph import Node, Value
from irconv.op import Op
from irconv.ops.activation import ACTIVATIONS
from irconv.ops.conv import Conv
from irconv.ops.elementwise import Add, Mul, Sum
from irconv.ops.fused import Clamp, FusedConv
from irconv.ops.norm import BatchNormalization
from irconv.ops.preact import ScaleShift
from irconv.ops.winograd import WinogradConv

ELEMENTWISE: tuple[type[Op], ...] = (
    *(*ACTIVATIONS, Clamp, Add, Sum, Mul),
    *(BatchNormalization, ScaleShift),
)
RESIDUAL = 3  # the operand of a convolution that is added to it
BORDER = "clear_halo"  # writes the halo alone, which holds zeros in the operand too


def overwritable(
    node: Node, launches: Sequence[Launch] | None, storages: Storages
) -> Iterator[Value]:
    """The operands whose bytes the result may take once nobody else reads them."""
    if launches is None or len(node.results) != 1 or node.result not in storages.held:
        return
    candidates: Sequence[Value | None] = ()
    if type(node.op) in ELEMENTWISE:
        candidates = node.operands
    elif type(node.op) in (Conv, FusedConv, WinogradConv) and all(map(_keeps_pace, launches)):
        candidates = node.operands[RESIDUAL : RESIDUAL + 1]
    own = storages.held[node.result]
    yield from (v for v in candidates if v is not None and storages.held.get(v) == own)


def _keeps_pace(launch: Launch) -> bool:
    """Whether it adds the residual to an element right where it writes it."""
    step = launch.step
    if isinstance(step, ConvolveStep):
        return step.kernel is convolve
    return isinstance(step, WinogradStep) or step.name == BORDER
