"""The training images that a model keeps for explanations, after images were added."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Features
from ilk.explain.build_neighbours import extend_index
from ilk.explain.neighbours import HeldIndex, NeighbourIndex
from ilk.explain.question import get_neighbours
from ilk.images import Images, Row


def extend_neighbours(
    classifier: Classifier, images: Images, rows: Sequence[Row], features: Features
) -> Callable[[], NeighbourIndex | None] | None:
    """Return what a classifier keeps after images were added; it keeps none if it kept none.

    Args:
        classifier: The classifier before.
        images: The images that contain the added rows.
        rows: The added rows, `n` of them, each with a label.
        features: Their features, `[n, d]`.
    """
    index = get_neighbours(classifier)
    if index is None:
        return classifier.neighbours
    labels = [str(row.label) for row in rows]
    space = classifier.encoder.space
    return HeldIndex(extend_index(index, images, rows, labels, space, features))
