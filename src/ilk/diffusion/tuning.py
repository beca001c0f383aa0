"""How a noise is optimised on a few labelled images; the network is frozen.

Wang and Chen, 2025, Noise Matters: Optimizing Matching Noise for Diffusion Classifiers,
arXiv 2508.11330; the loss stands in `ilk.diffusion.contest`. Nothing keeps the noise standard
normal.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from ilk.diffusion.calls import Measure
from ilk.diffusion.classify import noises
from ilk.diffusion.contest import Contest, candidates, usable
from ilk.diffusion.contract import Denoises
from ilk.diffusion.offset import Offset, depth
from ilk.diffusion.optimised_noise import OptimisedNoise, answer
from ilk.errors import InputError
from ilk.progress import Progress, silent
from ilk.training.chance import order
from ilk.training.checkpoint import Diverged

PARTS = ("dataset", "offset", "both")


@dataclass(frozen=True)
class Tuning:
    """How a noise is optimised.

    The defaults were chosen on training images of digits: one noise for all, begun from none and
    moved in small steps, held up best on images not seen. `RELEASED` is what the paper's code does.

    Attributes:
        parts: `dataset` (one noise for all images), `offset` (a noise that stays as it began, and
            an image's own part) or `both`.
        epochs: Passes over the images; the last one counts, none is picked.
        batch: Images an update.
        lr: Learning rate of the data set's noise (Adam, no schedule, no decay).
        offset_lr: Learning rate of the offset's U-Net.
        scale: Of the random noise to begin with; 0 begins with none.
        candidates: Classes told apart in training: the true one and others at random.
        width: Of the offset's U-Net at its finest level, a multiple of 8.
        seed: Draws the noise to begin with, the order of images and the candidates.
        measure: `l1` or `l2`; calls at once, precision and device of the network.
    """

    parts: str = "dataset"
    epochs: int = 20
    batch: int = 8
    lr: float = 3e-3
    offset_lr: float = 1e-3
    scale: float = 0.0
    candidates: int = 15
    width: int = 64
    seed: int = 0
    measure: Measure = field(default_factory=lambda: Measure("l1"))

    def __post_init__(self) -> None:
        if self.parts not in PARTS:
            raise InputError(f"no part of a noise is called {self.parts!r}: {', '.join(PARTS)}")
        if min(self.epochs, self.batch) < 1 or self.candidates < 2:
            raise InputError(
                f"{self.epochs} epochs, batches of {self.batch} and {self.candidates} candidates "
                "teach nothing; give at least 1, 1 and 2"
            )
        if not (0 < self.lr < math.inf and 0 < self.offset_lr < math.inf and self.scale >= 0):
            raise InputError(
                f"learning rates {self.lr} and {self.offset_lr} must be above 0, "
                f"and the scale {self.scale} not below"
            )
        if self.measure.distance not in ("l1", "l2"):
            raise InputError(
                f"a noise is optimised under l1 or l2, not {self.measure.distance!r}: only these "
                "rank classes alike by the noise that is missed and by the image"
            )


RELEASED = Tuning("both", lr=1e-2, scale=1.0)


def optimise(
    network: Denoises,
    x: Tensor,
    y: Tensor,
    sigma: float,
    settings: Tuning = Tuning(),
    progress: Progress = silent,
) -> OptimisedNoise:
    """Learn a noise under which a few labelled images are told apart.

    Args:
        network: Knows at least 2 classes; its weights are left alone.
        x: Images `[n, c, h, w]` in [-1, 1].
        y: Class indices `[n]`; rows of -1 are left out.
        sigma: Noise level, such as `ilk.diffusion.single_noise.best_sigma` finds.
        settings: What is learned, and how.
        progress: Told of the updates.

    Raises:
        InputError: The network knows fewer than 2 classes, or images, labels or sigma do not go
            with it.
        NoLabels: No image has a label.
        Diverged: The noise left the finite numbers.
    """
    usable(network, x, y, sigma)
    x, y = x[y >= 0].float(), y[y >= 0]
    search = Search(network, float(sigma), settings)
    steps, losses = -(-settings.epochs * len(x) // settings.batch), list[float]()
    with progress("optimising the noise", steps) as advance:
        for step in range(steps):
            rows = order(step, settings.batch, len(x), settings.seed)
            k, most, seed = len(network.classes), settings.candidates, settings.seed
            losses.append(search.update(x[rows], candidates(y[rows], k, most, seed, step), step))
            advance(1)
    last = losses[-max(1, steps // settings.epochs) :]
    return search.found({"images": len(x), "loss": sum(last) / len(last)})


class Search:
    """The noise of the seed, an offset of 0 where one is wanted, and Adam on what moves."""

    def __init__(self, network: Denoises, sigma: float, settings: Tuning) -> None:
        self.contest = Contest(network, sigma, settings.measure)
        self.settings, self.device = settings, settings.measure.device
        self.noise = settings.scale * noises(network, 1, settings.seed)[0].to(self.device)
        self.offset: Offset | None = None
        moved: list[dict[str, Any]] = []
        if settings.parts != "offset":
            moved.append({"params": [self.noise.requires_grad_()], "lr": settings.lr})
        if settings.parts != "dataset":
            c, h, w = network.shape
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                self.offset = Offset(c, depth(h, w), settings.width).to(self.device)
            moved.append({"params": list(self.offset.parameters()), "lr": settings.offset_lr})
        self.optimiser = torch.optim.Adam(moved)
        self.moved: list[Tensor] = [p for group in moved for p in group["params"]]

    def update(self, x: Tensor, classes: Tensor, step: int) -> float:
        """Lower the loss of images `[b, c, h, w]` against `classes` `[b, m]`; what it was.

        Raises:
            Diverged: A gradient is not finite; nothing is changed.
        """
        lost, slopes = 0.0, [torch.zeros_like(p) for p in self.moved]
        at_once = max(1, self.settings.measure.batch // classes.shape[1])
        for part in range(0, len(x), at_once):
            seen, told = x[part : part + at_once].to(self.device), classes[part : part + at_once]
            own = self.noise + self.offset(seen) if self.offset else self.noise.expand(seen.shape)
            loss = self.contest.loss(seen, own, told) * len(seen) / len(x)
            for slope, more in zip(slopes, torch.autograd.grad(loss, self.moved), strict=True):
                slope += more
            lost += float(loss.detach())
        if not all(bool(slope.isfinite().all()) for slope in slopes):
            raise Diverged(
                f"optimising the noise stopped at update {step + 1}: a gradient is not finite "
                f"(loss {lost:.4g}); look for images that are not finite, take precision float32, "
                f"or lower the learning rates, such as {self.settings.lr / 3:.2g} and "
                f"{self.settings.offset_lr / 3:.2g}"
            )
        for p, slope in zip(self.moved, slopes, strict=True):
            p.grad = slope
        self.optimiser.step()
        return lost

    def found(self, told: dict[str, Any]) -> OptimisedNoise:
        """What it has come to."""
        network, sigma, measure = self.contest.network, self.contest.sigma, self.settings.measure
        noise, offset = self.noise.detach().cpu(), self.offset
        return OptimisedNoise(
            noise,
            offset.cpu().eval().requires_grad_(False) if offset else None,
            sigma,
            measure.distance,
            network.classes,
            answer(network, noise, sigma, self.device),
            {**told, "settings": asdict(self.settings)},
        )
