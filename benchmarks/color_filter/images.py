"""A pool of MNIST and USPS digits, a target of USPS digits: arms and the loss that they reach."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.datasets import read_mnist, read_usps
from benchmarks.small_networks import SmallNetwork, predict_proba, to_images, train_network
from ilk.core.data import Data
from ilk.core.metrics import log_loss
from ilk.subset_selection.choose_rows import choose_rows
from ilk.subset_selection.select_rows import reduce_features
from ilk.subset_selection.selectors import parse_selector
from ilk.subset_selection.selectors.color_filter import (
    ColorFilter,
    Mixture,
    compute_loss_reduction,
)
from ilk.subset_selection.selectors.selector import standardize
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.trainer import Batch, Recipe, train

COLOR, COLOR_LABELS = "ColorFilter", "ColorFilter, losses of labels"
RANDOM, CONDITIONAL, ORACLE = "random", "conditional loss alone", "oracle: target source first"
SELECTORS = ("NearestTarget", "TargetDiscriminator")
STEPS = 150
Scores = NDArray[np.float64]


def run_seed(seed: int, taus: tuple[int, ...], small: bool) -> dict[int, dict[str, float]]:
    """Return the target's test log loss by tau and arm."""
    rng = np.random.default_rng(seed)
    n_mnist, n_usps, n_guide, n_test = (300, 60, 40, 100) if small else (2400, 600, 100, 1500)
    mnist = read_mnist()
    usps, test = read_usps(), read_usps("test")
    places = rng.permutation(len(usps))
    mine = usps.take(places[: n_usps + n_guide])
    pool = mnist.take(rng.permutation(len(mnist))[:n_mnist]).concat(mine.take(np.arange(n_usps)))
    guide = mine.take(np.arange(n_usps, n_usps + n_guide))
    test = test.take(rng.permutation(len(test))[:n_test])
    steps = 20 if small else STEPS
    scores = score_pool(pool, guide, np.arange(len(pool)) >= n_mnist, seed, steps)
    losses: dict[int, dict[str, float]] = {}
    for tau in taus:
        count = len(pool) // tau
        losses[tau] = {
            arm: _train_and_measure(
                pool.take(choose_rows(s, pool.y, count, "proportional")), test, steps
            )
            for arm, s in scores.items()
        }
    return losses


def score_pool(
    pool: Data, guide: Data, is_target: NDArray[np.bool_], seed: int, steps: int
) -> dict[str, Scores]:
    """Return the score of each image of the pool, `[n]`, higher first, by arm."""
    chance = np.random.default_rng(seed).random(len(pool))
    source, target = reduce_features(pool, guide)
    assert target is not None
    x, t = standardize(source.x, target.x)
    conditional = Mixture.from_parts(x, source.y).adapt(t, ColorFilter().relevance)
    return {
        RANDOM: chance,
        CONDITIONAL: -conditional.compute_loss(x),
        **{name: parse_selector(name).score(source, target, seed) for name in SELECTORS},
        COLOR: ColorFilter().score(source, target, seed),
        COLOR_LABELS: _score_by_labels(pool, guide, seed, steps),
        ORACLE: is_target + chance,
    }


def _score_by_labels(pool: Data, guide: Data, seed: int, steps: int) -> Scores:
    """Return the fall of `-log p(y | x)` from a network of the pool to one tuned for an epoch."""
    prior = train_network(pool, steps, seed=seed)
    recipe = Recipe(max(1, len(guide) // 16), 16, 4e-3, 1, 0.01, seed=seed)
    rows = Batch(to_images(guide.x), torch.from_numpy(np.array(guide.y)))
    copied = SmallNetwork(pool.k, prior.head.in_features, prior.first.out_channels, seed)
    copied.load_state_dict(prior.state_dict())
    tuned = train(copied, rows, CrossEntropy(), recipe)
    first, second = (_compute_losses(network, pool) for network in (prior, tuned))
    return compute_loss_reduction(first, second)


def _compute_losses(network: SmallNetwork, data: Data) -> Scores:
    p = predict_proba(network, data.x)
    return np.asarray(-np.log(np.maximum(p[np.arange(len(data)), data.y], 1e-12)))


def _train_and_measure(kept: Data, test: Data, steps: int) -> float:
    """Return the log loss of a network trained on `kept`; a class without images has 0."""
    network = train_network(kept, steps, seed=0)
    p = np.full((len(test), test.k), 1e-6)
    p[:, np.unique(kept.y)] += predict_proba(network, test.x)
    return log_loss(test.y, p / p.sum(1, keepdims=True))
