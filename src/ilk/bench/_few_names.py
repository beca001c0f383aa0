"""No label at all, but names and rows in plenty: does EM help what an encoder of text answers?

Part of `ilk bench few_labels`, whose docstring tells the question.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ilk.bench import _sentences, _sets
from ilk.bench._family import Claim, table
from ilk.bench._few_sets import METRIC
from ilk.data import UNKNOWN, Data
from ilk.methods.em_dirichlet import EMDirichlet
from ilk.methods.gda_clip_unlabelled import ZeroShotEM
from ilk.methods.zero_shot import ZeroShot
from ilk.models import Method

SEEDS, TASKS, QUERIES, ROWS = range(100, 105), 40, 75, 3000
WAYS = (2, 10)  # classes that turn up, of ten
NAMES, GAUSSIAN = "names alone", "ZeroShotEM"
SOFT, HARD, TOLD = "EMDirichlet", "EMDirichlet, hard", "EMDirichlet, told K / K_eff"


def named() -> list[dict[str, Any]]:
    """Accuracy on MNIST, and on USPS that the small model of images and names never saw."""
    learn = _sets.mnist()
    worlds = {"MNIST": _sets.mnist("test"), "USPS": _sets.usps("test")}
    scores: dict[tuple[str, int], dict[str, list[float]]] = {}
    for seed in SEEDS:
        pair = _sentences.trained(learn, seed)
        rng = np.random.default_rng(seed)
        for world, data in worlds.items():
            rows = rng.permutation(len(data))[:ROWS]
            seen = Data(pair.images(data.x[rows]), data.y[rows], data.classes, hints=pair.names())
            for ways in WAYS:
                held = scores.setdefault((world, ways), {})
                for name, right in answered(seen, ways, rng).items():
                    held.setdefault(name, []).append(right)
    claims = [
        Claim("unem", "methods/em_dirichlet.py", one, other)
        for one in (SOFT, HARD, TOLD)
        for other in (NAMES, GAUSSIAN)
    ]
    return [
        table(f"{world} by names alone, queries of {ways} of 10 classes", METRIC, held, claims)
        for (world, ways), held in scores.items()
    ]


def answered(data: Data, ways: int, rng: np.random.Generator) -> dict[str, float]:
    """Mean accuracy over tasks of rows of so many classes, none with a label."""
    methods: dict[str, Method] = {
        NAMES: ZeroShot(),
        GAUSSIAN: ZeroShotEM(),
        SOFT: EMDirichlet(text=True),
        HARD: EMDirichlet(text=True, hard=True),
        TOLD: EMDirichlet(text=True, balance=data.k / ways),
    }
    right: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(TASKS):
        here = np.flatnonzero(np.isin(data.y, rng.permutation(data.k)[:ways]))
        at = rng.choice(here, QUERIES, replace=False)
        bare = Data(data.x[at], np.full(QUERIES, UNKNOWN), data.classes, hints=data.hints)
        for name, method in methods.items():
            told = method.fit(bare).logits(bare.x).argmax(1)
            right[name].append(float(np.mean(told == data.y[at])))
    return {name: float(np.mean(values)) for name, values in right.items()}
