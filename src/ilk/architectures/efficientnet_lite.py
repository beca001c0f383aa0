"""EfficientNet-Lite0: inverted residual blocks without squeeze-and-excite, ReLU6 throughout.

Tan and Le 2019, arXiv 1905.11946 (EfficientNet-B0); the Lite variant, published with TensorFlow's
models in 2020, drops squeeze-and-excite and replaces swish by ReLU6. Blocks: Sandler et al. 2018,
arXiv 1801.04381 (MobileNetV2). Padding is TensorFlow's "SAME": at stride 2, the extra pixel lies
right and below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ilk.core.student_images import check_images, read_sides

STUDENTS = ("efficientnet-lite0",)
START = "efficientnet-lite0"  # the encoder whose weights a student starts from
MIN_SIDE = 32  # pixels of a student's images: its features are one pixel wide then
N_FEATURES = 1280
N_CLASSES = 1000
BATCH_NORM_EPS = 1e-3


class Stage(NamedTuple):
    """A stage of blocks: expansion, output channels, blocks, stride of the first, kernel size."""

    expansion: int
    channels: int
    n_blocks: int
    stride: int
    kernel: int


STAGES = (
    Stage(1, 16, 1, 1, 3),
    Stage(6, 24, 2, 2, 3),
    Stage(6, 40, 2, 2, 5),
    Stage(6, 80, 3, 2, 3),
    Stage(6, 112, 3, 1, 5),
    Stage(6, 192, 4, 2, 5),
    Stage(6, 320, 1, 1, 3),
)
STEM_CHANNELS = 32


class SamePadConv(nn.Conv2d):
    """A convolution without bias, padded so that the output has `ceil(input / stride)` pixels."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """Return `[b, outputs, h', w']` of `[b, inputs, h, w]`."""
        if self.stride[0] > 1:
            vertical = _same_padding(input.shape[2], self.kernel_size[0], self.stride[0])
            horizontal = _same_padding(input.shape[3], self.kernel_size[1], self.stride[1])
            input = functional.pad(input, (*horizontal, *vertical))  # noqa: A001
        return super().forward(input)


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and after, in pixels."""
    total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return total // 2, total - total // 2


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; plus the input where the shapes allow it."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.has_expansion, self.has_residual = expansion > 1, stride == 1 and inputs == outputs
        if self.has_expansion:
            self.expand_conv = SamePadConv(inputs, width, 1)
            self.bn0 = nn.BatchNorm2d(width, BATCH_NORM_EPS)
        self.depthwise_conv = SamePadConv(width, width, kernel, stride, groups=width)
        self.bn1 = nn.BatchNorm2d(width, BATCH_NORM_EPS)
        self.project_conv = SamePadConv(width, outputs, 1)
        self.bn2 = nn.BatchNorm2d(outputs, BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[b, outputs, h', w']` of `[b, inputs, h, w]`."""
        y = functional.relu6(self.bn0(self.expand_conv(x))) if self.has_expansion else x
        y = functional.relu6(self.bn1(self.depthwise_conv(y)))
        y = cast(Tensor, self.bn2(self.project_conv(y)))
        return x + y if self.has_residual else y


class EfficientNetLite0(nn.Module):
    """The network up to its pooled features; `fc` maps them to logits of the ImageNet classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SamePadConv(3, STEM_CHANNELS, 3, stride=2)
        self.bn0 = nn.BatchNorm2d(STEM_CHANNELS, BATCH_NORM_EPS)
        blocks, inputs = [], STEM_CHANNELS
        for stage in STAGES:
            for i in range(stage.n_blocks):
                stride = stage.stride if i == 0 else 1
                blocks.append(
                    InvertedResidual(inputs, stage.channels, stage.expansion, stride, stage.kernel)
                )
                inputs = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = SamePadConv(inputs, N_FEATURES, 1)
        self.bn1 = nn.BatchNorm2d(N_FEATURES, BATCH_NORM_EPS)
        self.fc = nn.Linear(N_FEATURES, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return features `[b, 1280]` of normalized images `[b, 3, h, w]`."""
        x = functional.relu6(self.bn0(self.conv_stem(x)))
        x = functional.relu6(self.bn1(self.conv_head(self.blocks(x))))
        features: Tensor = x.mean((2, 3))
        return features

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """Return the outputs `[b, c, h', w']` of the seven stages for images `[b, 3, h, w]`."""
        x = functional.relu6(self.bn0(self.conv_stem(x)))
        outputs: list[Tensor] = []
        blocks = iter(self.blocks)
        for stage in STAGES:
            for block in islice(blocks, stage.n_blocks):
                x = block(x)
            outputs.append(x)
        return outputs

    def load_published(self, tensors: Mapping[str, Tensor]) -> None:
        """Load tensors `[...]` under their published names, such as `_blocks.0._bn1.weight`.

        Raises:
            RuntimeError: A tensor is missing, is not one of the network's, or has another shape.
        """
        renamed = {
            ".".join(part.removeprefix("_") for part in name.split(".")): tensor
            for name, tensor in tensors.items()
        }
        self.load_state_dict(renamed)


class EfficientNetStudent(EfficientNetLite0):
    """The network with a head of its own.

    Args:
        n_classes: Number of classes.
        sides: Height and width of its images in pixels, each at least 32.
        seed: Seed of the weights.

    Raises:
        InputError: An image of that size is too small.
    """

    def __init__(self, n_classes: int, sides: tuple[int, int], seed: int = 0) -> None:
        check_images(3, sides, MIN_SIDE, ", or another student, such as cnn-1m")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__()
            self.fc = nn.Linear(N_FEATURES, n_classes)

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[n, 1280]` of normalized images `[n, 3, h, w]`."""
        return super().forward(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of normalized images `[n, 3, h, w]`."""
        logits: Tensor = self.fc(self.forward_features(x))
        return logits


def make_student(
    name: str, n_classes: int, channels: int, size: int | Sequence[int], seed: int = 0
) -> EfficientNetStudent:
    """Return a student with random weights, for colour images whatever `channels` says.

    Raises:
        InputError: Its images would be too small.
    """
    return EfficientNetStudent(n_classes, read_sides(size), seed)
