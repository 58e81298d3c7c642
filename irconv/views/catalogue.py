"""All views that need nothing but a layer, by name, in the order in which a reader meets them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from irconv.errors import UsageError
from irconv.graph import Node
from irconv.views.arithmetic import shape_arithmetic
from irconv.views.equations import equation
from irconv.views.filters import filters
from irconv.views.formula import compact_equation
from irconv.views.layer import ConvLayer
from irconv.views.matrices import matrix
from irconv.views.networks import dense_network, locally_connected, network
from irconv.views.picture import Picture
from irconv.views.sliding import image_and_filter
from irconv.views.volumes import volume

VIEWS: Mapping[str, Callable[[ConvLayer], Picture]] = MappingProxyType(
    {
        "image_and_filter": image_and_filter,
        "equation": equation,
        "compact_equation": compact_equation,
        "network": network,
        "matrix": matrix,
        "dense_network": dense_network,
        "locally_connected": locally_connected,
        "volume": volume,
        "filters": filters,
        "shape_arithmetic": shape_arithmetic,
    }
)


def of(node: Node | ConvLayer) -> dict[str, Picture]:
    """Every view of a node that exists for its number of axes, by name.

    UsageError for what is not a convolution with known weights.
    """
    layer = ConvLayer.of(node)
    found = {}
    for name, view in VIEWS.items():
        try:
            found[name] = view(layer)
        except UsageError:
            # a volume is drawn of 1-D and 2-D layers only
            if layer.rank < 3:
                raise
    return found
