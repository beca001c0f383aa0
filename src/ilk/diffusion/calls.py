"""Asking a network how badly it denoises, in batches that fit: what every classifier is made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ilk.diffusion.contract import Denoises
from ilk.errors import InputError

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


@dataclass(eq=False)
class Calls:
    """A network that is asked how badly it denoises images, as classes, at levels.

    What it holds at once is one batch, however many images and classes there are: conditions are
    looked up by the batch too, since those of a thousand prompts may not fit together.

    Attributes:
        network: Knows k classes.
        x: Images `[n, c, h, w]` in [-1, 1].
        sigmas: Noise levels `[levels]`.
        noise: Standard normal, as in `errors`.
        measure: Distance, calls at once, precision, device.
        fit: Calls that fit in memory at once; halved whenever they do not.

    Raises:
        InputError: The network knows no classes, or shapes do not go together.
    """

    network: Denoises
    x: Tensor
    sigmas: Tensor
    noise: Tensor
    measure: Measure = Measure()
    fit: int = 0

    def __post_init__(self) -> None:
        n, k, m = len(self.x), len(self.network.classes), len(self.sigmas)
        if not k:
            raise InputError(
                "this network was trained without classes, so it cannot compare them; "
                "pretrain on labelled images, or use its features"
            )
        if tuple(self.x.shape[1:]) != self.network.shape:
            told, takes = (" x ".join(map(str, s)) for s in (self.x.shape[1:], self.network.shape))
            raise InputError(f"images of {told} cannot go in: the network takes {takes}")
        if self.noise.dim() == 6:
            self.noise = self.noise.expand(n, k, m, *self.network.shape)
        else:
            self.noise = shared(self.noise, n, k)
        self.sigmas, self.fit = self.sigmas.float(), self.fit or self.measure.batch

    @torch.no_grad()
    def errors(self, image: Tensor, label: Tensor, level: Tensor) -> Tensor:
        """The error of each image-class-level triple, `[q]` float32.

        Args:
            image: Rows of `x`, `[q]`, as many as wished; they go in `fit` at a time.
            label: Class indices `[q]`.
            level: Positions in `sigmas`, `[q]`.

        Raises:
            InputError: Not even one call fits in memory.
        """
        out, at = torch.empty(len(image)), 0
        while at < len(image):
            part = slice(at, at + self.fit)
            try:
                out[part] = self._batch(image[part], label[part], level[part])
            except (MemoryError, RuntimeError) as error:
                if not full(error):
                    raise
                self._shrink(len(image[part]))
            else:
                at += self.fit
        return out

    def _batch(self, image: Tensor, label: Tensor, level: Tensor) -> Tensor:
        clean, sigma, device = self.x[image], self.sigmas[level], self.measure.device
        noisy = clean + sigma.view(-1, 1, 1, 1) * self.noise[image, label, level]
        told, which = torch.unique(label, return_inverse=True)
        known = self.network.condition(told).to(device)[which.to(device)]
        low = self.measure.precision == "bfloat16"
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=low):
            made = self.network.denoise(noisy.to(device), sigma.to(device), known)
        return distance(made.float().cpu(), clean, self.measure.distance)

    def _shrink(self, tried: int) -> None:
        if tried == 1:
            raise InputError(
                f"not one call of this network fits in the memory of {self.measure.device}; "
                "free some, name another device, or take a smaller network or smaller images"
            )
        self.fit = max(1, tried // 2)


def full(error: Exception) -> bool:
    """Whether `error` says that memory ran out; on a CPU torch says so in words alone."""
    known = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return known or "allocate memory" in str(error)


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
