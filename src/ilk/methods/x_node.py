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

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, check_weights, labelled_features
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.part_bounds import POSITIVE, Bounds
from ilk.maths.inverse_temperature import fit_inverse_temperature
from ilk.maths.neighbour_graph import N_STATIC, Matrix, NeighbourGraph, Neighbourhood
from ilk.maths.nodes import FEEDBACK, Nodes, place_nodes

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
        return self.graph.find(self.standardize(x))

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

    def standardize(self, x: Features) -> Matrix:
        """Return features `[n, d]`, centred and divided by the scale."""
        return (np.asarray(x, np.float32).astype(np.float64) - self.centre) / self.scale

    def _place(self, x: Features) -> tuple[Neighbourhood, Matrix]:
        """Return the neighbours of rows, and the rows after the first linear map, `[n, h]`."""
        return self.find_neighbours(x), self._map_first(x)

    def _map_first(self, x: Features) -> Matrix:
        return np.asarray(self.standardize(x) @ self.weight_1.T.astype(np.float64) + self.bias_1)

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
        labelled_features(data, self)
        check_weights(data, self)
        is_used = (data.y < 0) | (data.weight > 0)
        x, y = np.asarray(data.x[is_used], np.float32), data.y[is_used]
        present = np.unique(y[y >= 0])
        number = np.where(y >= 0, np.searchsorted(present, y), -1)
        nodes = place_nodes(x, self.k)
        arrays, answers = self._train(nodes, number, len(present))
        parts = {field: arrays[name].astype(np.float32) for field, name in WEIGHTS.items()}
        weight = np.zeros((data.k, self.hidden), np.float32)
        bias = np.full(data.k, -np.inf, np.float32)
        weight[present], bias[present] = arrays["output.weight"], arrays["output.bias"]
        first = nodes.z @ parts["weight_1"].T.astype(np.float64) + parts["bias_1"]
        graph = nodes.graph
        model = ExplainingNodes(
            centre=nodes.centre,
            scale=nodes.scale,
            units=graph.units,
            index=graph.index,
            reach=graph.reach,
            centrality=graph.centrality,
            eigenvalue=graph.eigenvalue,
            y=y,
            answers=np.where(y >= 0, y, present[answers]),
            first=first.astype(np.float32),
            second=np.zeros((len(x), self.hidden), np.float32),
            context_mean=nodes.context_mean,
            context_std=nodes.context_std,
            weight=weight,
            bias=bias,
            **parts,
        )
        second = model.convolve(nodes.place, model.first)
        return _apply_temperature(replace(model, second=second), x[y >= 0], y[y >= 0])

    def _train(
        self, nodes: Nodes, y: Labels, n_classes: int
    ) -> tuple[dict[str, NDArray[np.float32]], Labels]:
        """Return the arrays of the trained network, and its answers for all nodes, `[n]`."""
        from ilk.training.explaining_nodes import Architecture, NodeNetwork, train_nodes

        def measure_agreement(guessed: Labels) -> Matrix:
            labels = np.where(y >= 0, y, guessed)
            return 2 * nodes.graph.measure_agreement(nodes.place, labels, guessed) - 1

        network = NodeNetwork(
            nodes.z.astype(np.float32),
            nodes.place,
            (nodes.context - nodes.context_mean) / nodes.context_std,
            n_classes,
            Architecture(self.hidden),
            self.seed,
        )
        trained, answers = train_nodes(
            network,
            y,
            measure_agreement,
            reconstruction=self.reconstruction,
            dropout=self.dropout,
            epochs=self.epochs,
            seed=self.seed,
        )
        return {name: value.numpy() for name, value in trained.state_dict().items()}, answers


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
