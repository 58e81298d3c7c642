"""Gives a model another batch: shapes are changed only where the size is traced to the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from irconv.dim import Dim, Expr, symbol, symbols_of
from irconv.errors import GraphError, ModelError, printable
from irconv.graph import Graph, Value
from irconv.onnx_reader.records import ValueRecord
from irconv.onnx_reader.site import Site
from irconv.types import TensorType

# stands for the batch while a file of fixed batch is read
BATCH = "?batch"


@dataclass(slots=True)
class Rebatch:
    """The batch that was asked for, and the file's (`old`; None where it is open already)."""

    wanted: int | str | None
    old: int | None = None

    @classmethod
    def of(cls, inputs: Sequence[ValueRecord], batch: int | str | None) -> Rebatch:
        """Raises ModelError where the inputs have no common first size to change."""
        if batch is None:
            return cls(None)
        _check_batch(batch)
        firsts = {v.shape[0] for v in inputs if v.shape}
        fixed = {f for f in firsts if isinstance(f, int)}
        if len(firsts) != 1 and fixed:
            raise ModelError(
                "the batch cannot be told: the inputs' first sizes differ",
                got=", ".join(printable(f) for f in sorted(map(str, firsts))) or "none",
            )
        return cls(batch, next(iter(fixed), None))

    @property
    def active(self) -> bool:
        """Whether shapes in the file were computed from a fixed batch."""
        return self.wanted is not None and self.old is not None

    def input_shape(self, value: ValueRecord) -> list[Dim]:
        """The shape of an input: names become symbols, an unknown size a symbol of its own."""
        shape: list[Dim] = []
        for axis, size in enumerate(value.shape or ()):
            if isinstance(size, int):
                shape.append(size)
            else:
                shape.append(symbol(size or f"?{value.name}.{axis}"))
        if self.wanted is not None and shape:
            shape[0] = symbol(BATCH)
        return shape

    def before(self, site: Site) -> None:
        """Changes what the file computed from its batch; raises ModelError if it is not clear."""
        if not self.active:
            return
        carried = [_batch_axis(v) for v in site.operands]
        if all(axis is None for axis in carried):
            return
        if site.op_type in {"Reshape", "Expand"} and carried[0] is not None:
            self._retarget(site, carried[0])
        axis = carried[0]
        if axis is not None:
            _refuse_mixing(site, axis)

    def _retarget(self, site: Site, axis: int) -> None:
        wanted = site.operand(1)
        target = site.constant(1)
        if wanted is None or target is None or wanted in site.contents:
            return
        entries = [int(x) for x in target]
        if site.op_type == "Reshape":
            found = self._reshaped(
                site.shape(), axis, entries, bool(site.attribute_kept("allowzero", 0))
            )
        else:
            lead = len(entries) - len(site.shape())
            found = [1 if i == axis + lead and e == self.old else e for i, e in enumerate(entries)]
        if found != entries:
            site.operands[1] = site.ints(found, "shape")

    def _reshaped(
        self, shape: Sequence[Dim], axis: int, target: list[int], allow_zero: bool
    ) -> list[int]:
        """The target, with the entry that starts where the batch axis starts made open."""
        old = self.old or 0
        sizes = [_at(d, old) for d in shape]
        if any(s is None for s in sizes):
            raise _untraced("Reshape of open sizes", target)
        known = [s for s in sizes if s is not None]
        if not allow_zero:
            if axis < len(target) and target[axis] == 0:
                return target
            target = [known[i] if t == 0 and i < len(known) else t for i, t in enumerate(target)]
        open_place = target.index(-1) if -1 in target else None
        rest = prod(t for t in target if t != -1)
        if open_place is not None and rest:
            target[open_place] = prod(known) // rest
        if prod(target) != prod(known) or old == 0:
            raise _untraced("Reshape does not keep the number of elements", target)
        place = _follows(known, axis, target, old)
        if place is None:
            raise _untraced("which size of Reshape is the batch is not clear", target)
        if place == axis and target[place] == known[axis] and not allow_zero:
            target[place] = 0
        else:
            target[place] = -1
        return target

    def after(self, site: Site) -> None:
        """The batch must be in every result of an operand that has it, once."""
        if not self.active:
            return
        had = any(_batch_axis(v) is not None for v in site.operands)
        for value in site.results or ():
            if value in site.contents or not isinstance(value.type, TensorType):
                continue
            if had and _batch_axis(value) is None and value.type.dtype.kind == "f":
                raise _untraced(f"{site.op_type} loses the batch", value.type)

    def finish(self, graph: Graph) -> Graph:
        """The graph with the batch that was asked for in the place of the symbol."""
        return _bound(graph, BATCH, self.wanted)


def bind_batch(graph: Graph, batch: int | str | None) -> Graph:
    """`graph` with the first size of its inputs, which must be open, bound to `batch`."""
    if batch is None:
        return graph
    _check_batch(batch)
    firsts = {v.shape[0] for v in graph.inputs if v.shape}
    names = {n for f in firsts for n in symbols_of(f)}
    if len(firsts) != 1 or len(names) != 1:
        raise ModelError(
            "the batch of this graph is fixed",
            got=", ".join(map(str, firsts)),
            hint="build it with batch='N', or load the ONNX file",
        )
    return _bound(graph, names.pop(), batch)


def _check_batch(batch: int | str) -> None:
    fits = isinstance(batch, str) and batch.isidentifier() and batch.isascii()
    fits = fits or (isinstance(batch, int) and not isinstance(batch, bool) and 0 <= batch < 1 << 31)
    if not fits:
        raise ModelError(
            "not a batch",
            expected="a number from 0 to 2147483647, or a name such as N",
            got=printable(batch),
        )


def _bound(graph: Graph, name: str, batch: int | str | None) -> Graph:
    if batch is None:
        return graph
    size: Dim = symbol(batch) if isinstance(batch, str) else batch
    for value in graph.inputs:
        value.type = value.type.substitute({name: size})
    try:
        graph.infer_again()
    except GraphError as error:
        raise _untraced(str(error), size) from error
    return graph


def _untraced(what: str, got: object) -> ModelError:
    return ModelError(
        f"the batch cannot be changed: {what}", got=got, hint="load the model with its own batch"
    )


def _batch_axis(value: Value | None) -> int | None:
    if value is None or not isinstance(value.type, TensorType):
        return None
    return next((i for i, d in enumerate(value.shape) if BATCH in symbols_of(d)), None)


def _at(dim: Dim, batch: int) -> int | None:
    """The size when the batch is `batch`."""
    found = (
        TensorType("f32", (dim,)).substitute({BATCH: batch}).shape[0]
        if isinstance(dim, Expr)
        else dim
    )
    return found if isinstance(found, int) else None


def _follows(shape: Sequence[int], axis: int, target: Sequence[int], old: int) -> int | None:
    """The place in `target` that starts where `axis` of `shape` does, if there is only one."""
    before = prod(shape[:axis])
    places = [i for i in range(len(target)) if prod(target[:i]) == before and target[i] % old == 0]
    exact = [i for i in places if target[i] == shape[axis]]
    if axis in exact:
        return axis
    for found in (exact, places):
        if len(found) == 1:
            return found[0]
    return None


def _refuse_mixing(site: Site, axis: int) -> None:
    """An op that works along the batch axis would mean something else with another batch."""
    rank = site.rank()
    along = site.attribute_kept("axis")
    if site.op_type in _ALONG_AXIS:
        default = _ALONG_AXIS[site.op_type]
        chosen = default if along is None else along
        if isinstance(chosen, int) and chosen % max(rank, 1) == axis:
            raise _untraced(f"{site.op_type} works along the batch axis", site.type(0))
    if site.op_type in _ALONG_AXES:
        axes = site.attribute_kept("axes")
        given = site.constant(_ALONG_AXES[site.op_type]) if axes is None else np.array(axes)
        if (
            given is None
            and site.op_type.startswith("Reduce")
            and site.attribute_kept("noop_with_empty_axes")
        ):
            return
        if given is None or axis in {int(a) % rank for a in np.asarray(given).reshape(-1)}:
            raise _untraced(f"{site.op_type} works along the batch axis", site.type(0))


# ops with an axis, and its default; ops whose axes are an attribute or this operand
_ALONG_AXIS = dict.fromkeys(
    ("ArgMax", "ArgMin", "Compress", "Concat", "Gather", "GatherElements", "ScatterElements"), 0
) | dict.fromkeys(
    ("Hardmax", "LayerNormalization", "LogSoftmax", "LpNormalization", "RMSNormalization"), -1
)
_ALONG_AXIS |= {"Softmax": -1, "Split": 0, "TopK": -1}
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
_ALONG_AXES = {"Slice": 3, "Squeeze": 1} | {f"Reduce{name}": 1 for name in _REDUCTIONS}
