"""One convolution as the views see it: its geometry, its weights, and the part that is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np

from irconv.dim import known
from irconv.errors import IrconvError, UsageError, printable
from irconv.geometry import ConvGeometry, Ints
from irconv.graph import Node
from irconv.matrix import SharedMatrix
from irconv.ops.conv import Conv, ConvTranspose
from irconv.ops.fused import FusedConv
from irconv.types import Array
from irconv.views.parts import Chosen, Ranges, as_range, common, described, flat


@dataclass(frozen=True, eq=False)
class ConvLayer:
    """A convolution with known weights, whole or restricted to a block of outputs and inputs.

    `geometry` is the convolution's; of a ConvTranspose, that of the convolution whose matrix is
    the transpose. `weights` is [out_channels, in_channels/group, *kernel] of `geometry`, `bias` is
    [channels of the result] or None. `outputs` and `inputs` are the channels and the positions of
    each axis that are drawn. Indices of outputs, inputs and weights are flat, in the whole layer's
    [channels, *spatial] and in `weights`, also where a part is drawn.
    """

    name: str
    op: str
    geometry: ConvGeometry
    weights: Array
    bias: Array | None
    transposed: bool
    outputs: Ranges
    inputs: Ranges
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, node: Node | ConvLayer, labels: Sequence[str] = ()) -> ConvLayer:
        """The layer that a Conv, FusedConv or ConvTranspose computes before bias and activation.

        `labels` name the free weights, in the order of the weights' array. UsageError for another
        op, sizes or weights that are not known, weights that are not numbers.
        """
        if isinstance(node, ConvLayer):
            return node.labelled(labels) if labels else node
        op = node.op
        if not isinstance(op, Conv | FusedConv | ConvTranspose):
            raise _refused(node, "not a convolution", "Conv, FusedConv or ConvTranspose", op.name)
        geometry, transposed = _geometry(node, op), isinstance(op, ConvTranspose)
        bias = node.constant(2)
        if bias is None and node.operand(2) is not None:
            raise _refused(node, "the bias is not a known array", "a parameter", "a computed value")
        layer = cls(
            name=node.name,
            op=op.name,
            geometry=geometry,
            weights=_weights(node),
            bias=bias,
            transposed=transposed,
            outputs=(),
            inputs=(),
        ).whole()
        return layer.labelled(labels) if labels else layer

    # -- the whole layer -------------------------------------------------------------------------

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return self.geometry.rank

    @property
    def out_shape(self) -> Ints:
        """[channels, *spatial] of the result."""
        g = self.geometry
        return (g.in_channels, *g.image) if self.transposed else (g.out_channels, *g.out)

    @property
    def in_shape(self) -> Ints:
        """[channels, *spatial] of the image."""
        g = self.geometry
        return (g.out_channels, *g.out) if self.transposed else (g.in_channels, *g.image)

    @property
    def flat_weights(self) -> Array:
        return self.weights.reshape(-1)

    @property
    def per_filter(self) -> int:
        """Free weights of one filter: of one output channel of `geometry`."""
        return int(self.weights[0].size)

    @property
    def title(self) -> str:
        """The layer's name, safe and short enough for a heading."""
        return printable(self.name, 40)

    @cached_property
    def matrix(self) -> SharedMatrix:
        """The matrix of the whole layer: rows are outputs, columns inputs."""
        return SharedMatrix.of(self.geometry, self.weights, self.transposed)

    def labelled(self, labels: Sequence[str]) -> ConvLayer:
        """The same layer with names for its free weights. UsageError for a wrong number."""
        if len(labels) != self.weights.size:
            raise UsageError(
                "labels name the free weights", expected=self.weights.size, got=len(labels)
            )
        return replace(self, labels=tuple(map(str, labels)))

    def whole(self) -> ConvLayer:
        """The same layer with all of it as its part."""
        outputs, inputs = tuple(map(range, self.out_shape)), tuple(map(range, self.in_shape))
        return replace(self, outputs=outputs, inputs=inputs)

    # -- the part that is drawn --------------------------------------------------------------------

    @property
    def is_whole(self) -> bool:
        return self._is_all(self.outputs, self.out_shape) and self._is_all(
            self.inputs, self.in_shape
        )

    @staticmethod
    def _is_all(ranges: Ranges, shape: Ints) -> bool:
        return all(r == range(n) for r, n in zip(ranges, shape, strict=True))

    @property
    def part(self) -> str:
        """Which part is drawn, in words; empty for the whole layer."""
        if self.is_whole:
            return ""
        outputs = described(self.outputs, self.out_shape)
        inputs = described(self.inputs, self.in_shape)
        return f"outputs: {outputs or 'all'}; inputs: {inputs or 'all'}"

    @property
    def shown_weights(self) -> list[int]:
        """All weights of the kernels between the part's channels, as flat indices."""
        first = self.channel_pairs()[:, 2:] * self.geometry.taps
        found: list[int] = np.unique(first + np.arange(self.geometry.taps)).tolist()
        return found

    @property
    def rows(self) -> int:
        """Outputs in the part."""
        return prod(map(len, self.outputs))

    @property
    def columns(self) -> int:
        """Inputs in the part."""
        return prod(map(len, self.inputs))

    @property
    def output_indices(self) -> Array:
        """Flat indices of the part's outputs, in order."""
        return flat(self.outputs, self.out_shape)

    @property
    def input_indices(self) -> Array:
        """Flat indices of the part's inputs, in order."""
        return flat(self.inputs, self.in_shape)

    @cached_property
    def places(self) -> int:
        """Places of the part that hold a weight."""
        return len(self.channel_pairs()) * prod(len(self._axis_pairs(a)) for a in range(self.rank))

    @cached_property
    def entries(self) -> tuple[Array, Array, Array]:
        """(outputs, inputs, weights) of every place of the part that holds a weight: flat indices,
        sorted by output, then by weight.
        """
        pairs = [self.channel_pairs(), *(self._axis_pairs(a) for a in range(self.rank))]
        grids = [np.indices([len(p) for p in pairs]).reshape(len(pairs), -1)]
        chosen = [p[i] for p, i in zip(pairs, grids[0], strict=True)]
        outputs = np.ravel_multi_index([c[:, 0] for c in chosen], self.out_shape)
        inputs = np.ravel_multi_index([c[:, 1] for c in chosen], self.in_shape)
        first = chosen[0][:, 2] * self.geometry.taps
        taps = np.ravel_multi_index([c[:, 2] for c in chosen[1:]], self.geometry.kernel)
        order = np.lexsort((first + taps, outputs))
        return outputs[order], inputs[order], (first + taps)[order]

    def channel_pairs(self) -> Array:
        """[pairs, 3]: the part's output channels, the input channels that they read, and the number
        of the kernel between them: its weights are those from `number * geometry.taps` on.
        """
        g = self.geometry
        outs, per_group = g.out_channels // g.group, g.in_channels // g.group
        pairs = np.meshgrid(np.array(self.outputs[0]), np.array(self.inputs[0]), indexing="ij")
        filters, channels = reversed(pairs) if self.transposed else pairs
        kept = filters // outs == channels // per_group
        number = filters * per_group + channels % per_group
        return np.stack([pairs[0][kept], pairs[1][kept], number[kept]], axis=1)

    def _axis_pairs(self, axis: int) -> Array:
        """[pairs, 3]: a position of the part's outputs along a spatial axis, the position of an
        input of the part that it reads, and the tap between them.
        """
        found = self._reads(axis)
        inputs = self.inputs[axis + 1]
        return found[(found[:, 1] >= inputs.start) & (found[:, 1] < inputs.stop)]

    def _reads(self, axis: int) -> Array:
        """The same with all inputs that the part's outputs read."""
        outputs = self.outputs[axis + 1]
        windows = self._windows(axis, outputs) if self.transposed else outputs
        reads = self.geometry.axis_reads(axis, windows)
        row, tap = np.nonzero(reads >= 0)
        window, pixel = row + windows.start, reads[row, tap]
        found = np.stack([pixel, window, tap] if self.transposed else [window, pixel, tap], axis=1)
        return found[(found[:, 0] >= outputs.start) & (found[:, 0] < outputs.stop)]

    def _windows(self, axis: int, pixels: range) -> range:
        """The windows of the convolution that may reach these pixels."""
        g = self.geometry
        span = g.dilations[axis] * (g.kernel[axis] - 1)
        first = -(-(pixels.start + g.pads[axis] - span) // g.strides[axis])
        last = (pixels.stop - 1 + g.pads[axis]) // g.strides[axis]
        return range(max(first, 0), max(min(last + 1, g.out[axis]), first, 0))

    def axis_degrees(self, axis: int) -> Array:
        """[positions]: how many taps each output of the whole layer has along a spatial axis."""
        reads = self.geometry.axis_reads(axis)
        if self.transposed:
            return np.bincount(reads[reads >= 0], minlength=self.out_shape[axis + 1])
        found: Array = np.count_nonzero(reads >= 0, axis=1)
        return found

    def terms(self, output: int) -> list[tuple[int, int]]:
        """(input, weight) of each product that the part adds up for one output."""
        outputs, inputs, weights = self.entries
        mine = slice(*np.searchsorted(outputs, [output, output + 1]))
        return list(zip(inputs[mine].tolist(), weights[mine].tolist(), strict=True))

    @property
    def is_partial(self) -> bool:
        """Whether an output of the part reads an input outside it, so that its sum is not whole."""
        return replace(self, inputs=tuple(map(range, self.in_shape))).places > self.places

    def restrict(
        self,
        *,
        out_channels: Chosen | None = None,
        outputs: Sequence[Chosen] | None = None,
        in_channels: Chosen | None = None,
        inputs: Sequence[Chosen] | None = None,
    ) -> ConvLayer:
        """The same layer with a smaller part: the channels, and the positions along each axis.

        What is not given stays, but inputs that the outputs chosen here do not read are left out.
        UsageError for a choice that is empty or outside the part.
        """
        smaller = replace(
            self,
            outputs=_chosen("out_channels", [out_channels], self.outputs[:1])
            + _chosen("outputs", outputs, self.outputs[1:]),
        )
        read = self.inputs
        if out_channels is not None:
            read = (common(smaller.channels_read(), read[0]), *read[1:])
        if outputs is not None:
            places = (common(smaller._read(a), read[a + 1]) for a in range(self.rank))
            read = (read[0], *places)
        # inputs that are asked for may be any of the part, read or not
        given_channels = read[:1] if in_channels is None else self.inputs[:1]
        given = read[1:] if inputs is None else self.inputs[1:]
        return replace(
            smaller,
            inputs=_chosen("in_channels", [in_channels], given_channels)
            + _chosen("inputs", inputs, given),
        )

    def channels_read(self) -> range:
        """The input channels that belong to the part's output channels."""
        groups = self.geometry.group
        outs, ins = self.out_shape[0] // groups, self.in_shape[0] // groups
        mine = self.outputs[0]
        return range(mine.start // outs * ins, ((mine.stop - 1) // outs + 1) * ins)

    def _read(self, axis: int) -> range:
        """The input positions between the first and the last that the part's outputs read."""
        mine = self._reads(axis)[:, 1]
        # outputs that lie in the padding alone read nothing; the picture still needs an image
        return range(int(mine.min()), int(mine.max()) + 1) if len(mine) else range(1)


def _chosen(what: str, chosen: Sequence[Chosen | None] | None, present: Ranges) -> Ranges:
    if chosen is None:
        return present
    if len(chosen) != len(present):
        raise UsageError(
            f"{what}: one choice for each axis", expected=len(present), got=len(chosen)
        )
    return tuple(
        was if c is None else as_range(what, c, was) for c, was in zip(chosen, present, strict=True)
    )


def _refused(node: Node, what: str, expected: str, got: object) -> UsageError:
    return UsageError(what, where=f"%{printable(node.name)}", expected=expected, got=got)


def _weights(node: Node) -> Array:
    weights = node.constant(1)
    if weights is None:
        raise UsageError(
            "the weights are not a known array",
            where=f"%{printable(node.name)}",
            expected="a parameter that holds its array",
            hint="lower the graph with the pass `fold` first, or load the listing with its weights",
        )
    if weights.dtype.kind == "c":
        raise _refused(node, "the weights are complex", "real numbers", weights.dtype)
    return weights


def _geometry(node: Node, op: Conv | FusedConv | ConvTranspose) -> ConvGeometry:
    x, w = node.operand(0), node.operand(1)
    assert x is not None
    assert w is not None
    image = node.result.tensor_type if isinstance(op, ConvTranspose) else x.tensor_type
    try:
        geometry = op.conv_geometry(image, known(w.shape[0]), op.group)
    except IrconvError as error:
        raise UsageError(
            "the sizes of the image are not known",
            where=f"%{printable(node.name)}",
            got=str(x.type),
            hint="build or load the graph with fixed sizes",
        ) from error
    if isinstance(op, ConvTranspose) and geometry.out != x.shape[2:]:
        raise _refused(node, "no convolution has this transpose", "a smaller output_padding", op)
    if geometry.rank > 3:
        raise _refused(node, "the layer has too many axes", "1-D, 2-D or 3-D", f"{geometry.rank}-D")
    if not prod(geometry.out) * prod(geometry.image):
        raise _refused(node, "the image is empty", "sizes of 1 or more", x.type)
    return geometry
