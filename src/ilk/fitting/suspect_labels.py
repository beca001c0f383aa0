"""Labels that disagree with cross-validated predictions, and the one sentence that says so.

A classifier that is right for half of the images disagrees with the other half of the labels,
wrong or not. So every place that tells of such labels states how far the classifier agrees with
all of them, and which to look at first.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilk.core.data import Labels
from ilk.core.metrics import Probabilities
from ilk.fitting.constant_answer import beats_constant_answer
from ilk.trust.label_errors import DEFAULT_RANKING, LabelErrors

MAX_FIRST = 20  # labels to look at first, at most; as many as `ilk audit` prints


def find_suspects(
    probabilities: Probabilities, y: Labels, ranking: str = DEFAULT_RANKING
) -> LabelErrors:
    """Rank labels as `LabelErrors.find`; a classifier as good as a constant answer suspects none.

    Args:
        probabilities: Out-of-fold probabilities, `[n, k]`; nan for rows without.
        y: Given labels, `[n]`, -1 where unknown.
        ranking: One of `ilk.trust.label_errors.RANKINGS`.

    Raises:
        UnknownName: If `ranking` is unknown.
    """
    errors = LabelErrors.find(probabilities, y, ranking)
    is_suspect = errors.is_suspect & beats_constant_answer(probabilities, y)
    return replace(errors, is_suspect=is_suspect)


def describe_suspects(
    errors: LabelErrors, probabilities: Probabilities, y: Labels, listing: str
) -> str:
    """Return how many labels disagree, how weak the evidence is, and what to do; "" for none.

    Args:
        errors: What `find_suspects` returned for these probabilities and labels.
        probabilities: Out-of-fold probabilities, `[n, k]`; nan for rows without.
        y: Given labels, `[n]`, -1 where unknown.
        listing: Where the ranked labels are, such as "suspects.csv".
    """
    n_suspects, n_labels = int(errors.is_suspect.sum()), len(errors.rows)
    if not n_suspects:
        return ""
    agreement = float(np.mean(probabilities[errors.rows].argmax(1) == y[errors.rows]))
    which = f"the first {min(n_suspects, MAX_FIRST)}" if n_suspects > 1 else "the first"
    return (
        f"{n_suspects:,} of {n_labels:,} labels clearly "
        f"{'disagree' if n_suspects > 1 else 'disagrees'} with predictions of models that "
        f"did not see them; these models agree with {agreement:.1%} of all labels, so a "
        f"disagreement may be their error: look at {which} in {listing} before changing a "
        "label"
    )
