"""Select the best combination of encoder and method by cross-validation.

The scores are those of out-of-fold logits, calibrated on the other folds. The score of the best of
many candidates is optimistic; `ilk.fitting.selection_statistics` corrects it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method
from ilk.core.data import UNLABELLED, Data
from ilk.core.errors import InputError, NoLabels, UnknownName
from ilk.core.leaderboard import Leaderboard
from ilk.core.ordered_classes import compute_class_values
from ilk.core.progress import Progress, silent_progress
from ilk.encoders.families import is_pretrained
from ilk.fitting.combination import Combiner
from ilk.fitting.leaderboard_builder import LeaderboardBuilder, make_unmeasured_leaderboard
from ilk.fitting.leakage import describe_leakage, exclude_leaked_rows
from ilk.fitting.repetition import repeat_folds
from ilk.fitting.selection_statistics import CRITERIA
from ilk.protocols import describe_fold_limits, stratified_folds

Methods = Mapping[str, Sequence[Method]] | Callable[[str], Sequence[Method]]


def rank_candidates(
    data_by_encoder: Mapping[str, Data],
    methods: Methods,
    *,
    n_folds: int = 5,
    seed: int = 0,
    criterion: str = "accuracy",
    ordered: bool = False,
    leaked_rows: Mapping[str, NDArray[np.bool_]] | None = None,
    repeat_seconds: float = 0.0,
    combine: bool = False,
    stop_early: bool = False,
    progress: Progress = silent_progress,
) -> Leaderboard:
    """Cross-validate every method on every encoder, with the same folds.

    Args:
        data_by_encoder: Features of the same rows, by encoder name.
        methods: Candidate methods of an encoder, by its name.
        n_folds: Number of folds; reduced if no class has as many images.
        seed: Seed of the folds and the bootstrap.
        criterion: accuracy, macro_accuracy, log_loss or, for ordered classes, mean_absolute_error;
            ties are broken by log loss.
        ordered: Whether the classes are numbers, so that the size of an error counts.
        leaked_rows: For each pretrained classifier, the rows it was trained on, `[n]`. No
            candidate is evaluated on these rows. If too few rows remain, the classifier is not
            evaluated instead.
        repeat_seconds: Limit of the estimated time of repeated folds where there are few images;
            0 uses one set of folds.
        combine: Combine candidates into an ensemble if it beats the best single one; pretrained
            classifiers (those of `leaked_rows`) take no part.
        stop_early: Stop the candidates of encoders without pretrained weights after one fold if a
            paired test shows that they are far worse than the best of the others.
        progress: Reports progress after each fold.

    Raises:
        NoLabels: No row has a label.
        InputError: There is only one class, no candidate, or every candidate fails.
        UnknownName: The criterion is unknown.
        ValueError: The labels or classes differ between encoders.
    """
    data = _check_same_rows(data_by_encoder)
    _check_trainable(data, criterion)
    is_leaked, excluded_encoders = exclude_leaked_rows(data.y, leaked_rows or {})
    y = np.where(is_leaked, UNLABELLED, data.y)
    fold = stratified_folds(y, n_folds, seed, data.group)
    notes = (describe_fold_limits(y, fold, n_folds, data.group), describe_leakage(is_leaked))
    note = "; ".join(filter(None, notes))
    methods_for = methods if callable(methods) else methods.__getitem__
    names = list(data_by_encoder)
    if stop_early:
        names.sort(key=lambda name: not is_pretrained(name))
    candidates = [(name, method) for name in names for method in methods_for(name)]
    if not candidates:
        raise InputError("there is no method to compare; name at least one, such as GDA")
    if not (fold >= 0).any():
        return make_unmeasured_leaderboard(candidates, fold, note)
    builder = LeaderboardBuilder(
        data.y,
        fold,
        criterion,
        excluded_encoders,
        data.group,
        compute_class_values(data.classes) if ordered else None,
    )
    with progress("cross-validation", len(candidates) * builder.n_folds) as advance:
        for name, method in candidates:
            builder.evaluate_candidate(
                name,
                method,
                data_by_encoder[name],
                advance,
                may_stop=stop_early and not is_pretrained(name),
            )
    repeat_note = repeat_folds(
        builder,
        candidates,
        data_by_encoder,
        n_folds=n_folds,
        seed=seed,
        max_seconds=repeat_seconds,
        progress=progress,
    )
    note = "; ".join(filter(None, (note, repeat_note)))
    leaderboard = builder.build(candidates, note, seed)
    if not combine:
        return leaderboard
    excluded = tuple(leaked_rows or ())
    return Combiner(builder, candidates, data_by_encoder, excluded, seed).combine(leaderboard)


def _check_same_rows(data_by_encoder: Mapping[str, Data]) -> Data:
    """Return the first value, after checking that all have the same labels and classes."""
    if not data_by_encoder:
        raise InputError("there is no encoder to compare; name at least one, such as pixels")
    first_name, *other_names = data_by_encoder
    first = data_by_encoder[first_name]
    for name in other_names:
        data = data_by_encoder[name]
        if data.classes != first.classes or not np.array_equal(data.y, first.y):
            raise ValueError(f"the rows of {name} differ from the rows of {first_name}")
    return first


def _check_trainable(data: Data, criterion: str) -> None:
    if criterion not in CRITERIA:
        raise UnknownName("criterion", criterion, CRITERIA)
    classes = [data.classes[c] for c in np.flatnonzero(data.count_labels())]
    if not classes:
        raise NoLabels(
            "no image has a label, and model selection needs labels; "
            "label a few images, or use ZeroShot with an encoder that embeds text"
        )
    if len(classes) == 1:
        raise InputError(
            f"every labelled image is {classes[0]!r}; a classifier needs at least two classes"
        )
