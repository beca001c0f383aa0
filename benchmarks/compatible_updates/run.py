"""Can a new version of an embedding query the index of an old one without encoding it again?

Four versions are trained on more and more classes (2, 4, 6, 8 of the ten of MNIST with small
convolutional networks on pixels, and of CIFAR-10 with two layers on MobileNetV2 features; 30, 60,
90, 120 characters of Omniglot on pixels). C_ij is the mean average precision at R of version i's
queries in version j's gallery, the image itself left out, over test images of all classes of MNIST
and CIFAR-10, and over 50 characters of other alphabets for Omniglot. Rivals: learned classifier
weights in fresh networks ("independent"); these with queries rotated to the old gallery by
orthogonal Procrustes on the training images (free: no retraining); learned weights that go on from
the previous version, also with the contrastive term to its embeddings (HOC); the
backward-compatible loss (embeddings also classified by the old weights, which are fixed); and the
fixed d-simplex with and without HOC, in fresh networks and going on. HOC has the paper's weight,
0.9. All have one recipe (unit embeddings of 128 values, scale 4, 100 updates), of which the scale
(4 or 16) was tried on seed 100. Five seeds (0 to 4), paired: weights, batches, images and the order
of classes.

Tables: the mean over the pairs i > j of C_ij ("new query, old index"); of C_ij - C_jj, which is
positive where the update pays without a new index; the share of pairs with C_ij >= C_jj; and C_44,
what the last version reaches alone. "No update" and "index encoded again" bound the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import nn

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.compatible_updates.draws import draw_cifar, draw_digits, draw_mnist, draw_omniglot
from benchmarks.compatible_updates.versions import (
    FeatureEmbedding,
    ImageEmbedding,
    Rival,
    Version,
    train_version,
    train_versions,
)
from ilk.core.data import Data, Features
from ilk.core.errors import Unavailable
from ilk.maths.compatibility import Matrix, fit_rotation, measure_compatibility, measure_retrieval
from ilk.maths.retrieval import mean_known

SEEDS, STEPS = range(5), 100
ENTRY, FILE = "stationary-dsimplex-compat", "training/objectives/d_simplex.py"
INDEPENDENT, ROTATED = "independent", "independent, rotated queries"
CONTINUED, BACKWARD = "learned, going on", "backward-compatible loss"
SIMPLEX, SIMPLEX_ON = "d-simplex", "d-simplex, going on"
OURS, OURS_ON = "d-simplex and HOC", "d-simplex and HOC, going on"
LEARNED_ON = "learned and HOC, going on"
RIVALS = {
    INDEPENDENT: Rival(),
    CONTINUED: Rival(start="previous"),
    BACKWARD: Rival(uses_old_head=True),
    LEARNED_ON: Rival(start="previous", class_weight=0.1),
    SIMPLEX: Rival("simplex"),
    SIMPLEX_ON: Rival("simplex", "previous"),
    OURS: Rival("simplex", class_weight=0.1),
    OURS_ON: Rival("simplex", "previous", class_weight=0.1),
}
OLD, NEW = "no update", "index encoded again"
GAIN, SHARE = "mean of C_ij - C_jj", "share of pairs with C_ij >= C_jj"
CROSS, ALONE = "mean of C_ij", "C of the last version alone"


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of compatibility and the mean matrices; `small` has few digits."""
    tables: list[dict[str, Any]] = []
    left_out: list[str] = []
    matrices: dict[str, dict[str, list[list[float]]]] = {}
    for name, (draw, make_network) in (SMALL if small else SETS).items():
        try:
            results = [
                measure_seed(draw, make_network, seed, 20 if small else STEPS)
                for seed in (range(2) if small else SEEDS)
            ]
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        matrices[name] = {
            arm: [
                [round(float(value), 4) for value in row]
                for row in np.mean([r[arm] for r in results], axis=0)
            ]
            for arm in results[0]
        }
        tables += tabulate(
            name, [{arm: summarize_matrix(c) for arm, c in r.items()} for r in results]
        )
    return {
        "tables": tables,
        "matrices": matrices,
        "verdict": describe_claims(tables, ("setting", "metric")),
        "left out": left_out,
    }


def tabulate(name: str, results: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Return the tables of one data set."""
    tables = []
    arms = list(results[0])
    for metric in (CROSS, GAIN, SHARE, ALONE):
        scores = {arm: [r[arm][metric] for r in results] for arm in arms}
        if metric == CROSS:
            for bound in (OLD, NEW):
                for arm in (INDEPENDENT, CONTINUED, OURS, OURS_ON):
                    scores[f"{arm}: {bound}"] = [r[arm][bound] for r in results]
        claims: list[Claim] = []
        for ours, start in ((OURS, "fresh"), (OURS_ON, "previous")):
            rivals = [r for r in arms if r not in (OURS, OURS_ON) and start_of(r) == start]
            rivals += [ROTATED] if ours == OURS_ON else []
            claims += [Claim(ENTRY, FILE, ours, arm) for arm in rivals]
            if metric == CROSS:
                claims.append(Claim(ENTRY, FILE, ours, f"{ours}: {OLD}"))
        if metric == CROSS:
            claims.append(Claim(ENTRY, FILE, SIMPLEX, INDEPENDENT))
        tables.append(make_table(name, metric, scores, claims))
    return tables


def start_of(arm: str) -> str:
    """Return where the versions of an arm start: "fresh" or "previous"."""
    return RIVALS[INDEPENDENT if arm == ROTATED else arm].start


def summarize_matrix(c: Matrix) -> dict[str, float]:
    """Return the figures of a compatibility matrix `[v, v]`."""
    new, old = np.tril_indices(len(c), -1)
    gain = c[new, old] - c[old, old]
    return {
        CROSS: float(c[new, old].mean()),
        GAIN: float(gain.mean()),
        SHARE: float((gain >= 0).mean()),
        ALONE: float(c[-1, -1]),
        OLD: float(c[old, old].mean()),
        NEW: float(c[new, new].mean()),
    }


Draw = Callable[[int], tuple[list[Data], Data]]


def measure_seed(
    draw: Draw, make_network: type[nn.Module], seed: int, steps: int
) -> dict[str, Matrix]:
    """Return the compatibility matrix of every rival for one seed."""
    parts, test = draw(seed)
    first = {
        head: train_version(Rival(head), parts[0], make_network, steps, seed, None)
        for head in ("learned", "simplex")
    }
    out = {}
    for arm, rival in RIVALS.items():
        versions = train_versions(rival, parts, make_network, steps, seed, first[rival.head])
        out[arm] = measure_compatibility([v.embed(test.x) for v in versions], test.y)
        if arm == INDEPENDENT:
            out[ROTATED] = measure_rotated(versions, parts, test, out[arm])
    return out


def measure_rotated(
    versions: list[Version], parts: list[Data], test: Data, plain: Matrix
) -> Matrix:
    """Return the matrix with queries rotated to the gallery on its version's training images."""
    c = plain.copy()
    for i, new in enumerate(versions):
        for j, old in enumerate(versions):
            if i != j:
                rotation = fit_rotation(new.embed(parts[j].x), old.embed(parts[j].x))
                query: Features = (new.embed(test.x) @ rotation).astype(np.float32)
                c[i, j] = mean_known(measure_retrieval(query, old.embed(test.x), test.y))
    return c


SETS: dict[str, tuple[Draw, type[nn.Module]]] = {
    "MNIST": (draw_mnist, ImageEmbedding),
    "CIFAR-10 features": (draw_cifar, FeatureEmbedding),
    "Omniglot": (draw_omniglot, ImageEmbedding),
}
SMALL: dict[str, tuple[Draw, type[nn.Module]]] = {"digits": (draw_digits, FeatureEmbedding)}
