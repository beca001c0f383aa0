"""T-TAME's maps of canvases, its variants, and whether its masks give the class away."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.canvas import Canvases, FloatArray
from benchmarks.canvas_networks import CanvasCNN, CanvasNetwork, normalize
from benchmarks.explain_maps.maps import IntArray, resize
from ilk.architectures.attention_maps import AttentionMaps, ExplainedNetwork
from ilk.training.objectives.masked_confidence import MaskedConfidence
from ilk.training.optimizers import AdamW
from ilk.training.schedules import CosineDecay
from ilk.training.trainer import Batch, Recipe, train

LR, BATCH_SIZE = 1e-3, 32
N_TAPS = 3  # the last three convolutions, or blocks


class Tapped(nn.Module):
    """A network of canvases, with its last feature maps."""

    def __init__(self, network: CanvasNetwork) -> None:
        super().__init__()
        self.network = network

    def forward_taps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        if isinstance(self.network, CanvasCNN):
            maps = self.network.forward_maps(x)
            return self.network.head(maps[-1].mean((2, 3))), maps[-N_TAPS:]
        tokens = self.network.forward_tokens(x)
        logits = self.network.head(self.network.norm(tokens[-1][:, 0]))
        return logits, [self.network.to_map(t) for t in tokens[-N_TAPS:]]

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)  # type: ignore[no-any-return]


def train_maps(
    network: CanvasNetwork,
    canvases: Canvases,
    objective: MaskedConfidence,
    steps: int,
    seed: int,
) -> ExplainedNetwork:
    """Return a network with trained attention maps."""
    x = normalize(canvases.x)
    tapped = Tapped(network)
    with torch.no_grad():
        channels = [tap.shape[1] for tap in tapped.forward_taps(x[:2])[1]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        explained = ExplainedNetwork(tapped, AttentionMaps(channels, 10))
    recipe = Recipe(
        steps, BATCH_SIZE, LR, weight_decay=0.01, seed=seed, optimizer=AdamW(),
        schedule=CosineDecay(round(0.3 * steps)),
    )  # fmt: skip
    return train(explained, Batch(x, torch.from_numpy(canvases.y)), objective, recipe)


def make_maps(explained: ExplainedNetwork, x: FloatArray, classes: IntArray) -> FloatArray:
    """Return the maps `[n, 56, 56]` of classes `[n]`: one pass."""
    with torch.inference_mode():
        maps = explained(normalize(x))[1]
    return resize(maps[torch.arange(len(x)), torch.from_numpy(classes)].numpy())


def measure_leak(explained: ExplainedNetwork, train_set: Canvases, test_set: Canvases) -> float:
    """Return the accuracy, in %, of a classifier that sees only which pixels a mask keeps.

    The masks are the top 15 % of maps of the network's own class, cut out around their middle.
    """
    from sklearn.linear_model import LogisticRegression

    rows, labels = [], []
    for part in (train_set, test_set):
        with torch.inference_mode():
            logits, maps = explained(normalize(part.x))
        own = logits.argmax(1)
        values = resize(maps[torch.arange(len(own)), own].numpy())
        rows.append(np.stack([cut_middle(v > np.quantile(v, 0.85)) for v in values]))
        labels.append(own.numpy())
    model = LogisticRegression(C=0.1, max_iter=200).fit(rows[0], labels[0])
    return 100 * float(model.score(rows[1], labels[1]))


def cut_middle(mask: np.typing.NDArray[np.bool_], side: int = 28) -> FloatArray:
    """Return a mask cut out around its centre of mass, flat."""
    padded = np.pad(mask, side // 2)
    if not mask.any():
        return np.zeros(side * side, np.float32)
    top, left = (round(float(at.mean())) for at in np.nonzero(mask))
    return padded[top : top + side, left : left + side].ravel().astype(np.float32)
