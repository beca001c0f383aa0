"""Embeddings learnt on some classes by several losses, measured on others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ilk.bench._family import Claim, table
from ilk.bench._few_sets import METRIC, World, answered, collect, cut
from ilk.data import Data
from ilk.methods.nearest_mean import NearestClassMean

SEEDS, WIDTH, PASSES = 5, 64, 20
ROW = "susana-proto-triplet-icnn"
ORIGINAL, PROTOTYPICAL, TRIPLET = "features as they are", "prototypical", "ordinary triplet"
PROTO_TRIPLET, ICNN, BOTH = "Proto-Triplet", "ICNN", "Proto-Triplet + ICNN"


def embedded(world: World, small: bool) -> list[dict[str, Any]]:
    """Tasks of classes that an embedding never saw."""
    scores: dict[str, list[float]] = {}
    for seed in range(1 if small else SEEDS):
        base, new = world.parts(seed)
        for name, turned in embeddings(base, new, seed):
            tasks = list(cut(turned, world.among, world.among, (5 if small else 60, seed), shots=5))
            collect(scores, {name: answered(NearestClassMean())}, tasks)
    pairs = [(BOTH, against) for against in (PROTOTYPICAL, TRIPLET, ORIGINAL)]
    pairs += [(part, PROTOTYPICAL) for part in (PROTO_TRIPLET, ICNN)]
    where = f"{world.name}, {world.among} unseen classes, 5 shots"
    claims = [Claim(ROW, "methods/proto_triplet.py", *pair) for pair in pairs]
    return [table(where, METRIC, scores, claims)]


def embeddings(base: Data, new: Data, seed: int) -> Iterator[tuple[str, Data]]:
    """The rows of `new` in each embedding that `base` gave."""
    from ilk.training import episodic

    losses: dict[str, episodic.Loss] = {
        PROTOTYPICAL: episodic.prototypical,
        TRIPLET: episodic.triplet,
        PROTO_TRIPLET: episodic.proto_triplet,
        ICNN: episodic.icnn,
        BOTH: lambda task: episodic.proto_triplet(task) + episodic.icnn(task),
    }
    yield ORIGINAL, new
    for name, loss in losses.items():
        model = episodic.embedding(base, loss, WIDTH, PASSES, seed).model()
        yield name, replace(new, x=model.hidden(new.x).astype(np.float32))
