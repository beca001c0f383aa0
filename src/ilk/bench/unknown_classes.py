"""Classes that nobody labelled: are they found, told apart and counted?

Half of the classes of a set, drawn by the seed, lose all their labels, and the others half of
theirs. All rows are learnt from; the rows without a label are answered for, under the one pairing
of groups and classes that suits the answers best ("all", and of these the rows of "old" and of
"new" classes). The error of the number is that of all classes, known and new.

Sets: digits, pendigits and letters as they are; MNIST, Fashion-MNIST, CIFAR-10 (MobileNetV2) and
the largest Omniglot alphabet on their first 50 principal axes, for every contender alike. Up to
1,200 rows (letters 1,500), drawn by the seed. Defaults were settled with draws of the seeds 0 to 4
in sight; the five seeds here, 100 to 104, are others.

- k-means knows no class; semi-supervised k-means keeps labelled rows in theirs. Each is told the
  true number, or takes the best silhouette; the second is also told half the classes, and twice.
- The Gaussian mixture is told nothing. It begins with as many new classes as there are known, with
  half the classes in all, or with twice; and once without what it learns of how classes split
  (lambda). `trajectories` holds the number of groups after each of its steps.
- The tabular recipe is told the true number, where only its hyperparameters are asked about: those
  found by hiding known classes, its fixed ones, those under which held-out labelled rows are named
  best, and the oracle's, which are chosen on the true classes of the rows in question.

Nothing is chosen by a true class but the oracle's and the numbers that are said to be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ilk.bench import _latent_shift, _relations, _tabular_recipe
from ilk.bench._family import Claim
from ilk.bench._unknown import KMEANS, SEEDS, Scores, Tables, sets
from ilk.data import Data
from ilk.errors import Unavailable
from ilk.maths.axes import principal
from ilk.maths.clusters import grouped, matched, numbered
from ilk.maths.partition import Search
from ilk.methods.gaussian_mixture_discovery import GaussianMixtureDiscovery
from ilk.methods.semi_supervised_kmeans import SemiSupervisedKMeans
from ilk.protocols import Step, unseen_classes

MIXTURE, TWICE = "GaussianMixtureDiscovery", "SemiSupervisedKMeans, told twice"
HALF, TRUE = "SemiSupervisedKMeans, told half", "SemiSupervisedKMeans, told the number"
KMEANS_FOUND = "k-means, by silhouette"
PLOTTED = ("digits", "MNIST")

PARTS: tuple[Callable[[bool], Tables], ...] = (
    _tabular_recipe.tables,
    _relations.tables,
    _latent_shift.tables,
)
"""Further tables of the family, each made by a function of `small`."""


def run(small: bool = False) -> dict[str, Any]:
    """All tables; `small` ends in seconds and takes digits only."""
    made: Tables = []
    left_out: list[str] = []
    trajectories: dict[str, Any] = {}
    for name, drawn in sets(small).items():
        try:
            tables, trajectories[name] = clustering(name, drawn, SEEDS[:2] if small else SEEDS)
            made += tables
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
    for part in PARTS:
        try:
            made += part(small)
        except Unavailable as error:
            left_out.append(str(error))
    plots = [plot(name, trajectories[name]) for name in PLOTTED if name in trajectories]
    told = {"tables": made, "trajectories": trajectories, "left out": left_out}
    return {**told, "plots": plots}


def plot(where: str, paths: list[dict[str, Any]]) -> dict[str, Any]:
    """The number of groups on the way, by where the search begins, mean over seeds."""
    longest = max(len(p["path"]) for p in paths)
    series = {}
    for name in dict.fromkeys(p["method"] for p in paths):
        runs = [p["path"] for p in paths if p["method"] == name]
        even = np.array([run + run[-1:] * (longest - len(run)) for run in runs])
        series[name] = [[i, float(mean)] for i, mean in enumerate(even.mean(0))]
    return {
        "file": f"unknown-{where.lower()}.svg",
        "kind": "lines",
        "title": f"{where}: the number of classes from three starts",
        "x": "step (a split, a merge, in turn)",
        "y": "classes",
        "series": series,
        "levels": {"true": paths[0]["true"]},
    }


def clustering(
    where: str, drawn: Callable[[int], Data], seeds: range
) -> tuple[Tables, list[dict[str, Any]]]:
    """k-means, semi-supervised k-means and the mixture on one set, and the mixture's steps."""
    scores, paths = Scores(), []
    for seed in seeds:
        data = drawn(seed)
        step = unseen_classes(data, data.k // 2, seed=seed)
        _means(step, scores, seed)
        paths += _mixtures(step, scores, seed)
    rivals = (TWICE, HALF, TRUE, KMEANS_FOUND)
    claims = [_claim(rival) for rival in rivals]
    others = ("SemiSupervisedKMeans", KMEANS_FOUND, f"{MIXTURE}, without lambda")
    counted = [_claim(rival) for rival in others]
    return scores.tables(where, claims, counted), paths


def _claim(against: str) -> Claim:
    file = "methods/gaussian_mixture_discovery.py"
    return Claim("gpc-semi-sup-gmm-gcd", file, MIXTURE, against)


def _means(step: Step, scores: Scores, seed: int) -> None:
    train, free = step.train, step.train.y < 0
    total, bare = step.test.k, np.full(len(train), -1)
    looked = numbered(train.x, bare, most=2 * total, seed=seed)
    for name, groups, off in (
        (KMEANS, total, None),
        (KMEANS_FOUND, looked, looked - total),
    ):
        answer = grouped(train.x, bare, groups, seed=seed).answer[free]
        scores.add(name, matched(step.test.y, answer, train.k), off)
    told = {HALF: total // 2 - train.k, TRUE: total - train.k, TWICE: 2 * total - train.k}
    for name, new in told.items():
        _fitted(SemiSupervisedKMeans(max(0, new), seed=seed), name, step, scores)
    _fitted(SemiSupervisedKMeans(seed=seed), "SemiSupervisedKMeans", step, scores, look=True)


def _fitted(method: Any, name: str, step: Step, scores: Scores, look: bool = False) -> Any:
    """The model of a method, its accuracy added; with `look` the error of its number, too."""
    model = method.fit(step.train)
    logits = model.logits(step.test.x)
    off = logits.shape[1] - step.test.k if look else None
    scores.add(name, matched(step.test.y, logits.argmax(1), step.train.k), off)
    return model


def _mixtures(step: Step, scores: Scores, seed: int) -> list[dict[str, Any]]:
    """Where the search begins, and what it is without lambda; the number of groups on the way."""
    k, total, paths = step.train.k, step.test.k, []
    for name, start in (
        (MIXTURE, None),
        (f"{MIXTURE}, from half", max(0, total // 2 - k)),
        (f"{MIXTURE}, from twice", 2 * total - k),
    ):
        method = GaussianMixtureDiscovery(start=start, seed=seed)
        model = _fitted(method, name, step, scores, look=True)
        paths.append({"seed": seed, "method": name, "true": total, "path": model.path.tolist()})
    z = principal(step.train.x).scores[:, : GaussianMixtureDiscovery().axes]
    search = replace(Search.of(np.asarray(z, np.float64), step.train.y, k, seed), power=1.0)
    answer = search.best(k)[0]
    reached = matched(step.test.y, answer[step.train.y < 0], k)
    scores.add(f"{MIXTURE}, without lambda", reached, int(answer.max()) + 1 - total)
    return paths
