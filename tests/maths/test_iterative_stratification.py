"""Folds balance every label, keep groups together, and spread rare labels."""

import numpy as np
import pytest

from ilk.core.errors import InputError
from ilk.maths.iterative_stratification import iterative_stratification


def draw_targets(n=400, seed=0):
    return np.random.default_rng(seed).random((n, 6)) < [0.5, 0.3, 0.2, 0.1, 0.05, 0.02]


@pytest.mark.parametrize("seed", range(3))
def test_every_label_is_spread_as_evenly_as_rows(seed):
    targets = draw_targets(seed=seed)
    fold = iterative_stratification(targets, 5, seed)
    counts = np.array([targets[fold == f].sum(0) for f in range(5)])
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 2
    rare = targets.sum(0) < 60
    assert (np.ptp(counts[:, rare], axis=0) <= 1).all()
    assert (np.ptp(counts, axis=0) <= 4).all()


def test_it_balances_rare_labels_better_than_chance():
    targets = draw_targets()
    ours = iterative_stratification(targets, 5)
    rng = np.random.default_rng(0)

    def spread(fold):
        counts = np.array([targets[fold == f].sum(0) for f in range(5)])
        return float((counts.std(0) / counts.mean(0)).mean())

    chance = [spread(rng.permutation(np.arange(400) % 5)) for _ in range(20)]
    assert spread(ours) < 0.5 * min(chance)


def test_a_label_with_two_images_is_tested_in_two_folds():
    targets = np.zeros((50, 3), bool)
    targets[[4, 17], 0] = targets[[4, 30], 1] = targets[[17, 30], 2] = True
    for seed in range(10):
        fold = iterative_stratification(targets, 5, seed)
        assert all(len(set(fold[targets[:, c]])) == 2 for c in range(3))


def test_groups_stay_together_and_labels_stay_balanced():
    targets, group = draw_targets(), np.arange(400) // 4
    group[:40] = -1  # each on its own
    fold = iterative_stratification(targets, 5, 0, group)
    assert all(len(set(fold[group == g])) == 1 for g in range(10, 100))
    counts = np.array([targets[fold == f].sum(0) for f in range(5)])
    assert (counts > 0).all()
    assert (np.ptp(counts[:, :3], axis=0) <= 0.3 * counts[:, :3].mean(0)).all()


def test_folds_depend_on_the_seed_alone():
    targets = draw_targets()
    a, b, c = (iterative_stratification(targets, 5, seed) for seed in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()


def test_too_few_folds_or_groups_are_refused():
    with pytest.raises(InputError, match="at least 2 folds"):
        iterative_stratification(draw_targets(), 1)
    with pytest.raises(InputError, match="there are 1 groups"):
        iterative_stratification(draw_targets(10), 5, 0, np.zeros(10, np.int64))
