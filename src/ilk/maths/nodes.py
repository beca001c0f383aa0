"""Rows as nodes of a graph of nearest neighbours, with what their place in it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ilk.core.data import Features
from ilk.maths.neighbour_graph import Matrix, NeighbourGraph, Neighbourhood, build_graph

FEEDBACK = 0.1  # weight of what explanation vectors rebuild, in the message of a node
MIN_STD = 1e-9  # of a context; below, it is the same for all nodes


@dataclass(frozen=True, eq=False)
class Nodes:
    """Training rows as nodes of a graph.

    Attributes:
        centre: Their mean, `[d]` float32.
        scale: Divisor of the centred rows.
        z: Centred rows over the scale, `[n, d]`.
        graph: Graph of these.
        place: Neighbours of each node.
        context: Context without agreement, `[n, 4]`.
        context_mean: Its mean, `[4]`.
        context_std: Its standard deviation, `[4]`, > 0.
    """

    centre: Features
    scale: float
    z: Matrix
    graph: NeighbourGraph
    place: Neighbourhood
    context: Matrix
    context_mean: Matrix
    context_std: Matrix


def place_nodes(x: Features, k: int) -> Nodes:
    """Return rows `[n, d]` as nodes with k neighbours each."""
    centre = x.astype(np.float64).mean(0).astype(np.float32)
    z = x.astype(np.float64) - centre
    scale = float(np.sqrt((z**2).mean())) or 1.0
    z /= scale
    graph = build_graph(z, k)
    place = graph.find(z, are_nodes=True)
    context = graph.describe(place)
    std = context.std(0)
    std = np.where(std > MIN_STD, std, 1.0)
    return Nodes(centre, scale, z, graph, place, context, context.mean(0), std)
