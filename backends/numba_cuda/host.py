"""Runs a node by `Op.run` where no kernel does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irconv.errors import GraphError, IrconvError, printable
from irconv.graph import Node, Value


def run_on_host(node: Node, read: Callable[[Value], Any]) -> Sequence[Any]:
    """The results of a node; `read` gives an operand on the host.

    Raises GraphError where the op cannot be run on what it is given.
    """
    arrays = [None if v is None else read(v) for v in node.operands]
    try:
        # overflow to infinity and NaN are results here, as they are in kernels
        with np.errstate(all="ignore"):
            return node.op.run(arrays)
    except (IrconvError, MemoryError):
        raise
    except Exception as error:
        where = f"%{printable(node.name)}"
        raise GraphError(f"{node.op.name} failed: {printable(error)}", where=where) from error
