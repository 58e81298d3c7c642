"""The network views: neurons and edges; shared, beside a dense layer, and without the sharing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from irconv.graph import Node
from irconv.views import cells, names
from irconv.views.blocks import below, beside, headed, picture
from irconv.views.counts import counts_table
from irconv.views.fitting import at_most, fitted
from irconv.views.layer import ConvLayer
from irconv.views.neurons import draw, separate, shared, zero_edges
from irconv.views.picture import Picture

FITS = at_most(16, 64, 130)


def network(node: Node | ConvLayer, *, labels: Sequence[str] = ()) -> Picture:
    """Neurons and edges: each output sees its window only, edges of one weight have one colour.

    `labels` name the free weights. UsageError for what is not a convolution with known weights.
    """
    layer = fitted(ConvLayer.of(node, labels), FITS)
    facts = weight_counts(layer)
    colours = cells.colours_of(layer)
    drawing = below(
        [cells.legend(layer, colours, values=not layer.labels), draw(layer, shared(layer, colours))]
    )
    caption = (
        f"{_neuron_counts(layer, facts)} An output has {_degrees(layer)} where a dense neuron "
        f"would have {names.count(facts['inputs'])}. {names.count(facts['places'], 'edge')} share "
        f"{names.count(facts['free_weights'], 'weight')}: one colour, one weight."
    )
    return picture(layer, drawing, f"{layer.title} as a network", caption, facts)


def dense_network(node: Node | ConvLayer, *, labels: Sequence[str] = ()) -> Picture:
    """The network as a fully connected one, the edges whose weight is fixed at zero in grey.

    `labels` name the free weights. UsageError for what is not a convolution with known weights.
    """
    layer = fitted(ConvLayer.of(node, labels), FITS)
    facts = weight_counts(layer)
    colours = cells.colours_of(layer)
    edges = [*zero_edges(layer), *shared(layer, colours)]
    table = counts_table(facts, ("free_weights", "dense_weights"))
    drawing = beside([draw(layer, edges), table], 48)
    caption = (
        f"Grey edges carry zeros that no training changes: {names.count(facts['fixed_zeros'])} of "
        f"{names.count(facts['dense_weights'], 'edge')}. A fully connected layer of the same size "
        f"would have {names.count(facts['dense_weights'], 'weight')}, this one has "
        f"{names.count(facts['free_weights'])}."
    )
    return picture(layer, drawing, f"{layer.title} in a dense network", caption, facts)


def locally_connected(node: Node | ConvLayer, *, labels: Sequence[str] = ()) -> Picture:
    """The layer beside one of the same sparsity without sharing: a weight of its own to each edge.

    `labels` name the free weights. UsageError for what is not a convolution with known weights.
    """
    layer = fitted(ConvLayer.of(node, labels), at_most(12, 36, 80))
    facts = weight_counts(layer)
    tied = draw(layer, shared(layer, cells.colours_of(layer)), bias=False)
    own = draw(layer, separate(layer), bias=False)
    both = beside([headed("convolution", tied), headed("locally connected", own)], 56)
    table = counts_table(facts, ("free_weights", "places", "dense_weights"))
    caption = (
        "The same edges, but each with a weight of its own: "
        f"{names.count(facts['places'], 'weight')} where the convolution has "
        f"{names.count(facts['free_weights'])} and a dense layer "
        f"{names.count(facts['dense_weights'])}."
    )
    title = f"{layer.title} and its locally connected form"
    return picture(layer, below([both, table]), title, caption, facts)


def weight_counts(layer: ConvLayer) -> dict[str, int]:
    """Inputs, outputs and weights of the whole layer: shared, not shared, fully connected."""
    outputs, inputs = prod(layer.out_shape), prod(layer.in_shape)
    biases = 0 if layer.bias is None else layer.out_shape[0]
    return {
        "outputs": outputs,
        "inputs": inputs,
        "free_weights": layer.geometry.free_weights,
        "places": layer.geometry.nnz,
        "dense_weights": outputs * inputs,
        "fixed_zeros": outputs * inputs - layer.geometry.nnz,
        "biases": biases,
        "local_biases": outputs if biases else 0,
        "dense_biases": outputs if biases else 0,
    }


def _neuron_counts(layer: ConvLayer, facts: Mapping[str, int]) -> str:
    return (
        f"{names.count(facts['inputs'], 'input')} ({names.sizes(layer.in_shape)}), "
        f"{names.count(facts['outputs'], 'output')} ({names.sizes(layer.out_shape)})."
    )


def _degrees(layer: ConvLayer) -> str:
    """The fewest and the most edges of an output of the whole layer."""
    g = layer.geometry
    found = [layer.axis_degrees(a) for a in range(g.rank)]
    channels = layer.in_shape[0] // g.group
    low, high = (channels * prod(int(f(c)) for c in found) for f in (np.min, np.max))
    return names.count(high, "edge") if low == high else f"{low} to {names.count(high, 'edge')}"
