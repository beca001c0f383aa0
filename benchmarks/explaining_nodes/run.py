"""Do nodes that explain themselves keep their accuracy, and do the explanations say anything?

1,500 images (64 principal axes of MNIST and of Fashion-MNIST pixels), 150 with labels, are the
nodes of a graph of 8 nearest neighbours; accuracy is on the nodes without labels. Arms: a graph
network (GCN), with the reasoner (X-Node), with the context of other nodes, drawn once
("shuffled"), the context alone, and the leak of the published code: agreement of the label of a
node, known or not, with those of its neighbours, test labels included (its accuracy is no
achievement). Rivals: logistic regression, k nearest neighbours and GDA on the labels, and PADDLE,
which reads the nodes without labels too. The default `XNode`, as `ilk fit` calls it, scores the
nodes as new rows. Faithfulness on nodes without labels: R^2 of the rebuilt embedding, against the
context of other nodes and the ceiling of a linear regression on the context (fitted to these
nodes themselves); the share of nodes whose answer a tree of depth 5 tells from explanation
vectors (fitted on labelled nodes' answers); and the fall of the probability when the neighbours
that the text names, of the answer's class, are taken away, against as many others. Five seeds (0
to 4): nodes, labels and weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.claims import Claim, describe_claims, make_table
from benchmarks.datasets import read_digits, read_fashion, read_mnist
from ilk.core.data import Data, Labels
from ilk.core.errors import Unavailable
from ilk.core.metrics import softmax
from ilk.explain.node_text import describe_nodes
from ilk.maths.neighbour_graph import Matrix, NeighbourGraph, Neighbourhood, build_graph
from ilk.methods.gda import GDA
from ilk.methods.k_nearest import KNearest
from ilk.methods.logistic_regression import LogisticRegression
from ilk.methods.paddle import PADDLE
from ilk.methods.x_node import ExplainingNodes, XNode
from ilk.training.explaining_nodes import Architecture, NodeNetwork, train_nodes

SEEDS, N_NODES, N_LABELLED, N_AXES, K = range(5), 1500, 150, 64, 8
ENTRY, FILE = "x-node", "methods/x_node.py"
GCN, REASONER, SHUFFLED = "GCN", "GCN with reasoner", "GCN with shuffled context"
CONTEXT_ALONE, LEAKY = "context alone", "GCN with leaky agreement"
DEFAULT, LOGISTIC, NEAREST = "XNode", "logistic regression", "k nearest neighbours"
GAUSSIAN, PROTOTYPES = "GDA", "PADDLE"
RIVALS = (LOGISTIC, NEAREST, GAUSSIAN, PROTOTYPES)
CEILING = "linear regression on the context"
NAMED, RANDOM = "neighbours of the answer's class", "as many random neighbours"
SETS: dict[str, Callable[[], Data]] = {"MNIST": read_mnist, "Fashion-MNIST": read_fashion}
CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "boot"),
)


def run(small: bool = False) -> dict[str, Any]:
    """Return tables of accuracy and faithfulness, and the verdict; `small` has few digits."""
    tables: list[dict[str, Any]] = []
    left_out: list[str] = []
    texts: dict[str, list[str]] = {}
    sets = {"digits": read_digits} if small else SETS
    for name, read in sets.items():
        try:
            data = read()
        except Unavailable as error:
            left_out.append(f"{name}: {error}")
            continue
        names = (
            tuple(CLOTHES) if name == "Fashion-MNIST" else tuple(f"digit {c}" for c in range(10))
        )
        results = [
            examine(draw_nodes(replace(data, classes=names), seed, small), seed, small)
            for seed in (range(2) if small else SEEDS)
        ]
        texts[name] = results[0]["texts"]
        for metric, ours, better in (
            ("accuracy", REASONER, "higher"),
            ("R^2 of the rebuilt embedding", REASONER, "higher"),
            ("answers told by a tree from explanation vectors", REASONER, "higher"),
            ("fall of the probability without the named neighbours", NAMED, "higher"),
        ):
            scores = {arm: [r[metric][arm] for r in results] for arm in results[0][metric]}
            claims = [Claim(ENTRY, FILE, ours, arm) for arm in scores if arm != ours]
            if metric == "accuracy":
                claims += [Claim(ENTRY, FILE, DEFAULT, arm) for arm in (GCN, *RIVALS)]
            tables.append(make_table(name, metric, scores, claims, better))  # type: ignore[arg-type]
    return {
        "tables": tables,
        "verdict": describe_claims(tables, ("setting", "metric")),
        "texts": texts,
        "left out": left_out,
    }


def draw_nodes(data: Data, seed: int, small: bool) -> tuple[Data, Labels]:
    """Return nodes of which few have a label, and the class of all."""
    rng = np.random.default_rng(seed)
    n, n_labelled = (300, 60) if small else (N_NODES, N_LABELLED)
    rows = rng.choice(len(data), n, replace=False)
    x = data.x[rows].astype(np.float64)
    x -= x.mean(0)
    axes = np.linalg.svd(x, full_matrices=False)[2][:N_AXES]
    truth = data.y[rows]
    y = np.where(np.arange(n) < n_labelled, truth, -1)
    return Data((x @ axes.T).astype(np.float32), y, data.classes), truth


def examine(nodes: tuple[Data, Labels], seed: int, small: bool) -> dict[str, Any]:
    """Return accuracy and faithfulness for one graph."""
    data, truth = nodes
    is_test = data.y < 0
    epochs = 30 if small else 200
    arms = {
        name: NodeArm.fit(name, data, truth, seed, epochs)
        for name in (GCN, REASONER, SHUFFLED, CONTEXT_ALONE, LEAKY)
    }
    accuracy = {
        name: float(np.mean(arm.answers[is_test] == truth[is_test])) for name, arm in arms.items()
    }
    model = XNode(epochs=epochs, seed=seed).fit(data)
    known = data.take_labelled()
    for name, fitted in (
        (DEFAULT, model),
        (LOGISTIC, LogisticRegression().fit(known)),
        (NEAREST, KNearest().fit(known)),
        (GAUSSIAN, GDA().fit(known)),
        (PROTOTYPES, PADDLE().fit(data)),
    ):
        answers = fitted.logits(data.x[is_test]).argmax(1)
        accuracy[name] = float(np.mean(answers == truth[is_test]))
    ours = arms[REASONER]
    faithful = {
        REASONER: compute_r2(ours.embedding[is_test], ours.rebuilt[is_test]),
        SHUFFLED: compute_r2(arms[SHUFFLED].embedding[is_test], arms[SHUFFLED].rebuilt[is_test]),
        CEILING: fit_linear_ceiling(ours.context[is_test], ours.embedding[is_test]),
    }
    told = {name: arms[name].tell_answers(is_test) for name in (REASONER, SHUFFLED)}
    some = np.flatnonzero(is_test)[:5]
    return {
        "accuracy": accuracy,
        "R^2 of the rebuilt embedding": faithful,
        "answers told by a tree from explanation vectors": told,
        "fall of the probability without the named neighbours": measure_cue(
            model, data.x[is_test], seed
        ),
        "texts": describe_nodes(model, data.x[some], data.classes),
    }


class NodeArm:
    """A trained network on a graph, with what it says of every node.

    Attributes:
        answers: `[n]`.
        embedding, rebuilt: `[n, h]`.
        vectors: Explanation vectors, `[n, e]`.
        context: `[n, 5]`.
    """

    def __init__(self, network: NodeNetwork, answers: Labels) -> None:
        with torch.no_grad():
            self.answers = answers
            self.embedding: Matrix = network.embed().numpy().astype(np.float64)
            self.rebuilt: Matrix = network.rebuild().numpy().astype(np.float64)
            self.vectors: NDArray[np.float32] = network.reasoner(network.context).numpy()
            self.context: Matrix = network.context.numpy().astype(np.float64)

    @classmethod
    def fit(cls, name: str, data: Data, truth: Labels, seed: int, epochs: int) -> NodeArm:
        """Train an arm on the labelled nodes of `data`; only the leaky one sees `truth`."""
        z = (data.x - data.x.mean(0)).astype(np.float64)
        z /= np.sqrt((z**2).mean())
        graph = build_graph(z, K)
        place = graph.find(z, are_nodes=True)
        static = graph.describe(place)
        static = (static - static.mean(0)) / static.std(0)
        order = np.random.default_rng(seed).permutation(len(z))
        agreement = make_agreement(name, graph, place, data.y, truth)
        if name == SHUFFLED:
            static = static[order]
        architecture = Architecture(
            uses_features=name != CONTEXT_ALONE, uses_context=name not in (GCN,)
        )
        network = NodeNetwork(z.astype(np.float32), place, static, data.k, architecture, seed)
        trained, answers = train_nodes(
            network,
            data.y,
            (lambda guessed: agreement(guessed)[order]) if name == SHUFFLED else agreement,
            reconstruction=0.0 if name in (GCN, CONTEXT_ALONE) else XNode.reconstruction,
            dropout=XNode.dropout,
            epochs=epochs,
            seed=seed,
        )
        return cls(trained, answers)

    def tell_answers(self, is_test: NDArray[np.bool_]) -> float:
        """Return the share of test nodes whose answer a tree of the vectors gives."""
        from sklearn.tree import DecisionTreeClassifier

        tree = DecisionTreeClassifier(max_depth=5, random_state=0)
        tree.fit(self.vectors[~is_test], self.answers[~is_test])
        return float(np.mean(tree.predict(self.vectors[is_test]) == self.answers[is_test]))


def make_agreement(
    name: str, graph: NeighbourGraph, place: Neighbourhood, y: Labels, truth: Labels
) -> Callable[[Labels], Matrix]:
    """Return the label agreement of nodes, from what they are taken for."""

    def measure(guessed: Labels) -> Matrix:
        return 2 * graph.measure_agreement(place, np.where(y >= 0, y, guessed), guessed) - 1

    def leak(_guessed: Labels) -> Matrix:
        return 2 * graph.measure_agreement(place, truth, truth) - 1

    return leak if name == LEAKY else measure


def compute_r2(embedding: Matrix, rebuilt: Matrix) -> float:
    """Return 1 minus the squared error over the variance of the embeddings, over all columns."""
    error = ((rebuilt - embedding) ** 2).sum()
    return float(1 - error / ((embedding - embedding.mean(0)) ** 2).sum())


def fit_linear_ceiling(context: Matrix, embedding: Matrix) -> float:
    """Return the R^2 of a linear regression on the context, on the nodes it is fitted to."""
    x = np.column_stack([context, np.ones(len(context))])
    return compute_r2(embedding, x @ np.linalg.lstsq(x, embedding, rcond=None)[0])


def measure_cue(model: ExplainingNodes, x: NDArray[np.float32], seed: int) -> dict[str, float]:
    """Return the mean fall of the answer's probability without some neighbours.

    Either those of the answer's class, or as many drawn at random of all of a row's.
    """
    place = model.find_neighbours(x)
    p = softmax(model.score_at(x, place), axis=1)
    answer = p.argmax(1)
    is_named = model.answers[place.index] == answer[:, None]
    draw = np.random.default_rng(seed).random(is_named.shape).argsort(1).argsort(1)
    is_random = draw < is_named.sum(1, keepdims=True)
    out = {}
    for name, gone in ((NAMED, is_named), (RANDOM, is_random)):
        cut = replace(place, weight=np.where(gone, 0.0, place.weight))
        after = softmax(model.score_at(x, cut), axis=1)
        rows = np.arange(len(x))
        out[name] = float((p[rows, answer] - after[rows, answer]).mean())
    return out
