"""The leaderboard of methods that learn from rows that are read block by block.

Every method is fitted to all rows outside a fold, and tested on the rows of a sample inside it. The
statistics of the training part are those of all rows minus the fold's, so that closed forms take no
further pass; a method whose `max_fold_rows` bounds its training rows gets as many random ones.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from ilk.core.contracts import Method, Model
from ilk.core.data import Data, Labels
from ilk.core.errors import InputError
from ilk.core.leaderboard import Leaderboard, OutOfFold
from ilk.core.ordered_classes import compute_class_values
from ilk.core.progress import Advance, Progress
from ilk.core.row_stream import FitsStream
from ilk.fitting.config import FitConfig
from ilk.fitting.leaderboard_builder import LeaderboardBuilder
from ilk.fitting.out_of_core.streamed_rows import StreamedRows
from ilk.protocols import describe_fold_limits
from ilk.trust.calibration import check_logits

SLOW = 1.0  # `fit_cost` from which on a method may be stopped after one fold


class StreamedLeaderboard(LeaderboardBuilder):
    """Cross-validates methods on a stream; see `LeaderboardBuilder`.

    Args:
        stream: All training rows, in parts as `number_parts` numbers them.
        n_folds: Number of folds.
        sample: The rows that are tested.
        fold: Fold of each row of the sample, `[m]`.
        config: Criterion and order of classes.
    """

    def __init__(
        self, stream: StreamedRows, n_folds: int, sample: Data, fold: Labels, config: FitConfig
    ) -> None:
        values = compute_class_values(sample.classes) if config.ordered else None
        super().__init__(sample.y, fold, config.criterion, group=sample.group, values=values)
        self._stream, self._n_parts = stream, n_folds
        self._training: dict[int, StreamedRows] = {}

    def find_training(self, fold: int) -> StreamedRows:
        """Return the rows that a model may learn from that is tested on a fold."""
        if fold not in self._training:
            self._training[fold] = self._stream.without((fold, self._n_parts + fold))
        return self._training[fold]

    def cross_validate(
        self, method: Method, data: Data, fold: Labels, advance: Advance
    ) -> OutOfFold:
        """Return logits `[m, k]` of the sample `data` from models of all rows outside each fold.

        Args:
            method: Learns from a stream of rows.
            data: The sample of `m` rows that is scored.
            fold: Fold of each row of the sample, `[m]`; -1 for none.
            advance: Is told of each fold that is done.
        """
        started_at, note = time.perf_counter(), ""
        logits = np.full((len(data), data.k), np.nan)
        for f in range(int(fold.max(initial=-1)) + 1):
            rows = np.flatnonzero(fold == f)
            training = self.find_training(int(self.fold[rows[0]]))  # folds may be numbered anew
            model, note = fit_rows(method, training)
            logits[rows] = check_logits(model.logits(data.x[rows]))
            advance(1)
        return OutOfFold(logits, np.asarray(fold) >= 0, time.perf_counter() - started_at, note)


def fit_rows(method: Method, rows: StreamedRows) -> tuple[Model, str]:
    """Return the model of the rows outside a fold, and how its training rows were limited.

    Raises:
        InputError: The method does not learn from a stream.
    """
    limit = getattr(method, "max_fold_rows", None)
    if limit is not None and len(rows.y) > limit:
        kept = np.sort(np.random.default_rng(0).permutation(len(rows.y))[:limit])
        held = Data(rows.take(kept), rows.y[kept], rows.classes, group=rows.group[kept])
        note = f"from {limit:,} random training rows of {len(rows.y):,} per fold"
        return method.fit(held), note
    if not isinstance(method, FitsStream):
        raise InputError("it learns from rows in memory only")
    return method.fit_stream(rows), ""


def rank_streamed(
    builder: StreamedLeaderboard,
    encoder: str,
    methods: Sequence[Method],
    sample: Data,
    all_labels: tuple[Labels, Labels, Labels],
    config: FitConfig,
    progress: Progress,
) -> Leaderboard:
    """Return the leaderboard of `methods`, cheap ones first.

    Args:
        builder: The builder.
        encoder: Name of the encoder.
        methods: Methods that learn from a stream.
        sample: The rows that are tested, `[m, d]`.
        all_labels: Class, fold and group of all training rows, each `[n]`.
        config: Number of folds and seed.
        progress: Reports each fold.

    Raises:
        InputError: No method can be fitted.
    """
    ordered = sorted(methods, key=lambda m: getattr(m, "fit_cost", np.inf))
    with progress("cross-validation", len(ordered) * builder.n_folds) as advance:
        for method in ordered:
            is_slow = getattr(method, "fit_cost", np.inf) >= SLOW
            builder.evaluate_candidate(encoder, method, sample, advance, may_stop=is_slow)
    y, fold, group = all_labels
    note = describe_fold_limits(y, fold, config.folds, group)
    return builder.build([(encoder, method) for method in ordered], note, config.seed)
