"""The first step of a network that is trained from pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.hub.preprocessing import Preprocess


class Normalizer(nn.Module):
    """Pixels `[n, c, h, w]` uint8 to what a network takes, as `Preprocess.normalize`.

    Args:
        preprocess: The network's preprocessing.
        channels: Channels of the images, c: the first ones of the preprocessing.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocess: Preprocess, channels: int = 3) -> None:
        super().__init__()
        self.factor = preprocess.factor
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocess, name)[:channels], dtype=torch.float32)
            self.register_buffer(name, values.view(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return normalized images `[n, c, h, w]` float32 of pixels `[n, c, h, w]`."""
        x = x.float()
        x = x / 255 if self.factor is None else x * self.factor
        return (x - self.mean) / self.std
