"""The builder's calls that have weights: convolutions, dense layers, normalization, embeddings."""

from __future__ import annotations

import math
from math import prod
from operator import index
from typing import Any, SupportsIndex

from irconv.building.assembler import at_caller
from irconv.building.functions import Functions, spatial_rank
from irconv.building.handle import Handle, Operand
from irconv.building.initialise import BIAS_STD
from irconv.building.pads import Pads, Sizes, per_axis
from irconv.dim import Dim
from irconv.errors import GraphError, printable
from irconv.graph import Value
from irconv.types import AnyDType, as_dtype


class Layers(Functions):
    """Calls with weights, given (`w=`, `b=`: an array, or a handle to share) or random.

    Random weights are normal with the standard deviation `gain / sqrt(fan_in)`. The default gain
    keeps unit variance where the operand comes out of a ReLU (He); 1 suits an operand that has unit
    variance itself.
    """

    @at_caller
    def conv(
        self,
        x: Handle,
        channels: int | None = None,
        kernel: Sizes | None = None,
        *,
        strides: Sizes = 1,
        pads: Pads = 0,
        dilations: Sizes = 1,
        group: int = 1,
        bias: bool = True,
        w: Operand | None = None,
        b: Operand | None = None,
        gain: float | None = None,
        name: str | None = None,
    ) -> Handle:
        """Convolution of x [N, C, *spatial] to `channels` channels: 1-D, 2-D or 3-D, as x is.

        w is [channels, C/group, *kernel], b is [channels]; with w, `channels` and `kernel` may be
        left out. `pads` is "same" (ceil(size / stride)), "valid" or integers.
        """
        full = self._named("conv", name)
        weight = None if w is None else self._value_or_kept(f"{full}.weight", w, x.dtype)
        size = _agreed("channels", channels, None if weight is None else weight.shape[0])
        kernel = self._kernel(x, kernel, weight)
        window = self._window(x, kernel, strides, pads, dilations)
        if weight is None:
            shape = (size, _per_group(x, group), *window["kernel_shape"])
            # a filter that sees one channel would lose that channel's mean, not the common one
            centred = group == 1 or shape[1] > 1
            weight = self._filters(f"{full}.weight", shape, x.dtype, prod(shape[1:]), gain, centred)
        operands: list[Operand | None] = [x, weight, self._bias(full, b, x, size, bias)]
        return self._node(full, "Conv", operands, **window, group=group)

    @at_caller
    def depthwise_conv(
        self,
        x: Handle,
        kernel: Sizes | None = None,
        *,
        multiplier: int = 1,
        strides: Sizes = 1,
        pads: Pads = 0,
        dilations: Sizes = 1,
        bias: bool = True,
        w: Operand | None = None,
        b: Operand | None = None,
        gain: float | None = None,
        name: str | None = None,
    ) -> Handle:
        """Convolution of each channel by itself, to `multiplier` channels each.

        w is [C*multiplier, 1, *kernel]; with w, `multiplier` and `kernel` may be left out.
        """
        count = known_channels(x)
        return self.conv(
            x,
            count * multiplier if w is None else None,
            kernel,
            strides=strides,
            pads=pads,
            dilations=dilations,
            group=count,
            bias=bias,
            w=w,
            b=b,
            gain=gain,
            name=name,
        )

    @at_caller
    def conv_transpose(
        self,
        x: Handle,
        channels: int | None = None,
        kernel: Sizes | None = None,
        *,
        strides: Sizes = 1,
        pads: Pads = 0,
        output_padding: Sizes = 0,
        dilations: Sizes = 1,
        group: int = 1,
        bias: bool = True,
        w: Operand | None = None,
        b: Operand | None = None,
        gain: float | None = None,
        name: str | None = None,
    ) -> Handle:
        """Transposed convolution of x [N, C, *spatial] to `channels` channels.

        w is [C, channels/group, *kernel], b is [channels]. `pads="same"` makes the output
        `size * stride`.
        """
        full = self._named("conv_transpose", name)
        weight = None if w is None else self._value_or_kept(f"{full}.weight", w, x.dtype)
        size = _agreed("channels", channels, None if weight is None else weight.shape[1] * group)
        kernel = self._kernel(x, kernel, weight)
        window = self._window(x, kernel, strides, 0 if pads == "same" else pads, dilations)
        window["output_padding"] = per_axis("output_padding", output_padding, x.rank - 2, 0)
        if pads == "same":
            window |= _same_transposed(window)
        if weight is None:
            _check_group("channels", size, group)
            shape = (known_channels(x), size // group, *window["kernel_shape"])
            # each output pixel is reached by one in `strides` of the taps
            fan_in = _per_group(x, group) * prod(shape[2:]) / prod(window["strides"])
            weight = self._filters(f"{full}.weight", shape, x.dtype, fan_in, gain, False)
        operands: list[Operand | None] = [x, weight, self._bias(full, b, x, size, bias)]
        return self._node(full, "ConvTranspose", operands, **window, group=group)

    @at_caller
    def dense(
        self,
        x: Handle,
        units: int | None = None,
        *,
        bias: bool = True,
        w: Operand | None = None,
        b: Operand | None = None,
        gain: float | None = None,
        name: str | None = None,
    ) -> Handle:
        """x [..., K] times the transpose of w [units, K], plus b [units]; also called linear."""
        if x.rank < 2:
            raise GraphError("operand x has no rows", expected="[..., K]", got=_shown(x))
        full = self._named("dense", name)
        weight = None if w is None else self._value_or_kept(f"{full}.weight", w, x.dtype)
        size = _agreed("units", units, None if weight is None else weight.shape[0])
        if weight is None:
            shape = (size, _known(x, -1, "columns"))
            weight = self._filters(f"{full}.weight", shape, x.dtype, shape[1], gain)
        bias_value = self._bias(full, b, x, size, bias)
        if x.rank == 2:
            return self._node(full, "Gemm", [x, weight, bias_value], transB=1)
        turned = self._node(f"{full}.turned", "Transpose", [weight], perm=(1, 0))
        if bias_value is None:
            return self._node(full, "MatMul", [x, turned])
        product = self._node(f"{full}.product", "MatMul", [x, turned])
        return self._node(full, "Add", [product, bias_value])

    @at_caller
    def embedding(
        self,
        tokens: Handle,
        count: int | None = None,
        width: int | None = None,
        *,
        w: Operand | None = None,
        dtype: object = "f32",
        name: str | None = None,
    ) -> Handle:
        """The row of w [count, width] that each integer of `tokens` names: [..., width]."""
        full = self._named("embedding", name)
        if w is not None:
            weight = self._value_or_kept(f"{full}.weight", w, None)
        else:
            shape = (_given("count", count), _given("width", width))
            weight = self._normal(f"{full}.weight", shape, as_dtype(dtype), 1.0)
        return self._node(full, "Gather", [weight, tokens], axis=0)

    @at_caller
    def batch_norm(
        self,
        x: Handle,
        *,
        epsilon: float = 1e-5,
        scale: Operand | None = None,
        bias: Operand | None = None,
        mean: Operand | None = None,
        var: Operand | None = None,
        gain: float = 1.0,
        variance: float = 1.0,
        name: str | None = None,
    ) -> Handle:
        """scale * (x - mean) / sqrt(var + epsilon) + bias, each of the four [C]; inference only.

        What is not given is random: as if trained on an `x` of mean 0 and the given `variance`,
        with an output of variance about `gain` squared.
        """
        full = self._named("batch_norm", name)
        shape = (known_channels(x),)

        def between(what: str, given: Operand | None, size: float, fixed: bool = False) -> Value:
            if given is not None:
                return self._value_or_kept(f"{full}.{what}", given, x.dtype, trainable=not fixed)
            # scale squared over var is 1 on average, within half a percent
            low, high = 0.8 * size, (1.25 if fixed else 1.2) * size
            return self._uniform(f"{full}.{what}", shape, x.dtype, low, high, trainable=not fixed)

        def around_zero(what: str, given: Operand | None, std: float, fixed: bool = False) -> Value:
            if given is not None:
                return self._value_or_kept(f"{full}.{what}", given, x.dtype, trainable=not fixed)
            return self._normal(f"{full}.{what}", shape, x.dtype, std, trainable=not fixed)

        operands: list[Operand | None] = [
            x,
            between("scale", scale, gain),
            around_zero("bias", bias, BIAS_STD * gain),
            around_zero("mean", mean, BIAS_STD * math.sqrt(variance), fixed=True),
            between("var", var, variance, fixed=True),
        ]
        return self._node(full, "BatchNormalization", operands, epsilon=float(epsilon))

    def _value_or_kept(
        self, name: str, given: Operand, dtype: AnyDType | None, trainable: bool = True
    ) -> Value:
        """A given weight: a handle's value, or a parameter that holds the array as `dtype`."""
        if isinstance(given, Handle | Value):
            return self._value(given, None, name)
        array = self._array(given, None) if dtype is None else self._cast(given, dtype)
        return self._keep(name, array, trainable)

    def _kernel(self, x: Handle, kernel: Sizes | None, weight: Value | None) -> tuple[int, ...]:
        rank = spatial_rank(x)
        if weight is None:
            return per_axis("kernel", _given("kernel", None) if kernel is None else kernel, rank)
        if weight.tensor_type.rank != x.rank:
            raise GraphError(
                "operand w is of another rank than operand x", expected=_shown(x), got=weight.type
            )
        found = tuple(_agreed("kernel", None, size) for size in weight.shape[2:])
        if kernel is not None and per_axis("kernel", kernel, rank) != found:
            raise GraphError("kernel differs from operand w", expected=list(found), got=kernel)
        return found

    def _bias(
        self, full: str, given: Operand | None, x: Handle, size: int, wanted: bool
    ) -> Value | None:
        if given is not None:
            if not wanted:
                raise GraphError("a bias is given beside bias=False", where=f"%{printable(full)}")
            return self._value_or_kept(f"{full}.bias", given, x.dtype)
        return self._normal(f"{full}.bias", (size,), x.dtype, BIAS_STD) if wanted else None


def known_channels(x: Handle) -> int:
    """The number of channels of x [N, C, ...]; raises GraphError where it is not known."""
    return _known(x, 1, "channels")


def _known(x: Handle, axis: int, what: str) -> int:
    size = x.shape[axis] if x.rank > 1 else None
    if not isinstance(size, int):
        raise GraphError(f"operand x needs a known number of {what}", got=_shown(x))
    return size


def _shown(x: Handle) -> str:
    return f"%{printable(x.name)} {x.value.type}"


def _per_group(x: Handle, group: int) -> int:
    _check_group(f"channels of operand x (%{printable(x.name)})", known_channels(x), group)
    return known_channels(x) // group


def _check_group(what: str, size: int, group: int) -> None:
    if group < 1 or size % group:
        raise GraphError(
            f"the {what} do not divide into groups", expected=f"a multiple of {group}", got=size
        )


def _given(what: str, size: int | None) -> int:
    if not isinstance(size, SupportsIndex) or index(size) < 1:
        raise GraphError(
            f"{what} is needed where no w is given", expected="a positive integer", got=size
        )
    return index(size)


def _agreed(what: str, given: int | None, found: Dim | None) -> int:
    """The size that is given, or found in the weights; raises GraphError where the two differ."""
    if found is None:
        return _given(what, given)
    if not isinstance(found, int):
        raise GraphError("operand w needs known sizes", got=found)
    if given is not None and given != found:
        raise GraphError(f"{what} differs from operand w", expected=found, got=given)
    return found


def _same_transposed(window: dict[str, Any]) -> dict[str, Any]:
    """Pads and output padding that make the output of a transposed convolution `size * stride`."""
    spans = [
        d * (k - 1) + 1 for d, k in zip(window["dilations"], window["kernel_shape"], strict=True)
    ]
    extra = [span - stride for span, stride in zip(spans, window["strides"], strict=True)]
    cut = [max(0, e) for e in extra]
    return {
        "pads": (*(c // 2 for c in cut), *(c - c // 2 for c in cut)),
        "output_padding": tuple(max(0, -e) for e in extra),
    }
