"""The views of one layer: what a convolution is, drawn from its own sizes and weights.

Each view is a function of a node (Conv, FusedConv or ConvTranspose) and gives a `Picture`.
"""

from __future__ import annotations

from irconv.views.layer import ConvLayer
from irconv.views.picture import Picture

__all__ = ["ConvLayer", "Picture"]
