"""The contract of a score of how unknown an image is, for every file of `unknown_scores`."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.trust.known_rows import KnownRows
from ilk.trust.unknown_scores import list_unknown_scores

SCORES = list_unknown_scores()
every = pytest.mark.parametrize("score", SCORES, ids=[type(s).__name__ for s in SCORES])


def make_known(k=3, rows=40, width=6, seed=0):
    """Rows around k directions from the origin, and a class without rows."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(k), rows)
    corners = 9 * np.eye(width)[:k]
    x = (corners[y] + rng.standard_normal((len(y), width))).astype(np.float32)
    return KnownRows.from_rows(x, y, k + 1), corners, rng


def test_one_score_is_the_default_and_labels_differ():
    assert [score.is_default for score in SCORES] == [True] + [False] * (len(SCORES) - 1)
    assert len({score.label for score in SCORES}) == len(SCORES)


@every
def test_rows_between_classes_are_more_unknown_than_rows_of_a_class(score):
    known, corners, rng = make_known()
    scorer = score.fit(known)
    inside = scorer(corners[rng.integers(0, 3, 200)] + rng.standard_normal((200, 6)))
    between = scorer(corners.mean(0) + rng.standard_normal((200, 6)))
    assert inside.shape == (200,)
    assert np.isfinite(inside).all()
    assert np.mean(between[:, None] > inside) > 0.9


@every
def test_a_score_depends_on_its_row_alone(score):
    known, _, rng = make_known()
    scorer = score.fit(known)
    x = (5 * rng.standard_normal((30, 6))).astype(np.float32)
    np.testing.assert_allclose(scorer(x)[3:7], scorer(x[3:7]), rtol=1e-9, atol=1e-9)


@every
def test_coordinates_in_the_span_of_the_rows_give_the_same_scores(score):
    """With fewer rows than features, in a basis that keeps inner products."""
    rng = np.random.default_rng(1)
    y = np.arange(12) % 3
    x = rng.standard_normal((12, 40)) + 3 * rng.standard_normal((3, 40))[y]
    basis = np.linalg.qr(x.T)[0]
    new = (x + 0.5 * (rng.standard_normal((12, 40)) @ basis) @ basis.T).astype(np.float64)
    whole = score.fit(KnownRows.from_rows(x, y, 3))(new)
    small = score.fit(KnownRows.from_rows(x @ basis, y, 3, n_features=40))(new @ basis)
    np.testing.assert_allclose(small, whole, rtol=1e-4, atol=1e-4)


def test_the_default_is_the_distance_that_a_saved_classifier_measures():
    from ilk.trust.out_of_distribution import fit_gaussian

    known, _, rng = make_known()
    x = (5 * rng.standard_normal((30, 6))).astype(np.float32)
    detector = fit_gaussian(Data(known.x, known.y, ("a", "b", "c", "none")))
    np.testing.assert_allclose(SCORES[0].fit(known)(x), detector.score(x), rtol=1e-4)
