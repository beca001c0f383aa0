"""One-against-rest: a binary model per label.

Ryan Rifkin, Aldebaran Klautau, 2004, In Defense of One-Vs-All Classification, JMLR 5; for several
labels it is binary relevance, which ignores that labels occur together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import FitsLabels, Method, Model
from ilk.core.data import NO_CLASS_KNOWLEDGE, Data, Features, Labels
from ilk.core.errors import InputError
from ilk.core.metrics import check_finite
from ilk.core.progress import Advance
from ilk.maths.folds import share_group
from ilk.maths.iterative_stratification import Targets
from ilk.methods import list_methods
from ilk.multilabel.calibration import Margins

CLASSES = ("rest", "label")
PART_PREFIX = "label"  # of the saved parts of the models


@dataclass(frozen=True, eq=False)
class OneVsRest:
    """A model of two classes, the rest and the label, for each of k labels."""

    models: tuple[Model, ...]

    def margins(self, x: Features) -> Margins:
        """Return the logit of each label minus that of the rest, `[n, k]`, of features `[n, d]`.

        Raises:
            FloatingPointError: A margin is nan or infinite.
        """
        out = np.empty((len(x), len(self.models)))
        for c, model in enumerate(self.models):
            logits = check_finite(model.logits(x))
            out[:, c] = logits[:, 1] - logits[:, 0]
        if not np.isfinite(out).all():
            raise FloatingPointError("a margin is not finite")
        return out

    def to_parts(self) -> dict[str, Model]:
        """Return the models by the name of their saved part."""
        return {f"{PART_PREFIX}{c}": model for c, model in enumerate(self.models)}

    @classmethod
    def from_parts(cls, parts: Mapping[str, Any]) -> OneVsRest:
        """Restore from what `to_parts` returned; other parts are ignored."""
        n = sum(name.removeprefix(PART_PREFIX).isdecimal() for name in parts)
        return cls(tuple(parts[f"{PART_PREFIX}{c}"] for c in range(n)))


def fit_one_vs_rest(method: Method, data: Data, targets: Targets) -> OneVsRest:
    """Fit `method` once per label.

    Args:
        method: A method tagged `one_vs_rest`.
        data: Features of n rows, with their groups; labels and classes are ignored.
        targets: Whether each label applies, `[n, k]`; both values occur for every label.

    Raises:
        IlkError: The method cannot be fitted to this data.
    """
    if isinstance(method, FitsLabels) and data.sample_weight is None:
        return OneVsRest(method.fit_labels(data, targets))
    binary = replace(data, y=np.zeros(len(data), np.int64), classes=CLASSES, **NO_CLASS_KNOWLEDGE)
    return OneVsRest(
        tuple(method.fit(replace(binary, y=column.astype(np.int64))) for column in targets.T)
    )


@dataclass(frozen=True, eq=False)
class OutOfFoldMargins:
    """Out-of-fold margins `[n, k]`, nan where a training part holds one value only, and seconds."""

    margins: Margins
    seconds: float


def cross_validate_labels(
    method: Method, data: Data, targets: Targets, fold: Labels, advance: Advance = lambda _n: None
) -> OutOfFoldMargins:
    """Return the margins of each row from models that were fitted without the row's fold.

    Args:
        method: Method to evaluate.
        data: Features of n rows, with their groups.
        targets: Whether each label applies, `[n, k]`.
        fold: Fold that tests each row, `[n]`.
        advance: Called with 1 after each fold.

    Raises:
        IlkError: The method cannot be fitted to this data.
        FloatingPointError: A margin is nan or infinite.
    """
    started_at = time.perf_counter()
    margins = np.full(targets.shape, np.nan)
    for f in range(int(fold.max(initial=-1)) + 1):
        rows = np.flatnonzero(fold == f)
        is_train = ~share_group(data.group, rows)
        usable = _find_fittable(targets[is_train])
        if len(usable):
            model = fit_one_vs_rest(method, data.take(is_train), targets[is_train][:, usable])
            margins[np.ix_(rows, usable)] = model.margins(data.x[rows])
        advance(1)
    return OutOfFoldMargins(margins, time.perf_counter() - started_at)


def _find_fittable(targets: Targets) -> NDArray[np.int64]:
    """Return the labels that apply to some rows and not to others."""
    return np.flatnonzero(targets.any(0) & ~targets.all(0))


def check_method(method: Method) -> None:
    """Check that a method can be fitted one-against-rest.

    Raises:
        InputError: Its tags say that it cannot.
    """
    if not getattr(method, "one_vs_rest", False):
        names = [name for name, kind in list_methods().items() if kind.one_vs_rest]
        raise InputError(
            f"{type(method).__name__} cannot be fitted to images with several labels; the methods "
            f"that can are: {', '.join(names)}"
        )
