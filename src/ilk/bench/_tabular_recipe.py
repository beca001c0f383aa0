"""The tabular recipe: how its hyperparameters are found, and what its latent space tells.

Part of `ilk bench unknown_classes`, whose docstring tells the question.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

from ilk.bench._family import Claim
from ilk.bench._unknown import KMEANS, SEEDS, Scores, Tables, sets
from ilk.data import Labels
from ilk.maths.clusters import Matrix, grouped, matched, numbered, squares
from ilk.maths.folds import stratified
from ilk.methods.practical_discovery import LATENT, PLAIN, WEIGHT, PracticalDiscovery
from ilk.protocols import Step, unseen_classes

TUNED, FIXED = "PracticalDiscovery, hidden classes", "PracticalDiscovery, fixed"
NAMING, ORACLE = "PracticalDiscovery, by naming", "PracticalDiscovery, oracle"
KNOWN, RAW = "k-means beside known classes, told the number", "raw features"


def tables(small: bool) -> Tables:
    """Accuracy and number, on digits and pendigits."""
    made: Tables = []
    for where, drawn in sets(small).items():
        if where in ("digits", "pendigits"):
            scores = Scores()
            for seed in SEEDS[:2] if small else SEEDS:
                step = unseen_classes(data := drawn(seed), data.k // 2, seed=seed)
                _recipes(step, scores, seed, 10 if small else PracticalDiscovery().steps)
            rivals = (FIXED, NAMING, ORACLE, KMEANS, KNOWN)
            claims = [_claim(TUNED, rival) for rival in rivals]
            counted = [_claim("PracticalDiscovery", RAW)]
            made += scores.tables(f"{where}, the tabular recipe", claims, counted)
    return made


def _claim(method: str, against: str) -> Claim:
    return Claim("tabular-ncd", "methods/practical_discovery.py", method, against)


def _recipes(step: Step, scores: Scores, seed: int, steps: int) -> None:
    train, total = step.train, step.test.k
    x, y, free = _standard(step.train.x), train.y, train.y < 0
    method = PracticalDiscovery(steps=steps, seed=seed)
    latents = {trial: _latent(method, x, y, trial) for trial in product(LATENT, WEIGHT)}
    reached = {
        trial: matched(step.test.y, _beside(z, y, total - train.k, seed)[free], train.k)
        for trial, z in latents.items()
    }
    found = method.chosen(x, y)
    scores.add(TUNED, reached[found])
    scores.add(FIXED, reached[PLAIN])
    scores.add(NAMING, reached[max(reached, key=_naming(method, x, y))])
    scores.add(ORACLE, max(reached.values(), key=lambda m: m.every))
    answer = grouped(train.x, np.full(len(train), -1), total, seed=seed).answer
    scores.add(KMEANS, matched(step.test.y, answer[free], train.k))
    scores.add(KNOWN, matched(step.test.y, _beside(x, y, total - train.k, seed)[free], train.k))
    for name, rows in (("PracticalDiscovery", latents[found]), (RAW, x)):
        new = numbered(rows, y, fixed=True, seed=seed)
        scores.off.setdefault(name, []).append(abs(new + train.k - total))


def _beside(x: Matrix, y: Labels, new: int, seed: int) -> Labels:
    """Groups by k-means beside fixed means of known classes, `[n]`."""
    return grouped(x, y, new, fixed=True, seed=seed).answer


def _latent(method: PracticalDiscovery, x: Matrix, y: Labels, trial: tuple[int, float]) -> Matrix:
    inner, threshold, outer = method.encoder(x, y, trial)
    return np.asarray(np.maximum(x @ inner.T + threshold, 0) @ outer.T)


def _standard(x: Matrix) -> Matrix:
    spread = x.std(0, dtype=np.float64)
    spread = np.where(spread > 1e-6 * spread.max(), spread, 1.0)
    return np.asarray((x - x.mean(0, dtype=np.float64)) / spread, np.float32)


def _naming(
    method: PracticalDiscovery, x: Matrix, y: Labels
) -> Callable[[tuple[int, float]], float]:
    """How well labelled rows are named whose label was hidden, by latent width and weight."""
    told = np.flatnonzero(y >= 0)
    held = told[stratified(y[told], 3, method.seed) == 0]
    shown = y.copy()
    shown[held] = -1

    def right(trial: tuple[int, float]) -> float:
        z = _latent(method, x, shown, trial)
        means = grouped(z, shown, 0, fixed=True).centres
        return float(np.mean(squares(z[held], means).argmin(1) == y[held]))

    return right
