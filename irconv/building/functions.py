"""The builder's calls that have no weights: activations, pools, arithmetic, shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from irconv.building.assembler import Assembler, at_caller
from irconv.building.handle import Handle, Operand
from irconv.building.pads import Pads, Sizes, pad_sizes, per_axis
from irconv.errors import GraphError, printable


class Functions(Assembler):
    """Calls without weights. `x` is [N, C, *spatial] where nothing else is said."""

    # -- activations -----------------------------------------------------------------------------

    def relu(self, x: Handle, *, name: str | None = None) -> Handle:
        """max(x, 0)."""
        return self.call("Relu", x, name=name)

    def relu6(self, x: Handle, *, name: str | None = None) -> Handle:
        """min(max(x, 0), 6)."""
        return self.clip(x, 0.0, 6.0, name=name)

    def clip(
        self,
        x: Handle,
        low: float | None = None,
        high: float | None = None,
        *,
        name: str | None = None,
    ) -> Handle:
        """x between `low` and `high`, either of which may be absent."""
        return self.call("Clip", x, low, high, name=name)

    def leaky_relu(self, x: Handle, alpha: float = 0.01, *, name: str | None = None) -> Handle:
        """x where positive, else alpha * x."""
        return self.call("LeakyRelu", x, alpha=float(alpha), name=name)

    def elu(self, x: Handle, alpha: float = 1.0, *, name: str | None = None) -> Handle:
        """x where positive, else alpha * (exp(x) - 1)."""
        return self.call("Elu", x, alpha=float(alpha), name=name)

    def sigmoid(self, x: Handle, *, name: str | None = None) -> Handle:
        """1 / (1 + exp(-x))."""
        return self.call("Sigmoid", x, name=name)

    def tanh(self, x: Handle, *, name: str | None = None) -> Handle:
        """The hyperbolic tangent."""
        return self.call("Tanh", x, name=name)

    def hard_sigmoid(self, x: Handle, *, name: str | None = None) -> Handle:
        """min(max(x / 6 + 1/2, 0), 1), as MobileNetV3 has it."""
        return self.call("HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5, name=name)

    def hard_swish(self, x: Handle, *, name: str | None = None) -> Handle:
        """x * min(max(x / 6 + 1/2, 0), 1)."""
        return self.call("HardSwish", x, name=name)

    def softplus(self, x: Handle, *, name: str | None = None) -> Handle:
        """log(1 + exp(x))."""
        return self.call("Softplus", x, name=name)

    def gelu(self, x: Handle, *, name: str | None = None) -> Handle:
        """x times the normal distribution function of x."""
        return self.call("Gelu", x, name=name)

    def softmax(self, x: Handle, axis: int = -1, *, name: str | None = None) -> Handle:
        """exp(x), divided by its sum along `axis`."""
        return self.call("Softmax", x, axis=axis, name=name)

    # -- pools -----------------------------------------------------------------------------------

    @at_caller
    def max_pool(
        self,
        x: Handle,
        kernel: Sizes,
        *,
        strides: Sizes | None = None,
        pads: Pads = 0,
        dilations: Sizes = 1,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> Handle:
        """The largest of each window; strides are the kernel unless given. Padding never wins."""
        full = self._named("max_pool", name)
        window = self._window(x, kernel, kernel if strides is None else strides, pads, dilations)
        return self._node(full, "MaxPool", [x], **window, ceil_mode=int(ceil_mode))

    @at_caller
    def average_pool(
        self,
        x: Handle,
        kernel: Sizes,
        *,
        strides: Sizes | None = None,
        pads: Pads = 0,
        count_include_pad: bool = False,
        ceil_mode: bool = False,
        name: str | None = None,
    ) -> Handle:
        """The mean of each window; strides are the kernel unless given. Padding does not count."""
        full = self._named("average_pool", name)
        window = self._window(x, kernel, kernel if strides is None else strides, pads, 1)
        window |= {"ceil_mode": int(ceil_mode), "count_include_pad": int(count_include_pad)}
        return self._node(full, "AveragePool", [x], **window)

    def global_average_pool(self, x: Handle, *, name: str | None = None) -> Handle:
        """The mean of each channel: [N, C, 1, ...]."""
        return self.call("GlobalAveragePool", x, name=name)

    def global_max_pool(self, x: Handle, *, name: str | None = None) -> Handle:
        """The largest of each channel: [N, C, 1, ...]."""
        return self.call("GlobalMaxPool", x, name=name)

    def lrn(
        self,
        x: Handle,
        size: int = 5,
        *,
        alpha: float = 1e-4,
        beta: float = 0.75,
        bias: float = 1.0,
        name: str | None = None,
    ) -> Handle:
        """Local response normalization across channels (Krizhevsky et al. 2012, section 3.3)."""
        numbers = {"alpha": float(alpha), "beta": float(beta), "bias": float(bias)}
        return self.call("LRN", x, size=size, **numbers, name=name)

    def _window(
        self, x: Handle, kernel: Sizes, strides: Sizes, pads: Pads, dilations: Sizes
    ) -> dict[str, Any]:
        """ONNX's four attributes of a sliding window over x [N, C, *spatial]."""
        rank = spatial_rank(x)
        kernel = per_axis("kernel", kernel, rank)
        strides = per_axis("strides", strides, rank)
        dilations = per_axis("dilations", dilations, rank)
        begins_ends = pad_sizes(pads, x.shape[2:], kernel, strides, dilations)
        return {
            "kernel_shape": kernel,
            "strides": strides,
            "pads": begins_ends,
            "dilations": dilations,
        }

    # -- arithmetic, broadcast as in NumPy -------------------------------------------------------

    def add(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """x + y."""
        return self.elementwise("Add", x, y, name=name)

    def sub(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """x - y."""
        return self.elementwise("Sub", x, y, name=name)

    def mul(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """x * y, element by element."""
        return self.elementwise("Mul", x, y, name=name)

    def div(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """x / y, element by element."""
        return self.elementwise("Div", x, y, name=name)

    def pow(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """x to the power of y, element by element."""
        return self.elementwise("Pow", x, y, name=name)

    def matmul(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """The matrix product of the last two axes, as numpy.matmul."""
        return self.elementwise("MatMul", x, y, name=name)

    def maximum(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """The larger of x and y, element by element."""
        return self.elementwise("Max", x, y, name=name)

    def minimum(self, x: Operand, y: Operand, *, name: str | None = None) -> Handle:
        """The smaller of x and y, element by element."""
        return self.elementwise("Min", x, y, name=name)

    def mean(
        self, x: Handle, axes: Sequence[int], *, keepdims: bool = False, name: str | None = None
    ) -> Handle:
        """The mean over `axes`, which go unless `keepdims`."""
        return self.call("ReduceMean", x, tuple(axes), keepdims=int(keepdims), name=name)

    # -- shapes ----------------------------------------------------------------------------------

    def concat(self, xs: Sequence[Handle], axis: int = 1, *, name: str | None = None) -> Handle:
        """The operands one after the other along `axis`."""
        return self.call("Concat", *xs, axis=axis, name=name)

    def flatten(self, x: Handle, axis: int = 1, *, name: str | None = None) -> Handle:
        """A matrix: the axes before `axis` make its rows, the others its columns."""
        return self.call("Flatten", x, axis=axis, name=name)

    def reshape(self, x: Handle, shape: Sequence[int], *, name: str | None = None) -> Handle:
        """The same elements in another shape; one size may be -1, and 0 keeps a size."""
        return self.call("Reshape", x, tuple(shape), name=name)

    def transpose(self, x: Handle, perm: Sequence[int], *, name: str | None = None) -> Handle:
        """The axes in the order `perm`."""
        return self.call("Transpose", x, perm=tuple(perm), name=name)

    def squeeze(self, x: Handle, axes: Sequence[int], *, name: str | None = None) -> Handle:
        """Without `axes`, whose sizes are 1."""
        return self.call("Squeeze", x, tuple(axes), name=name)

    def unsqueeze(self, x: Handle, axes: Sequence[int], *, name: str | None = None) -> Handle:
        """With new `axes` of size 1."""
        return self.call("Unsqueeze", x, tuple(axes), name=name)

    def pad(
        self,
        x: Handle,
        pads: Sequence[int],
        *,
        value: float = 0.0,
        mode: str = "constant",
        name: str | None = None,
    ) -> Handle:
        """Padding of all axes, begins, then ends; `mode` is constant, reflect, edge or wrap."""
        filler = np.asarray(value, x.dtype) if value else None
        return self.call("Pad", x, tuple(pads), filler, mode=mode, name=name)

    def split(
        self, x: Handle, sizes: Sequence[int], axis: int = 1, *, name: str | None = None
    ) -> tuple[Handle, ...]:
        """Pieces of the given sizes along `axis`."""
        split = self.call("Split", x, tuple(sizes), axis=axis, num_outputs=len(sizes), name=name)
        return split.results

    def gather(
        self, x: Handle, indices: Operand, axis: int = 0, *, name: str | None = None
    ) -> Handle:
        """The entries of `x` along `axis` that `indices` names."""
        return self.call("Gather", x, indices, axis=axis, name=name)


def spatial_rank(x: Handle) -> int:
    """The number of spatial axes of x [N, C, *spatial]; raises GraphError where there are none."""
    if x.rank < 3:
        raise GraphError(
            "operand x has no spatial axes",
            expected="[N, C, *spatial]",
            got=f"%{printable(x.name)} {x.value.type}",
        )
    return x.rank - 2
