"""Features of images out of a diffusion network: a block, a noise level, a pooling.

Dmitry Baranchuk and others, 2022, Label-Efficient Semantic Segmentation with Diffusion Models,
arXiv 2112.03126; Soumik Mukhopadhyay and others, 2023, Diffusion Models Beat GANs on Image
Classification, arXiv 2307.08702: noise is added to the image, the network runs once, and what a
block of it made is pooled to p x p.

The noise is drawn from the seed and the level alone, so that the same image has the same features
every time, whatever it is encoded with. Those papers draw fresh noise, at test time too; `spread`
says how much that would move the features. One noise for all images also hides much less of them
than noise of their own does: what it does to features is about the same for every image.
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

from ilk.diffusion.contract import Denoises, unit
from ilk.diffusion.reading import PLAIN, Point, Reading
from ilk.diffusion.taps import Taps, maps
from ilk.errors import InputError
from ilk.progress import Progress, silent
from ilk.training.chance import mixed


def noise(shape: tuple[int, int, int], sigma: float, seed: int = 0, draw: int = 0) -> Tensor:
    """The noise `[c, h, w]` of a level: of seed, level and draw alone, the same for every image."""
    bits = struct.unpack("<q", struct.pack("<d", sigma))[0]
    generator = torch.Generator().manual_seed(mixed(seed, draw, bits))
    return torch.randn(shape, generator=generator)


def own_noise(x: Tensor, sigma: float, seed: int = 0, draw: int = 0) -> Tensor:
    """Noise like `x` `[n, c, h, w]`, of seed, level, draw and each image's own pixels."""
    found = []
    for image in x.cpu().float():
        digest = hashlib.sha256(image.contiguous().numpy().tobytes()).digest()
        own = mixed(seed, int.from_bytes(digest[:7], "little"))
        found.append(noise((x.shape[1], x.shape[2], x.shape[3]), sigma, own, draw))
    return torch.stack(found)


def pooled(seen: Tensor, pool: int) -> Tensor:
    """A map `[n, c, h, w]` as `[n, c * pool * pool]` float32, or `[n, 2 * c]` where pool is 0."""
    seen = seen.float()
    if pool:
        return functional.adaptive_avg_pool2d(seen, pool).flatten(1)
    return torch.cat([seen.mean((2, 3)), seen.std((2, 3), correction=0)], 1)


def passes(
    taps: Taps, x: Tensor, sigma: float, blocks: Sequence[int], reading: Reading = PLAIN
) -> Iterator[tuple[slice, dict[int, Tensor]]]:
    """Rows, and maps by block number: each batch of `x` at one level, a pass for each draw.

    Args:
        taps: Of the network.
        x: Images `[n, c, h, w]`, 8-bit or in [-1, 1].
        sigma: Noise level.
        blocks: Which to hand on; none means all.
        reading: Seed, draws, images at once, precision.

    Raises:
        InputError: The images do not fit the network.
    """
    fits(taps.network, x)
    for at in range(0, len(x), reading.batch):
        rows = slice(at, min(at + reading.batch, len(x)))
        part = unit(x[rows])
        for draw in range(reading.draws):
            told = sigma, reading.seed, draw
            drawn = own_noise(part, *told) if reading.own else noise(taps.network.shape, *told)
            with arithmetic(taps, reading.precision):
                yield rows, maps(taps, part.to(taps.device), sigma, drawn, blocks)


def arithmetic(taps: Taps, precision: str) -> AbstractContextManager[object]:
    """In which numbers the network computes."""
    kind = taps.device.type if taps.device.type != "meta" else "cpu"
    return torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16")


def fits(network: Denoises, x: Tensor) -> None:
    """Refuse images that cannot go in.

    Raises:
        InputError: They have another shape, or values that are not finite.
    """
    if x.dim() != 4 or tuple(x.shape[1:]) != network.shape:
        told, takes = (" x ".join(map(str, s)) for s in (x.shape[1:], network.shape))
        raise InputError(f"images of {told} cannot go in: the network takes {takes}")
    if x.is_floating_point() and not bool(torch.isfinite(x).all()):
        raise InputError("an image has values that are not finite")


def features(
    taps: Taps,
    x: Tensor,
    points: Sequence[Point],
    reading: Reading = PLAIN,
    progress: Progress = silent,
) -> Tensor:
    """Features `[n, d]` float32 on the CPU: those of every point side by side, in that order.

    One pass of the network serves all the points of a level (for each draw).

    Args:
        taps: Of the network.
        x: Images `[n, c, h, w]`, 8-bit or in [-1, 1].
        points: Where to read, at least one.
        reading: Seed, draws, images at once, precision.
        progress: Told of images times passes.

    Raises:
        InputError: A point does not exist, or images do not fit.
    """
    widths = [point.width(point.check(taps)) for point in points]
    starts = [sum(widths[:i]) for i in range(len(widths))]
    out = torch.zeros(len(x), sum(widths))
    sigmas = dict.fromkeys(point.sigma for point in points)
    with progress("reading features", len(x) * len(sigmas) * reading.draws) as advance:
        for sigma in sigmas:
            here = [i for i, point in enumerate(points) if point.sigma == sigma]
            blocks = sorted({points[i].block for i in here})
            for rows, seen in passes(taps, x, sigma, blocks, reading):
                for i in here:
                    part = pooled(seen[points[i].block], points[i].pool).cpu()
                    out[rows, starts[i] : starts[i] + widths[i]] += part / reading.draws
                advance(rows.stop - rows.start)
    return out


def streams(
    taps: Taps, x: Tensor, points: Sequence[Point], reading: Reading = PLAIN
) -> list[Tensor]:
    """Maps `[n, c, p, p]` of each point, p its pool, for heads that look at places.

    Raises:
        InputError: As `features`, or a pool is 0.
    """
    if any(point.pool == 0 for point in points):
        raise InputError("pool 0 gives no map; take 1 or more for a head that looks at places")
    flat = features(taps, x, points, reading)
    widths = [point.width(point.check(taps)) for point in points]
    parts = torch.split(flat, widths, 1)
    return [part.view(len(x), -1, p.pool, p.pool) for part, p in zip(parts, points, strict=True)]


def spread(
    taps: Taps, x: Tensor, points: Sequence[Point], draws: int = 8, reading: Reading = PLAIN
) -> float:
    """Share of the features' variance that is the noise's doing, were it drawn afresh, in [0, 1].

    The mean variance over `draws` of one image's features, over that plus the variance over images
    of their means; features averaged over `reading.draws` have it divided by their number.

    Raises:
        InputError: There are fewer than 2 draws or images.
    """
    if draws < 2 or len(x) < 2:
        raise InputError(f"{draws} draws on {len(x)} images have no spread; take 2 or more of each")
    seen = torch.stack(
        [
            features(taps, x, points, replace(reading, seed=seed))
            for seed in range(reading.seed, reading.seed + draws)
        ]
    ).double()
    within = seen.var(0).mean(0)
    between = (seen.mean(0).var(0) - within / draws).clamp_min(0)
    total = float((within + between).sum())
    return float(within.sum()) / total if total else 0.0
