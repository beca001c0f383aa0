"""Two networks that teach each other and stay different, as waves hide other parts from each.

Wenhao Wang, Fang Zhao, Shengcai Liao, Ling Shao, 2020, Attentive WaveBlock:
Complementarity-enhanced Mutual Networks for Unsupervised Domain Adaptation in Person
Re-identification and Beyond, arXiv 2006.06525. In training, a feature map x of height H becomes

    x'[.., h, ..] = x[.., h, ..]           for start <= h < start + round(ratio H)
    x'[.., h, ..] = factor x[.., h, ..]    elsewhere;  start is drawn for each network and batch

before which attention is added, x <- attention(x) + x: of channels, then of places (Woo et al.
2018, arXiv 1807.06521). Rows with a label are the source. Those without are the target: in each of
`rounds` they are grouped by k-means from the class means of the source, and the groups' names are
learnt as labels beside the source's by two networks under mutual mean-teaching
(`ilk.training.mutual`); not where nearly all of the target is answered one class.

Departures: the paper adapts ResNet-50 to people unseen, so that its groups have no names and only
the target is learnt from; here a network of three convolutions learns known classes from small
images. Teachers answer without waves. Norms are of each image alone and take up the larger scale
that waves bring, where the paper has batch norms. The answer is the mean of both networks, where
the paper takes the better. In `ilk bench changed_world` waves change neither the accuracy nor how
often the two differ: perhaps since, after so few updates, they still hang on their own starts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.data import Data, Features, Labels, Logits
from ilk.errors import InputError, NoLabels
from ilk.models import Facts, unit_rows

if TYPE_CHECKING:
    from ilk.training.mutual import Pair

BATCH, PASSES, LEAST = 64, 6.0, 60  # passes over the source, a third of that in each round
CHUNK = 512
SMALLEST = 12  # pixels: below, no wave fits the last map
TURNS = 20  # of k-means


@dataclass(frozen=True, eq=False)
class TwoNetworks:
    """The weights of both networks, and what they need to be built anew.

    Attributes:
        weights: `[2, parameters]` float32.
        channels: Of the images.
        classes: Number of classes.
        attention: Whether the networks have it.
        centre, scale: How pixels are standardised.
        seen: The classes that had a row, `[s]` int64.
    """

    weights: Features
    channels: int
    classes: int
    attention: bool
    centre: float
    scale: float
    seen: Labels

    def logits(self, x: NDArray[Any]) -> Logits:
        """Log of the mean of both networks' probabilities, `[n, k]`, of images `[n, c, h, w]`."""
        told = np.exp(self.each(x)).mean(0)
        seen = np.isin(np.arange(self.classes), self.seen)
        return np.where(seen, np.log(np.maximum(told, 1e-300)), -np.inf)

    def each(self, x: NDArray[Any]) -> Logits:
        """Log probabilities of either network, `[2, n, k]`; `-inf` where never seen."""
        from scipy.special import log_softmax

        out = np.full((2, len(x), self.classes), -np.inf)
        for net, own in zip(self._nets(), out, strict=True):
            own[:, self.seen] = log_softmax(self._run(net, x, False)[:, self.seen], axis=1)
        return out

    def features(self, x: NDArray[Any]) -> Features:
        """What each network's last layer reads, `[2, n, h]`."""
        return np.stack([self._run(net, x, True) for net in self._nets()]).astype(np.float32)

    def apart(self, x: NDArray[Any]) -> float:
        """Share of the images that the two answer differently."""
        one, two = self.each(x).argmax(2)
        return float(np.mean(one != two))

    def _run(self, net: Any, x: NDArray[Any], features: bool) -> NDArray[np.float64]:
        import torch

        images = (np.asarray(x, np.float32) - np.float32(self.centre)) / np.float32(self.scale)
        with torch.inference_mode():
            parts = [
                net.features(part) if features else net(part)
                for part in torch.split(torch.from_numpy(images), CHUNK)
            ]
        return torch.cat(parts).double().numpy()

    def _nets(self) -> list[Any]:
        import torch
        from torch.nn.utils import vector_to_parameters

        from ilk.training.waves import Waved

        nets = []
        for weights in self.weights:
            with torch.random.fork_rng(devices=[]):
                net = Waved(self.channels, self.classes, attention=self.attention)
            vector_to_parameters(torch.from_numpy(np.array(weights)), net.parameters())
            nets.append(net.eval())
        return nets


@dataclass(frozen=True)
class WaveBlock(Facts):
    """Mutual teaching of two small convolutional networks under waves; reads images [n, c, h, w].

    Attributes:
        ratio: Share of a map's height that a wave leaves as it is, in [0, 1].
        factor: What the rest is multiplied by, > 0; 1 is plain mutual teaching.
        attention: Add attention before each wave.
        teaching: Share of the loss that comes from the other network's mean, in [0, 1]; 0 leaves
            two networks that train themselves.
        rounds: How often the rows without a label are grouped anew and learnt from, >= 0.
        seed: Draws weights, order and waves.
    """

    reads: ClassVar[Literal["features", "images"]] = "images"

    ratio: float = 0.3
    factor: float = 1.5
    attention: bool = True
    teaching: float = 0.5
    rounds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.ratio <= 1 and 0 <= self.teaching <= 1):
            raise ValueError(
                f"ratio is {self.ratio}, teaching {self.teaching}; both lie between 0 and 1"
            )
        if not 0 < self.factor < np.inf or self.rounds < 0:
            raise ValueError(
                f"factor is {self.factor}, rounds {self.rounds}; above 0 and at least 0 are needed"
            )

    def fit(self, data: Data) -> TwoNetworks:
        import torch

        from ilk.training.mutual import Pair
        from ilk.training.waves import Waved

        _checked(data)
        x = np.asarray(data.x, np.float32)
        centre, scale = float(x.mean()), float(x.std()) or 1.0
        rows = replace(data, x=(x - np.float32(centre)) / np.float32(scale))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            pair = Pair(lambda: Waved(x.shape[1], data.k, self.ratio, self.factor, self.attention))
        settled = self._taught(pair, rows.labelled(), PASSES)
        for _ in range(self.rounds if (rows.y < 0).any() else 0):
            if _collapsed(settled, rows):
                break
            told = replace(rows, y=_grouped(settled, rows))
            settled = self._taught(pair, told, PASSES / 3)
        weights = [torch.nn.utils.parameters_to_vector(net.parameters()) for net in settled.nets]
        return TwoNetworks(
            torch.stack(weights).detach().numpy().astype(np.float32),
            *(x.shape[1], data.k, self.attention, centre, scale),
            np.unique(data.y[data.y >= 0]),
        )

    def _taught(self, pair: Pair, rows: Data, passes: float) -> Pair:
        """`pair` goes on learning from `rows`; its average over these updates."""
        import torch

        from ilk.training.loop import Batch, Recipe, train
        from ilk.training.mutual import Pair, mutual

        made = max(LEAST, round(len(rows) * passes / BATCH))
        recipe = Recipe(made, min(BATCH, len(rows)), 4e-3, 20, seed=self.seed)
        batch = Batch(torch.from_numpy(np.array(rows.x)), torch.from_numpy(np.array(rows.y)))
        settled = train(pair, batch, mutual(self.teaching), recipe)
        assert isinstance(settled, Pair)
        return settled


def _checked(data: Data) -> None:
    if not (data.y >= 0).any():
        raise NoLabels(
            "WaveBlock learns from labels and there are none; label a few images, or use "
            "ZeroShot with an encoder that reads text"
        )
    if data.x.ndim != 4 or min(data.x.shape[2:]) < SMALLEST:
        raise InputError(
            f"WaveBlock reads images [n, channels, height, width] of {SMALLEST} pixels or more "
            f"each way and got an array of shape {data.x.shape}; give it pixels, not features"
        )


def _collapsed(pair: Pair, rows: Data) -> bool:
    """Whether one class has more of the target than halfway from its largest share to all.

    Centring the target by itself would then take away the class (`ilk.unlabelled.drift`).
    """
    import torch

    free = torch.from_numpy(np.array(rows.x[rows.y < 0]))
    with torch.inference_mode():
        parts = [
            torch.stack([net(x).softmax(1) for net in pair.nets]).mean(0).argmax(1)
            for x in torch.split(free, CHUNK)
        ]
    most = float(torch.bincount(torch.cat(parts)).max()) / len(free)
    largest = rows.counts().max() / rows.counts().sum()
    return bool(most > (1 + largest) / 2 or most == 1)


def _grouped(pair: Pair, rows: Data) -> Labels:
    """Labels where known; else the class whose group a row joins, by k-means on the sphere.

    Either side is centred by itself: what shifts all of the target is no class.
    """
    import torch

    known, seen = rows.y >= 0, np.unique(rows.y[rows.y >= 0])
    with torch.inference_mode():
        parts = [
            torch.cat([net.features(x) for net in pair.nets], 1)  # type: ignore[operator]
            for x in torch.split(torch.from_numpy(np.array(rows.x)), CHUNK)
        ]
    features = torch.cat(parts).numpy()
    source, target = (
        unit_rows(part - part.mean(0)) for part in (features[known], features[~known])
    )
    centres = np.stack([source[rows.y[known] == c].mean(0) for c in seen])
    for _ in range(TURNS):
        group = (target @ unit_rows(centres).T).argmax(1)
        for c in np.unique(group):
            centres[c] = target[group == c].mean(0)
    y = rows.y.copy()
    y[~known] = seen[group]
    return y
