"""A nearest-class-mean head on standardised features of a diffusion network.

It costs one network call per image, instead of one per class and level, so it can preselect classes
(`ilk.diffusion.classification.shortlist`). Each network has its own head, fitted to the images that
the network was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ilk.core.errors import ArtifactError
from ilk.diffusion.denoiser.companions import check_network, name_network
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.features.extract import extract_features
from ilk.diffusion.features.feature_point import FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.training import checkpoint

FILE = "nearest_mean_head.safetensors"
ABSENT_CLASS_MEAN = 1e4  # coordinates of a class without images


@dataclass(frozen=True, eq=False)
class NearestMeanHead:
    """Nearest class means.

    Attributes:
        point: Where features are extracted.
        mean: Mean of each feature, `[d]`.
        std: Standard deviation of each feature, `[d]`, > 0.
        class_means: Mean of each class, standardised, `[k, d]`.
    """

    point: FeaturePoint
    mean: Tensor
    std: Tensor
    class_means: Tensor

    @classmethod
    def fit(cls, network: Denoises, x: Tensor, y: Tensor, point: FeaturePoint) -> NearestMeanHead:
        """Fit to images `[n, c, h, w]` and classes `[n]`; rows of -1 are ignored."""
        embeddings = _embed_images(network, x[y >= 0], point)
        mean, std = embeddings.mean(0), embeddings.std(0, correction=0).clamp(min=1e-6)
        z, label = (embeddings - mean) / std, y[y >= 0]
        class_means = torch.full((len(network.classes), z.shape[1]), ABSENT_CLASS_MEAN)
        for c in sorted(set(label.tolist())):
            class_means[c] = z[label == c].mean(0)
        return cls(point, mean, std, class_means)

    def score(self, network: Denoises, x: Tensor) -> Tensor:
        """Return scores `[n, k]`: minus the mean squared distance to each class mean."""
        z = (_embed_images(network, x, self.point) - self.mean) / self.std
        return -torch.cdist(z, self.class_means).square() / z.shape[1]

    def select_classes(self, classes: Sequence[int]) -> NearestMeanHead:
        """Restrict to the given classes, in that order."""
        return NearestMeanHead(self.point, self.mean, self.std, self.class_means[list(classes)])

    def save(self, folder: Path) -> None:
        """Write the head to the folder of its network."""
        arrays = {"mean": self.mean, "std": self.std, "class_means": self.class_means}
        checkpoint.save(arrays, folder / FILE, {"point": str(self.point), **name_network(folder)})


def load(folder: Path) -> NearestMeanHead:
    """Load the head of the network in `folder`.

    Raises:
        ArtifactError: There is none, or it is damaged.
    """
    if not (folder / FILE).exists():
        raise ArtifactError(
            f"{folder} has no nearest-mean head for the shortlist; pretrain with labels again, or "
            "omit shortlist"
        )
    arrays, metadata = checkpoint.load(folder / FILE)
    check_network(metadata, folder / FILE)
    try:
        point = FeaturePoint.parse(metadata["point"])
        mean, std, class_means = arrays["mean"], arrays["std"], arrays["class_means"]
        if not (mean.shape == std.shape == class_means.shape[1:] and class_means.dim() == 2):
            raise ValueError("shapes that do not fit")
        return NearestMeanHead(point, mean, std, class_means)
    except (KeyError, ValueError):
        raise ArtifactError(f"{folder / FILE} was not written by ilk; pretrain again") from None


def _embed_images(network: Denoises, x: Tensor, point: FeaturePoint) -> Tensor:
    """Return features `[n, d]` float32."""
    hooks = Hooks(network)
    try:
        return extract_features(hooks, x, [point])
    finally:
        hooks.close()
