"""A graph network on nearest neighbours in which every node explains itself from its place.

Prajit Sengupta, Islem Rekik, 2025, X-Node: Self-Explanation is All We Need, arXiv 2508.10461. Rows
are nodes that point to their k most similar ones. With N the weighted mean over a node and its
neighbours, and c_i the context of node i (how many nodes point to it, clustering, eigenvector
centrality, mean similarity, label agreement within two steps),

    h   = ReLU(N ReLU(N x W_1) W_2)            two graph convolutions
    e_i = MLP(c_i)                             the explanation vector
    z_i = W (h_i + 0.1 dec(e_i))               logits
    loss = mean -log softmax(z_i)[y_i] + b mean |dec(e_i) - h_i|^2 / width     (h without gradient)

Departures: the published code draws e to noise in place of rebuilding h, and counts the agreement
with the labels of test nodes; here dec(e) rebuilds h, and the agreement takes known labels of
training nodes, the current answer for others, and compares them with the node's own answer, never
with its label. Means take the place of the symmetric normalization and a node points to k others,
so that a new row has a place among the stored ones and its scores depend on it alone. Centrality
by degree is left out: it is the degree again. Explanations in words come from a template.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, check_weights, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.part_bounds import POSITIVE, Bounds
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.neighbour_graph import (
    CONTEXT,
    N_STATIC,
    Matrix,
    NeighbourGraph,
    Neighbourhood,
    build_graph,
)

FEEDBACK = 0.1
N_NAMED = 15  # labelled neighbours that a text counts
WEIGHTS = {  # fields of the model, and parameters of the trained network
    "weight_1": "first.weight",
    "bias_1": "first.bias",
    "weight_2": "second.weight",
    "bias_2": "second.bias",
    "reasoner_1": "reasoner.0.weight",
    "reasoner_bias_1": "reasoner.0.bias",
    "reasoner_2": "reasoner.2.weight",
    "reasoner_bias_2": "reasoner.2.bias",
    "decoder": "decoder.weight",
    "decoder_bias": "decoder.bias",
}
N_STEPS = 2  # times that a new row's answer and its agreement are computed from each other


@dataclass(frozen=True, eq=False)
class ExplainingNodes:
    """The nodes with their graph, and the weights of the network.

    Attributes:
        centre: Subtracted from the features, `[d]`.
        scale: Divisor of the centred features.
        units: Nodes scaled to length 1, `[n, d]`.
        index: Neighbours of each node, `[n, k]`.
        reach: Similarity to the last of them, `[n]`.
        centrality: `[n]`.
        eigenvalue: Of the centrality.
        y: Class of each node, `[n]`, -1 where unknown.
        answers: Known class or the network's answer, `[n]`.
        first: Nodes after the first linear map, `[n, h]`.
        second: Nodes after the first convolution and the second linear map, `[n, h]`.
        context_mean: Mean of the context of the nodes, without agreement, `[c]`.
        context_std: Its standard deviation, `[c]`, > 0.
        weight_1, bias_1: First linear map, `[h, d]` and `[h]`.
        weight_2, bias_2: Second linear map, `[h, h]` and `[h]`.
        reasoner_1, reasoner_bias_1: From the context, `[r, a]` and `[r]`.
        reasoner_2, reasoner_bias_2: To the explanation vector, `[e, r]` and `[e]`.
        decoder, decoder_bias: From the explanation vector to the embedding, `[h, e]` and `[h]`.
        weight, bias: From the embedding to logits, `[m, h]` and `[m]`; the bias is `-inf` for a
            class without training rows.
    """

    kind: ClassVar[str] = "explaining_nodes"
    shapes: ClassVar[dict[str, str]] = {
        "centre": "d",
        "units": "n d",
        "index": "n k",
        "reach": "n",
        "centrality": "n",
        "y": "n",
        "answers": "n",
        "first": "n h",
        "second": "n h",
        "context_mean": "c",
        "context_std": "c",
        "weight_1": "h d",
        "bias_1": "h",
        "weight_2": "h h",
        "bias_2": "h",
        "reasoner_1": "r a",
        "reasoner_bias_1": "r",
        "reasoner_2": "e r",
        "reasoner_bias_2": "e",
        "decoder": "h e",
        "decoder_bias": "h",
        "weight": "m h",
        "bias": "m",
    }
    bounds: ClassVar[dict[str, Bounds]] = {
        "scale": POSITIVE,
        "eigenvalue": POSITIVE,
        "context_std": POSITIVE,
    }

    centre: Features
    scale: float
    units: Features
    index: Labels
    reach: Matrix
    centrality: Matrix
    eigenvalue: float
    y: Labels
    answers: Labels
    first: Features
    second: Features
    context_mean: Matrix
    context_std: Matrix
    weight_1: Features
    bias_1: Features
    weight_2: Features
    bias_2: Features
    reasoner_1: Features
    reasoner_bias_1: Features
    reasoner_2: Features
    reasoner_bias_2: Features
    decoder: Features
    decoder_bias: Features
    weight: Features
    bias: Features

    @property
    def graph(self) -> NeighbourGraph:
        """The graph of the nodes."""
        return NeighbourGraph(self.units, self.index, self.reach, self.centrality, self.eigenvalue)

    def logits(self, x: Features) -> Logits:
        """Return scores `[n, m]` of features `[n, d]`; a row's score depends on it alone."""
        return self.score_at(x, self.find_neighbours(x))

    def find_neighbours(self, x: Features) -> Neighbourhood:
        """Return the neighbours of rows `[n, d]` among the nodes."""
        return self.graph.find(self._centre(x))

    def score_at(self, x: Features, place: Neighbourhood) -> Logits:
        """Return scores `[n, m]` of rows with given neighbours, such as some taken away."""
        z = self._map_first(x)
        return self._answer(self._embed(place, z), self._settle_context(place, z))

    def embed(self, x: Features) -> Matrix:
        """Return the embeddings `[n, h]` of rows, which the explanation vectors rebuild."""
        return self._embed(*self._place(x))

    def explain(self, x: Features) -> tuple[Matrix, Matrix]:
        """Return the explanation vectors `[n, e]` of rows and the embeddings rebuilt, `[n, h]`."""
        return self._explain(self._settle_context(*self._place(x)))

    def describe_context(self, x: Features) -> Matrix:
        """Return the context of rows as `ilk.maths.neighbour_graph.CONTEXT` names it, `[n, 5]`.

        Standardized over the nodes; the agreement runs from -1 to 1.
        """
        return self._settle_context(*self._place(x))

    def describe_rows(self, x: Features, classes: Sequence[str]) -> list[str]:
        """Return for each row in words what its neighbours say, `[n]` sentences.

        Args:
            x: Features, `[n, d]`.
            classes: Names of the classes.
        """
        place, z = self._place(x)
        context = self._settle_context(place, z)
        answers = self._answer(self._embed(place, z), context).argmax(1)
        labelled = np.flatnonzero(self.y >= 0)
        units = NeighbourGraph(
            self.units[labelled],
            np.zeros((len(labelled), min(N_NAMED, len(labelled))), np.int64),
            np.full(len(labelled), np.inf),
            np.ones(len(labelled)),
            1.0,
        )
        near = self.y[labelled][units.find(self._centre(x)).index]
        told = []
        for answer, row, values in zip(answers, near, context, strict=True):
            counts = Counter(row.tolist()).most_common()
            same = dict(counts).get(int(answer), 0)
            others = [f"{n} {classes[c]}" for c, n in counts if c != answer][:2]
            rest = f", {' and '.join(others)}" if others else ""
            agreement = (values[N_STATIC] + 1) / 2
            tells = dict(zip(CONTEXT, values[:N_STATIC], strict=False))
            name = max(tells, key=lambda key: abs(tells[key]))
            level = "unusually high" if tells[name] > 0 else "unusually low"
            odd = f"; its {name} is {level}" if abs(tells[name]) > 2 else ""
            told.append(
                f"{classes[answer]}: {same} of its {len(row)} nearest labelled neighbours are "
                f"{classes[answer]}{rest}; within two steps {agreement:.0%} agree{odd}"
            )
        return told

    def _centre(self, x: Features) -> Matrix:
        return (np.asarray(x, np.float32).astype(np.float64) - self.centre) / self.scale

    def _place(self, x: Features) -> tuple[Neighbourhood, Matrix]:
        """Return the neighbours of rows, and the rows after the first linear map, `[n, h]`."""
        return self.find_neighbours(x), self._map_first(x)

    def _map_first(self, x: Features) -> Matrix:
        return np.asarray(self._centre(x) @ self.weight_1.T.astype(np.float64) + self.bias_1)

    def convolve(self, place: Neighbourhood, z: NDArray[np.floating]) -> Features:
        """Return rows after the first convolution and the second linear map, `[n, h]`.

        Args:
            place: Their neighbours.
            z: The rows after the first linear map, `[n, h]`.
        """
        hidden = np.maximum(_average(place, z, self.first), 0)
        second = hidden @ self.weight_2.T.astype(np.float64) + self.bias_2
        return np.asarray(second, np.float32)

    def _embed(self, place: Neighbourhood, z: Matrix) -> Matrix:
        return np.asarray(np.maximum(_average(place, self.convolve(place, z), self.second), 0))

    def _settle_context(self, place: Neighbourhood, z: Matrix) -> Matrix:
        """Return the context `[n, 5]`, with the agreement with the answers that it leads to."""
        static = (self.graph.describe(place) - self.context_mean) / self.context_std
        embedding = self._embed(place, z)
        context = np.column_stack([static, np.zeros(len(static))])
        for _ in range(N_STEPS):
            own = self._answer(embedding, context).argmax(1)
            context[:, N_STATIC] = 2 * self.graph.measure_agreement(place, self.answers, own) - 1
        return context

    def _explain(self, context: Matrix) -> tuple[Matrix, Matrix]:
        hidden = np.maximum(context @ self.reasoner_1.T + self.reasoner_bias_1, 0)
        vectors = hidden @ self.reasoner_2.T + self.reasoner_bias_2
        rebuilt = vectors @ self.decoder.T + self.decoder_bias
        return np.asarray(vectors, np.float64), np.asarray(rebuilt, np.float64)

    def _answer(self, embedding: Matrix, context: Matrix) -> Logits:
        message = embedding + FEEDBACK * self._explain(context)[1]
        return np.asarray(message @ self.weight.T.astype(np.float64) + self.bias)


def _average(
    place: Neighbourhood, own: NDArray[np.floating], nodes: NDArray[np.floating]
) -> Matrix:
    """Return the weighted mean over each row and its neighbours, `[n, h]`."""
    total = 1 + place.weight.sum(1, keepdims=True)
    near = (place.weight[:, :, None] * nodes[place.index]).sum(1)
    return np.asarray((own + near) / total)


@dataclass(frozen=True)
class XNode(MethodTags):
    """A graph network of nearest neighbours with explanation vectors.

    Attributes:
        k: Neighbours of each node, >= 1.
        hidden: Width of the embeddings, >= 1.
        reconstruction: b, the weight of rebuilding the embedding, >= 0.
        dropout: Probability that a unit is dropped in training, in [0, 1).
        epochs: Updates, each over all labelled nodes, >= 1.
        seed: Seed of weights and dropout.
    """

    uses_unlabelled = True
    max_fold_rows = 4000

    k: int = 8
    hidden: int = 64
    reconstruction: float = 0.3
    dropout: float = 0.3
    epochs: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        if self.k < 1 or self.hidden < 1 or self.epochs < 1:
            raise ValueError(
                f"k is {self.k}, hidden {self.hidden}, epochs {self.epochs}; all must be at least 1"
            )
        if not (0 <= self.dropout < 1 and 0 <= self.reconstruction < np.inf):
            raise ValueError(
                f"dropout is {self.dropout}, reconstruction {self.reconstruction}; dropout must be "
                "at least 0 and below 1, reconstruction at least 0"
            )

    def fit(self, data: Data) -> ExplainingNodes:
        from ilk.training.explaining_nodes import Architecture, NodeNetwork, train_nodes

        labelled_features(data, self)
        check_weights(data, self)
        is_used = (data.y < 0) | (data.weight > 0)
        x, y = np.asarray(data.x[is_used], np.float32), data.y[is_used]
        present = np.unique(y[y >= 0])
        centre = x.astype(np.float64).mean(0).astype(np.float32)
        z = x.astype(np.float64) - centre
        scale = float(np.sqrt((z**2).mean())) or 1.0
        z /= scale
        graph = build_graph(z, self.k)
        place = graph.find(z, are_nodes=True)
        static = graph.describe(place)
        mean, std = static.mean(0), static.std(0)
        std = np.where(std > 1e-9, std, 1.0)
        short = np.searchsorted(present, y)
        short[y < 0] = -1

        def measure_agreement(guessed: Labels) -> Matrix:
            labels = np.where(short >= 0, short, guessed)
            return 2 * graph.measure_agreement(place, labels, guessed) - 1

        network = NodeNetwork(
            z.astype(np.float32),
            place,
            (static - mean) / std,
            len(present),
            Architecture(self.hidden),
            self.seed,
        )
        trained, answers = train_nodes(
            network,
            short,
            measure_agreement,
            reconstruction=self.reconstruction,
            dropout=self.dropout,
            epochs=self.epochs,
            seed=self.seed,
        )
        arrays = {name: value.numpy() for name, value in trained.state_dict().items()}
        parts = {field: arrays[name].astype(np.float32) for field, name in WEIGHTS.items()}
        weight = np.zeros((data.k, self.hidden), np.float32)
        bias = np.full(data.k, -np.inf, np.float32)
        weight[present], bias[present] = arrays["output.weight"], arrays["output.bias"]
        model = ExplainingNodes(
            centre=centre,
            scale=scale,
            units=graph.units,
            index=graph.index,
            reach=graph.reach,
            centrality=graph.centrality,
            eigenvalue=graph.eigenvalue,
            y=y,
            answers=np.where(y >= 0, y, present[answers]),
            first=(z @ parts["weight_1"].T.astype(np.float64) + parts["bias_1"]).astype(np.float32),
            second=np.zeros((len(x), self.hidden), np.float32),
            context_mean=mean,
            context_std=std,
            weight=weight,
            bias=bias,
            **parts,
        )
        second = model.convolve(place, model.first)
        return _apply_temperature(replace(model, second=second), x[y >= 0], y[y >= 0])


def _apply_temperature(
    model: ExplainingNodes, x: Features, y: NDArray[np.int64]
) -> ExplainingNodes:
    """Return the model at the temperature of at least 1 that fits the labels best."""
    inverse = fit_inverse_temperature(model.logits(x), y, np.exp(-5.0), 1.0)
    return replace(
        model,
        weight=(inverse * model.weight).astype(np.float32),
        bias=(inverse * model.bias).astype(np.float32),
    )
