"""Small networks of 28 x 28 grey pictures: taught, read, fine-tuned."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ilk.data import Data, Features
from ilk.metrics import softmax
from ilk.training.loop import Batch, Recipe, train

TUNED = 100  # steps


class Network(nn.Module):
    """Two strided convolutions and a layer of `width` rectified features, before a linear head."""

    def __init__(self, classes: int, width: int, channels: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = nn.Conv2d(1, channels, 5, 2, 2)
            self.second = nn.Conv2d(channels, 2 * channels, 3, 2, 1)
            self.inner = nn.Linear(98 * channels, width)
            self.head = nn.Linear(width, classes)

    def features(self, x: Tensor) -> Tensor:
        """`[n, width]` of pictures `[n, 1, 28, 28]`."""
        z = functional.relu(self.second(functional.relu(self.first(x))))
        return functional.relu(self.inner(z.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))  # type: ignore[no-any-return]


def picture(x: Features) -> Tensor:
    """Flat rows `[n, 784]` as `[n, 1, 28, 28]`."""
    return torch.from_numpy(np.array(x, np.float32)).reshape(-1, 1, 28, 28)


def taught(data: Data, steps: int, width: int = 64, channels: int = 8, seed: int = 0) -> Network:
    """A network taught the labelled rows of `data` (flat 28 x 28 pictures)."""
    y = torch.from_numpy(np.unique(data.y, return_inverse=True)[1].astype(np.int64))
    net = Network(int(y.max()) + 1, width, channels, seed)
    recipe = Recipe(steps, min(128, len(data)), 4e-3, min(20, steps // 3), 0.01, seed=seed)
    trained = train(net, Batch(picture(data.x), y), _loss, recipe)
    assert isinstance(trained, Network)
    return trained


def _loss(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    return functional.cross_entropy(net(batch.x), batch.y)


def seen_by(net: Network, x: Features) -> Features:
    """Features of flat pictures, `[n, width]`."""
    with torch.inference_mode():
        return np.asarray(net.features(picture(x)).numpy(), np.float32)


def weights(net: Network) -> int:
    """Weights up to the features; the head is not used."""
    return sum(p.numel() for name, p in net.named_parameters() if not name.startswith("head"))


def answers(net: Network, x: Features) -> NDArray[np.float64]:
    """Probabilities of the classes that it was taught, `[n, k]`."""
    with torch.inference_mode():
        return np.asarray(softmax(net(picture(x)).numpy().astype(np.float64), axis=1))


def fine_tuned(net: Network, learn: Data, test: Data, seed: int) -> float:
    """Test accuracy of the whole network under a new head."""
    width, channels = net.head.in_features, net.first.out_channels
    again = Network(learn.k, width, channels, seed)
    for part in ("first", "second", "inner"):
        getattr(again, part).load_state_dict(getattr(net, part).state_dict())
    recipe = Recipe(TUNED, 64, 4e-3, 10, 0.01, seed=seed)
    whole = Batch(picture(learn.x), torch.from_numpy(np.array(learn.y)))
    tuned = train(again, whole, _loss, recipe)
    with torch.inference_mode():
        return float(np.mean(tuned(picture(test.x)).argmax(1).numpy() == test.y))
