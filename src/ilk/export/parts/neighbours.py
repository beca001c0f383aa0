"""Votes of the nearest training rows, which the file holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.export.graphs.formulas import normalize_rows
from ilk.export.graphs.graph import Expression


def _find_nearest(similarity: Expression, k: int) -> tuple[Expression, Expression]:
    """Return the k greatest of `[n, rows]` and their positions, the first of equals first."""
    g = similarity.graph
    values, index = g.apply_many(
        "TopK",
        [similarity, g.constant([k], np.int64)],
        (np.float64, np.int64),
        axis=1,
        largest=1,
        sorted=1,
    )
    return values, index


def _count_votes(labels: Expression, votes: Expression, n_classes: int) -> Expression:
    """Return the sum of votes `[n, k]`, or `[1, k]`, by the class of each neighbour, `[n, k]`."""
    g = labels.graph
    one_hot = labels.reshape(0, 0, 1).equals(np.arange(n_classes)).cast(np.float64)
    return (one_hot * g.apply("Unsqueeze", votes, g.constant([2], np.int64))).reduce(
        "Sum", 1, keepdims=False
    )


def _write_neighbours(model: Any, x: Expression) -> Expression:
    g = x.graph
    rows = g.weight(model.rows)
    z = (x.cast(np.float64) - g.weight(model.centre)).cast(np.float32).cast(np.float64)
    norms = np.einsum("ij,ij->i", *(np.asarray(model.rows, np.float64),) * 2)
    similarity = z @ rows.transpose(1, 0) * 2.0 - g.constant(norms)
    _, index = _find_nearest(similarity, model.count_neighbours(model.k))
    labels = g.constant(model.y, np.int64).gather(index)
    k = model.k
    if model.weight is None:
        values = 1 + 0.01 * (0.5 - (np.arange(k) + 0.5) / k)
        votes = _count_votes(labels, g.constant(values[None]), model.n_classes)
    else:
        weight = g.weight(model.weight).gather(index)
        last = g.apply("CumSum", weight, g.constant(1, np.int64)).minimum(float(k))
        first = g.concatenate([last.slice(0, 1, 1) * 0.0, last.slice(0, -1, 1)], 1)
        values = (last - first) * ((last + first) * (-0.005 / k) + 1.005)
        votes = _count_votes(labels, values, model.n_classes)
    present = np.bincount(model.y, minlength=model.n_classes) > 0
    log_p = ((votes + 1 / float(present.sum())) / float(k + 1)).map("Log")
    return g.constant(present).select(log_p, -np.inf)


def _write_memory(model: Any, x: Expression) -> Expression:
    g = x.graph
    unit = normalize_rows(x.cast(np.float64) - g.weight(model.centre))
    cosines = unit @ g.weight(model.rows).transpose(1, 0)
    values, index = _find_nearest(cosines, min(model.k, len(model.rows)))
    weight = ((values - values.slice(0, 1, 1)) / model.temperature).map("Exp")
    labels = g.constant(model.y, np.int64).gather(index)
    votes = _count_votes(labels, weight, model.n_classes) / weight.reduce("Sum", 1)
    present = np.bincount(model.y, minlength=model.n_classes) > 0
    log_p = ((votes * float(model.k) + 1 / float(present.sum())) / float(model.k + 1)).map("Log")
    return g.constant(present).select(log_p, -np.inf)


WRITERS = {"neighbours": _write_neighbours, "neighbour_memory": _write_memory}
