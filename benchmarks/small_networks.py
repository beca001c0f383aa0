"""Small networks for 28 x 28 grey images: training, feature extraction, fine-tuning."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.data import Data, Features
from ilk.core.metrics import softmax
from ilk.training.trainer import Batch, Recipe, train

TUNING_STEPS = 100  # steps


class SmallNetwork(nn.Module):
    """Two strided convolutions and a layer of `width` rectified features, before a linear head."""

    def __init__(self, classes: int, width: int, channels: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(1, channels, 5, 2, 2)
            self.second = nn.Conv2d(channels, 2 * channels, 3, 2, 1)
            self.inner = nn.Linear(98 * channels, width)
            self.head = nn.Linear(width, classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, width]` of images `[n, 1, 28, 28]`."""
        z = functional.relu(self.second(functional.relu(self.first(x))))
        return functional.relu(self.inner(z.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.forward_features(x))  # type: ignore[no-any-return]


def to_images(x: Features) -> Tensor:
    """Reshape flat rows `[n, 784]` to `[n, 1, 28, 28]`."""
    return torch.from_numpy(np.array(x, np.float32)).reshape(-1, 1, 28, 28)


def train_network(
    data: Data, steps: int, width: int = 64, channels: int = 8, seed: int = 0
) -> SmallNetwork:
    """Train a network on the labelled rows of `data` (flat 28 x 28 images)."""
    y = torch.from_numpy(np.unique(data.y, return_inverse=True)[1].astype(np.int64))
    net = SmallNetwork(int(y.max()) + 1, width, channels, seed)
    recipe = Recipe(steps, min(128, len(data)), 4e-3, min(20, steps // 3), 0.01, seed=seed)
    trained = train(net, Batch(to_images(data.x), y), _compute_loss, recipe)
    assert isinstance(trained, SmallNetwork)
    return trained


def _compute_loss(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return functional.cross_entropy(net(batch.x), batch.y)


def extract_features(net: SmallNetwork, x: Features) -> Features:
    """Return features `[n, width]` of flat images."""
    with torch.inference_mode():
        return np.asarray(net.forward_features(to_images(x)).numpy(), np.float32)


def count_weights(net: SmallNetwork) -> int:
    """Return the number of weights up to the features, without the head."""
    return sum(p.numel() for name, p in net.named_parameters() if not name.startswith("head"))


def predict_proba(net: SmallNetwork, x: Features) -> NDArray[np.float64]:
    """Return probabilities `[n, k]` of the classes of training."""
    with torch.inference_mode():
        return np.asarray(softmax(net(to_images(x)).numpy().astype(np.float64), axis=1))


def fine_tune(net: SmallNetwork, train_data: Data, test_data: Data, seed: int) -> float:
    """Return the test accuracy of the whole network after fine-tuning it with a new head."""
    width, channels = net.head.in_features, net.first.out_channels
    tuned_network = SmallNetwork(train_data.k, width, channels, seed)
    for part in ("first", "second", "inner"):
        getattr(tuned_network, part).load_state_dict(getattr(net, part).state_dict())
    recipe = Recipe(TUNING_STEPS, 64, 4e-3, 10, 0.01, seed=seed)
    all_rows = Batch(to_images(train_data.x), torch.from_numpy(np.array(train_data.y)))
    tuned = train(tuned_network, all_rows, _compute_loss, recipe)
    with torch.inference_mode():
        return float(np.mean(tuned(to_images(test_data.x)).argmax(1).numpy() == test_data.y))
