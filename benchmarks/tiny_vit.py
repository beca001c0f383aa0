"""Tiny vision transformers, pretrained once on some classes of a data set and cached.

The networks lie in the folder of `ILK_TRIALS` (else `.ilk-trials`); delete it to train them anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import datasets
from benchmarks.decoders import CIFAR_CLASSES
from benchmarks.diffusion_setup import get_cache_dir
from benchmarks.shared_files import decode_image, iterate_archive, load_or_compute_arrays
from ilk.architectures.tiny_vit import TinyViT, TinyViTConfig
from ilk.core.data import Data, Labels
from ilk.training import checkpoint
from ilk.training.batch import Batch
from ilk.training.objectives.cross_entropy import CrossEntropy
from ilk.training.recipe import Recipe
from ilk.training.trainer import train

DATASETS = ("mnist", "fashion", "cifar", "notmnist", "usps")
CHANNELS, SIZES, PATCHES = {"cifar": 3}, {"cifar": 32}, {"cifar": 4}  # else 1, 28 and 7
N_IMAGES, STEPS, BATCH_SIZE, LR = 15_000, 700, 128, 5e-3
CIFAR_PER_CLASS = {"train": 2500, "test": 500}


@dataclass(frozen=True)
class Images:
    """Images of a data set.

    Attributes:
        x: Pixels, `[n, c, h, w]`, with a mean near 0 and a variance near 1.
        y: Classes, `[n]`.
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def pick(self, rows: NDArray[np.int64]) -> Images:
        """Return the images at positions `rows [m]`."""
        chosen = torch.from_numpy(rows)
        return Images(self.x[chosen], self.y[chosen])

    def keep_classes(self, classes: Sequence[int]) -> Images:
        """Return the images of some classes; class `classes[i]` becomes `i`."""
        new = torch.full((int(self.y.max()) + 1,), -1)
        new[torch.tensor(list(classes))] = torch.arange(len(classes))
        kept = new[self.y] >= 0
        return Images(self.x[kept], new[self.y[kept]])

    def draw(self, per_class: int, rng: np.random.Generator) -> tuple[Images, Images]:
        """Return `per_class` random images of each class, and all others."""
        y = self.y.numpy()
        drawn = [rng.permutation(np.flatnonzero(y == c))[:per_class] for c in np.unique(y)]
        rows = np.concatenate(drawn)
        return self.pick(rows), self.pick(np.setdiff1d(np.arange(len(y)), rows))

    def to_batch(self) -> Batch:
        """Return the images as a training set."""
        return Batch(self.x, self.y)


@cache
def read_images(dataset: str, part: str = "train") -> Images:
    """Read a part, "train" or "test", of one of `DATASETS`.

    notMNIST has no parts: its even rows are "train", its odd ones "test".

    Raises:
        Unavailable: The data set is not in the shared data.
    """
    if dataset == "cifar":
        x, y = load_or_compute_arrays(f"cifar-{part}-tiny", lambda: _decode_cifar(part))
        pixels, mean, std = torch.from_numpy(x).float() / 255, 0.473, 0.251
        return Images((pixels - mean) / std, torch.from_numpy(y.astype(np.int64)))
    if dataset == "notmnist":
        data = datasets.read_notmnist()
        rows = np.arange(len(data))[0 if part == "train" else 1 :: 2]
        return _standardize(Data(data.x[rows], data.y[rows], data.classes))
    read: Any = {"mnist": datasets.read_mnist, "fashion": datasets.read_fashion}
    return _standardize({**read, "usps": datasets.read_usps}[dataset](part))


def _standardize(data: Data) -> Images:
    pixels = torch.from_numpy(np.array(data.x, np.float32)).reshape(-1, 1, 28, 28)
    return Images((pixels - 0.25) / 0.33, torch.from_numpy(np.array(data.y, np.int64)))


def _decode_cifar(part: str) -> tuple[NDArray[np.uint8], Labels]:
    rows: dict[int, list[NDArray[np.uint8]]] = {c: [] for c in range(len(CIFAR_CLASSES))}
    for name, raw in iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        if name.endswith(".jpg") and f"{part}/" in name:
            c = CIFAR_CLASSES.index(name.split("/")[-2])
            if len(rows[c]) < CIFAR_PER_CLASS[part]:
                rows[c].append(np.asarray(decode_image(raw, "RGB")).transpose(2, 0, 1))
    y = np.repeat(np.arange(len(rows)), [len(images) for images in rows.values()])
    return np.stack([image for images in rows.values() for image in images]), y


def make_config(dataset: str) -> TinyViTConfig:
    """Return the shape of the network of a data set: 16 tokens, or 64 on CIFAR-10."""
    channels, size = CHANNELS.get(dataset, 1), SIZES.get(dataset, 28)
    return TinyViTConfig(channels, size, PATCHES.get(dataset, 7))


def pretrain(
    dataset: str,
    classes: Sequence[int],
    seed: int,
    *,
    steps: int = STEPS,
    config: TinyViTConfig | None = None,
) -> TinyViT:
    """Return a network trained on some classes of a data set, in evaluation mode.

    It is trained on at most 15,000 images by AdamW and Muon, and cached; each call returns a new
    copy.

    Args:
        dataset: One of `DATASETS`.
        classes: Class indices; class `classes[i]` is output `i`.
        seed: Seed of the weights and of the order of images.
        steps: Updates of 128 images.
        config: Its shape; by default `make_config(dataset)`.

    Raises:
        Unavailable: The data set is not in the shared data.
    """
    network = TinyViT(config or make_config(dataset), len(classes), seed)
    shape = "-".join(str(value) for value in network.config.describe().values())
    name = f"{dataset}-{'-'.join(map(str, classes))}-{shape}-{steps}-{seed}.safetensors"
    path = get_cache_dir() / "tiny_vit" / name
    if path.exists():
        network.load_state_dict(checkpoint.load(path)[0])
        return network.eval()
    images = read_images(dataset).keep_classes(classes)
    rows = np.random.default_rng(seed).permutation(len(images))[:N_IMAGES]
    recipe = Recipe(steps, BATCH_SIZE, LR, max(1, steps // 10), 0.05, seed=seed)
    trained = train(network, images.pick(rows).to_batch(), CrossEntropy(), recipe)
    checkpoint.save(trained.state_dict(), path, {})
    return trained.requires_grad_(True)


@torch.inference_mode()
def measure_accuracy(network: torch.nn.Module, images: Images) -> float:
    """Return the fraction of images whose greatest logit is that of their class."""
    network.eval()
    answers = torch.cat([network(part).argmax(1) for part in torch.split(images.x, 500)])
    return float((answers == images.y).float().mean())
