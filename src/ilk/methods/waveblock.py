"""WaveBlock: two networks teach each other, and differ because each has other parts scaled.

Wenhao Wang, Fang Zhao, Shengcai Liao, Ling Shao, 2020, Attentive WaveBlock:
Complementarity-enhanced Mutual Networks for Unsupervised Domain Adaptation in Person
Re-identification and Beyond, arXiv 2006.06525. In training, a feature map x of height H becomes

    x'[.., h, ..] = x[.., h, ..]           for start <= h < start + round(ratio H)
    x'[.., h, ..] = factor x[.., h, ..]    elsewhere;  start is drawn for each network and batch

after attention, x <- attention(x) + x, over channels and then space (Woo et al. 2018,
arXiv 1807.06521). Labelled rows are the source domain, unlabelled rows the target. In each of
`rounds`, target rows are clustered by k-means from the class means of the source, and the clusters'
classes are pseudo-labels for two networks under mutual mean-teaching
(`ilk.training.objectives.mutual_teaching`), unless one class has nearly all predictions.

Departures: the paper adapts ResNet-50 to unseen people, so that its clusters have no classes and
only the target is trained on; here a network of three convolutions learns known classes from small
images. Teachers predict without WaveBlocks. Normalization is per image and absorbs the larger scale
that WaveBlocks cause, where the paper has batch normalization. The prediction is the mean of both
networks, where the paper takes the better one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import MethodTags, check_weights
from ilk.core.data import Data, Features, Labels, Logits
from ilk.core.errors import InputError, NoLabels
from ilk.core.linear_models import normalize_rows

if TYPE_CHECKING:
    from ilk.training.objectives.mutual_teaching import MutualTeaching, PeerNetworks

BATCH, EPOCHS, MIN_STEPS = 64, 6.0, 60  # a round has a third of the epochs
CHUNK_SIZE = 512
MIN_IMAGE_SIZE = 12  # pixels; smaller feature maps have no room for a stripe
KMEANS_ITERATIONS = 20


@dataclass(frozen=True, eq=False)
class NetworkPair:
    """The weights of both networks, and the settings to rebuild them.

    Attributes:
        parameters: `[2, parameters]` float32.
        in_channels: Channels of the images.
        n_classes: Number of classes.
        attention: Whether the networks have attention.
        centre: Mean of the training pixels.
        scale: Standard deviation of the training pixels.
        present_classes: Classes with labelled rows, `[s]` int64.
    """

    kind: ClassVar[str] = "network_pair"
    shapes: ClassVar[dict[str, str]] = {"parameters": "2 p", "present_classes": "s"}

    parameters: Features
    in_channels: int
    n_classes: int
    attention: bool
    centre: float
    scale: float
    present_classes: Labels

    def logits(self, x: NDArray[Any]) -> Logits:
        """Return the log of the mean probabilities, `[n, k]`, for images `[n, c, h, w]`."""
        probabilities = np.exp(self.predict_log_proba(x)).mean(0)
        present = np.isin(np.arange(self.n_classes), self.present_classes)
        return np.where(present, np.log(np.maximum(probabilities, 1e-300)), -np.inf)

    def predict_log_proba(self, x: NDArray[Any]) -> Logits:
        """Return log-probabilities of both networks, `[2, n, k]`, for images `[n, c, h, w]`."""
        from scipy.special import log_softmax

        out = np.full((2, len(x), self.n_classes), -np.inf)
        for net, net_out in zip(self._build_networks(), out, strict=True):
            net_out[:, self.present_classes] = log_softmax(
                self._run(net, x, False)[:, self.present_classes], axis=1
            )
        return out

    def extract_features(self, x: NDArray[Any]) -> Features:
        """Return the inputs of both last layers, `[2, n, d]`, for images `[n, c, h, w]`."""
        return np.stack([self._run(net, x, True) for net in self._build_networks()]).astype(
            np.float32
        )

    def measure_disagreement(self, x: NDArray[Any]) -> float:
        """Return the fraction of images `[n, c, h, w]` for which the two predictions differ."""
        first, second = self.predict_log_proba(x).argmax(2)
        return float(np.mean(first != second))

    def _run(self, net: Any, x: NDArray[Any], return_features: bool) -> NDArray[np.float64]:
        import torch

        images = (np.asarray(x, np.float32) - np.float32(self.centre)) / np.float32(self.scale)
        with torch.inference_mode():
            parts = [
                net.compute_features(part) if return_features else net(part)
                for part in torch.split(torch.from_numpy(images), CHUNK_SIZE)
            ]
        return torch.cat(parts).double().numpy()

    def _build_networks(self) -> list[Any]:
        import torch
        from torch.nn.utils import vector_to_parameters

        from ilk.architectures.waveblock_net import WaveBlockNet

        nets = []
        for weights in self.parameters:
            with torch.random.fork_rng(devices=[]):
                net = WaveBlockNet(self.in_channels, self.n_classes, attention=self.attention)
            vector_to_parameters(torch.from_numpy(np.array(weights)), net.parameters())
            nets.append(net.eval())
        return nets


@dataclass(frozen=True)
class WaveBlock(MethodTags):
    """Mutual teaching of two small networks with WaveBlocks, on images `[n, c, h, w]`.

    Attributes:
        ratio: Fraction of the rows of a feature map that a WaveBlock leaves unscaled, in [0, 1].
        factor: Factor of the other rows, > 0; 1 is plain mutual teaching.
        attention: Apply attention before each WaveBlock.
        teacher_weight: Weight of the other network's teacher in the loss, in [0, 1]; with 0 the
            networks are independent.
        rounds: Number of rounds of clustering and training on pseudo-labels, >= 0.
        seed: Seed of weights, order and WaveBlocks.
    """

    input_kind: ClassVar[Literal["features", "images"]] = "images"
    uses_unlabelled: ClassVar[bool] = True

    ratio: float = 0.3
    factor: float = 1.5
    attention: bool = True
    teacher_weight: float = 0.5
    rounds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.ratio <= 1 and 0 <= self.teacher_weight <= 1):
            raise ValueError(
                f"ratio is {self.ratio}, teacher_weight {self.teacher_weight}; "
                "both must be between 0 and 1"
            )
        if not 0 < self.factor < np.inf or self.rounds < 0:
            raise ValueError(
                f"factor is {self.factor}, rounds {self.rounds}; "
                "factor must be above 0, rounds at least 0"
            )

    def fit(self, data: Data) -> NetworkPair:
        import torch

        from ilk.architectures.waveblock_net import WaveBlockNet
        from ilk.training.objectives.mutual_teaching import MutualTeaching, PeerNetworks

        _check_data(data)
        check_weights(data, self)
        data = data.take_weighted()
        x = np.asarray(data.x, np.float32)
        centre, scale = float(x.mean()), float(x.std()) or 1.0
        rows = replace(data, x=(x - np.float32(centre)) / np.float32(scale))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            pair = PeerNetworks(
                lambda: WaveBlockNet(x.shape[1], data.k, self.ratio, self.factor, self.attention)
            )
        objective = MutualTeaching(self.teacher_weight)
        averaged = self._train(pair, objective, rows.take_labelled(), EPOCHS)
        for _ in range(self.rounds if (rows.y < 0).any() else 0):
            if _is_collapsed(averaged, rows):
                break
            pseudo_labelled = replace(rows, y=_assign_pseudo_labels(averaged, rows))
            averaged = self._train(pair, objective, pseudo_labelled, EPOCHS / 3)
        weights = [
            torch.nn.utils.parameters_to_vector(net.parameters()) for net in averaged.networks
        ]
        return NetworkPair(
            torch.stack(weights).detach().numpy().astype(np.float32),
            *(x.shape[1], data.k, self.attention, centre, scale),
            np.unique(data.y[data.y >= 0]),
        )

    def _train(
        self, pair: PeerNetworks, objective: MutualTeaching, rows: Data, epochs: float
    ) -> PeerNetworks:
        """Train `pair` on `rows`; return its average over these updates."""
        import torch

        from ilk.training.trainer import Batch, Recipe, train

        n_steps = max(MIN_STEPS, round(len(rows) * epochs / BATCH))
        recipe = Recipe(n_steps, min(BATCH, len(rows)), 4e-3, 20, seed=self.seed)
        batch = Batch(torch.from_numpy(np.array(rows.x)), torch.from_numpy(np.array(rows.y)))
        return train(pair, batch, objective, recipe)


def _check_data(data: Data) -> None:
    if not (data.y >= 0).any():
        raise NoLabels(
            "WaveBlock learns from labels and there are none; label a few images, or use "
            "ZeroShot with an encoder that reads text"
        )
    if data.x.ndim != 4 or min(data.x.shape[2:]) < MIN_IMAGE_SIZE:
        raise InputError(
            f"WaveBlock reads images [n, channels, height, width] of {MIN_IMAGE_SIZE} pixels or "
            f"more in height and width, and got an array of shape {data.x.shape}; "
            "use the encoder pixels, such as pixels/32x32x3"
        )


def _is_collapsed(pair: PeerNetworks, rows: Data) -> bool:
    """Whether one class has more of the predictions than halfway from the largest prior to 1.

    Centring the target domain would then remove the class (`ilk.transduction.stream_checks`).
    """
    import torch

    targets = torch.from_numpy(np.array(rows.x[rows.y < 0]))
    with torch.inference_mode():
        parts = [
            torch.stack([net(x).softmax(1) for net in pair.networks]).mean(0).argmax(1)
            for x in torch.split(targets, CHUNK_SIZE)
        ]
    max_proportion = float(torch.bincount(torch.cat(parts)).max()) / len(targets)
    max_prior = rows.count_labels().max() / rows.count_labels().sum()
    return bool(max_proportion > (1 + max_prior) / 2 or max_proportion == 1)


def _assign_pseudo_labels(pair: PeerNetworks, rows: Data) -> Labels:
    """Labels where known, else the class of the row's cluster, by k-means on the sphere.

    Each domain is centred by itself, which removes a shift of the whole target domain.
    """
    import torch

    is_labelled, present = rows.y >= 0, np.unique(rows.y[rows.y >= 0])
    with torch.inference_mode():
        parts = [
            torch.cat([net.compute_features(x) for net in pair.networks], 1)  # type: ignore[operator]
            for x in torch.split(torch.from_numpy(np.array(rows.x)), CHUNK_SIZE)
        ]
    features = torch.cat(parts).numpy()
    source, target = (
        normalize_rows(part - part.mean(0))
        for part in (features[is_labelled], features[~is_labelled])
    )
    centres = np.stack([source[rows.y[is_labelled] == c].mean(0) for c in present])
    for _ in range(KMEANS_ITERATIONS):
        group = (target @ normalize_rows(centres).T).argmax(1)
        for c in np.unique(group):
            centres[c] = target[group == c].mean(0)
    y = rows.y.copy()
    y[~is_labelled] = present[group]
    return y
