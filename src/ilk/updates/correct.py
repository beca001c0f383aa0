"""Fold corrected images into a classifier: of known classes, of new ones, or of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ilk.artifacts.classifier import Classifier
from ilk.core.data import Data, Features
from ilk.updates.add_validation import is_fixed, parse_method
from ilk.updates.extend import extend_classifier
from ilk.updates.extension_report import ExtensionReport


def correct_classifier(
    classifier: Classifier, x: Features, labels: Sequence[str]
) -> tuple[Classifier, ExtensionReport]:
    """Return the classifier after rows with their right classes were added, and a report.

    New classes, and rows of methods that take further rows, go through
    `ilk.updates.extend.extend_classifier`. Known classes of other methods, which were trained
    jointly, are adjusted (`ilk.updates.adjusted_models`).

    Args:
        classifier: The classifier.
        x: Features of its own encoder, `[n, d]`.
        labels: Class of each row; names that it does not know are new classes.

    Raises:
        InputError: The classifier has no statistics, or a class cannot be extended.
    """
    method = parse_method(classifier)
    fixed = [name in classifier.classes and is_fixed(classifier, name, method) for name in labels]
    reports: list[ExtensionReport] = []
    for is_adjusted in (False, True):  # adjusting keeps what was extended before
        rows = [i for i, one in enumerate(fixed) if one == is_adjusted]
        if rows:
            names = tuple(dict.fromkeys(labels[i] for i in rows))
            y = np.array([names.index(labels[i]) for i in rows], np.int64)
            classifier, report = extend_classifier(
                classifier,
                Data(x[rows], y, names),
                allow_known=True,
                force=True,
                adjust=is_adjusted,
            )
            reports.append(report)
    first, last = reports[0], reports[-1]
    if first is last:
        return classifier, last
    merged = replace(
        last,
        n_images={**first.n_images, **last.n_images},
        old_accuracy=(first.old_accuracy[0], last.old_accuracy[1]),
        old_agreement=_combine(first.old_agreement, last.old_agreement),
        recall={**first.recall, **last.recall},
        similarities=first.similarities,
        seconds=first.seconds + last.seconds,
    )
    return classifier, merged


def _combine(first: float | None, second: float | None) -> float | None:
    """Return how many predictions both steps leave at least, as a fraction."""
    return None if first is None or second is None else max(0.0, first + second - 1)
