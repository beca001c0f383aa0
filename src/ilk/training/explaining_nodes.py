"""A graph network whose nodes explain themselves, and the loss that trains it.

See `ilk.methods.x_node` for the equations. The graph is fixed; the label agreement of the context
is computed anew before every update, from known labels and the current answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.data import Labels
from ilk.maths.neighbour_graph import CONTEXT, N_STATIC, Neighbourhood
from ilk.maths.nodes import FEEDBACK
from ilk.training.batch import Batch
from ilk.training.objective import Objective, TrainingStep, unwrap
from ilk.training.optimizers import AdamW
from ilk.training.trainer import Recipe, train

Agreement = Callable[[Labels], NDArray[np.float64]]
"""What every node is taken for, `[n]` -> its label agreement, `[n]`."""


@dataclass(frozen=True)
class Architecture:
    """Widths and parts of the network.

    Attributes:
        hidden: Width of the node embeddings.
        explanation: Width of the explanation vectors.
        uses_features: Whether nodes have features; else the context alone gives the logits.
        uses_context: Whether explanation vectors are fed back.
    """

    hidden: int = 64
    explanation: int = 32
    uses_features: bool = True
    uses_context: bool = True


class NodeNetwork(nn.Module):
    """Two graph convolutions over neighbours and oneself, and a reasoner on the context.

    Args:
        x: Features of all nodes, `[n, d]`.
        place: Their neighbours.
        static: Context that does not depend on labels, standardized, `[n, 4]`.
        n_classes: Number of classes.
        architecture: Widths and parts.
        seed: Seed of the weights.
    """

    context: Tensor

    def __init__(
        self,
        x: NDArray[np.float32],
        place: Neighbourhood,
        static: NDArray[np.float64],
        n_classes: int,
        architecture: Architecture,
        seed: int,
    ) -> None:
        super().__init__()
        hidden = architecture.hidden
        self.uses_features = architecture.uses_features
        self.uses_context = architecture.uses_context
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Linear(x.shape[1], hidden)
            self.second = nn.Linear(hidden, hidden)
            self.reasoner = nn.Sequential(
                nn.Linear(len(CONTEXT), hidden),
                nn.ReLU(),
                nn.Linear(hidden, architecture.explanation),
            )
            self.decoder = nn.Linear(architecture.explanation, hidden)
            self.output = nn.Linear(hidden, n_classes)
        total = 1 + place.weight.sum(1, keepdims=True)
        self.register_buffer("x", torch.from_numpy(np.array(x)), persistent=False)
        self.register_buffer("index", torch.from_numpy(place.index.copy()), persistent=False)
        share = torch.from_numpy((place.weight / total).astype(np.float32))
        self.register_buffer("share", share, persistent=False)
        own = torch.from_numpy((1 / total).astype(np.float32))
        self.register_buffer("own", own, persistent=False)
        context = np.column_stack([static, np.zeros(len(x))]).astype(np.float32)
        self.register_buffer("context", torch.from_numpy(context))

    def average(self, values: Tensor) -> Tensor:
        """Return the weighted mean over each node and its neighbours, `[n, h]`."""
        index, share, own = self._graph()
        return own * values + (share[:, :, None] * values[index]).sum(1)

    def _graph(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.get_buffer("index"), self.get_buffer("share"), self.get_buffer("own")

    def embed(self, keep: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        """Return the embeddings of all nodes, `[n, h]`; `keep` may drop units."""
        h = functional.relu(self.average(self.first(keep(self.get_buffer("x")))))
        return functional.relu(self.average(self.second(keep(h))))

    def rebuild(self) -> Tensor:
        """Return what the explanation vectors make of the embeddings, `[n, h]`."""
        return self.decoder(self.reasoner(self.context))  # type: ignore[no-any-return]

    def answer(self, embedding: Tensor, rebuilt: Tensor) -> Tensor:
        """Return the logits of all nodes, `[n, k]`."""
        if not self.uses_features:
            return self.output(rebuilt)  # type: ignore[no-any-return]
        message = embedding + FEEDBACK * rebuilt if self.uses_context else embedding
        return self.output(message)  # type: ignore[no-any-return]

    def forward(self, rows: Tensor) -> Tensor:
        """Return the logits of the nodes at positions `rows [m]`, `[m, k]`."""
        return self.answer(self.embed(), self.rebuild())[rows]


class SelfExplanation(Objective):
    """Cross-entropy of labelled nodes plus `b mean_i |dec(e_i) - h_i|^2 / h`; h has no gradient.

    Args:
        reconstruction: b, >= 0.
        dropout: Probability that a unit is dropped, in [0, 1).
        agreement: Label agreement of all nodes from what they are taken for.
    """

    supports_weights = False

    def __init__(self, reconstruction: float, dropout: float, agreement: Agreement) -> None:
        super().__init__()
        self.reconstruction, self.dropout, self.agreement = reconstruction, dropout, agreement

    def before_step(self, network: nn.Module, step: TrainingStep) -> None:
        """Compute the label agreement from the answers so far."""
        update_agreement(unwrap(network, NodeNetwork), self.agreement)

    def forward(self, network: nn.Module, batch: Batch, step: TrainingStep) -> Tensor:
        net = unwrap(network, NodeNetwork)
        assert batch.indices is not None

        def drop(x: Tensor) -> Tensor:
            kept = torch.rand(x.shape, generator=step.generator, device=x.device) >= self.dropout
            return x * kept / (1 - self.dropout)

        embedding, rebuilt = net.embed(drop), net.rebuild()
        logits = net.answer(embedding, rebuilt)[batch.indices]
        error = ((rebuilt - embedding.detach()) ** 2).mean()
        return functional.cross_entropy(logits, batch.y) + self.reconstruction * error


@torch.no_grad()
def update_agreement(network: NodeNetwork, agreement: Agreement) -> Labels:
    """Set the label agreement of all nodes from the network's answers; return these, `[n]`."""
    rows = torch.arange(len(network.context))
    guessed: Labels = network(rows).argmax(1).numpy()
    network.context[:, N_STATIC] = torch.from_numpy(agreement(guessed).astype(np.float32))
    return guessed


def train_nodes(
    network: NodeNetwork,
    y: Labels,
    agreement: Agreement,
    *,
    reconstruction: float,
    dropout: float,
    epochs: int,
    seed: int,
) -> tuple[NodeNetwork, Labels]:
    """Train on the labelled nodes; return the network and its answers for all nodes, `[n]`.

    Args:
        network: The network of all nodes.
        y: Class of each node, `[n]`, -1 where unknown.
        agreement: Label agreement of all nodes from what they are taken for.
        reconstruction: Weight of the reconstruction.
        dropout: Probability that a unit is dropped.
        epochs: Updates; each sees all labelled nodes.
        seed: Seed of dropout and order.
    """
    rows = torch.from_numpy(np.flatnonzero(y >= 0))
    labelled = Batch(rows, torch.from_numpy(y[y >= 0].astype(np.int64)), rows)
    recipe = Recipe(
        epochs, len(rows), 1e-2, min(10, epochs // 3), 5e-4, seed=seed, optimizer=AdamW()
    )
    trained = train(network, labelled, SelfExplanation(reconstruction, dropout, agreement), recipe)
    update_agreement(trained, agreement)
    return trained, update_agreement(trained, agreement)
