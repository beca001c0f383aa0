"""A small convolutional network with instance normalization, whose weights can be drawn anew.

The network on which condensed sets are made and compared: blocks of convolution 3 x 3, instance
normalization, rectifier and average pooling, and a linear layer (Spyros Gidaris, Nikos Komodakis,
2018, arXiv 1804.09458; Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, 2021, Dataset Condensation with
Gradient Matching, arXiv 2006.05929, section 4.1).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MIN_SIDE = 2  # pixels that a side has at least after the last block


class InstanceNormNet(nn.Module):
    """Blocks of convolution, instance normalization, rectifier and pooling, and a linear layer.

    Args:
        channels: Channels of an image.
        size: Height and width of an image in pixels, each >= 1.
        n_classes: Number of classes.
        width: Filters of each block.
        depth: Number of blocks, each of which halves the image; small images get fewer.
        seed: Seed of the weights.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        n_classes: int,
        width: int = 32,
        depth: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        height, wide = size
        for i in range(depth):
            layers += [
                nn.Conv2d(width if i else channels, width, 3, padding=1),
                nn.GroupNorm(width, width) if min(height, wide) > 1 else nn.Identity(),
                nn.ReLU(),
            ]
            if min(height, wide) < 2 * MIN_SIDE:
                break
            layers += [nn.AvgPool2d(2)]
            height, wide = height // 2, wide // 2
        self.blocks = nn.Sequential(*layers)
        self.linear = nn.Linear(width * height * wide, n_classes)
        self.reset(torch.Generator().manual_seed(seed))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw all weights anew, uniformly within 1 / sqrt(inputs), as PyTorch does."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                bound = module.weight[0].numel() ** -0.5
                for p in module.parameters(recurse=False):
                    p.copy_(
                        torch.empty(p.shape, device=generator.device).uniform_(
                            -bound, bound, generator=generator
                        )
                    )
            elif isinstance(module, nn.GroupNorm):
                module.weight.fill_(1.0)
                module.bias.zero_()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features `[n, f]` of standardized images `[n, c, h, w]`."""
        return torch.flatten(self.blocks(x), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of standardized images `[n, c, h, w]`."""
        logits: Tensor = self.linear(self.forward_features(x))
        return logits
