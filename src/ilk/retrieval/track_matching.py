"""Matching of objects from frame to frame by features, projected for the tracks at hand.

Ruopeng Gao and others, 2025, History-Aware Transformation of ReID Features for Multiple Object
Tracking, arXiv 2503.12562: each track keeps its last features, weighted by age; where tracks have
enough of them, the discriminant of this history (see `ilk.maths.history_discriminant`) separates
the tracks of this sequence better than the features as they are. Objects and tracks are paired by
cosine similarity with the Hungarian method.

Departures, from simulated sequences (benchmark `track_matching`): weights fall by 0.7 per frame,
not 0.9, and the discriminant waits for 20 samples per track, not about 4; with fewer it was behind.

    matcher = TrackMatcher()
    matcher.update(features_of_first_frame, tracks=[0, 1, 2])
    matching = matcher.match(features)          # of the next frame
    matcher.update(features, matching.tracks)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ilk.core.data import Features, Labels
from ilk.core.errors import InputError
from ilk.core.linear_models import normalize_rows
from ilk.maths.history_discriminant import (
    Matrix,
    compute_track_means,
    fit_history_discriminant,
)

NEW = -1  # the track of an object that belongs to none


@dataclass(frozen=True, eq=False)
class Matching:
    """Which track each object of a frame belongs to.

    Attributes:
        tracks: Track of each object, `[m]` int64; `NEW` where it belongs to none.
        similarity: Cosine similarity of the pair, `[m]`; nan without one.
        is_projected: Whether the discriminant was used, and not the features as they are.
    """

    tracks: Labels
    similarity: NDArray[np.float64]
    is_projected: bool


@dataclass
class TrackMatcher:
    """Pairs the objects of a frame with tracks, by features of a frozen encoder.

    Attributes:
        history: Features kept per track, >= 1; the oldest is forgotten.
        decay: Weight of a feature relative to the one after it, in (0, 1].
        min_samples: Features per track, on average, from which on the discriminant is used; with
            fewer, its covariance is too uncertain, and features are compared as they are.
        blend: Weight of the projected similarity, in [0, 1]; the rest is that of the features.
        min_similarity: Objects less similar than this to their track, in [-1, 1], are new; None
            always pairs as many as possible.
    """

    history: int = 60
    decay: float = 0.7
    min_samples: float = 20.0
    blend: float = 1.0
    min_similarity: float | None = None
    _tracks: dict[int, deque[Matrix]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.history < 1 or not 0 < self.decay <= 1 or not 0 <= self.blend <= 1:
            raise InputError(
                f"history {self.history} must be at least 1, decay {self.decay} in (0, 1], "
                f"blend {self.blend} in [0, 1]"
            )

    @property
    def tracks(self) -> list[int]:
        """The tracks with a history, in the order in which they began."""
        return list(self._tracks)

    def fit(self, features: Features, tracks: Sequence[int] | Labels) -> TrackMatcher:
        """Forget everything, and learn a history: features `[n, d]` in order of time."""
        self._tracks.clear()
        self.update(features, tracks)
        return self

    def update(self, features: Features, tracks: Sequence[int] | Labels) -> None:
        """Append features to tracks; a number not seen before begins a track.

        Args:
            features: `[m, d]`, in order of time.
            tracks: Track of each row, `[m]`; rows of `NEW` are left out.

        Raises:
            InputError: If widths or lengths do not fit, or a value is not finite.
        """
        rows = self._check(features)
        if len(tracks) != len(rows):
            raise InputError(
                f"{len(rows)} rows and {len(tracks)} tracks; give the track of each row"
            )
        for row, track in zip(rows, tracks, strict=True):
            if track != NEW:
                self._tracks.setdefault(int(track), deque(maxlen=self.history)).append(row)

    def drop(self, track: int) -> None:
        """Forget a track that has ended.

        Raises:
            InputError: If there is no such track.
        """
        if self._tracks.pop(int(track), None) is None:
            raise InputError(f"there is no track {track}; there are {self.tracks}")

    def match(self, features: Features) -> Matching:
        """Return the track of each of the objects `[m, d]` of a frame; every track at most once.

        Raises:
            InputError: If no track has a history, the width differs from that of the history, or a
                value is not finite.
        """
        from scipy.optimize import linear_sum_assignment

        rows = self._check(features)
        if not self._tracks:
            raise InputError("no track has a history; call update with the first frame")
        similarity, is_projected = self.compute_similarity(rows)
        names = np.array(self.tracks, np.int64)
        tracks, values = np.full(len(rows), NEW, np.int64), np.full(len(rows), np.nan)
        ours, theirs = linear_sum_assignment(-similarity)
        found = similarity[ours, theirs]
        is_close = found >= (-np.inf if self.min_similarity is None else self.min_similarity)
        tracks[ours[is_close]], values[ours] = names[theirs[is_close]], found
        return Matching(tracks, values, is_projected)

    def compute_similarity(self, rows: Features | Matrix) -> tuple[Matrix, bool]:
        """Return similarities `[m, c]` of rows `[m, d]` to `tracks`; whether they are projected."""
        lengths = [len(samples) for samples in self._tracks.values()]
        x = np.concatenate([np.stack(samples) for samples in self._tracks.values()])
        label = np.repeat(np.arange(len(lengths)), lengths)
        age = np.concatenate([np.arange(n)[::-1] for n in lengths])
        weight = self.decay ** age.astype(np.float64)
        means = compute_track_means(x, label, weight)
        raw = _compute_cosines(np.asarray(rows, np.float64), means)
        enough = len(lengths) > 1 and len(x) >= max(2.0, self.min_samples) * len(lengths)
        if not enough or self.blend == 0:
            return raw, False
        try:
            projection = fit_history_discriminant(x, label, weight)
        except InputError:  # nothing has moved yet
            return raw, False
        projected = _compute_cosines(projection.apply(rows), projection.apply(means))
        return self.blend * projected + (1 - self.blend) * raw, True

    def _check(self, features: Features) -> Matrix:
        """Return unit rows in float64."""
        rows = np.asarray(features, np.float64)
        d = len(next(iter(self._tracks.values()))[0]) if self._tracks else None
        if rows.ndim != 2 or (d is not None and rows.shape[1] != d):
            raise InputError(
                f"features have shape {rows.shape}; they must be rows"
                + ("" if d is None else f" of {d} values, as in the history")
            )
        if not np.isfinite(rows).all():
            raise InputError("features hold values that are not finite; leave such objects out")
        return np.asarray(normalize_rows(rows), np.float64)


def _compute_cosines(x: Matrix, y: Matrix) -> Matrix:
    return np.asarray(normalize_rows(x) @ normalize_rows(y).T, np.float64)
