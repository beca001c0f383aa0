"""Features of images from a diffusion network: a block, a noise level, a pooling.

Dmitry Baranchuk and others, 2022, Label-Efficient Semantic Segmentation with Diffusion Models,
arXiv 2112.03126; Soumik Mukhopadhyay and others, 2023, Diffusion Models Beat GANs on Image
Classification, arXiv 2307.08702: noise is added to the image, the network runs once, and the output
of a block is pooled to p x p.

Departure from the papers, which draw fresh noise even at test time: the noise depends on the seed
and the level only, so that the features of an image are deterministic. `estimate_noise_variance`
measures the effect of fresh noise. Sharing one noise over all images also obscures them less,
because its effect on the features is similar for every image.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.core.progress import Progress, silent_progress
from ilk.diffusion.denoiser.protocol import Denoises, normalize_images
from ilk.diffusion.features.feature_point import DEFAULT_FEATURES, FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks, extract_maps
from ilk.training.rng import mix_seeds


def draw_noise(shape: tuple[int, int, int], sigma: float, seed: int = 0, draw: int = 0) -> Tensor:
    """Return the noise `[c, h, w]` of a level; depends on seed, level and draw only."""
    bits = struct.unpack("<q", struct.pack("<d", sigma))[0]
    generator = torch.Generator().manual_seed(mix_seeds(seed, draw, bits))
    return torch.randn(shape, generator=generator)


def draw_image_noise(x: Tensor, sigma: float, seed: int = 0, draw: int = 0) -> Tensor:
    """Return noise like `x` `[n, c, h, w]`; depends on seed, level, draw and each image."""
    noises = []
    for image in x.cpu().float():
        digest = hashlib.sha256(image.contiguous().numpy().tobytes()).digest()
        image_seed = mix_seeds(seed, int.from_bytes(digest[:7], "little"))
        noises.append(draw_noise((x.shape[1], x.shape[2], x.shape[3]), sigma, image_seed, draw))
    return torch.stack(noises)


def pool_map(feature_map: Tensor, pool: int) -> Tensor:
    """Pool a map `[n, c, h, w]` to `[n, c * pool^2]` float32, or `[n, 2 * c]` if pool is 0."""
    feature_map = feature_map.float()
    if pool:
        return functional.adaptive_avg_pool2d(feature_map, pool).flatten(1)
    return torch.cat([feature_map.mean((2, 3)), feature_map.std((2, 3), correction=0)], 1)


def iterate_maps(
    hooks: Hooks,
    x: Tensor,
    sigma: float,
    blocks: Sequence[int],
    config: FeatureConfig = DEFAULT_FEATURES,
) -> Iterator[tuple[slice, dict[int, Tensor]]]:
    """Yield rows and their maps `[b, c, h, w]` by block number, once per batch and draw.

    Args:
        hooks: Hooks of the network.
        x: Images `[n, c, h, w]`, 8-bit or in [-1, 1].
        sigma: Noise level.
        blocks: Blocks to return; empty for all.
        config: Seed, draws, batch size, precision.

    Raises:
        InputError: The images do not match the network.
    """
    check_images(hooks.network, x)
    for start in range(0, len(x), config.batch):
        rows = slice(start, min(start + config.batch, len(x)))
        images = normalize_images(x[rows])
        for draw in range(config.draws):
            noise_args = sigma, config.seed, draw
            drawn_noise = (
                draw_image_noise(images, *noise_args)
                if config.per_image_noise
                else draw_noise(hooks.network.shape, *noise_args)
            )
            with autocast_precision(hooks, config.precision):
                yield rows, extract_maps(hooks, images.to(hooks.device), sigma, drawn_noise, blocks)


def autocast_precision(hooks: Hooks, precision: str) -> AbstractContextManager[object]:
    """Return a context in which the network computes in `precision`."""
    device_type = hooks.device.type if hooks.device.type != "meta" else "cpu"
    return torch.autocast(device_type, torch.bfloat16, enabled=precision == "bfloat16")


def check_images(network: Denoises, x: Tensor) -> None:
    """Check that images `[n, c, h, w]` match the network.

    Raises:
        InputError: They have another shape, or values that are not finite.
    """
    if x.dim() != 4 or tuple(x.shape[1:]) != network.shape:
        actual, expected = (" x ".join(map(str, s)) for s in (x.shape[1:], network.shape))
        raise InputError(f"images of {actual} cannot be processed: the network takes {expected}")
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise InputError("an image has values that are not finite")


def extract_features(
    hooks: Hooks,
    x: Tensor,
    points: Sequence[FeaturePoint],
    config: FeatureConfig = DEFAULT_FEATURES,
    progress: Progress = silent_progress,
) -> Tensor:
    """Return features `[n, d]` float32 on the CPU: those of all points, concatenated in order.

    All points of a noise level share one network call per draw.

    Args:
        hooks: Hooks of the network.
        x: Images `[n, c, h, w]`, 8-bit or in [-1, 1].
        points: Feature points, at least one.
        config: Seed, draws, batch size, precision.
        progress: Reports images times calls.

    Raises:
        InputError: A point does not exist, or the images do not match.
    """
    widths = [point.count_features(point.check(hooks)) for point in points]
    starts = [sum(widths[:i]) for i in range(len(widths))]
    out = torch.zeros(len(x), sum(widths))
    sigmas = dict.fromkeys(point.sigma for point in points)
    with progress("reading features", len(x) * len(sigmas) * config.draws) as advance:
        for sigma in sigmas:
            point_indices = [i for i, point in enumerate(points) if point.sigma == sigma]
            blocks = sorted({points[i].block for i in point_indices})
            for rows, block_maps in iterate_maps(hooks, x, sigma, blocks, config):
                for i in point_indices:
                    vectors = pool_map(block_maps[points[i].block], points[i].pool).cpu()
                    out[rows, starts[i] : starts[i] + widths[i]] += vectors / config.draws
                advance(rows.stop - rows.start)
    return out


def extract_feature_maps(
    hooks: Hooks,
    x: Tensor,
    points: Sequence[FeaturePoint],
    config: FeatureConfig = DEFAULT_FEATURES,
) -> list[Tensor]:
    """Return maps `[n, c, p, p]` of each point, with p its pool, for heads on maps.

    Raises:
        InputError: As in `extract_features`, or a pool is 0.
    """
    if any(point.pool == 0 for point in points):
        raise InputError("pool 0 gives no map; take 1 or more for a head that looks at places")
    flattened = extract_features(hooks, x, points, config)
    widths = [point.count_features(point.check(hooks)) for point in points]
    parts = torch.split(flattened, widths, 1)
    return [part.view(len(x), -1, p.pool, p.pool) for part, p in zip(parts, points, strict=True)]


def estimate_noise_variance(
    hooks: Hooks,
    x: Tensor,
    points: Sequence[FeaturePoint],
    draws: int = 8,
    config: FeatureConfig = DEFAULT_FEATURES,
) -> float:
    """Return the proportion of the features' variance that fresh noise would cause, in [0, 1].

    It is the mean variance over `draws` of the features of one image, divided by that plus the
    variance over images of their means. Averaging features over m draws divides the former by m.

    Args:
        hooks: Hooks of the network.
        x: Images `[n, c, h, w]`, 8-bit or in [-1, 1].
        points: Feature points.
        draws: Number of noise draws, >= 2.
        config: Seed, draws, batch size, precision.

    Raises:
        InputError: There are fewer than 2 draws or images.
    """
    if draws < 2 or len(x) < 2:
        raise InputError(f"{draws} draws on {len(x)} images have no spread; take 2 or more of each")
    embeddings = torch.stack(
        [
            extract_features(hooks, x, points, replace(config, seed=seed))
            for seed in range(config.seed, config.seed + draws)
        ]
    ).double()
    within = embeddings.var(0).mean(0)
    between = (embeddings.mean(0).var(0) - within / draws).clamp_min(0)
    total = float((within + between).sum())
    return float(within.sum()) / total if total else 0.0
