"""Features of several encoders side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ilk.core.data import Data
from ilk.core.leaderboard import Leaderboard


def join_features(names: Sequence[str], data_by_encoder: Mapping[str, Data]) -> Data:
    """Return the rows with the features of several encoders side by side."""
    first = data_by_encoder[names[0]]
    if len(names) == 1:
        return first
    sources = [data_by_encoder[name] for name in names]
    text = next((d for d in sources if d.class_embeddings is not None), first)
    return replace(
        first,
        x=np.hstack([d.x for d in sources]),
        class_embeddings=text.class_embeddings,
        description_embeddings=text.description_embeddings,
        class_model=None,
    )


def list_columns(
    names: Sequence[str], data_by_encoder: Mapping[str, Data]
) -> dict[str, tuple[int, int]]:
    """Return the first column of each encoder in `join_features`, and the one after the last."""
    ends = np.cumsum([data_by_encoder[name].x.shape[1] for name in names]).tolist()
    return dict(zip(names, zip([0, *ends[:-1]], ends, strict=True), strict=True))


def find_detector_columns(
    leaderboard: Leaderboard, data_by_encoder: Mapping[str, Data]
) -> tuple[int, int] | None:
    """Return the columns of the best single candidate's encoder; None if there is no other."""
    names = leaderboard.winner_encoders
    return None if len(names) == 1 else list_columns(names, data_by_encoder)[names[0]]
