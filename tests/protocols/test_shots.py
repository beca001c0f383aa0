"""Few labels: what is shown, what is hidden, what is asked, and what cannot be cut."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols import episodes, few_labels, few_shot

COUNTS = (9, 30, 14, 22, 5)


def numbered(counts=COUNTS, unlabelled=6):
    """Rows that say in their one feature where they stand."""
    y = np.append(np.repeat(np.arange(len(counts)), counts), np.full(unlabelled, -1))
    y = np.random.default_rng(0).permutation(y)
    names = tuple(f"kind {c}" for c in range(len(counts)))
    hints = np.arange(len(counts), dtype=np.float32)[:, None]
    return Data(np.arange(len(y), dtype=np.float32)[:, None], y, names, class_embeddings=hints)


def test_few_shot_keeps_other_labels_out_of_training():
    data = numbered()
    step = few_shot(data, 5, seed=3)
    assert step.train.count_labels().tolist() == [5] * 5
    assert len(step.train) == 25 + 6
    assert len(step.test) == sum(COUNTS) - 25
    assert not set(step.train.x[:, 0]) & set(step.test.x[:, 0])
    np.testing.assert_array_equal(data.x[step.test_rows], step.test.x)
    np.testing.assert_array_equal(data.y[step.test_rows], step.test.y)


def test_few_labels_trains_on_every_row_and_tells_few_classes():
    data = numbered()
    step = few_labels(data, 5, seed=3)
    np.testing.assert_array_equal(step.train.x, data.x)
    assert step.train.count_labels().tolist() == [5] * 5
    told = step.train.y >= 0
    np.testing.assert_array_equal(step.train.y[told], data.y[told])
    np.testing.assert_array_equal(step.test_rows, np.flatnonzero(~told & (data.y >= 0)))
    np.testing.assert_array_equal(few_shot(data, 5, seed=3).test_rows, step.test_rows)


def test_a_seed_draws_again_what_it_drew():
    data = numbered()
    assert few_shot(data, 3, 1).test_rows.tolist() == few_shot(data, 3, 1).test_rows.tolist()
    assert few_shot(data, 3, 1).test_rows.tolist() != few_shot(data, 3, 2).test_rows.tolist()
    one, two, other = (
        [step.test_rows.tolist() for step in episodes(data, 3, 10, n_episodes=3, seed=s)]
        for s in (1, 1, 2)
    )
    assert one == two != other
    assert one[0] != one[1]


@pytest.mark.parametrize("cut", [few_shot, few_labels])
def test_fewer_rows_than_shots_are_refused_by_name(cut):
    with pytest.raises(InputError, match=r"1 classes have fewer than 7 rows \(kind 4: 5\)"):
        cut(numbered(), 7)
    with pytest.raises(InputError, match="shots is 0"):
        cut(numbered(), 0)
    with pytest.raises(InputError, match="no class has more than 4 rows"):
        cut(numbered((4, 4)), 4)
    assert cut(numbered((9, 0, 9)), 4).train.count_labels().tolist() == [4, 0, 4]


def test_an_episode_hides_its_queries_among_the_rows_and_renames_the_classes():
    data = numbered()
    for step in episodes(data, 4, 20, ways=2, n_classes=3, n_episodes=20, seed=0):
        assert step.train.k == step.test.k == 3
        assert step.train.count_labels().tolist() == [4] * 3
        hidden = step.train.take_unlabelled()
        np.testing.assert_array_equal(hidden.x, step.test.x)
        assert not set(step.train.take_labelled().x[:, 0]) & set(step.test.x[:, 0])
        names = [data.classes[c] for c in data.y[step.test_rows]]
        assert names == [step.test.classes[c] for c in step.test.y]
        assert step.train.class_embeddings[:, 0].tolist() == [
            int(n.split()[1]) for n in step.train.classes
        ]
        assert len(np.unique(step.test.y)) <= 2


def test_which_classes_turn_up_is_not_told_by_their_place():
    data = numbered((40,) * 6, 0)
    share = np.zeros(6)
    sizes = []
    for step in episodes(data, 2, 12, ways=2, n_episodes=150, seed=0):
        share += np.bincount(step.test.y, minlength=6) > 0
        sizes.append(len(step.test))
    assert set(sizes) == {12}
    assert share.sum() == pytest.approx(300, abs=6)
    np.testing.assert_allclose(share / 150, 1 / 3, atol=0.12)  # three deviations


def test_queries_do_not_stand_class_by_class():
    steps = episodes(numbered((40,) * 4, 0), 2, 30, n_episodes=10, seed=0)
    assert all(np.abs(np.diff(step.test.y)).astype(bool).sum() > 8 for step in steps)


def test_episodes_that_cannot_be_cut_say_why():
    data = numbered()
    with pytest.raises(
        InputError, match=r"4 of 5 classes have more than 5 rows \(shortest: kind 4, 5 rows\)"
    ):
        next(episodes(data, 5, n_classes=5))
    with pytest.raises(InputError, match="3 ways among 2 classes"):
        next(episodes(data, 3, ways=3, n_classes=2))
    with pytest.raises(InputError, match="0 shots and 75 queries"):
        next(episodes(data, 0))
    with pytest.raises(InputError, match="3 shots and 0 queries"):
        next(episodes(data, 3, 0))
    with pytest.raises(InputError, match="0 of 5 classes"):
        next(episodes(data.take_unlabelled(), 1, ways=1, n_classes=1))
