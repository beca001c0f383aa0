"""What selections are worth: measured on rows that took no part in them.

Without a target the rows are those of the source, in folds: each fold is answered by heads fitted
to what was kept of the others, all of them, or as many at random. With a target they are its rows,
and what is kept is ranked by the other folds of the target. A row's value is whether its class is
right, or, where the target's labels are unknown, the log density under a mixture of Gaussians of
what was kept, in nats per feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Data, Labels
from ilk.core.progress import Progress, silent_progress
from ilk.maths.folds import assign_folds, count_folds
from ilk.maths.out_of_fold import fit_head, predict_proba
from ilk.subset_selection.choose_rows import Mode, choose_rows
from ilk.subset_selection.selectors import parse_selector
from ilk.subset_selection.selectors.color_filter import Mixture
from ilk.subset_selection.selectors.selector import standardize

ALL, RANDOM = "all", "random"
N_DRAWS = 3  # random selections per fold
N_FOLDS = 5
Values = NDArray[np.float64]  # [m]


@dataclass(frozen=True, eq=False)
class Trials:
    """The value of each row that was left out, by what was kept.

    Attributes:
        values: By selector, and for `ALL` and `RANDOM` (the mean over `N_DRAWS` selections), `[m]`.
        groups: Group of each row, `[m]`, -1 for its own.
        fold: Fold of each row, `[m]`, 0 to the number of folds - 1.
        measure: "accuracy", or "log density" in nats per feature.
    """

    values: dict[str, Values]
    groups: Labels
    fold: Labels
    measure: str


def run_trials(
    source: Data,
    target: Data | None,
    selectors: Sequence[str],
    fraction: float,
    mode: Mode,
    seed: int = 0,
    progress: Progress = silent_progress,
) -> Trials | None:
    """Measure selectors on rows left out; None where no folds can be made, or of one class.

    Args:
        source: Rows to select from; without a target all have labels.
        target: Rows of the target, labels in the classes of `source` or -1; None without one.
        selectors: Their texts.
        fraction: Fraction of the rows that is kept, in (0, 1).
        mode: What becomes of the classes.
        seed: Seed of folds and selections.
        progress: Reports each selection.
    """
    judged = _pick_judged(source, target)
    is_accuracy = bool((judged.y >= 0).all())
    n_folds = count_folds(judged.y if is_accuracy else np.zeros(len(judged), np.int64), N_FOLDS)
    if is_accuracy and target is None:
        n_folds = count_folds(judged.y, N_FOLDS, judged.group)
    if n_folds < 2 or (is_accuracy and len(np.unique(judged.y)) < 2):
        return None
    y = judged.y if is_accuracy else np.zeros(len(judged), np.int64)
    fold = assign_folds(y, n_folds, seed, judged.group)
    values = {name: np.zeros(len(judged)) for name in (*selectors, ALL, RANDOM)}
    rounds = range(n_folds)
    with progress("judging selections", n_folds * (len(selectors) + N_DRAWS + 1)) as advance:
        for f in rounds:
            rows, train = judged.take(fold == f), source
            guide = None
            if target is None:
                train = source.take(fold != f)
            else:
                guide = judged.take(fold != f)
            count = count_kept(train, fraction, mode)
            for name, kept in _list_selections(train, guide, selectors, count, mode, seed):
                share = 1 / N_DRAWS if name == RANDOM else 1.0
                values[name][fold == f] += share * _measure(train.take(kept), rows, is_accuracy)
                advance(1)
    return Trials(values, judged.group, fold, "accuracy" if is_accuracy else "log density")


def count_kept(source: Data, fraction: float, mode: Mode) -> int:
    """Return how many rows `fraction` stands for: at least one, or one per class unless "free"."""
    least = 1 if mode == "free" else len(np.unique(source.y))
    return min(len(source), max(least, round(fraction * len(source))))


def _pick_judged(source: Data, target: Data | None) -> Data:
    """Return the rows that answers are measured on: of a target, those whose class is known."""
    if target is None:
        return source
    is_known = np.isin(target.y, np.unique(source.y[source.y >= 0]))
    return target.take(is_known) if len(np.unique(target.y[is_known])) > 1 else _hide(target)


def _hide(target: Data) -> Data:
    from dataclasses import replace

    return replace(target, y=np.full(len(target), -1))


def _list_selections(
    train: Data, guide: Data | None, selectors: Sequence[str], count: int, mode: Mode, seed: int
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    yield ALL, np.arange(len(train))
    for draw in range(N_DRAWS):
        scores = np.random.default_rng([seed, draw]).random(len(train))
        random_mode: Mode = "proportional" if mode == "free" else mode
        if mode == "free" and count < len(np.unique(train.y)):
            random_mode = "free"
        yield RANDOM, choose_rows(scores, train.y, count, random_mode)
    for name in selectors:
        scores = parse_selector(name).score(train, guide, seed)
        yield name, choose_rows(scores, train.y, count, mode)


def _measure(kept: Data, rows: Data, is_accuracy: bool) -> Values:
    """Return the value of each of `rows`, `[m]`, given the rows that were kept."""
    if not is_accuracy:
        return _compute_log_density(kept, rows)
    if not (kept.y >= 0).any():
        return np.zeros(len(rows))
    p = predict_proba(fit_head(kept), rows.x)
    return np.asarray(p.argmax(1) == rows.y, np.float64)


def _compute_log_density(kept: Data, rows: Data) -> Values:
    """Return log densities per feature, `[m]`, in units in which features of `rows` vary by 1."""
    t, x = standardize(rows.x, kept.x)
    part = np.unique(kept.y, return_inverse=True)[1].astype(np.int64)
    return np.asarray(-Mixture.from_parts(x, part).compute_loss(t) / x.shape[1])
