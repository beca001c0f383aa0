"""ResNet-20 for CIFAR-10, for features of a network trained on the same classes.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, 2016, Deep Residual Learning for Image
Recognition, arXiv 1512.03385, section 4.2: three stages of three blocks with 16, 32 and 64
channels; where a stage halves the image, its shortcut takes every second pixel and pads channels
with 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import shared_files
from benchmarks.decoders import CIFAR_CLASSES
from benchmarks.runner import shared_path
from ilk.core.data import Data

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the weights were trained with
CHUNK = 250


def load_cifar_test() -> Data:
    """Load the CIFAR-10 test set (JPEG) in the order of `read_cifar("test")`, 64 features.

    The network was trained on the lossless training part and its labels, without test labels.
    """
    x, y = shared_files.load_or_compute_arrays("cifar-test-resnet20", _compute_features)
    return Data(x, y, CIFAR_CLASSES)


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.stride = out_channels // in_channels
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        z = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        padding = (z.shape[1] - x.shape[1]) // 2
        shortcut = functional.pad(
            x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, padding, padding)
        )
        return functional.relu(z + shortcut)


class ResNet(nn.Module):
    """Maps standardised images `[b, 3, 32, 32]` to features `[b, 64]`; names match the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32), Block(32, 32), Block(32, 32))
        self.layer3 = nn.Sequential(Block(32, 64), Block(64, 64), Block(64, 64))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        z = functional.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(z))).mean((2, 3))  # type: ignore[no-any-return]


def _compute_features() -> tuple[Any, ...]:
    path = shared_path("weights", "cifar10_resnet", "resnet20-12fca82f.th")
    weights = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    network = ResNet()
    network.load_state_dict({name.removeprefix("module."): w for name, w in weights.items()})
    network.eval()
    labels, images = [], []
    for name, raw in shared_files.iterate_archive("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        if name.endswith(".jpg") and "test/" in name:
            labels.append(CIFAR_CLASSES.index(name.split("/")[-2]))
            images.append(np.asarray(shared_files.decode_image(raw, "RGB")))
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.inference_mode():
        rows = [network(x[at : at + CHUNK]).numpy() for at in range(0, len(x), CHUNK)]
    return np.concatenate(rows), np.array(labels)
