"""Compare suggested groups with the true classes of the images, where these are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ilk.core.errors import InputError
from ilk.images import match_class_names
from ilk.maths.clustering_accuracy import ClusteringAccuracy, clustering_accuracy, strict_accuracy
from ilk.maths.roc_area import compute_roc_area
from ilk.updates.discover import Discovery


@dataclass(frozen=True)
class DiscoveryEvaluation:
    """How well groups and predicted classes agree with the true classes.

    Attributes:
        n: Number of images with a true class.
        n_new: How many of them are of a class that the classifier does not know.
        matched: Accuracy under the best matching of all groups and predicted classes to the true
            classes, as papers report it.
        strict: Accuracy where a known class counts under its own name alone; only unnamed groups
            are matched, to new classes.
        auroc: Probability that an image of a new class has a greater score of being unknown than
            one of a known class; None where either is missing.
    """

    n: int
    n_new: int
    matched: ClusteringAccuracy
    strict: ClusteringAccuracy
    auroc: float | None


def evaluate_discovery(discovery: Discovery, classes: Sequence[str]) -> DiscoveryEvaluation:
    """Evaluate groups on the labels of their images.

    Args:
        discovery: The groups, of images that were read with labels; a label that means a known
            class, spelled differently, is that class.
        classes: Names of the known classes.

    Raises:
        InputError: If no image has a label.
    """
    rows = [f for f in discovery.grouped if f.row.status == "used" and f.row.label is not None]
    if not rows:
        raise InputError(
            "no image has a true class to compare groups with; give a folder with a sub-folder per "
            "class, or a table with labels, or leave out --evaluate"
        )
    k, known = len(classes), {name: c for c, name in enumerate(classes)}
    labels = [str(f.row.label) for f in rows]
    matched = match_class_names(sorted(set(labels)), classes)
    labels = [matched.get(label, label) for label in labels]
    new = sorted(set(labels) - known.keys())
    number = known | {name: k + i for i, name in enumerate(new)}
    truth = np.array([number[label] for label in labels])
    answer = np.array([k - 1 + f.group if f.group else known[f.nearest_class] for f in rows])
    scores, is_new = np.array([f.unknown_score for f in rows]), truth >= k
    auroc = None
    if is_new.any() and not is_new.all():
        old, other = scores[~is_new], scores[is_new]
        auroc = compute_roc_area(old, other)
    return DiscoveryEvaluation(
        len(rows),
        int(is_new.sum()),
        clustering_accuracy(truth, answer, k),
        strict_accuracy(truth, answer, k),
        auroc,
    )
