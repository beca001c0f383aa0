"""T-TAME's maps of canvases, its variants, and whether its masks give the class away."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.canvas import Canvases, FloatArray
from benchmarks.canvas_networks import CanvasCNN, CanvasNetwork, normalize, predict_proba
from benchmarks.explain_maps.maps import (
    IntArray,
    make_grad_cam_maps,
    make_random_maps,
    resize,
)
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


def measure_leaks(
    explained: ExplainedNetwork, network: CanvasNetwork, canvases: Canvases, seed: int
) -> dict[str, float]:
    """Return how often, in %, a classifier that sees only which pixels a mask keeps is right.

    The masks are the top 15 % of maps of the network's own class, cut out around their middle; two
    thirds train the classifier. A mask that is learned could say the class by its shape; those of
    Grad-CAM, which learn nothing, and the digit's ink show what the shape of a digit tells anyway.
    """
    own = predict_proba(network, canvases.x).argmax(1).astype(np.int64)
    found = {
        "T-TAME": make_maps(explained, canvases.x, own),
        "Grad-CAM": make_grad_cam_maps(network, canvases.x, own),
        "the digit's ink": canvases.ink.astype(np.float32),
        "random": make_random_maps(canvases.x, seed),
    }
    return {name: _measure_leak(maps, own) for name, maps in found.items()}


def _measure_leak(maps: FloatArray, classes: IntArray) -> float:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    rows = np.stack([cut_middle(m > np.quantile(m, 0.85)) for m in maps])
    n = 2 * len(rows) // 3
    if len(np.unique(classes[:n])) < 2:
        return 100.0  # one class needs no telling
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
    model.fit(rows[:n], classes[:n])
    return 100 * float(model.score(rows[n:], classes[n:]))


def cut_middle(mask: NDArray[np.bool_], side: int = 28) -> FloatArray:
    """Return a mask cut out around its centre of mass, flat."""
    padded = np.pad(mask, side // 2)
    if not mask.any():
        return np.zeros(side * side, np.float32)
    top, left = (round(float(at.mean())) for at in np.nonzero(mask))
    return padded[top : top + side, left : left + side].ravel().astype(np.float32)
