"""Classification by parts, with rows weighted where the parts are used against an expert's graph.

Natalia Díaz-Rodríguez and others, 2022, EXplainable Neural-Symbolic Learning (X-NeSyL) methodology
to fuse deep learning representations with expert knowledge graphs: the MonuMAI cultural heritage
use case, arXiv 2104.11914. A network finds parts, a small multilayer perceptron names the class
from their scores, and in rounds

    1. train the part network for a while on weighted rows
    2. fit a fresh perceptron on the part scores of the training rows
    3. Shapley values of its probabilities say which part speaks for the label against the graph;
       rows with the worst misattribution get more weight in the next round

No gradient flows through the Shapley values: it is a weighting of rows. Departures: the part
network answers whether a part is present, where the paper's detector also says where; Shapley
values are exact, not sampled; weights have mean 1.

    model = fit_part_model(network, images, parts, y, graph, Rounds(n_rounds=3, steps=100))
    model.explain(images)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.data import Data, Features, Labels
from ilk.core.errors import InputError
from ilk.core.linear_models import MLP
from ilk.core.metrics import softmax
from ilk.maths.part_graph import (
    Values,
    check_graph,
    compute_alignment,
    compute_weights,
    measure_graph_distance,
)
from ilk.maths.shapley import compute_shapley_values
from ilk.training.batch import Batch
from ilk.training.heads import Head, cross_entropy, fit_head
from ilk.training.trainer import Recipe, train

Weighting = Callable[[Values, Values, Labels], Values]
"""Alignment `[n, p]`, probabilities `[n, k]` and labels `[n]` -> weights `[n]`, mean 1."""

BATCH_ROWS = 256  # images scored at a time
N_BACKGROUND = 3  # training rows that absent parts are taken from
PRESENT = 0.5  # probability from which a part counts as present


@dataclass(frozen=True)
class Rounds:
    """How long and how a part model is trained.

    Attributes:
        n_rounds: Rounds, >= 1; the weights act from the second on.
        steps: Updates of the part network per round, >= 1.
        batch_size: Images per update.
        lr: Highest learning rate of each round.
        hidden: Hidden units of the perceptron.
        head_steps: Updates of each perceptron.
        seed: Seed of everything random.
    """

    n_rounds: int = 3
    steps: int = 100
    batch_size: int = 64
    lr: float = 4e-3
    hidden: int = 11
    head_steps: int = 300
    seed: int = 0


@dataclass(frozen=True, eq=False)
class PartModel:
    """A part network and a perceptron on its scores.

    Attributes:
        network: Images -> logits `[n, p]` of the presence of each part.
        head: Part probabilities `[n, p]` -> class logits.
        background: Part probabilities of some training rows, `[b, p]`.
        graph: 1 where a part belongs to a class, else -1, `[p, k]`.
        weights: Weights of the training rows in the last round, `[n]`.
    """

    network: nn.Module
    head: MLP
    background: Features
    graph: NDArray[np.int64]
    weights: Values

    def score_parts(self, images: Tensor) -> Features:
        """Return the probability that each part is present, `[n, p]`."""
        return score_parts(self.network, images)

    def predict_proba(self, images: Tensor) -> NDArray[np.float64]:
        """Return the probabilities of the classes, `[n, k]`."""
        return self.classify_parts(self.score_parts(images))

    def classify_parts(self, scores: Features) -> NDArray[np.float64]:
        """Return the probabilities of the classes for part probabilities `[n, p]`, `[n, k]`."""
        return np.asarray(softmax(self.head.logits(scores), axis=1))

    def explain(self, images: Tensor) -> Values:
        """Return the exact Shapley values of the class probabilities, `[n, p, k]`."""
        return self.explain_parts(self.score_parts(images))

    def explain_parts(self, scores: Features) -> Values:
        """Return the Shapley values for part probabilities `[n, p]`, `[n, p, k]`."""
        return compute_shapley_values(self.classify_parts, scores, self.background)

    def measure_graph_distance(self, images: Tensor) -> float:
        """Return in how many edges explanations of images `[n, c, h, w]` and the graph differ."""
        scores = self.score_parts(images)
        return measure_graph_distance(self.explain_parts(scores), scores > PRESENT, self.graph)

    def describe(self, image: Tensor, parts: Sequence[str], classes: Sequence[str]) -> str:
        """Return in words which parts of an image `[c, h, w]` speak for and against its class."""
        scores = self.score_parts(image[None])
        p = self.classify_parts(scores)[0]
        c = int(p.argmax())
        values = self.explain_parts(scores)[0, :, c]
        sentences = []
        for j in np.argsort(-np.abs(values))[:3]:
            state = "present" if scores[0, j] > PRESENT else "absent"
            speaks = "for" if values[j] > 0 else "against"
            fits = (values[j] > 0) == ((scores[0, j] > PRESENT) == (self.graph[j, c] == 1))
            note = "" if fits else ", against the graph"
            sentences.append(
                f"{parts[j]} is {state} and speaks {speaks} it ({values[j]:+.2f}{note})"
            )
        return f"{classes[c]} ({p[c]:.0%}): {'; '.join(sentences)}"


def score_parts(network: nn.Module, images: Tensor) -> Features:
    """Return the probability that each part is present, `[n, p]`, by a part network."""
    network.eval()
    with torch.inference_mode():
        logits = [network(part) for part in torch.split(images, BATCH_ROWS)]
    return np.asarray(torch.cat(logits).sigmoid().numpy(), np.float32)


def weight_by_misattribution(h: float = 1.0) -> Weighting:
    """Return the weighting of the paper, linear, with strength h."""
    return lambda alignment, _p, _y: compute_weights(alignment, h)


def weight_by_loss(gamma: float = 2.0) -> Weighting:
    """Return the weighting of the focal loss, `(1 - p_y)^gamma` plus a floor: no graph is used."""

    def weigh(_alignment: Values, p: Values, y: Labels) -> Values:
        raw = 0.1 + (1 - p[np.arange(len(y)), y]) ** gamma
        return np.asarray(raw / raw.mean())

    return weigh


def fit_part_model(
    network: nn.Module,
    images: Tensor,
    parts: NDArray[np.bool_],
    y: Labels,
    graph: NDArray[np.integer],
    rounds: Rounds = Rounds(),
    weighting: Weighting | None = None,
) -> PartModel:
    """Train a part network and its perceptron in rounds.

    Args:
        network: Images -> logits `[n, p]`; trained in place in the first round.
        images: `[n, c, h, w]` float32.
        parts: Whether each part is present, `[n, p]`.
        y: Class of each image, `[n]`.
        graph: 1 where a part belongs to a class, else -1, `[p, k]`.
        rounds: How long to train.
        weighting: Weights of rows from the second round on; None is that of the paper.

    Raises:
        InputError: The arrays do not fit each other.
    """
    n_classes = np.shape(graph)[1] if np.ndim(graph) == 2 else 0
    if rounds.n_rounds < 1 or not len(y):
        raise InputError(f"{rounds.n_rounds} rounds of {len(y)} images; give at least one of each")
    if not len(images) == len(parts) == len(y):
        raise InputError(
            f"{len(images)} images, {len(parts)} rows of parts and {len(y)} labels; give one each"
        )
    graph = check_graph(graph, parts.shape[1], n_classes)
    if not 0 <= y.min() <= y.max() < n_classes:
        raise InputError(f"labels run from {y.min()} to {y.max()}; the graph has {n_classes}")
    weigh = weight_by_misattribution() if weighting is None else weighting
    weights = np.ones(len(y))
    rng = np.random.default_rng(rounds.seed)
    some = rng.choice(len(y), min(N_BACKGROUND, len(y)), replace=False)
    targets = torch.from_numpy(np.asarray(parts, np.float32))
    for r in range(rounds.n_rounds):
        network = _train_parts(network, images, targets, weights, rounds, r)
        scores = score_parts(network, images)
        head = _fit_perceptron(scores, y, n_classes, rounds)
        model = PartModel(network, head, scores[some], graph, weights)
        if r + 1 < rounds.n_rounds:
            alignment = compute_alignment(model.explain_parts(scores), y, graph)
            weights = weigh(alignment, model.classify_parts(scores), y)
    return model


def _train_parts(
    network: nn.Module, images: Tensor, targets: Tensor, weights: Values, rounds: Rounds, r: int
) -> nn.Module:
    """Return the network after a round of binary cross-entropy per part, weighted by row."""

    def loss(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
        assert batch.indices is not None
        assert batch.weight is not None
        wanted = targets[batch.indices]
        per_row = functional.binary_cross_entropy_with_logits(
            net(batch.x), wanted, reduction="none"
        ).mean(1)
        return (batch.weight * per_row).mean()

    rows = Batch(
        images,
        torch.zeros(len(images), dtype=torch.int64),
        weight=torch.from_numpy(weights.astype(np.float32)),
    )
    recipe = Recipe(
        rounds.steps,
        min(rounds.batch_size, len(images)),
        rounds.lr,
        min(20, rounds.steps // 3),
        0.01,
        seed=rounds.seed + 1000 * r,
    )
    return train(network.requires_grad_(True), rows, loss, recipe)


def _fit_perceptron(scores: Features, y: Labels, n_classes: int, rounds: Rounds) -> MLP:
    data = Data(scores, y, tuple(f"class {c}" for c in range(n_classes)))
    head = Head.from_data(data, rounds.hidden, rounds.seed)
    recipe = Recipe(rounds.head_steps, min(128, len(y)), 4e-3, 20, 0.01, seed=rounds.seed)
    return fit_head(head, data, cross_entropy, recipe).to_model()
