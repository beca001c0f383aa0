"""Select encoder and method of a multi-label classifier by cross-validation."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray

from ilk.core.contracts import Method, describe
from ilk.core.data import Data, Labels
from ilk.core.errors import IlkError, InputError
from ilk.core.metrics import Interval
from ilk.core.progress import Advance, Progress
from ilk.maths.folds import has_shared_groups
from ilk.maths.iterative_stratification import Targets, iterative_stratification
from ilk.multilabel.average_precision import Counts, draw_counts
from ilk.multilabel.calibration import Margins, cross_calibrate_labels
from ilk.multilabel.leaderboard import CandidateDraws, LabelCandidate, rank_candidates_by_label
from ilk.multilabel.metrics import score_labels
from ilk.multilabel.one_vs_rest import cross_validate_labels
from ilk.multilabel.thresholds import cross_predict

FIT_ERRORS = (IlkError, LinAlgError, ArithmeticError, MemoryError)
N_DRAWS = 300  # bootstrap draws per candidate


@dataclass(frozen=True, eq=False)
class LabelLeaderboard:
    """All combinations of encoder and method, best first, and the predictions of the best.

    Attributes:
        results: Results with scores, best first, then the others.
        winner: Encoder name and method.
        n_folds: Number of folds.
        corrected: Mean average precision of the winner, corrected for the selection.
        fold: Fold that tested each row, `[n]`.
        margins: Out-of-fold margins of the winner, `[n, k]`.
        probabilities: The same, calibrated on the other folds, `[n, k]`.
        predicted: The same, with the thresholds of the other folds, `[n, k]`.
    """

    results: tuple[LabelCandidate, ...]
    winner: tuple[str, Method]
    n_folds: int
    corrected: Interval
    fold: Labels
    margins: Margins
    probabilities: NDArray[np.float64]
    predicted: Targets


def rank_label_candidates(
    data_by_encoder: Mapping[str, Data],
    targets: Targets,
    labels: tuple[str, ...],
    methods: Sequence[Method],
    *,
    n_folds: int = 5,
    seed: int = 0,
    progress: Progress,
) -> LabelLeaderboard:
    """Cross-validate every method on every encoder, with the same folds and bootstrap draws.

    Args:
        data_by_encoder: Features of the same n rows, by encoder name.
        targets: Whether each label applies, `[n, k]`.
        labels: The labels, `k` of them.
        methods: Methods tagged `one_vs_rest`.
        n_folds: Number of folds; reduced if there are fewer rows.
        seed: Seed of the folds and the bootstrap.
        progress: Reports progress after each fold.

    Raises:
        InputError: Every candidate fails.
    """
    group = next(iter(data_by_encoder.values())).group
    fold = iterative_stratification(targets, n_folds, seed, group)
    shared = group if has_shared_groups(group) else None
    counts = draw_counts(len(targets), N_DRAWS, seed, shared)
    builder = _Builder(targets, labels, fold, counts, shared)
    candidates = [(name, method) for name in data_by_encoder for method in methods]
    with progress("cross-validation", len(candidates) * builder.n_folds) as advance:
        for name, method in candidates:
            builder.evaluate(name, method, data_by_encoder[name], advance)
    if builder.best is None:
        reasons = dict.fromkeys(f"{r.method} on {r.encoder}: {r.note}" for r in builder.results)
        raise InputError(f"no method could be fitted ({'; '.join(reasons)})")
    order, ranked, corrected = rank_candidates_by_label(builder.results, builder.draws)
    winner = candidates[order[0]]
    return LabelLeaderboard(tuple(ranked), winner, builder.n_folds, corrected, fold, *builder.best)


class _Builder:
    """Cross-validates candidates and keeps only the predictions of the best one.

    Args:
        targets: Whether each label applies, `[n, k]`.
        labels: The labels.
        fold: Fold that tests each row, `[n]`.
        counts: Bootstrap draws, `[draws, n]`.
        groups: Group of each row, `[n]`; None makes every row one.
    """

    def __init__(
        self,
        targets: Targets,
        labels: tuple[str, ...],
        fold: Labels,
        counts: Counts,
        groups: Labels | None = None,
    ) -> None:
        self.targets, self.labels, self.fold, self.counts = targets, labels, fold, counts
        self.groups = groups
        self.n_folds = int(fold.max()) + 1
        self.results: list[LabelCandidate] = []
        self.draws: list[CandidateDraws | None] = []
        self.best: tuple[Margins, NDArray[np.float64], Targets] | None = None
        self.best_key = (np.inf, np.inf)

    def evaluate(self, encoder: str, method: Method, data: Data, advance: Advance) -> None:
        """Cross-validate one candidate; a failure becomes the note of its result."""
        started_at, n_done = time.perf_counter(), 0

        def count(n: int) -> None:
            nonlocal n_done
            n_done += n
            advance(n)

        try:
            oof = cross_validate_labels(method, data, self.targets, self.fold, count)
        except FIT_ERRORS as error:
            advance(self.n_folds - n_done)
            seconds = time.perf_counter() - started_at
            note = str(error) or type(error).__name__
            self.results.append(LabelCandidate(encoder, describe(method), None, seconds, note))
            self.draws.append(None)
            return
        p = cross_calibrate_labels(oof.margins, self.targets, self.fold)
        predicted = cross_predict(self.targets, p, self.fold)
        candidate = LabelCandidate(
            encoder,
            describe(method),
            score_labels(self.labels, self.targets, p, predicted, self.counts, self.groups),
            oof.seconds,
        )
        self.results.append(candidate)
        self.draws.append(CandidateDraws.compute(self.targets, p, self.counts))
        if candidate.sort_key < self.best_key:
            self.best, self.best_key = (oof.margins, p, predicted), candidate.sort_key
