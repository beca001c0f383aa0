"""ResNet-20 as it is built for CIFAR-10, for features of a network that learnt those very kinds.

Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun, 2016, Deep Residual Learning for Image
Recognition, arXiv 1512.03385, section 4.2: three stages of three blocks, 16, 32 and 64 channels;
where a stage halves the picture, its shortcut takes every second pixel and pads channels with 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.bench import _sets, shared
from ilk.data import Data

MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # what the weights were trained with
CHUNK = 250


def cifar_test() -> Data:
    """The CIFAR-10 test set (JPEG) as `_sets.cifar("test")` orders it, 64 features.

    The network learnt from the lossless training part and its labels, from no test label.
    """
    x, y = _sets._kept("cifar-test-resnet20", _made)
    return Data(x, y, _sets.CIFAR)


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.stride = outside // inside
        self.conv1 = nn.Conv2d(inside, outside, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        z = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        half = (z.shape[1] - x.shape[1]) // 2
        short = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half))
        return functional.relu(z + short)


class ResNet(nn.Module):
    """Pictures `[b, 3, 32, 32]`, standardised, to features `[b, 64]`; named as the weights are."""

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


def _made() -> tuple[Any, ...]:
    held = shared("weights", "cifar10_resnet", "resnet20-12fca82f.th")
    weights = torch.load(held, map_location="cpu", weights_only=True)["state_dict"]
    network = ResNet()
    network.load_state_dict({name.removeprefix("module."): w for name, w in weights.items()})
    network.eval()
    names, images = [], []
    for name, raw in _sets._members("cifar10_jpeg", "cifar10_jpeg.tar.gz"):
        if name.endswith(".jpg") and "test/" in name:
            names.append(_sets.CIFAR.index(name.split("/")[-2]))
            images.append(np.asarray(_sets._open(raw, "RGB")))
    x = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(SPREAD)[:, None, None]
    with torch.inference_mode():
        rows = [network(x[at : at + CHUNK]).numpy() for at in range(0, len(x), CHUNK)]
    return np.concatenate(rows), np.array(names)
