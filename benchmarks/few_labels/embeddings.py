"""Embeddings trained on some classes with several losses, evaluated on others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.claims import Claim, make_table
from benchmarks.few_labels.tasks import (
    METRIC,
    TaskSource,
    add_mean_accuracies,
    draw_tasks,
    make_answer,
)
from ilk.core.data import Data
from ilk.methods.nearest_mean import NearestClassMean

SEEDS, WIDTH, EPOCHS = 5, 64, 20
ENTRY = "susana-proto-triplet-icnn"
ORIGINAL, PROTOTYPICAL, TRIPLET = "raw features", "prototypical", "plain triplet"
PROTO_TRIPLET, ICNN, BOTH = "Proto-Triplet", "ICNN", "Proto-Triplet + ICNN"


def compare_embeddings(source: TaskSource, small: bool) -> list[dict[str, Any]]:
    """Compare embeddings on tasks of classes that they were not trained on."""
    scores: dict[str, list[float]] = {}
    for seed in range(1 if small else SEEDS):
        base, new = source.split_classes(seed)
        for name, embedded_new in fit_embeddings(base, new, seed):
            tasks = list(
                draw_tasks(
                    embedded_new,
                    source.n_classes,
                    source.n_classes,
                    (5 if small else 60, seed),
                    shots=5,
                )
            )
            add_mean_accuracies(scores, {name: make_answer(NearestClassMean())}, tasks)
    pairs = [(BOTH, baseline) for baseline in (PROTOTYPICAL, TRIPLET, ORIGINAL)]
    pairs += [(part, PROTOTYPICAL) for part in (PROTO_TRIPLET, ICNN)]
    setting = f"{source.name}, {source.n_classes} unseen classes, 5 shots"
    claims = [Claim(ENTRY, "methods/proto_triplet.py", *pair) for pair in pairs]
    return [make_table(setting, METRIC, scores, claims)]


def fit_embeddings(base: Data, new: Data, seed: int) -> Iterator[tuple[str, Data]]:
    """Yield the rows of `new` in each embedding trained on `base`."""
    from ilk.training.episodes import EpisodicObjective, EpisodicSum
    from ilk.training.heads import train_embedding
    from ilk.training.objectives import icnn
    from ilk.training.objectives.proto_triplet import ProtoTripletLoss
    from ilk.training.objectives.prototypical import Prototypical
    from ilk.training.objectives.triplet import Triplet

    objectives: dict[str, EpisodicObjective] = {
        PROTOTYPICAL: Prototypical(),
        TRIPLET: Triplet(),
        PROTO_TRIPLET: ProtoTripletLoss(),
        ICNN: icnn.ICNN(),
        BOTH: EpisodicSum((1.0, ProtoTripletLoss()), (1.0, icnn.ICNN())),
    }
    yield ORIGINAL, new
    for name, objective in objectives.items():
        model = train_embedding(base, objective, WIDTH, EPOCHS, seed).to_model()
        yield name, replace(new, x=model.compute_hidden(new.x).astype(np.float32))
