"""Building a graph in Python: each call infers its types, and fails where it is wrong."""

from __future__ import annotations

from collections.abc import Iterable

from irconv.building.assembler import BuildError, as_name, at_caller
from irconv.building.handle import Handle, Operand
from irconv.building.layers import Layers
from irconv.dim import Expr
from irconv.errors import GraphError, printable
from irconv.graph import Graph
from irconv.types import TensorType

__all__ = ["BuildError", "Builder", "Handle", "Operand"]


class Builder(Layers):
    """Builds a graph call by call.

    ```python
    b = Builder("net", seed=0)
    x = b.input("x", ("N", 3, 32, 32))
    y = b.relu(b.conv(x, 16, kernel=3, pads="same"))
    b.output(y + 1.0)
    graph = b.build()
    ```

    Values are handles with operators. Weights that are not given are random: fixed by `seed` and
    their names, or drawn from `rng`; with `centred`, each filter sums to zero (see
    `initialise.Weights`). A wrong call raises GraphError, which names the node, its operands and
    the line of the call, and leaves the graph as it was.
    """

    @at_caller
    def input(self, name: str, shape: Iterable[int | str | Expr], dtype: object = "f32") -> Handle:
        """An input, named outside all scopes; a size is an integer, a name ("N") or "2*N + 1"."""
        kind = TensorType(dtype, shape)
        negative = [d for d in kind.shape if isinstance(d, int) and d < 0]
        if negative:
            raise GraphError(
                "a size is negative", where=f"%{printable(name)}", got=kind, hint='name it: "N"'
            )
        return self._handle(self.graph.add_input(as_name(name), kind))

    @at_caller
    def output(self, value: Handle, name: str | None = None) -> Handle:
        """Makes `value` the next output; a name for it stands outside all scopes."""
        found = self._value(value, None, "")
        if name is not None and as_name(name) != found.name:
            if found.producer is None or found.is_output:
                # an input, a parameter and an earlier output keep their names
                found = self._node(self._given(name), "Identity", [found]).value
            else:
                self.graph.rename(found, name)
        self.graph.set_outputs([*self.graph.outputs, found])
        return self._handle(found)

    @at_caller
    def build(self) -> Graph:
        """The graph as it is now; later calls do not change it. GraphError without an output."""
        if not self.graph.outputs:
            raise GraphError(
                "the graph has no output",
                where=f"graph @{printable(self.graph.name)}",
                hint="call output(value) first",
            )
        return self.graph.copy()
