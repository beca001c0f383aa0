"""Does a leave-one-out nearest-neighbour loss keep the classes inside its classes?

A small network is trained on superclasses (odd and even digits; animals and vehicles of CIFAR-10)
and never sees the ten classes inside them. Afterwards linear probes and nearest neighbours on its
embedding tell the superclasses, and the ten hidden classes, of test images. LOOK with several
numbers of neighbours stands beside cross-entropy, cross-entropy stopped early, the supervised
contrastive loss, a self-supervised loss and a network without training; its number of neighbours is
chosen by the accuracy for superclasses of held-out rows alone. The effective rank within
superclasses shows collapse.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.claims import Claim, make_table
from benchmarks.leave_one_out_knn.rivals import LinearCrossEntropy, TwoViews
from benchmarks.leave_one_out_knn.sets import SETS, SHAPES, FineRows, read_rows
from benchmarks.retrieval_sets import collect_scores
from ilk.architectures.convolutional_embedding import ConvolutionalEmbedding
from ilk.core.data import Data, Labels
from ilk.methods.logistic_regression import LogisticRegression
from ilk.metric_learning.training import embed_rows
from ilk.training.batch import Batch
from ilk.training.objective import Objective
from ilk.training.objectives.leave_one_out_knn import LeaveOneOutKnn
from ilk.training.objectives.sup_con import SupCon
from ilk.training.optimizers import AdamW
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

SEEDS = 5
STEPS, EARLY_STEPS, BATCH_SIZE, LR = 200, 50, 64, 3e-3
NEIGHBOURS = (10, 50, 200, 2048)
MEMORY = 2048
FILTERS, WIDTH = (16, 32, 32), 64
NEAREST = 10  # neighbours of the nearest-neighbour classifier
NAMES = {
    "mnist": "MNIST trained on odd and even",
    "cifar10": "CIFAR-10 trained on animals and vehicles",
}
LOOK, CROSS_ENTROPY, EARLY, CONTRASTIVE = (
    "LOOK, k chosen on superclasses",
    "cross-entropy",
    "cross-entropy, stopped early",
    "SupCon",
)
SELF_SUPERVISED, UNTRAINED = "self-supervised (two views)", "no training"
CLAIM = Claim(
    "look-leave-one-out-knn", "training/objectives/leave_one_out_knn.py", LOOK, CROSS_ENTROPY
)
CLAIMS = (CLAIM, replace(CLAIM, baseline=CONTRASTIVE), replace(CLAIM, baseline=EARLY))
METRICS = (
    "hidden classes, linear probe",
    "hidden classes, nearest neighbours",
    "superclasses, linear probe",
    "superclasses, nearest neighbours",
)
RANK = "effective rank within superclasses"


def run(small: bool = False) -> dict[str, Any]:
    """Run the benchmark; `small` takes seconds."""
    seeds = range(2 if small else SEEDS)
    tables, chosen = [], {}
    for name in SETS[: 1 if small else None]:
        runs = [_run_seed(name, seed, small) for seed in seeds]
        for metric in (*METRICS, RANK):
            claims = CLAIMS if metric != RANK else ()
            tables.append(make_table(NAMES[name], metric, collect_scores(runs, metric), claims))
        chosen[name] = [run[LOOK]["k"] for run in runs]
    return {"tables": tables, "chosen_k": chosen, "seeds": len(seeds)}


def _run_seed(name: str, seed: int, small: bool) -> dict[str, dict[str, float]]:
    """Return the scores of every arm by name."""
    parts = read_rows(name, seed, small=small)
    shape, steps = SHAPES[name], 4 if small else STEPS
    arms: dict[str, tuple[Objective | None, int]] = {
        UNTRAINED: (None, 0),
        CROSS_ENTROPY: (LinearCrossEntropy(), steps),
        EARLY: (LinearCrossEntropy(), 2 if small else EARLY_STEPS),
        CONTRASTIVE: (SupCon(), steps),
        SELF_SUPERVISED: (TwoViews(shape), steps),
    }
    for k in NEIGHBOURS[1:2] if small else NEIGHBOURS:
        arms[_name_look(k)] = (LeaveOneOutKnn(k, memory_size=MEMORY), steps)
    results, best = {}, (-1.0, 0)
    for arm, (objective, n_steps) in arms.items():
        start = ConvolutionalEmbedding(shape[0], shape[1:], WIDTH, FILTERS, seed).eval()
        network: nn.Module = start
        if objective is not None:
            network = _train(start, parts["train"], objective, n_steps, seed)
        embedded = {p: replace_rows(rows, embed_rows(network, rows.x)) for p, rows in parts.items()}
        results[arm] = score(embedded["train"], embedded["test"])
        if isinstance(objective, LeaveOneOutKnn):
            train_rows, held_out = embedded["train"], embedded["validation"]
            accuracy = _score_neighbours(train_rows, held_out, "coarse")
            best = max(best, (accuracy, -objective.k))  # of equal ones the fewest neighbours
    results[LOOK] = {**results[_name_look(-best[1])], "k": -best[1]}
    return results


def _name_look(k: int) -> str:
    return f"LOOK, k = {'all' if k >= MEMORY else k}"


def _train(
    network: ConvolutionalEmbedding, rows: FineRows, objective: Objective, steps: int, seed: int
) -> nn.Module:
    torch.manual_seed(seed)
    batch = Batch(torch.from_numpy(rows.x), torch.from_numpy(rows.coarse))
    recipe = Recipe(steps, BATCH_SIZE, LR, min(20, steps // 2), 1e-4, seed=seed, optimizer=AdamW())
    return train(network, batch, objective, recipe)


def replace_rows(rows: FineRows, x: NDArray[np.float32]) -> FineRows:
    """Return rows with embeddings in the place of pixels, at one overall scale."""
    centred = x - x.mean(0)
    return replace(rows, x=(x / max(float(np.sqrt((centred**2).mean())), 1e-6)).astype(np.float32))


def score(train_rows: FineRows, test_rows: FineRows) -> dict[str, float]:
    """Return the accuracy of linear probes and nearest neighbours, and the effective rank."""
    return {
        METRICS[0]: _score_probe(train_rows, test_rows, "fine"),
        METRICS[1]: _score_neighbours(train_rows, test_rows, "fine"),
        METRICS[2]: _score_probe(train_rows, test_rows, "coarse"),
        METRICS[3]: _score_neighbours(train_rows, test_rows, "coarse"),
        RANK: measure_rank(test_rows.x, test_rows.coarse),
    }


def _score_probe(train_rows: FineRows, test_rows: FineRows, labels: str) -> float:
    y, truth = getattr(train_rows, labels), getattr(test_rows, labels)
    names = tuple(map(str, range(int(y.max()) + 1)))
    model = LogisticRegression(C=1.0).fit(Data(train_rows.x, y, names))
    return float(np.mean(model.logits(test_rows.x).argmax(1) == truth))


def _score_neighbours(train_rows: FineRows, test_rows: FineRows, labels: str) -> float:
    y, truth = getattr(train_rows, labels), getattr(test_rows, labels)
    keys, queries = (
        rows.x / np.maximum(np.linalg.norm(rows.x, axis=1, keepdims=True), 1e-9)
        for rows in (train_rows, test_rows)
    )
    nearest = np.argsort(-(queries @ keys.T), axis=1, kind="stable")[:, :NEAREST]
    votes = np.eye(int(y.max()) + 1)[y[nearest]].sum(1)
    return float(np.mean(votes.argmax(1) == truth))


def measure_rank(x: NDArray[np.float32], coarse: Labels) -> float:
    """Return the effective rank of the rows about their superclass means, in [1, d].

    The exponential of the entropy of the eigenvalues of their covariance (Olivier Roy, Martin
    Vetterli, 2007, The Effective Rank: A Measure of Effective Dimensionality).
    """
    centred = np.concatenate([x[coarse == c] - x[coarse == c].mean(0) for c in np.unique(coarse)])
    values = np.linalg.svd(centred.astype(np.float64), compute_uv=False) ** 2
    p = values[values > 0] / max(float(values.sum()), 1e-30)
    return float(np.exp(-np.sum(p * np.log(p)))) if len(p) else 1.0
