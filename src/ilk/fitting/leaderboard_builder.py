"""Build the leaderboard candidate by candidate."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.linalg import LinAlgError

from ilk.core.contracts import Method, describe
from ilk.core.data import Data, Labels
from ilk.core.errors import IlkError, InputError
from ilk.core.leaderboard import CandidateResult, Leaderboard, OutOfFold
from ilk.core.metrics import Probabilities
from ilk.core.ordered_classes import Values, score_ordered
from ilk.core.progress import Advance
from ilk.encoders.families import is_pretrained
from ilk.fitting.cross_validation import cross_validate
from ilk.fitting.leakage import LEAKED_NOTE
from ilk.fitting.selection_statistics import (
    Outcomes,
    compute_outcomes,
    estimate_corrected_accuracy,
    is_tied,
)
from ilk.trust.calibration import cross_calibrate

SAFE_METHODS = ("GDA", "NearestClassMean")  # work with one image per class
FIT_ERRORS = (IlkError, LinAlgError, ArithmeticError, MemoryError)

Candidate = tuple[str, Method]


class LeaderboardBuilder:
    """Cross-validates candidates one after the other and keeps only the logits of the best one.

    Args:
        y: Class indices, `[n]`.
        fold: Fold that tests each row, `[n]`, -1 for none.
        criterion: accuracy, macro_accuracy, log_loss or mean_absolute_error.
        excluded_encoders: Names of encoders that are not evaluated.
        values: Values of ordered classes, `[k]`; None without.
    """

    def __init__(
        self,
        y: Labels,
        fold: Labels,
        criterion: str,
        excluded_encoders: Set[str],
        values: Values | None = None,
    ) -> None:
        self.values = values
        self.y, self.fold, self.criterion = y, fold, criterion
        self.excluded_encoders = excluded_encoders
        self.n_folds, self.is_tested = int(fold.max(initial=-1)) + 1, fold >= 0
        self.results: list[CandidateResult] = []
        self.outcomes: dict[int, Outcomes] = {}
        self.best_index: int | None = None
        self.best_predictions: tuple[OutOfFold, Probabilities] | None = None

    def evaluate_candidate(
        self, encoder: str, method: Method, data: Data, advance: Advance
    ) -> None:
        """Cross-validate one candidate; a failure becomes the note of its result."""
        result = CandidateResult(encoder, describe(method), None, 0.0)
        if encoder in self.excluded_encoders:
            advance(self.n_folds)
            self.results.append(replace(result, note=LEAKED_NOTE))
            return
        n_done, started_at = 0, time.perf_counter()

        def count_and_advance(n: int) -> None:
            nonlocal n_done
            n_done += n
            advance(n)

        try:
            oof = cross_validate(method, data, self.fold, count_and_advance)
            p = cross_calibrate(oof.logits, self.y, self.fold)
        except FIT_ERRORS as error:
            advance(self.n_folds - n_done)
            seconds = time.perf_counter() - started_at
            reason = str(error) or type(error).__name__
            self.results.append(replace(result, seconds=seconds, note=reason))
            return
        self._add_result(replace(result, seconds=oof.seconds, note=oof.note), oof, p)

    def _add_result(self, result: CandidateResult, oof: OutOfFold, p: Probabilities) -> None:
        y, p_tested = self.y[self.is_tested], p[self.is_tested]
        index = len(self.results)
        outcomes = compute_outcomes(y, p_tested, self.values)
        self.results.append(replace(result, scores=score_ordered(y, p_tested, self.values)))
        self.outcomes[index] = outcomes
        if self.best_index is None or self._sort_key(index) < self._sort_key(self.best_index):
            self.best_index, self.best_predictions = index, (oof, p)

    def _sort_key(self, i: int) -> tuple[float, float]:
        s = self.results[i].scores
        if s is None:
            return (np.inf, np.inf)
        criterion_values = {"accuracy": -s.accuracy.value, "macro_accuracy": -s.macro_accuracy}
        if s.mean_absolute_error is not None:
            criterion_values["mean_absolute_error"] = s.mean_absolute_error
        return (round(criterion_values.get(self.criterion, s.log_loss), 12), s.log_loss)

    def build(self, candidates: Sequence[Candidate], note: str, seed: int) -> Leaderboard:
        """Return the leaderboard of all evaluated candidates.

        Raises:
            InputError: Every candidate failed.
        """
        if self.best_index is None or self.best_predictions is None:
            reasons = dict.fromkeys(f"{r.method} on {r.encoder}: {r.note}" for r in self.results)
            raise InputError(f"no method could be fitted ({'; '.join(reasons)})")
        y, best = self.y[self.is_tested], self.outcomes[self.best_index]
        results = [
            replace(
                result,
                is_tied=i in self.outcomes and is_tied(y, best, self.outcomes[i], self.criterion),
            )
            for i, result in enumerate(self.results)
        ]
        order = sorted(range(len(results)), key=self._sort_key)
        corrected_accuracy = estimate_corrected_accuracy(
            y, list(self.outcomes.values()), self.criterion, seed
        )
        return Leaderboard(
            tuple(results[i] for i in order),
            candidates[self.best_index],
            self.n_folds,
            note,
            corrected_accuracy,
            self.fold,
            *self.best_predictions,
        )


def make_unmeasured_leaderboard(
    candidates: Sequence[Candidate], fold: Labels, note: str
) -> Leaderboard:
    """Return a leaderboard without scores; `fold` is `[n]`."""
    reason = "not evaluated: every class has a single image"
    results = tuple(CandidateResult(name, describe(m), None, 0.0, reason) for name, m in candidates)
    return Leaderboard(results, _choose_safe_candidate(candidates), 0, note, None, fold)


def _choose_safe_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate to use if none can be evaluated; see `Leaderboard.winner`."""

    def rank(candidate: Candidate) -> tuple[bool, int]:
        encoder, method = candidate
        name = type(method).__name__
        is_untrained = not is_pretrained(encoder)
        return is_untrained, (*SAFE_METHODS, name).index(name)

    return min(candidates, key=rank)
