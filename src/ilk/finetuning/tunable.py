"""The network that is trained: what is tuned, and a head that starts as that of the frozen network.

Ananya Kumar and others, 2022, Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution, arXiv 2202.10054: tuning that starts from a fitted head (LP-FT) changes the
features less. So a run starts at the frozen network's own answers, and validation can return to
them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ilk.core.linear_models import Linear
from ilk.finetuning.splitting import LatePart
from ilk.hub.preprocessing import Preprocess
from ilk.training.normalizer import Normalizer


class Tunable(nn.Module):
    """Activations or pixels `[b, ...]` to logits `[b, k]`.

    Args:
        late: What is tuned.
        head: The head at the start.
        preprocess: Of the network, where rows are pixels; None where they are activations.
    """

    def __init__(self, late: LatePart, head: Linear, preprocess: Preprocess | None = None) -> None:
        super().__init__()
        self.normalizer = nn.Identity() if preprocess is None else Normalizer(preprocess)
        self.late = late
        self.fc = nn.Linear(head.weight.shape[1], head.weight.shape[0])
        with torch.no_grad():
            self.fc.weight.copy_(torch.from_numpy(head.weight))
            self.fc.bias.copy_(torch.from_numpy(head.bias))

    def forward_features(self, x: Tensor) -> Tensor:
        """Return features `[b, d]` of rows `[b, ...]`."""
        features: Tensor = self.late(self.normalizer(x))
        return features

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[b, k]` of rows `[b, ...]`."""
        logits: Tensor = self.fc(self.forward_features(x))
        return logits

    def count_trained(self) -> int:
        """Return how many parameters of the network are trained, those of the head left out."""
        return sum(p.numel() for p in self.late.parameters() if p.requires_grad)
