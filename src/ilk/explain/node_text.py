"""Sentences about the answers of an X-Node: what the neighbours of a row say, and what is unusual.

See `ilk.methods.x_node`. A template words what the model computes; nothing else is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features
from ilk.maths.neighbour_graph import CONTEXT, N_STATIC, find_nearest
from ilk.methods.x_node import ExplainingNodes

N_NAMED = 15  # labelled neighbours that a sentence counts
UNUSUAL = 2.0  # standard deviations from the mean of the nodes


def describe_nodes(model: ExplainingNodes, x: Features, classes: Sequence[str]) -> list[str]:
    """Return for each row a sentence on what its neighbours say, `[n]`.

    Args:
        model: The fitted model.
        x: Features, `[n, d]`.
        classes: Names of the classes.
    """
    labelled = np.flatnonzero(model.y >= 0)
    units, n_named = model.units[labelled], min(N_NAMED, len(labelled))
    near = model.y[labelled][find_nearest(units, model.standardize(x), n_named).index]
    answers = model.logits(x).argmax(1)
    return [
        _count_neighbours(int(answer), row.tolist(), classes) + _describe_context(values)
        for answer, row, values in zip(answers, near, model.describe_context(x), strict=True)
    ]


def _count_neighbours(answer: int, near: list[int], classes: Sequence[str]) -> str:
    counts = Counter(near)
    others = [f"{n} {classes[c]}" for c, n in counts.most_common() if c != answer][:2]
    rest = f", {' and '.join(others)}" if others else ""
    name = classes[answer]
    return (
        f"{name}: {counts[answer]} of its {len(near)} nearest labelled neighbours are {name}{rest}"
    )


def _describe_context(values: NDArray[np.float64]) -> str:
    agreement = (values[N_STATIC] + 1) / 2
    j = int(np.abs(values[:N_STATIC]).argmax())
    level = "unusually high" if values[j] > 0 else "unusually low"
    odd = f"; its {CONTEXT[j]} is {level}" if abs(values[j]) > UNUSUAL else ""
    return f"; within two steps {agreement:.0%} agree{odd}"
