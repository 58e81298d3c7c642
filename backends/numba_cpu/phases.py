"""A padded image split by the strides of a window, so that every tap is one constant shift."""

from __future__ import annotations

from typing import Any

from irconv.backends.numba_cpu.jit import compiled_part
from irconv.backends.numba_cpu.lines import clear, copy_lines, reached
from irconv.backends.numba_cpu.pointers import at


@compiled_part
def phase_sizes(out: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    """Sizes (planes, lines, pitch) of one phase.

    Phase (a, b, c) of an image holds its places (z, y, x) with z % stride_d == a, and so on.
    Then every tap of every output is one phase shifted by a constant, whatever the stride, and
    the outputs are one long run of vectors with no edges.
    """
    return (
        out[0] + (kernel[0] - 1) * dilation[0] // stride[0],
        out[1] + (kernel[1] - 1) * dilation[1] // stride[1],
        out[2] + (kernel[2] - 1) * dilation[2] // stride[2],
    )


@compiled_part
def write_shifts(size: Any, kernel: Any, stride: Any, dilation: Any, table: Any) -> None:
    """The shift of every tap in the phases, as int64."""
    run = size[0] * size[1] * size[2]
    tap = 0
    for kd in range(kernel[0]):
        z = kd * dilation[0]
        for kh in range(kernel[1]):
            y = kh * dilation[1]
            for kw in range(kernel[2]):
                x = kw * dilation[2]
                phase = (z % stride[0] * stride[1] + y % stride[1]) * stride[2] + x % stride[2]
                shift = (z // stride[0] * size[1] + y // stride[1]) * size[2] + x // stride[2]
                table[tap] = phase * run + shift
                tap += 1


@compiled_part
def split_phases(
    source: Any, image: Any, size: Any, stride: Any, pad: Any, fill: Any, phases: Any
) -> None:
    """Write the phases of one image of sizes `image`, with `fill` around it."""
    lines, pitch = size[1], size[2]
    for phase in range(stride[0] * stride[1] * stride[2]):
        shift_h = phase // stride[2] % stride[1] - pad[1]
        shift_w = phase % stride[2] - pad[2]
        top, bottom = reached(shift_h, stride[1], image[1], lines)
        low, high = reached(shift_w, stride[2], image[2], pitch)
        for z in range(size[0]):
            deep = z * stride[0] + phase // (stride[1] * stride[2]) - pad[0]
            target = at(phases, (phase * size[0] + z) * lines * pitch)
            if deep < 0 or deep >= image[0]:
                clear(target, lines * pitch, fill)
                continue
            clear(target, top * pitch, fill)
            start = (deep * image[1] + top * stride[1] + shift_h) * image[2] + shift_w
            copy_lines(
                at(target, top * pitch), pitch, at(source, start), stride[1] * image[2],
                bottom - top, stride[2], low, high, pitch, fill,
            )  # fmt: skip
            clear(at(target, bottom * pitch), (lines - bottom) * pitch, fill)
