"""Which kernels run a node: one binder for each op, in families."""

from __future__ import annotations

from irconv.backends.numba_cpu.binders import (
    convolution,
    layout,
    matrix,
    pointwise,
    pools,
    products,
    reductions,
)
from irconv.backends.numba_cpu.binders.kind import Binder
from irconv.op import Op

BINDERS: dict[type[Op], Binder] = {
    **convolution.BINDERS,
    **products.BINDERS,
    **matrix.BINDERS,
    **pools.BINDERS,
    **pointwise.BINDERS,
    **layout.BINDERS,
    **reductions.BINDERS,
}
