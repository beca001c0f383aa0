"""Denoising errors of images, computed in batches that fit in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import Denoises

DISTANCE_POWERS = {
    "l2": 2,
    "l1": 1,
    "huber": 2,
}  # an error of the clean image is sigma to this power times that of epsilon


@dataclass(frozen=True)
class Measure:
    """How denoising errors are computed.

    Attributes:
        distance: `l2` (squared), `l1` (absolute) or `huber`, averaged over channels and pixels.
            `huber` is quadratic up to one standard deviation of the noise, as in Li et al. 2023,
            where it is taken of epsilon (`reconstruction_error`).
        batch_size: Maximum images per network call.
        precision: `float32` or `bfloat16`, of the network. Errors are always float32, because the
            differences between classes are below the resolution of bfloat16.
        device: Device of the network.

    Raises:
        InputError: A value is unknown or out of range.
    """

    distance: str = "l2"
    batch_size: int = 256
    precision: str = "float32"
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.distance not in DISTANCE_POWERS:
            raise InputError(
                f"unknown distance {self.distance!r}; choose {', '.join(DISTANCE_POWERS)}"
            )
        if self.batch_size < 1:
            raise InputError(f"batch size {self.batch_size} must be at least 1")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"unknown precision {self.precision!r}; choose float32 or bfloat16")


@dataclass(eq=False)
class DenoisingErrors:
    """Computes the denoising errors of images under given classes and noise levels.

    Memory is that of one batch, whatever the number of images and classes; conditions are looked up
    per batch as well, since those of a thousand prompts may not fit together.

    Attributes:
        network: A denoiser of k classes.
        x: Images `[n, c, h, w]` in [-1, 1].
        sigmas: Noise levels `[levels]`.
        noise: Standard normal, with shapes as in `compute_class_errors`.
        measure: Distance, batch size, precision, device.
        batch_size: Current batch size; halved whenever memory runs out.

    Raises:
        InputError: The network has no classes, or shapes do not match.
    """

    network: Denoises
    x: Tensor
    sigmas: Tensor
    noise: Tensor
    measure: Measure = Measure()
    batch_size: int = 0

    def __post_init__(self) -> None:
        n, k, m = len(self.x), len(self.network.classes), len(self.sigmas)
        if not k:
            raise InputError(
                "this network was trained without classes, so it cannot compare them; "
                "pretrain on labelled images, or use its features"
            )
        if tuple(self.x.shape[1:]) != self.network.shape:
            actual, expected = (
                " x ".join(map(str, s)) for s in (self.x.shape[1:], self.network.shape)
            )
            raise InputError(
                f"images of {actual} cannot be processed: the network takes {expected}"
            )
        self._has_common_noise = self.noise.dim() < 6
        if self.noise.dim() == 6:
            self.noise = self.noise.expand(n, k, m, *self.network.shape)
        else:
            self.noise = expand_noise(self.noise, n, k)
        self.sigmas, self.batch_size = (
            self.sigmas.float(),
            self.batch_size or self.measure.batch_size,
        )

    @torch.no_grad()
    def compute(self, image: Tensor, label: Tensor, level: Tensor) -> Tensor:
        """Return the error of each (image, class, level) triple, `[q]` float32.

        Args:
            image: Rows of `x`, `[q]`; processed `batch_size` at a time.
            label: Class indices `[q]`.
            level: Positions in `sigmas`, `[q]`.

        Raises:
            InputError: A batch of one does not fit in memory.
        """
        if self.shares_passes and len(image):
            pairs, inverse = torch.unique(torch.stack([image, level]), dim=1, return_inverse=True)
            return self.compute_all(pairs[0], pairs[1])[inverse, label]
        out, start = torch.empty(len(image)), 0
        while start < len(image):
            rows = slice(start, start + self.batch_size)
            try:
                out[rows] = self._compute_batch(image[rows], label[rows], level[rows])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._reduce_batch_size(len(image[rows]))
            else:
                start += self.batch_size
        return out

    @property
    def shares_passes(self) -> bool:
        """Whether all classes of an image cost little more than one (`compute_all`)."""
        return bool(getattr(self.network, "shares_passes", False)) and self._has_common_noise

    @torch.no_grad()
    def compute_all(self, image: Tensor, level: Tensor) -> Tensor:
        """Return the errors of (image, level) pairs under all classes, `[q, k]` float32.

        Args:
            image: Rows of `x`, `[q]`.
            level: Positions in `sigmas`, `[q]`.

        Raises:
            InputError: One image does not fit in memory.
        """
        k = len(self.network.classes)
        out, start = torch.empty(len(image), k), 0
        while start < len(image):
            rows = slice(start, start + max(1, self.batch_size // k))
            try:
                out[rows] = self._compute_shared_batch(image[rows], level[rows])
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._reduce_batch_size(min(self.batch_size, k * len(image[rows])))
            else:
                start += len(image[rows])
        return out

    def _compute_shared_batch(self, image: Tensor, level: Tensor) -> Tensor:
        """Return the errors of one batch of pairs, `[q, k]` float32."""
        k, device = len(self.network.classes), self.measure.device
        clean, sigma = self.x[image], self.sigmas[level]
        noise = self.noise[image, torch.zeros_like(image), level]
        noisy = clean + sigma.view(-1, 1, 1, 1) * noise
        condition = self.network.condition(torch.arange(k)).to(device).expand(len(image), -1)
        use_bfloat16 = self.measure.precision == "bfloat16"
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=use_bfloat16):
            predicted = self.network.denoise(noisy.to(device), sigma.to(device), condition)
        clean = clean[:, None].expand(-1, k, -1, -1, -1).flatten(0, 1)
        predicted = predicted.float().cpu().flatten(0, 1)
        sigma = sigma.repeat_interleave(k)
        return reconstruction_error(predicted, clean, self.measure.distance, sigma).view(-1, k)

    def _compute_batch(self, image: Tensor, label: Tensor, level: Tensor) -> Tensor:
        """Return the errors of one batch, `[q]` float32."""
        clean, sigma, device = self.x[image], self.sigmas[level], self.measure.device
        noisy = clean + sigma.view(-1, 1, 1, 1) * self.noise[image, label, level]
        classes, inverse = torch.unique(label, return_inverse=True)
        condition = self.network.condition(classes).to(device)[inverse.to(device)]
        use_bfloat16 = self.measure.precision == "bfloat16"
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=use_bfloat16):
            predicted = self.network.denoise(noisy.to(device), sigma.to(device), condition)
        return reconstruction_error(predicted.float().cpu(), clean, self.measure.distance, sigma)

    def _reduce_batch_size(self, failed_size: int) -> None:
        if failed_size == 1:
            raise InputError(
                f"not one call of this network fits in the memory of {self.measure.device}; "
                "free some, choose another device, or use a smaller network or smaller images"
            )
        self.batch_size = max(1, failed_size // 2)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether `error` reports exhausted memory; on a CPU only the message says so."""
    is_memory_error = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return is_memory_error or "allocate memory" in str(error)


def reconstruction_error(predicted: Tensor, clean: Tensor, metric: str, sigma: Tensor) -> Tensor:
    """Return the distance `[b]` of images `[b, c, h, w]`, averaged over channels and pixels.

    With epsilon = (noisy - image) / sigma, an error of the clean image is `sigma^p` times that of
    epsilon, p = 2 for `l2` and 1 for `l1`; likelihood weights take this factor away. The Huber
    function h has no such power, so that its unit matters. It is that of epsilon (Li et al. 2023,
    arXiv 2303.16203), enlarged like a squared error:

        sigma^2 h(r / sigma) = r^2 / 2 if |r| < sigma, sigma |r| - sigma^2 / 2 otherwise

    Args:
        predicted: Images returned by the network.
        clean: The clean images.
        metric: `l2`, `l1` or `huber`.
        sigma: Noise levels `[b]`; only `huber` depends on them.
    """
    residuals = (predicted - clean).flatten(1)
    if metric == "l2":
        return residuals.square().mean(1)
    if metric == "l1":
        return residuals.abs().mean(1)
    limit = sigma.to(residuals)[:, None]
    magnitude = residuals.abs()
    quadratic, linear = magnitude.square() / 2, limit * (magnitude - limit / 2)
    return torch.where(magnitude < limit, quadratic, linear).mean(1)


def expand_noise(noise: Tensor, n: int, k: int) -> Tensor:
    """Expand noise per level, or per image and level, to `[n, k, levels, c, h, w]` without
    copying.
    """
    noise = noise if noise.dim() == 5 else noise.expand(n, *noise.shape)
    return noise[:, None].expand(-1, k, *noise.shape[1:])
