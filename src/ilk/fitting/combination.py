"""Combine candidates into an ensemble, if it beats the best single one on held-out folds.

The weights for the rows of a fold are selected on the out-of-fold predictions of the other folds
(`ilk.fitting.ensemble_selection`), and the mixture is calibrated on the other folds like any
candidate, so that its scores include the cost of choosing. The best single candidate is the one
with the best score on all rows, which is a little optimistic. The ensemble is used

- if its gain in the criterion exceeds one standard error of the paired difference and its log loss
  is not higher, or
- if it loses nothing in the criterion and its log loss is lower by more than one standard error.

Its library also has the best method on the features of all its encoders side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method, describe
from ilk.core.data import Data, Labels
from ilk.core.ensemble import Ensemble, Member
from ilk.core.flattened_images import FlattenedImages
from ilk.core.leaderboard import CandidateResult, Combination, Leaderboard, OutOfFold, Remainder
from ilk.core.metrics import Interval
from ilk.encoders.combined import SEPARATOR
from ilk.fitting.ensemble_trial import LibraryItem, Trial, mix_runs, try_ensemble
from ilk.fitting.fit_cost import estimate_seconds
from ilk.fitting.joined_features import join_features, list_columns
from ilk.fitting.leaderboard_builder import FIT_ERRORS, Candidate, LeaderboardBuilder
from ilk.fitting.repeated_folds import choose_run, measure_spread
from ilk.fitting.selection_statistics import (
    Outcomes,
    compute_row_gains,
    estimate_corrected_accuracy,
    find_tied,
)
from ilk.maths.clusters import compute_variance
from ilk.trust.calibration import Calibration, cross_calibrate

MAX_SIDE_SECONDS = 1.5  # time of the side-by-side candidate, estimated from counts
Z = 1.96

Vector = NDArray[np.float64]


class Combiner:
    """Selects an ensemble from the candidates that a leaderboard keeps.

    Args:
        builder: The evaluated candidates.
        candidates: Encoder name and method of each.
        data_by_encoder: Features of the same rows, by encoder name.
        excluded: Encoders that take no part, such as diffusion classifiers.
        seed: Seed of the selection.
    """

    def __init__(
        self,
        builder: LeaderboardBuilder,
        candidates: Sequence[Candidate],
        data_by_encoder: Mapping[str, Data],
        excluded: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        self.builder, self.data, self.seed = builder, data_by_encoder, seed
        self.best = builder.best_index
        n_runs = len(builder.kept[self.best])
        order = sorted(builder.kept, key=lambda i: (i != self.best, builder.sort_key(i)))
        text_encoder = next(
            (
                candidates[i][0]
                for i in order
                if data_by_encoder[candidates[i][0]].class_embeddings is not None
            ),
            "",
        )
        self.library = [
            LibraryItem((name,), method, builder.kept[i])
            for i in order
            for name, method in (candidates[i],)
            if len(builder.kept[i]) == n_runs
            and name not in excluded
            and _can_be_member(method, name == text_encoder)
        ]
        self.baseline = candidates[self.best]
        self.can_combine = len(self.library) > 1 and self.library[0].label == (
            self.baseline[0],
            describe(self.baseline[1]),
        )

    def combine(self, leaderboard: Leaderboard) -> Leaderboard:
        """Return the leaderboard with the ensemble as its winner, or a comparison with it."""
        if not self.can_combine:
            return leaderboard
        trial = try_ensemble(self.builder, self.library, self.seed)
        names = self._list_encoders(trial)
        if len(names) > 1 and (side := self._evaluate_side_by_side(names)) is not None:
            trial = try_ensemble(self.builder, [*self.library, side], self.seed)
        if len(trial.items) < 2 and len(trial.items[0].encoders) < 2:
            return leaderboard
        combination = self._compare(trial)
        if not combination.is_used:
            return replace(leaderboard, combination=combination)
        return self._make_winner(leaderboard, trial, combination)

    def _list_encoders(self, trial: Trial) -> tuple[str, ...]:
        """Return the encoders of an ensemble, that of the best single candidate first."""
        names = dict.fromkeys(name for item in trial.items for name in item.encoders)
        return tuple(sorted(names, key=lambda name: (name != self.baseline[0], name)))

    def _evaluate_side_by_side(self, names: tuple[str, ...]) -> LibraryItem | None:
        """Cross-validate the best method on the features of several encoders side by side."""
        name, method = self.baseline
        if getattr(method, "needs_class_embeddings", False) or self.baseline[0] not in names:
            return None
        width = self.data[name].x.shape[1]
        joined = sum(self.data[n].x.shape[1] for n in names)
        runs = self.builder.kept[self.best]
        seconds = estimate_seconds(method, self.data[name], self.builder.n_folds, joined)
        if len(runs) * seconds * joined / width > MAX_SIDE_SECONDS:
            return None
        columns = list_columns(names, self.data)
        member = Ensemble((Member(method, tuple(columns[n] for n in names)),))
        try:
            data = join_features(names, self.data)
            made = [self.builder.run(member, data, run.fold) for run in runs]
        except FIT_ERRORS:
            return None
        return LibraryItem(names, method, made)

    def _compare(self, trial: Trial) -> Combination:
        """Compare an ensemble with the best single candidate."""
        builder, y = self.builder, self.builder.tested_labels
        single = builder.outcomes[self.best]

        def measure(criterion: str) -> tuple[Interval, float]:
            gains = compute_row_gains(y, trial.outcomes, single, criterion)
            mean, error = float(np.mean(gains)), _standard_error(gains, builder.tested_groups)
            return Interval(mean, mean - Z * error, mean + Z * error), error

        (accuracy, _), (loss, loss_error) = measure("accuracy"), measure("log_loss")
        gain, error = measure(builder.criterion)
        is_used = (gain.value > error and loss.value >= 0) or (
            gain.value >= 0 and loss.value > loss_error
        )
        order = np.argsort(-trial.weights, kind="stable")
        members = tuple((*trial.items[i].label, float(trial.weights[i])) for i in order)
        return Combination(
            members,
            (self.baseline[0], describe(self.baseline[1])),
            accuracy,
            loss,
            is_used,
            self._measure_remainders(trial) if is_used else {},
        )

    def _measure_remainders(self, trial: Trial) -> dict[str, Remainder]:
        """Return what is left of an ensemble without each of its encoders, on held-out folds."""
        remainders = {}
        for name in self._list_encoders(trial):
            is_left = np.array([name not in item.encoders for item in trial.items])
            left = [item for item, keep in zip(trial.items, is_left, strict=True) if keep]
            weights = trial.fold_weights[:, is_left]
            weights = np.where(weights.sum(1, keepdims=True) > 0, weights, trial.weights[is_left])
            if not left:
                left = [item for item in self._list_spares(trial) if name not in item.encoders][:1]
                weights = np.ones((len(trial.fold_weights), 1))
            if left:
                runs = mix_runs(self.builder, left, weights)
                accuracy = self.builder.rate(runs).scores.accuracy
                remainders[name] = Remainder(accuracy, runs[0].logits)
        return remainders

    def _list_spares(self, trial: Trial) -> list[LibraryItem]:
        """Return candidates that replace an ensemble without an encoder that all members need.

        They have weight 0 in the ensemble. Best first: without an encoder, the first one that does
        not need it is used.
        """
        names = self._list_encoders(trial)
        needed = [n for n in names if all(n in item.encoders for item in trial.items)]
        spares = [
            next((i for i in self.library if n not in i.encoders and i.encoders[0] in names), None)
            for n in needed
        ]
        return [item for item in self.library if any(item is spare for spare in spares)]

    def _make_winner(
        self, leaderboard: Leaderboard, trial: Trial, combination: Combination
    ) -> Leaderboard:
        """Return the leaderboard with the ensemble first."""
        builder, names = self.builder, self._list_encoders(trial)
        columns = list_columns(names, self.data)
        order = np.argsort(-trial.weights, kind="stable")
        weighted = [(trial.items[i], float(trial.weights[i])) for i in order]
        weighted += [(item, 0.0) for item in self._list_spares(trial)]
        members = []
        for item, weight in weighted:
            logits = np.concatenate([run.logits for run in item.runs])
            y = np.tile(builder.tested_labels, len(item.runs))
            calibration = Calibration.fit(logits, y)
            members.append(
                Member(
                    item.method,
                    tuple(columns[name] for name in item.encoders),
                    weight,
                    calibration.temperature,
                    calibration.uniform_weight,
                )
            )
        ensemble, name = Ensemble(tuple(members)), SEPARATOR.join(names)
        rated, run = builder.rate(trial.runs), choose_run(builder.tested_labels, trial.runs)
        result = CandidateResult(name, describe(ensemble), rated.scores, run.seconds, is_tied=True)
        outcomes = [*builder.outcomes.values(), trial.outcomes]
        return replace(
            leaderboard,
            results=(result, *self._find_tied(trial.outcomes, leaderboard)),
            winner=(name, ensemble),
            corrected_accuracy=estimate_corrected_accuracy(
                builder.tested_labels,
                outcomes,
                builder.criterion,
                self.seed,
                builder.tested_groups,
                measure_spread(builder.tested_labels, trial.runs),
            ),
            fold=run.fold,
            out_of_fold=OutOfFold(builder.spread(run.logits), builder.is_tested, run.seconds),
            probabilities=cross_calibrate(builder.spread(run.logits), builder.y, run.fold),
            combination=combination,
            winner_encoders=names,
        )

    def _find_tied(self, outcomes: Outcomes, leaderboard: Leaderboard) -> list[CandidateResult]:
        """Return the results with the ties of the ensemble marked."""
        builder = self.builder
        indices = list(builder.outcomes)
        is_tied = find_tied(
            builder.tested_labels,
            [outcomes, *(builder.outcomes[i] for i in indices)],
            builder.criterion,
            builder.tested_groups,
            self.seed,
        )[1:]
        tied = {
            (builder.results[i].encoder, builder.results[i].method)
            for i, is_one in zip(indices, is_tied, strict=True)
            if is_one
        }
        return [
            replace(result, is_tied=(result.encoder, result.method) in tied)
            for result in leaderboard.results
        ]


def _can_be_member(method: Method, has_text: bool) -> bool:
    """Return whether a method can be a member: it reads features and scores each row alone."""
    if isinstance(method, FlattenedImages) or getattr(method, "transductive", False):
        return False
    if getattr(method, "needs_class_scores", False) or getattr(method, "needs_class_model", False):
        return False
    return has_text or not getattr(method, "needs_class_embeddings", False)


def _standard_error(gains: Vector, groups: Labels | None) -> float:
    """Return the standard error of the mean of gains `[n]`, whose groups vary together."""
    if groups is not None:
        return float(np.sqrt(compute_variance(gains, groups)))
    return float(np.std(gains, ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else float("inf")
