"""The control that reconstructs: an autoencoder on the images that a denoiser was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.diffusion_setup import get_cache_dir
from ilk.diffusion.denoiser.karras import Denoiser
from ilk.diffusion.networks.unet import GROUPS
from ilk.diffusion.pretraining.objective import normalize_batch
from ilk.diffusion.pretraining.pretrain import PretrainConfig
from ilk.training import checkpoint
from ilk.training.trainer import Batch, DeviceConfig, augment_objective, train

CODE = 64  # numbers that an image is described by


class ResidualBlock(nn.Module):
    """Two convolutions with a shortcut, as in the denoiser but without a condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.GroupNorm(GROUPS, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GroupNorm(GROUPS, width),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, x + self.layers(x))


class Autoencoder(nn.Module):
    """A `Denoises` whose blocks can be searched; it is trained without noise.

    Two residual blocks, a code of 64 numbers, and two residual blocks, on the patches and with the
    width of the denoiser.
    """

    def __init__(self, denoiser: Denoiser, width: int, patch: int) -> None:
        super().__init__()
        self.shape, self.sigmas = denoiser.shape, denoiser.sigmas
        self.classes, self.sigma_data = (), denoiser.sigma_data
        self.patch = patch
        c, side = self.shape[0] * patch**2, self.shape[1] // patch
        self.layers = nn.ModuleList(
            [
                nn.Sequential(nn.Conv2d(c, width, 3, padding=1), ResidualBlock(width)),
                ResidualBlock(width),
                nn.Conv2d(width, CODE, side),
                nn.Sequential(nn.ConvTranspose2d(CODE, width, side), ResidualBlock(width)),
                ResidualBlock(width),
            ]
        )
        self.out = nn.Conv2d(width, c, 3, padding=1)

    def condition(self, classes: Tensor) -> Tensor:
        """Return the class indices; they are not used."""
        return classes

    def denoise(self, noisy: Tensor, sigma: Tensor, condition: Tensor) -> Tensor:
        """Return the reconstruction `[b, c, h, w]`."""
        return cast(Tensor, self(noisy))

    def forward(self, x: Tensor) -> Tensor:
        h = functional.pixel_unshuffle(x, self.patch)
        for layer in self.layers:
            h = layer(h)
        return functional.pixel_shuffle(self.out(h), self.patch)


def compute_loss(network: nn.Module, batch: Batch, _generator: torch.Generator) -> Tensor:
    """Return the mean squared error of the reconstruction."""
    return functional.mse_loss(network(batch.x).float(), batch.x)


def load_autoencoder(
    denoiser: Denoiser, data: Batch, config: PretrainConfig, name: str
) -> Autoencoder:
    """Return the autoencoder: cached, or trained now with a quarter of the updates of `config`.

    Its loss has no noise, so that it settles earlier.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.recipe.seed)
        network = Autoencoder(denoiser, config.options["width"], config.options["patch"])
    path: Path = get_cache_dir() / f"{name}.safetensors"
    if not path.exists():
        objective = augment_objective(compute_loss, normalize_batch)
        machine = DeviceConfig("cpu", "bfloat16")
        recipe = replace(config.recipe, steps=max(1, config.recipe.steps // 4))
        trained = train(network, data, objective, recipe, machine)
        checkpoint.save(trained.state_dict(), path, {"format": "autoencoder"})
    network.load_state_dict(checkpoint.load(path)[0])
    return network.eval()
