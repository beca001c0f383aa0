"""A head with exemplars, the model of replay methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ilk.core.data import Features, Labels
from ilk.core.linear_models import MLP


@dataclass(frozen=True, eq=False)
class ExemplarMLP(MLP):
    """A head with exemplars: some of its training rows.

    Attributes:
        exemplars: The rows, `[m, d]` float32, class after class, the first herded first.
        exemplar_labels: Their classes, `[m]` int64.
    """

    kind: ClassVar[str] = "exemplar_mlp"
    shapes: ClassVar[dict[str, str]] = MLP.shapes | {"exemplars": "m d", "exemplar_labels": "m"}

    exemplars: Features
    exemplar_labels: Labels
