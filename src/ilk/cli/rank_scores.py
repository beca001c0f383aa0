"""Scores of encoders on labelled images, and how well they agree with accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ilk.core.capabilities import Embeds
    from ilk.core.data import Data
    from ilk.images import Images
    from ilk.ranking import EncoderScores
    from ilk.store import Store

SORT_SCORE = "LogME"  # best predicts heads on frozen features in `ilk bench which_encoder`


def build_tables(encoders: Sequence[Embeds], sample: Images, store: Store) -> dict[str, Data]:
    """Return features and labels of the sample per encoder name."""
    from ilk.core.data import Data
    from ilk.fitting.config import FitConfig
    from ilk.fitting.split import split_images
    from ilk.images import number_row_groups

    split = split_images(sample, FitConfig())
    digests, y = [row.digest for row in split.train], split.encode_labels(split.train)
    group = number_row_groups(split.train)
    return {
        e.name: Data(store.get(e.space, digests), y, split.classes, group=group) for e in encoders
    }


def score_encoders(encoders: Sequence[Embeds], tables: dict[str, Data]) -> list[EncoderScores]:
    """Score every encoder and sort by `SORT_SCORE`, best first."""
    import numpy as np

    from ilk.ranking import score_encoder
    from ilk.ranking.source_probabilities import predict_source_proba

    encoder_scores = []
    for encoder in encoders:
        x, y = np.asarray(tables[encoder.name].x, np.float32), tables[encoder.name].y
        proba = predict_source_proba(encoder, x)
        encoder_scores.append(score_encoder(encoder.name, x, y, proba))
    return sorted(encoder_scores, key=lambda s: -(s.scores[SORT_SCORE] or 0.0))


def measure_accuracy(tables: dict[str, Data], seed: int) -> dict[str, float]:
    """Return the cross-validated accuracy of the best default method per encoder."""
    from ilk import methods
    from ilk.core.progress import terminal_progress
    from ilk.fitting.model_selection import rank_candidates

    candidates = [
        kind()
        for kind in methods.list_methods().values()
        if kind.default_candidate and not (kind.needs_class_embeddings or kind.needs_class_model)
    ]
    leaderboard = rank_candidates(
        tables, dict.fromkeys(tables, candidates), seed=seed, progress=terminal_progress()
    )
    best: dict[str, float] = {}
    for row in leaderboard.results:
        if row.scores is not None:
            best[row.encoder] = max(row.scores.accuracy.value, best.get(row.encoder, 0.0))
    return best


def compute_agreement(
    encoder_scores: Sequence[EncoderScores], accuracy: Mapping[str, float]
) -> dict[str, dict[str, Any]]:
    """Return, per score, Kendall's tau with the accuracy and the number of encoders behind it."""
    from ilk.ranking import rank_correlation

    agreement = {}
    for name in encoder_scores[0].scores if accuracy else ():
        pairs = [
            (value, accuracy[s.encoder])
            for s in encoder_scores
            if s.encoder in accuracy and (value := s.scores[name]) is not None
        ]
        tau = rank_correlation([value for value, _ in pairs], [a for _, a in pairs])
        agreement[name] = {"tau": tau, "encoders": len(pairs)}
    return agreement
