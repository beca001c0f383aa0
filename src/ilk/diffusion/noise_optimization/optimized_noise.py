"""An optimized noise instead of hundreds of random ones: one network call per class.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330. The noise n~ = n_t + u(x) has a part shared by the data set and one per image;
`ilk.diffusion.noise_optimization.tuning` learns it. A random noise, or none at all (zero), is an
`OptimizedNoise` as well, so that all of them can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises
from ilk.diffusion.errors.class_errors import compute_class_errors
from ilk.diffusion.errors.denoising_errors import Measure
from ilk.diffusion.noise_optimization.offset import OffsetNetwork
from ilk.diffusion.result import ClassificationResult

MIN_VARIANCE = (
    1e-24  # least variance of errors over classes: equal errors say nothing, and do not blow up
)
REFERENCE_CLASSES = 8  # number of reference outputs


@dataclass(frozen=True, eq=False)
class OptimizedNoise:
    """The result of `ilk.diffusion.noise_optimization.tuning.optimize_noise`.

    Attributes:
        noise: `[c, h, w]`, in standard deviations.
        offset: The image-dependent part, or None.
        sigma: The noise level.
        distance: The distance of the errors.
        classes: Class names of the network.
        reference_outputs: Outputs of the network for the noise alone under each of the first 8
            classes, `[min(k, 8), c, h, w]`; they identify the network.
        metadata: Images, settings, loss.
    """

    noise: Tensor
    offset: OffsetNetwork | None
    sigma: float
    distance: str
    classes: tuple[str, ...]
    reference_outputs: Tensor
    metadata: dict[str, Any] = field(default_factory=dict)

    @torch.no_grad()
    def compute_noise(self, x: Tensor, measure: Measure = Measure()) -> Tensor:  # noqa: B008  (frozen)
        """Return the noise of each image of `x` `[n, c, h, w]`, `[n, c, h, w]`."""
        shared = self.noise.expand(x.shape)
        if self.offset is None or not len(x):
            return shared
        offset = self.offset.to(measure.device)
        parts = [
            offset(part.to(measure.device)).cpu() for part in torch.split(x, measure.batch_size)
        ]
        return shared + torch.cat(parts)

    def score_batch(
        self,
        network: Denoises,
        x: Tensor,
        measure: Measure = Measure(),  # noqa: B008  (frozen)
        progress: Progress = silent_progress,
    ) -> ClassificationResult:
        """Return scores `[n, k]`: minus the standardised errors, the logits of the loss.

        Args:
            network: The network that the noise was optimized for; called once per class and image.
            x: Images `[n, c, h, w]` in [-1, 1].
            measure: Batch size, precision, device; the distance is that of the noise.
            progress: Reports network calls.

        Raises:
            InputError: The network or the images have another shape, or the classes differ.
        """
        self.check_network(network)
        level, own_measure = torch.tensor([self.sigma]), replace(measure, distance=self.distance)
        if tuple(x.shape[1:]) == network.shape:  # `errors` says so where it is not
            noise = self.compute_noise(x, measure)[:, None]
        else:
            noise = self.noise[None]
        raw_errors = compute_class_errors(network, x, level, noise, own_measure, progress)[:, :, 0]
        return ClassificationResult(
            -standardize_errors(raw_errors), torch.full((len(x),), raw_errors.shape[1])
        )

    def check_network(self, network: Denoises) -> None:
        """Check that the noise fits a network.

        Raises:
            InputError: The network has another shape or other classes.
        """
        if network.shape != tuple(self.noise.shape):
            actual, expected = (" x ".join(map(str, s)) for s in (self.noise.shape, network.shape))
            raise InputError(
                f"a noise of {actual} does not go with a network that takes {expected}"
            )
        if network.classes != self.classes:
            raise InputError(
                f"the noise was optimized for the classes {', '.join(self.classes)} and the "
                f"network knows {', '.join(network.classes)}; optimize a noise for this network"
            )


def make_fixed_noise(
    network: Denoises, noise: Tensor, sigma: float, measure: Measure, kind: str
) -> OptimizedNoise:
    """Return a noise `[c, h, w]` that was not learned, at level `sigma`; `kind` describes it."""
    outputs = compute_reference_outputs(network, noise, sigma, measure.device)
    return OptimizedNoise(
        noise, None, sigma, measure.distance, network.classes, outputs, {"kind": kind}
    )


@torch.no_grad()
def compute_reference_outputs(
    network: Denoises, noise: Tensor, sigma: float, device: str = "cpu"
) -> Tensor:
    """Return the outputs `[min(k, 8), c, h, w]` for `sigma * noise` `[c, h, w]` under the first
    classes.
    """
    classes = torch.arange(min(len(network.classes), REFERENCE_CLASSES))
    noisy = (sigma * noise).expand(len(classes), *noise.shape).to(device)
    level = torch.full((len(classes),), sigma, device=device)
    return network.denoise(noisy, level, network.condition(classes).to(device)).float().cpu()


def standardize_errors(errors: Tensor) -> Tensor:
    """Return errors `[n, k]` minus their mean over classes, divided by their standard deviation."""
    centered = errors - errors.mean(1, keepdim=True)
    return centered / centered.square().mean(1, keepdim=True).clamp_min(MIN_VARIANCE).sqrt()
