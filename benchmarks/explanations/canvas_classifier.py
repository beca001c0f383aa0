"""Small networks trained on canvases, as classifiers of ilk: an encoder and a linear head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.canvas import SIDE, Canvases, make_canvases
from ilk.artifacts.classifier import Classifier
from ilk.core.linear_models import Linear
from ilk.encoders.network import NetworkEncoder
from ilk.encoders.runtime import Runner
from ilk.explain.randomization import _make_run
from ilk.hub.preprocessing import Preprocess
from ilk.trust.calibration import Calibration

WIDTHS = (16, 32, 64, 64)
DIM = WIDTHS[-1]
CLASSES = tuple(map(str, range(10)))
BATCH, RATE = 64, 4e-3
PREPROCESS = Preprocess(
    (SIDE, SIDE), (SIDE, SIDE), "squash", "bilinear", (0.5,) * 3, (0.5,) * 3
)  # fmt: skip


class ConvolutionalNetwork(nn.Module):
    """Four convolutions and the mean over places: `[b, 3, 56, 56]` to `[b, 64]`."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for i, width in enumerate(WIDTHS):
            layers += [nn.Conv2d(inputs, width, 3, 2 if i in (1, 2) else 1, 1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU()]
            inputs = width
        self.body = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of normalized images."""
        features: Tensor = self.body(x).mean((2, 3))
        return features


class HeldCheckpoint:
    """A network in memory in place of files."""

    family, folder, preprocess, dim = "canvas", Path("."), PREPROCESS, DIM

    def __init__(self, network: nn.Module, stamp: str) -> None:
        self.network, self.stamp = network, stamp

    def digest_files(self) -> dict[str, str]:
        """Return what its features depend on."""
        return {"stamp": self.stamp}

    def build_network(self) -> nn.Module:
        """Return a copy of the network."""
        import copy

        return copy.deepcopy(self.network)


def train_classifier(n: int, epochs: int, seed: int) -> tuple[Classifier, float]:
    """Train a network on canvases; return it as a classifier, and its accuracy on 500 others.

    Args:
        n: Training canvases.
        epochs: Passes over them.
        seed: Seed of canvases, weights and batches.
    """
    torch.manual_seed(seed)
    data = make_canvases(n, 1000 + seed)
    network = ConvolutionalNetwork()
    head = nn.Linear(DIM, len(CLASSES))
    model = nn.Sequential(network, head)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-3)
    steps = epochs * (n // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    x, y = normalize(data), torch.from_numpy(data.y)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(n, generator=generator)
        for i in range(n // BATCH):
            rows = order[i * BATCH : (i + 1) * BATCH]
            loss = functional.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    network.eval().requires_grad_(False)
    return wrap(network, head, seed)


def normalize(data: Canvases) -> Tensor:
    """Return canvases as normalized colour images `[n, 3, 56, 56]`."""
    return ((torch.from_numpy(data.x) - 0.5) / 0.5).expand(-1, 3, -1, -1).contiguous()


def wrap(network: nn.Module, head: nn.Linear, seed: int) -> tuple[Classifier, float]:
    """Return a trained network as a calibrated classifier, and its accuracy on held canvases."""
    checkpoint: Any = HeldCheckpoint(network, f"convolutional {seed}")
    encoder = NetworkEncoder("canvas", checkpoint, "cpu", "torch", "float32")
    encoder._runner = Runner(_make_run(network), PREPROCESS, BATCH)
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    linear = Linear.from_arrays(weight, bias)
    held = make_canvases(500, 2000 + seed, "test")
    pixels = np.rint(held.x * 255).astype(np.uint8)
    features = encoder.embed(np.repeat(pixels, 3, axis=1))
    logits = linear.logits(features)
    nothing: Any = None
    classifier = Classifier(
        CLASSES, encoder, linear, Calibration.fit(logits, held.y), nothing, nothing
    )
    return classifier, float((logits.argmax(1) == held.y).mean())
