"""Build the leaderboard candidate by candidate."""

from __future__ import annotations

import time
from collections.abc import Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.linalg import LinAlgError
from numpy.typing import NDArray

from ilk.core.contracts import Method, describe
from ilk.core.data import Data, Labels
from ilk.core.errors import IlkError, InputError
from ilk.core.leaderboard import CandidateResult, Leaderboard, OutOfFold
from ilk.core.ordered_classes import Values
from ilk.core.progress import Advance
from ilk.encoders.families import is_pretrained
from ilk.fitting.cross_validation import cross_validate
from ilk.fitting.leakage import LEAKED_NOTE
from ilk.fitting.repeated_folds import Repeats, Run, average_scores, choose_run, measure_spread
from ilk.fitting.selection_statistics import (
    Outcomes,
    estimate_corrected_accuracy,
    find_tied,
    mcnemar_p_value,
)
from ilk.maths.clusters import compute_mean_p_value
from ilk.maths.folds import has_shared_groups
from ilk.protocols.folds import NEVER_TESTED
from ilk.trust.calibration import cross_calibrate

SAFE_METHODS = ("GDA", "NearestClassMean")  # work with one image per class
HOPELESS_P = 1e-4  # of a paired test on one fold, below which a candidate is stopped
FIT_ERRORS = (IlkError, LinAlgError, ArithmeticError, MemoryError)
MAX_KEPT = 8  # candidates whose predictions are kept, the best ones
MAX_LOGITS = 2**24  # logits of all of these together, 64 MB; two are kept in any case

Candidate = tuple[str, Method]


class LeaderboardBuilder:
    """Cross-validates candidates one after the other and keeps the predictions of the best ones.

    Args:
        y: Class indices, `[n]`.
        fold: Fold that tests each row, `[n]`, -1 for none.
        criterion: accuracy, macro_accuracy, log_loss or mean_absolute_error.
        excluded_encoders: Names of encoders that are not evaluated.
        group: Group of each row, `[n]`, as in `Data.group`.
        values: Values of ordered classes, `[k]`; None without.
    """

    def __init__(
        self,
        y: Labels,
        fold: Labels,
        criterion: str,
        excluded_encoders: Set[str] = frozenset(),
        group: Labels | None = None,
        values: Values | None = None,
    ) -> None:
        self.y, self.criterion, self.values = y, criterion, values
        self.fold = fold
        is_grouped = group is not None and has_shared_groups(group)
        self.tested_groups = group[fold >= 0] if group is not None and is_grouped else None
        self.excluded_encoders = excluded_encoders
        self.n_folds, self.is_tested = int(fold.max(initial=-1)) + 1, fold >= 0
        self.results: list[CandidateResult] = []
        self.outcomes: dict[int, Outcomes] = {}
        self.kept: dict[int, list[Run]] = {}

    @property
    def tested_labels(self) -> Labels:
        """Class indices of the tested rows, `[m]`."""
        return self.y[self.is_tested]

    def evaluate_candidate(
        self,
        encoder: str,
        method: Method,
        data: Data,
        advance: Advance,
        *,
        may_stop: bool = False,
    ) -> None:
        """Cross-validate one candidate; a failure becomes the note of its result.

        Args:
            encoder: Name of the encoder.
            method: Method to evaluate.
            data: All rows, `[n, d]`.
            advance: Called with the number of folds that are done.
            may_stop: Stop after one fold if the best candidate so far is far better on it.
        """
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
            first = self._run_first_fold(method, data, count_and_advance) if may_stop else None
            if first is not None and (reason := self._find_hopeless(first)):
                advance(self.n_folds - n_done)
                self.results.append(replace(result, seconds=first.seconds, note=reason))
                return
            run = self.run(method, data, self.fold, count_and_advance, first)
        except FIT_ERRORS as error:
            advance(self.n_folds - n_done)
            seconds = time.perf_counter() - started_at
            reason = str(error) or type(error).__name__
            self.results.append(replace(result, seconds=seconds, note=reason))
            return
        self.results.append(replace(result, seconds=run.seconds, note=run.note))
        self.set_runs(len(self.results) - 1, [run], self.rate([run]))
        n_kept = min(MAX_KEPT, max(2, MAX_LOGITS // max(1, run.logits.size)))
        for i in sorted(self.kept, key=self.sort_key)[n_kept:]:
            del self.kept[i]

    def _run_first_fold(self, method: Method, data: Data, advance: Advance) -> OutOfFold | None:
        """Return the predictions for the first fold alone; None if nothing was evaluated before."""
        if not self.kept or self.n_folds < 2:
            return None
        return self.cross_validate(method, data, np.where(self.fold == 0, 0, NEVER_TESTED), advance)

    def cross_validate(
        self, method: Method, data: Data, fold: Labels, advance: Advance
    ) -> OutOfFold:
        """Return out-of-fold logits `[n, k]`, for `fold [n]`: the fold of each row, -1 for none.

        A leaderboard of streamed rows overrides it.
        """
        return cross_validate(method, data, fold, advance)

    def _find_hopeless(self, first: OutOfFold) -> str:
        """Return why a candidate is stopped after the first fold, or ""."""
        is_first = self.fold[self.is_tested] == 0
        best = self.kept[self.best_index][0].logits.argmax(1)[is_first]
        y = self.y[first.is_tested]
        is_correct, best_is_correct = first.logits[first.is_tested].argmax(1) == y, best == y
        only_best = int(np.sum(best_is_correct & ~is_correct))
        only_this = int(np.sum(is_correct & ~best_is_correct))
        if only_best <= only_this:
            return ""
        if self.tested_groups is None:
            p_value = mcnemar_p_value(only_best, only_this)
        else:
            gains = best_is_correct.astype(np.float64) - is_correct
            p_value = compute_mean_p_value(gains, self.tested_groups[is_first])
        if p_value > HOPELESS_P:
            return ""
        return (
            f"stopped after one of {self.n_folds} folds: {is_correct.mean():.0%} of {len(y)} "
            f"images correct, the best candidate {best_is_correct.mean():.0%}"
        )

    def run(
        self,
        method: Method,
        data: Data,
        fold: Labels,
        advance: Advance = lambda _n: None,
        first: OutOfFold | None = None,
    ) -> Run:
        """Return the out-of-fold predictions of a method.

        Args:
            method: Method to evaluate.
            data: All rows, `[n, d]`.
            fold: Fold that tests each row, `[n]`, -1 for none.
            advance: Called with 1 after each fold.
            first: Predictions for fold 0, if it was done before.

        Raises:
            FIT_ERRORS: The method cannot be fitted to this data.
        """
        if first is None:
            oof = self.cross_validate(method, data, fold, advance)
        else:  # the other folds, numbered from 0
            oof = self.cross_validate(method, data, np.maximum(fold - 1, NEVER_TESTED), advance)
            oof.logits[first.is_tested] = first.logits[first.is_tested]
            oof = replace(oof, seconds=oof.seconds + first.seconds)
        p = cross_calibrate(oof.logits, self.y, fold)
        return Run(
            oof.logits[self.is_tested].astype(np.float32),
            p[self.is_tested].astype(np.float32),
            fold,
            oof.seconds,
            oof.note,
        )

    def rate(self, runs: Sequence[Run]) -> Repeats:
        """Return the scores and the outcomes of runs, one per set of folds."""
        return average_scores(self.tested_labels, runs, self.tested_groups, self.values)

    def set_runs(self, index: int, runs: list[Run], rated: Repeats) -> None:
        """Set the predictions and scores of a candidate."""
        self.kept[index], self.outcomes[index] = runs, rated.outcomes
        self.results[index] = replace(self.results[index], scores=rated.scores)

    @property
    def best_index(self) -> int:
        """Index of the best candidate among those with most repeats of the folds.

        Raises:
            InputError: Every candidate failed.
        """
        if not self.kept:
            reasons = dict.fromkeys(f"{r.method} on {r.encoder}: {r.note}" for r in self.results)
            raise InputError(f"no method could be fitted ({'; '.join(reasons)})")
        return min(self.kept, key=lambda i: (-len(self.kept[i]), *self.sort_key(i)))

    def sort_key(self, i: int) -> tuple[float, float]:
        """Return what orders candidates, best first: the criterion, then the log loss."""
        s = self.results[i].scores
        if s is None:
            return (np.inf, np.inf)
        criterion_values = {"accuracy": -s.accuracy.value, "macro_accuracy": -s.macro_accuracy}
        if s.mean_absolute_error is not None:
            criterion_values["mean_absolute_error"] = s.mean_absolute_error
        return (round(criterion_values.get(self.criterion, s.log_loss), 12), s.log_loss)

    def find_tied(self, seed: int = 0) -> set[int]:
        """Return the candidates that may be the best one; see `find_tied`."""
        indices = list(self.outcomes)
        is_tied = find_tied(
            self.tested_labels,
            [self.outcomes[i] for i in indices],
            self.criterion,
            self.tested_groups,
            seed,
        )
        return {i for i, is_one in zip(indices, is_tied, strict=True) if is_one}

    def build(self, candidates: Sequence[Candidate], note: str, seed: int) -> Leaderboard:
        """Return the leaderboard of all evaluated candidates.

        Raises:
            InputError: Every candidate failed.
        """
        best = self.best_index
        tied = self.find_tied(seed) | {best}
        results = [replace(r, is_tied=i in tied) for i, r in enumerate(self.results)]
        order = sorted(range(len(results)), key=lambda i: (i != best, *self.sort_key(i)))
        corrected_accuracy = estimate_corrected_accuracy(
            self.tested_labels,
            list(self.outcomes.values()),
            self.criterion,
            seed,
            self.tested_groups,
            measure_spread(self.tested_labels, self.kept[best]),
        )
        run = choose_run(self.tested_labels, self.kept[best])
        return Leaderboard(
            tuple(results[i] for i in order),
            candidates[best],
            self.n_folds,
            note,
            corrected_accuracy,
            run.fold,
            OutOfFold(self.spread(run.logits), self.is_tested, run.seconds),
            cross_calibrate(self.spread(run.logits), self.y, run.fold),
        )

    def spread(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return values of the tested rows `[m, k]` as those of all rows, `[n, k]`; nan if none."""
        out = np.full((len(self.y), values.shape[1]), np.nan)
        out[self.is_tested] = values
        return out


def make_unmeasured_leaderboard(
    candidates: Sequence[Candidate], fold: Labels, note: str
) -> Leaderboard:
    """Return a leaderboard without scores; `fold` is `[n]`."""
    reason = "not evaluated: every class has a single image, or group of images"
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
