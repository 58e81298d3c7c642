"""Runs a node by `Op.run` where no kernel does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from irconv.errors import GraphError, IrconvError, printable
from irconv.graph import Node, Value
from irconv.types import MatrixType


def run_on_host(node: Node, read: Callable[[Value], Any]) -> Sequence[Any]:
    """The results of a node; `read` gives the host array of a dense value.

    Raises GraphError where the op cannot be run on what it is given.
    """
    arrays = [None if v is None else _operand(v, read) for v in node.operands]
    try:
        # overflow to infinity and NaN are results here, as they are in kernels
        with np.errstate(all="ignore"):
            return node.op.run(arrays)
    except (IrconvError, MemoryError):
        raise
    except Exception as error:
        where = f"%{printable(node.name)}"
        raise GraphError(f"{node.op.name} failed: {printable(error)}", where=where) from error


def _operand(value: Value, read: Callable[[Value], Any]) -> Any:
    """A matrix is made where it is needed: nothing holds it on the host."""
    if isinstance(value.type, MatrixType) and value.producer is not None:
        return run_on_host(value.producer, read)[0]
    return read(value)
