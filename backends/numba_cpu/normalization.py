"""Normalisation across channels, and scale and shift per channel."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.pointers import at, double_bits, number, pointer
from irconv.backends.numba_cpu.roots import square_root
from irconv.backends.numba_cpu.work import share


def scale_shift(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: y[n, c, p] = x[n, c, p] * scale[c] + shift[c].

    Row: Y, X, SCALE, SHIFT, images, channels, pixels.
    """
    y, x = pointer(step[1], like), pointer(step[2], like)
    scale, shift = pointer(step[3], like), pointer(step[4], like)
    channels, pixels = step[6], step[7]
    first, end = share(step[5] * channels, part, parts)
    for plane in range(first, end):
        factor, term = scale[plane % channels], shift[plane % channels]
        source, target = at(x, plane * pixels), at(y, plane * pixels)
        for p in range(pixels):
            target[p] = source[p] * factor + term


def local_response(step: Any, like: Any, part: Any, parts: Any) -> None:
    """Kernel: LRN, y = x * (bias + alpha * sum of x^2 over neighbouring channels)^-beta.

    Row: Y, X, images, channels, pixels, channels before, channels after, alpha, beta, bias.
    """
    y, x = pointer(step[1], like), pointer(step[2], like)
    channels, pixels = step[4], step[5]
    alpha, bias = number(double_bits(step[8]), like), number(double_bits(step[10]), like)
    beta = double_bits(step[9])
    first, end = share(step[3] * channels, part, parts)
    for plane in range(first, end):
        channel = plane % channels
        low, high = max(channel - step[6], 0), min(channel + step[7] + 1, channels)
        target, source = at(y, plane * pixels), at(x, plane * pixels)
        for p in range(pixels):
            target[p] = number(0.0, like)
        for other in range(low, high):
            line = at(x, (plane - channel + other) * pixels)
            for p in range(pixels):
                target[p] += line[p] * line[p]
        if beta == 0.75:
            _three_quarters(target, source, pixels, alpha, bias)
        else:
            exponent = number(-beta, like)
            for p in range(pixels):
                target[p] = source[p] * (bias + alpha * target[p]) ** exponent


@compiled_part
def _three_quarters(y: Any, x: Any, pixels: Any, alpha: Any, bias: Any) -> None:
    """y = x * v^-0.75 with v = bias + alpha * y, as r * sqrt(r), r = 1 / sqrt(v)."""
    one = number(1.0, y)
    for p in range(pixels):
        r = one / square_root(bias + alpha * y[p])
        y[p] = x[p] * (r * square_root(r))
