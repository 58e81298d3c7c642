"""Which kernels run a node: one binder for each op, in families."""

from __future__ import annotations

from irconv.backends.numba_cpu.binders.convolution import BINDERS as CONVOLUTION
from irconv.backends.numba_cpu.binders.kind import Binder
from irconv.backends.numba_cpu.binders.layout import BINDERS as LAYOUT
from irconv.backends.numba_cpu.binders.matrix import BINDERS as MATRIX
from irconv.backends.numba_cpu.binders.pointwise import BINDERS as POINTWISE
from irconv.backends.numba_cpu.binders.pools import BINDERS as POOLS
from irconv.backends.numba_cpu.binders.products import BINDERS as PRODUCTS
from irconv.backends.numba_cpu.binders.reductions import BINDERS as REDUCTIONS
from irconv.op import Op

BINDERS: dict[type[Op], Binder] = {
    **CONVOLUTION,
    **PRODUCTS,
    **MATRIX,
    **POOLS,
    **POINTWISE,
    **LAYOUT,
    **REDUCTIONS,
}
