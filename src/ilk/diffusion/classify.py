"""The diffusion classifier: an image is of the class under which it is denoised best.

Alexander C. Li and others, 2023, Your Diffusion Model is Secretly a Zero-Shot Classifier,
arXiv 2303.16203: the noise is the same for every class of an image, so that only the difference
that the class makes is left (common random numbers).

With squared errors and a perfect denoiser D the score is the log likelihood, in nats, but for a
constant (Dongning Guo and others, 2005, Mutual Information and Minimum Mean-Square Error in
Gaussian Channels, doi:10.1109/TIT.2005.844072):

    log p(x | c) = const - 1/2 ∫ E |x - D|^2 d(1 / sigma^2)
                 = const - ∫ E |x - D|^2 / sigma^2 d(ln sigma)

so levels that are evenly spaced in ln sigma are weighed by 1 / sigma^2, which is what the paper's
plain mean of the errors of epsilon does at its own levels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ilk.diffusion.calls import DISTANCES, Calls
from ilk.diffusion.calls import Measure as Measure
from ilk.diffusion.calls import distance as distance
from ilk.diffusion.contract import Denoises
from ilk.progress import Progress, silent


def noises(network: Denoises, levels: int, seed: int = 0) -> Tensor:
    """One noise a level, `[levels, c, h, w]`: the same for every class and every image.

    An image's errors then depend on that image alone, whatever else is judged with it.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(levels, *network.shape, generator=generator)


def errors(
    network: Denoises,
    x: Tensor,
    sigmas: Tensor,
    noise: Tensor,
    measure: Measure = Measure(),  # noqa: B008  (frozen)
    progress: Progress = silent,
) -> Tensor:
    """How badly each image is denoised, as each class, at each level: `[n, k, levels]` float32.

    Args:
        network: Knows k classes.
        x: Images `[n, c, h, w]` in [-1, 1].
        sigmas: Noise levels `[levels]`.
        noise: Standard normal, `[levels, c, h, w]` (for all images), `[n, levels, c, h, w]` (an
            image's own) or `[n, k, levels, c, h, w]` (a class's own too, which throws the method's
            strength away: for the comparison).
        measure: Distance, calls at once, precision, device.
        progress: Told of the calls of the network.

    Raises:
        InputError: The network knows no classes, shapes do not go together, or memory is too small.
    """
    calls = Calls(network, x, sigmas, noise, measure)
    n, k, m = len(x), len(network.classes), len(sigmas)
    total, out, at = n * m * k, torch.empty(n * m * k), 0
    with progress("denoising", total) as advance:
        while at < total:
            part = torch.arange(at, min(at + calls.fit, total))
            out[part] = calls.errors(part // (m * k), part % k, part // k % m)
            advance(len(part))
            at += len(part)
    return out.view(n, m, k).transpose(1, 2)


def likelihood_weights(sigmas: Tensor, distance: str = "l2") -> Tensor:
    """Weights `[levels]`, mean 1, under which errors add up to a likelihood bound.

    For levels evenly spaced in ln sigma. An absolute error grows as sigma, a squared one as its
    square, so an absolute error is divided by sigma once.
    """
    weights = sigmas.double() ** -DISTANCES[distance]
    return (weights / weights.mean()).float()


def scores(errors: Tensor, weights: Tensor) -> Tensor:
    """`[n, k]`, higher is likelier: minus the weighted mean of errors `[n, k, levels]`."""
    return -(errors.double() * weights.double()).mean(2).float()
