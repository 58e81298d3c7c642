"""The views of one layer: what a convolution is, drawn from its own sizes and weights.

Each view is a function of a node (Conv, FusedConv or ConvTranspose) and gives a `Picture`; `of`
makes all those that need nothing but the layer. Others look at the graph around the node (receptive
field, composition), at an image (activation maps, projection, translation), or at the whole graph
(architecture, the table of receptive fields).
"""

from __future__ import annotations

from irconv.views.activation_maps import activation_maps
from irconv.views.architecture import architecture
from irconv.views.arithmetic import shape_arithmetic
from irconv.views.catalogue import VIEWS, of
from irconv.views.composition import composition
from irconv.views.equations import equation
from irconv.views.filters import filters
from irconv.views.formula import compact_equation
from irconv.views.layer import ConvLayer
from irconv.views.matrices import matrix
from irconv.views.matrix_figure import matrix_figure
from irconv.views.networks import dense_network, locally_connected, network
from irconv.views.picture import Picture
from irconv.views.projection import projection
from irconv.views.receptive_field import receptive_field, receptive_fields
from irconv.views.sliding import image_and_filter
from irconv.views.translation import translation
from irconv.views.volumes import volume

__all__ = [
    "ConvLayer",
    "Picture",
    "VIEWS",
    "of",
    "image_and_filter",
    "equation",
    "compact_equation",
    "network",
    "matrix",
    "matrix_figure",
    "dense_network",
    "locally_connected",
    "volume",
    "shape_arithmetic",
    "receptive_field",
    "receptive_fields",
    "filters",
    "activation_maps",
    "projection",
    "composition",
    "translation",
    "architecture",
]


def __dir__() -> list[str]:
    return sorted(__all__)
