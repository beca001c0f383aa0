"""Transferability scores: rank encoders without fitting a classifier. One file per paper.

A ranker is a file of this package with `NAME`, `INPUT_KIND` and `score(x, y) -> float` (higher is
better). Files are discovered; there is nothing to register.
"""

from __future__ import annotations

from ilk.ranking.rank import EncoderScores, rank_correlation, score_encoder
from ilk.ranking.transferability import (
    Transferability,
    check_labelled,
    list_scores,
    reduce_and_scale,
)

__all__ = [
    "EncoderScores",
    "Transferability",
    "check_labelled",
    "list_scores",
    "rank_correlation",
    "reduce_and_scale",
    "score_encoder",
]
