"""Tracks are matched: along the axis that tells them apart, once each, and only if close enough."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.retrieval.track_matching import NEW, TrackMatcher


def make_frames(n_frames, seed=0, n_tracks=6):
    """Tracks differ along axes of little variance, under great noise that all of them share."""
    rng = np.random.default_rng(seed)
    identity = 0.3 * np.linalg.qr(rng.standard_normal((n_tracks, n_tracks)))[0]
    x = np.empty((n_frames, n_tracks, n_tracks + 2))
    x[..., :n_tracks] = identity + 0.02 * rng.standard_normal((n_frames, n_tracks, n_tracks))
    x[..., n_tracks:] = rng.standard_normal((n_frames, n_tracks, 2))
    return x.astype(np.float32)


def count_right(matcher, frames):
    right = []
    for frame in frames[30:]:
        matching = matcher.match(frame)
        right.append(np.mean(matching.tracks == np.arange(len(frame))))
    return float(np.mean(right)), matching


def learn(matcher, frames):
    for frame in frames:
        matcher.update(frame, np.arange(len(frame)))
    return matcher


def test_the_history_shows_which_axes_tell_tracks_apart():
    frames = make_frames(60)
    right, matching = count_right(learn(TrackMatcher(), frames[:30]), frames)
    assert matching.is_projected
    assert right > 0.99
    raw, matching = count_right(learn(TrackMatcher(blend=0), frames[:30]), frames)
    assert not matching.is_projected
    assert raw < 0.8


def test_a_short_history_is_compared_as_it_is():
    frames = make_frames(31)
    for n, is_projected in ((1, False), (19, False), (20, True)):
        matching = learn(TrackMatcher(), frames[:n]).match(frames[30])
        assert matching.is_projected == is_projected, n
    few = TrackMatcher(min_samples=1)
    assert not learn(few, frames[:1]).match(frames[30]).is_projected
    assert not TrackMatcher().fit(np.ones((40, 3)), [0, 1] * 20).match(np.ones((1, 3))).is_projected


def test_a_track_is_given_once_and_strangers_are_new():
    matcher = TrackMatcher(min_similarity=0.5)
    matcher.update(np.eye(3)[:2], [7, 9])
    matching = matcher.match(np.array([[0, 1.0, 0], [1, 0.1, 0], [1, 0, 0], [0, 0, 1]]))
    assert list(matching.tracks) == [9, NEW, 7, NEW]
    np.testing.assert_allclose(matching.similarity[[0, 2]], 1.0)
    assert np.isnan(matching.similarity[[1, 3]]).all()
    assert list(matcher.match(np.array([[0, 0, 1.0]])).tracks) == [NEW]


def test_only_recent_samples_count():
    matcher = TrackMatcher(history=2, decay=0.5)
    matcher.update(np.eye(4), [0, 0, 0, 1])  # the first is forgotten
    similarity, _ = matcher.compute_similarity(np.eye(4))
    np.testing.assert_allclose(similarity[:, 0], np.array([0, 1, 2, 0]) / np.sqrt(5))
    matcher.drop(0)
    assert matcher.tracks == [1]
    matcher.update(np.eye(4)[:1], [NEW])
    assert matcher.tracks == [1]


def test_bad_input_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="call update with the first frame"):
        TrackMatcher().match(np.eye(2))
    matcher = TrackMatcher().fit(np.eye(2), [0, 1])
    for call, words in (
        (lambda: matcher.match(np.eye(3)), "2 values, as in the history"),
        (lambda: matcher.match(np.full((1, 2), np.nan)), "not finite"),
        (lambda: matcher.update(np.eye(2), [0]), "2 rows and 1 tracks"),
        (lambda: matcher.drop(5), "no track 5"),
        (lambda: TrackMatcher(decay=0), "decay 0"),
    ):
        with pytest.raises(InputError, match=words):
            call()
