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

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ilk.diffusion.contract import Denoises
from ilk.errors import InputError
from ilk.progress import Progress, silent

DISTANCES = {"l2": 2, "l1": 1, "huber": 2}  # an error grows as sigma to this, while it is small


@dataclass(frozen=True)
class Measure:
    """How denoising errors are taken.

    Attributes:
        distance: `l2` (squared), `l1` (absolute) or `huber`; a mean over channels and places.
        batch: Calls of the network at once.
        precision: `float32` or `bfloat16`, for the network; errors are float32 always, since
            classes differ in digits that bfloat16 does not have.
        device: Where the network is.
    """

    distance: str = "l2"
    batch: int = 256
    precision: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCES:
            raise InputError(f"no distance is called {self.distance!r}: {', '.join(DISTANCES)}")
        if self.batch < 1:
            raise InputError(f"{self.batch} calls at once are none; give at least 1")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"no precision is called {self.precision!r}: float32 or bfloat16")


def noises(network: Denoises, levels: int, seed: int = 0) -> Tensor:
    """One noise a level, `[levels, c, h, w]`: the same for every class and every image.

    An image's errors then depend on that image alone, whatever else is judged with it.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(levels, *network.shape, generator=generator)


@torch.no_grad()
def errors(
    network: Denoises,
    x: Tensor,
    sigmas: Tensor,
    noise: Tensor,
    measure: Measure = Measure(),
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
        InputError: The network knows no classes, or shapes do not go together.
    """
    n, k, m = len(x), len(network.classes), len(sigmas)
    if not k:
        raise InputError(
            "this network was trained without classes, so it cannot compare them; "
            "pretrain on labelled images, or use its features"
        )
    if tuple(x.shape[1:]) != network.shape:
        told, takes = (" x ".join(map(str, s)) for s in (x.shape[1:], network.shape))
        raise InputError(f"images of {told} cannot go in: the network takes {takes}")
    noise = noise.expand(n, k, m, *network.shape) if noise.dim() == 6 else shared(noise, n, k)
    known = network.condition(torch.arange(k)).to(measure.device)
    sigmas, out = sigmas.float(), torch.empty(n * m * k)
    kind = measure.device.partition(":")[0]
    with progress("denoising", n * m * k) as advance:
        for at in torch.split(torch.arange(n * m * k), measure.batch):
            image, level, label = at // (m * k), at // k % m, at % k
            sigma, clean = sigmas[level], x[image]
            noisy = clean + sigma.view(-1, 1, 1, 1) * noise[image, label, level]
            with torch.autocast(kind, torch.bfloat16, enabled=measure.precision == "bfloat16"):
                condition = known[label.to(measure.device)]
                made = network.denoise(
                    noisy.to(measure.device), sigma.to(measure.device), condition
                )
            out[at] = distance(made.float().cpu(), clean, measure.distance)
            advance(len(at))
    return out.view(n, m, k).transpose(1, 2)


def distance(made: Tensor, clean: Tensor, kind: str) -> Tensor:
    """How far images lie from images, `[b]`: a mean over channels and places."""
    miss = (made - clean).flatten(1)
    if kind == "l2":
        return miss.square().mean(1)
    if kind == "l1":
        return miss.abs().mean(1)
    return functional.huber_loss(miss, torch.zeros_like(miss), reduction="none").mean(1)


def shared(noise: Tensor, n: int, k: int) -> Tensor:
    """`noise` of each level, or of each image and level, as `[n, k, levels, c, h, w]`, no copy."""
    noise = noise if noise.dim() == 5 else noise.expand(n, *noise.shape)
    return noise[:, None].expand(-1, k, *noise.shape[1:])


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
