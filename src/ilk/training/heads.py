"""Small heads on frozen features, trained by the one training loop: an objective goes in.

A method that trains a head writes its loss and nothing else:

    net = Head.of(known, hidden=256, seed=self.seed)
    model = fitted(net, known, objective, Recipe(...))

`objective(net, batch, generator)` sees standardised features; `batch.at` says which rows they are.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.data import Data
from ilk.models import Perceptron
from ilk.training.loop import Batch, Objective, Recipe, train

BATCH = 256


class Head(nn.Module):
    """Features to logits over one hidden layer.

    Attributes:
        centre, scale: How features are standardised, `[d]`; `standard` does it.
        inner, outer: The two layers. `inner` gives `hidden` units before they are rectified.
        seen: Which classes have a labelled row, `[k]`; the others get no logit but `-inf` in the
            model that is made of it, and `forward` gives them -1e4.
    """

    centre: Tensor
    scale: Tensor
    seen: Tensor

    def __init__(self, d: int, hidden: int, k: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(d, hidden), nn.Linear(hidden, k)
        self.register_buffer("centre", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))
        self.register_buffer("seen", torch.ones(k, dtype=torch.bool))

    @classmethod
    def of(cls, data: Data, hidden: int = 256, seed: int = 0) -> Head:
        """A head for `data` (rows without a label count for standardising), weights by `seed`."""
        seen = data.counts() > 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = cls(data.x.shape[1], hidden, data.k)
            torch.manual_seed(seed)  # a class without rows then changes nothing for the others
            few = nn.Linear(hidden, int(seen.sum()))
        with torch.no_grad():
            made.outer.weight.zero_()[seen] = few.weight
            made.outer.bias.zero_()[seen] = few.bias
        x = np.asarray(data.x, np.float64)
        spread = x.std(0)
        made.centre.copy_(torch.from_numpy(x.mean(0)))
        made.scale.copy_(torch.from_numpy(np.where(spread > 1e-6 * spread.max(), spread, 1.0)))
        made.seen.copy_(torch.from_numpy(seen))
        return made

    def standard(self, x: Tensor) -> Tensor:
        """Features `[n, d]` with mean 0 and spread 1 over what the head was made for."""
        return (x - self.centre) / self.scale

    def hidden(self, x: Tensor) -> Tensor:
        """Rectified hidden units `[n, h]` of standardised features."""
        return functional.relu(self.inner(x))

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores `[n, k]` of hidden units; -1e4 for a class without a labelled row."""
        return self.outer(hidden).masked_fill(~self.seen, -1e4)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        """Scores `[n, k]` of standardised features `[n, d]`."""
        return self.logits(self.hidden(x))

    def model(self) -> Perceptron:
        """The head as plain arrays that can be saved."""

        def array(t: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
            return t.detach().cpu().numpy().astype(np.float32)

        seen = self.seen.cpu().numpy()
        return Perceptron(
            array(self.centre),
            array(self.scale),
            array(self.inner.weight),
            array(self.inner.bias),
            np.where(seen[:, None], array(self.outer.weight), np.float32(0)),
            np.where(seen, array(self.outer.bias), np.float32(-np.inf)),
        )


def batch(net: Head, data: Data) -> Batch:
    """All rows of `data` as the training loop wants them, standardised for `net`."""
    x = net.standard(torch.from_numpy(np.array(data.x, np.float32)))
    return Batch(x, torch.from_numpy(np.array(data.y)))


def fitted(net: Head, data: Data, objective: Objective, recipe: Recipe) -> Head:
    """`net` trained on the rows of `data` (those without a label too): its average over the run.

    Raises:
        Diverged, InputError: As `ilk.training.loop.train` says.
    """
    trained = train(net, batch(net, data), objective, recipe)
    assert isinstance(trained, Head)
    return trained


def steps(n: int, passes: float, least: int = 200) -> int:
    """Updates of `BATCH` rows that go over `n` rows so many times, at least `least`."""
    return max(least, round(n * passes / BATCH))


def cross_entropy(net: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    """The plain objective: mean cross-entropy of the rows that have a label."""
    known = batch.y >= 0
    return functional.cross_entropy(net(batch.x[known]), batch.y[known])
