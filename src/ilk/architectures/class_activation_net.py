"""A small convolutional network whose class activation maps say where it looks.

Bolei Zhou and others, 2016, Learning Deep Features for Discriminative Localization, arXiv
1512.04150, equation 2: with average pooling before the linear layer, the logit of class c is the
mean over places of `sum_f w_cf a_f(place)`, the map of c, plus its bias.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ClassActivationNet(nn.Module):
    """Four blocks of convolution 3 x 3, batch normalization and rectifier; the mean over places.

    The image is halved after the first two blocks, where it has 4 pixels or more.

    Args:
        channels: Channels of an image.
        n_classes: Number of classes.
        width: Filters of each block.
        seed: Seed of the weights.
    """

    def __init__(self, channels: int, n_classes: int, width: int = 32, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.convolutions = nn.ModuleList(
                nn.Conv2d(width if i else channels, width, 3, padding=1, bias=False)
                for i in range(4)
            )
            self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(4))
            self.linear = nn.Linear(width, n_classes)

    def forward_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the features of each place, `[n, f, h', w']`, and what each norm was given.

        Args:
            x: Standardized images, `[n, c, h, w]`.
        """
        inputs = []
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            x = convolution(x)
            inputs.append(x)
            x = norm(x).relu()
            if i < 2 and min(x.shape[-2:]) >= 4:
                x = functional.avg_pool2d(x, 2)
        return x, inputs

    def forward(self, x: Tensor) -> Tensor:
        """Return logits `[n, k]` of standardized images `[n, c, h, w]`."""
        logits: Tensor = self.linear(self.forward_maps(x)[0].mean((2, 3)))
        return logits

    def compute_activation(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the map of each image's class, in [0, 1] from its least to its greatest place.

        Args:
            x: Standardized images, `[n, c, h, w]`.
            y: Their classes, `[n]`.

        Returns:
            `[n, 1, h, w]`, enlarged to the image; 0 everywhere where all places are equal.
        """
        places, _ = self.forward_maps(x)
        maps = torch.einsum("nfhw,nf->nhw", places, self.linear.weight[y])[:, None]
        maps = functional.interpolate(maps, x.shape[-2:], mode="bilinear", align_corners=False)
        low, high = maps.amin((2, 3), keepdim=True), maps.amax((2, 3), keepdim=True)
        return (maps - low) / (high - low).clamp(min=1e-12)

    def compute_statistics_loss(self, x: Tensor) -> Tensor:
        """Return how far the statistics of images are from those of the training, a scalar.

        The mean over the normalizations of `mean_f (m_f - M_f)^2 / V_f + (v_f / V_f - 1)^2`, with m
        and v the mean and variance of filter f in these images and M and V those that it kept.
        """
        _, inputs = self.forward_maps(x)
        losses = []
        for norm, values in zip(self.norms, inputs, strict=True):
            assert isinstance(norm, nn.BatchNorm2d), "made above"
            mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), correction=0)
            kept_mean, kept = norm.running_mean, norm.running_var
            assert kept_mean is not None, "it is tracked"
            assert kept is not None, "it is tracked"
            kept = kept.clamp(min=1e-6)
            losses.append(((mean - kept_mean) ** 2 / kept + (variance / kept - 1) ** 2).mean())
        return torch.stack(losses).mean()
