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
from ilk.core.residual_mlp import ResidualMLP
from ilk.methods.nearest_mean import NearestClassMean
from ilk.methods.proto_triplet import ProtoTriplet

SEEDS = range(200, 205)
ENTRY = "susana-proto-triplet-icnn"
ORIGINAL, PROTOTYPICAL, TRIPLET = "features as they are", "prototypical", "plain triplet"
BOTH = "ProtoTriplet"  # Proto-Triplet + ICNN, the defaults of the method


def compare_embeddings(source: TaskSource, small: bool) -> list[dict[str, Any]]:
    """Compare embeddings on tasks of classes that they were not trained on."""
    scores: dict[str, list[float]] = {}
    for seed in SEEDS[:1] if small else SEEDS:
        base, new = source.split_classes(seed)
        for name, embedded_new in fit_embeddings(base, new, seed):
            tasks = list(
                draw_tasks(
                    embedded_new,
                    source.n_classes,
                    source.n_classes,
                    (5 if small else 40, seed),
                    shots=5,
                )
            )
            add_mean_accuracies(scores, {name: make_answer(NearestClassMean())}, tasks)
    claims = [
        Claim(ENTRY, "methods/proto_triplet.py", BOTH, baseline)
        for baseline in (ORIGINAL, PROTOTYPICAL, TRIPLET)
    ]
    setting = f"{source.name}, {source.n_classes} unseen classes, 5 shots"
    return [make_table(setting, METRIC, scores, claims)]


def fit_embeddings(base: Data, new: Data, seed: int) -> Iterator[tuple[str, Data]]:
    """Yield the rows of `new` in each embedding trained on `base`."""
    yield ORIGINAL, new
    models = {
        PROTOTYPICAL: ProtoTriplet(triplet=0.0, icnn=0.0, prototypical=1.0, seed=seed).fit(base),
        TRIPLET: _fit_triplet(base, seed),
        BOTH: ProtoTriplet(seed=seed).fit(base),
    }
    for name, model in models.items():
        yield name, replace(new, x=model.compute_hidden(new.x).astype(np.float32))


def _fit_triplet(base: Data, seed: int) -> ResidualMLP:
    """Return the embedding of the plain triplet loss, made as `ProtoTriplet` makes its own."""
    from ilk.training.embeddings import select_strength, train_embedding
    from ilk.training.objectives.triplet import Triplet

    method = ProtoTriplet()
    settings = (base, Triplet(), method.hidden, method.epochs, seed)
    return replace(train_embedding(*settings).to_model(), strength=select_strength(*settings))
