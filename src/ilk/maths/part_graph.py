"""How far what a classifier uses agrees with a graph of which part belongs to which class.

Natalia Díaz-Rodríguez, Alberto Lamas, Jules Sanchez, Gianni Franchi, Ivan Donadello, Siham Tabik,
David Filliat, Policarpo Cruz, Rosana Montes, Francisco Herrera, 2022, EXplainable Neural-Symbolic
Learning (X-NeSyL) methodology, arXiv 2104.11914. With phi the Shapley values of the class scores in
the part scores, and G_pk = 1 if part p belongs to class k, else -1,

    alignment       c_ip = phi_ip(y_i) G_{p, y_i}
    weight          w_i = 1 - h min_p c_ip   or   exp(-h min_p c_ip)
    graph distance  the number of edges (part, class) that are in one graph and not in the other

An edge is in the explanation of an image if a part is present and its value above a threshold, or
absent and below minus the threshold: either way the part speaks for the class. The graph of the
expert is cut to the parts that are present or have an edge in the explanation; the distance is the
mean over images. (The published code takes class indices for image indices where parts are absent,
and counts masked edges; this does neither.)
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Labels
from ilk.core.errors import InputError

Values = NDArray[np.float64]
EDGE_THRESHOLD = 1e-3


def check_graph(graph: NDArray[np.integer], n_parts: int, n_classes: int) -> NDArray[np.int64]:
    """Return a graph `[p, k]` of 1 and -1.

    Raises:
        InputError: It has another shape, or other values.
    """
    graph = np.asarray(graph)
    if graph.shape != (n_parts, n_classes) or not np.isin(graph, (-1, 1)).all():
        raise InputError(
            f"the graph has shape {graph.shape}; give 1 (belongs) or -1 for each of {n_parts} "
            f"parts and {n_classes} classes, [{n_parts}, {n_classes}]"
        )
    return graph.astype(np.int64)


def compute_alignment(shapley: Values, y: Labels, graph: NDArray[np.int64]) -> Values:
    """Return how far each part speaks for the label as the graph says, `[n, p]`.

    Negative values are misattributions: a part of the class that speaks against it, or a foreign
    part that speaks for it.

    Args:
        shapley: Shapley values of the class scores, `[n, p, k]`.
        y: Class of each row, `[n]`.
        graph: 1 where a part belongs to a class, else -1, `[p, k]`.
    """
    of_label = np.take_along_axis(shapley, y[:, None, None], axis=2)[:, :, 0]
    return np.asarray(of_label * graph.T[y])


def compute_weights(
    alignment: Values, h: float, form: Literal["linear", "exponential"] = "linear"
) -> Values:
    """Return the weight of each row, `[n]`, at least 0, with mean 1.

    Departure: the mean, so that a weighting does not change the step size.

    Args:
        alignment: `[n, p]`.
        h: Strength, >= 0; 0 weights all rows alike.
        form: Linear or exponential in the worst alignment of a row.
    """
    worst = alignment.min(1)
    raw = np.exp(-h * worst) if form == "exponential" else np.maximum(1 - h * worst, 0.0)
    mean = raw.mean()
    return np.asarray(raw / mean if mean > 0 else np.ones(len(raw)))


def find_edges(
    shapley: Values, is_present: NDArray[np.bool_], threshold: float = EDGE_THRESHOLD
) -> NDArray[np.bool_]:
    """Return which parts speak for which classes in each image, `[n, p, k]`.

    Args:
        shapley: Shapley values of the class scores, `[n, p, k]`.
        is_present: Whether each part is present, `[n, p]`.
        threshold: Smallest absolute value that counts, > 0.
    """
    sign = np.where(is_present, 1.0, -1.0)[:, :, None]
    return np.asarray(sign * shapley > threshold)


def measure_graph_distance(
    shapley: Values,
    is_present: NDArray[np.bool_],
    graph: NDArray[np.int64],
    threshold: float = EDGE_THRESHOLD,
) -> float:
    """Return the mean number of edges in which explanations and the graph differ, >= 0.

    Args:
        shapley: Shapley values of the class scores, `[n, p, k]`.
        is_present: Whether each part is present, `[n, p]`.
        graph: 1 where a part belongs to a class, else -1, `[p, k]`.
        threshold: Smallest absolute value that makes an edge, > 0.
    """
    edges = find_edges(shapley, is_present, threshold)
    is_node = is_present | edges.any(2)
    differs = (edges != (graph == 1)) & is_node[:, :, None]
    return float(differs.sum((1, 2)).mean())
