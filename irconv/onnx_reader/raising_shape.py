"""Raises operators whose attributes became operands: axes, sizes, counts, pads."""

from __future__ import annotations

import numpy as np

from irconv.errors import ModelError
from irconv.graph import Value
from irconv.onnx_reader.raising import rule
from irconv.onnx_reader.site import Site


@rule("Squeeze", 1, 11)
@rule("Unsqueeze", 1, 11)
@rule("ReduceSum", 1, 11)
def axes_attribute(site: Site) -> None:
    """The axes become an operand."""
    axes = site.attribute("axes")
    site.operands = [site.required(0)]
    if axes:
        site.operands.append(site.ints(axes, "axes"))
    site.native()


for _name in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"):
    rule(f"Reduce{_name}", 1, 11, 12, 13)(axes_attribute)


@rule("Slice", 1)
def slice_1(site: Site) -> None:
    """Starts, ends and axes become operands."""
    starts, ends = site.attribute("starts"), site.attribute("ends")
    axes = site.attribute("axes", tuple(range(len(starts))))
    if not len(starts) == len(ends) == len(axes):
        raise ModelError("starts, ends and axes differ in length", got=f"{starts}, {ends}, {axes}")
    site.operands = [
        site.required(0),
        site.ints(starts, "starts"),
        site.ints(ends, "ends"),
        site.ints(axes, "axes"),
    ]
    site.native()


@rule("Split", 2, 11, 13, 18)
def split(site: Site) -> None:
    """Old versions without sizes cut in equal parts, one per output, that come out even."""
    sizes = site.attribute("split")
    if sizes is not None:
        site.operands = [site.required(0), site.ints(sizes, "sizes")]
    given = site.attribute("num_outputs")
    count = len(site.record.outputs)
    if site.operand(1) is not None and given is not None:
        raise ModelError("Split has both sizes and num_outputs")
    if site.operand(1) is None and given is None and site.version == 18:
        raise ModelError("Split needs sizes or num_outputs")
    if site.operand(1) is None and site.version < 18:
        size = site.shape()[site.axis(site.attribute_kept("axis", 0))]
        if isinstance(size, int) and size % count:
            raise ModelError(
                "Split does not come out even", expected=f"a multiple of {count}", got=size
            )
    if given is not None and given != count:
        raise ModelError("num_outputs is not the number of outputs", expected=count, got=given)
    site.native(num_outputs=count)


@rule("TopK", 1)
def topk_1(site: Site) -> None:
    """The count becomes an operand."""
    k = site.attribute("k")
    site.operands = [site.required(0), site.ints([k], "k")]
    site.native()


@rule("Pad", 2)
def pad_2(site: Site) -> None:
    """Pads and value become operands."""
    pads, value = site.attribute("pads"), site.attribute("value", 0.0)
    site.operands = [site.required(0), site.ints(pads, "pads"), site.scalar(value, "value")]
    site.native()


@rule("Upsample", 7)
def upsample_7(site: Site) -> None:
    """Resize with its scales as an attribute."""
    scales = site.parameter(np.array(site.attribute("scales"), np.float32), "scales")
    _old_resize(site, scales)


@rule("Upsample", 9)
@rule("Resize", 10)
def upsample_9(site: Site) -> None:
    """Resize as it was."""
    _old_resize(site, site.required(1))


def _old_resize(site: Site, scales: Value) -> None:
    """Before Resize-11, positions were divided by the scale.

    Nearest took the pixel below, or the one above if shrinking. (ONNX did not say which; this is
    what its vectors and onnxruntime do.) Upsample's scales are at least 1 by its definition.
    """
    known = site.contents.number(scales)
    mode = site.attribute("mode", "nearest")
    nearest = "floor"
    if mode == "nearest" and (known is not None or site.op_type != "Upsample"):
        if known is None:
            raise ModelError(f"{site.op_type}-{site.version} needs constant scales")
        if (known < 1).any():
            nearest = "ceil"
            if (known > 1).any():
                raise ModelError(
                    f"{site.op_type}-{site.version} grows one axis and shrinks another",
                    got=known.tolist(),
                )
    op = site.op(
        "Resize", mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode=nearest
    )
    site.finish(op, [site.required(0), None, scales])


@rule("Resize", 11, 13, 18, 19)
def resize(site: Site) -> None:
    """Empty operands are absent ones; sizes that the input has already are left out."""
    for index in range(1, len(site.operands)):
        value = site.operand(index)
        if value is not None and value.shape == (0,):
            site.operands[index] = None
    axes = site.attribute("axes")
    changed = None if axes is not None else _changed_sizes(site)
    if changed == {}:
        site.finish_with(site.required(0))
        return
    if changed:
        site.operands[3] = site.ints([*changed.values()], "sizes")
        axes = tuple(changed)
    site.native(axes=axes)


def _changed_sizes(site: Site) -> dict[int, int] | None:
    """The new size of each axis that gets another, None where that is not known."""
    wanted = site.contents.of(site.operand(3))
    if wanted is None or site.constant(3) is not None or len(wanted) != site.rank():
        return None
    # here the axes that keep their size count too: for the common ratio, and for the crop
    if site.attribute_kept("keep_aspect_ratio_policy", "stretch") != "stretch":
        return None
    if site.attribute_kept("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    pairs = enumerate(zip(site.shape(), wanted, strict=True))
    changed = {axis: size for axis, (old, size) in pairs if old != size}
    return changed if all(isinstance(size, int) for size in changed.values()) else None


@rule("GridSample", 16)
def grid_sample_16(site: Site) -> None:
    """Two modes were renamed."""
    mode = site.attribute("mode", "bilinear")
    site.native(mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


@rule("RoiAlign", 10)
def roi_align_10(site: Site) -> None:
    """The coordinates were those of half a pixel less."""
    site.native(coordinate_transformation_mode="output_half_pixel")
