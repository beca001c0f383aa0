"""Where an image speaks for one class and against another: the map of their denoising errors.

Alexander C. Li and others, 2023, Your Diffusion Model is Secretly a Zero-Shot Classifier,
arXiv 2303.16203: a class's score is a mean over places of how well the image is denoised there as
that class. So the difference of two scores has a place for each of its parts:

    score_first - score_second = mean over places of  mean_j w_j (e_j(second) - e_j(first))
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ilk.diffusion.calls import Measure, distance
from ilk.diffusion.contract import Denoises, column
from ilk.diffusion.levels import Levels
from ilk.errors import InputError

FOR, AGAINST = (214, 39, 40), (31, 119, 180)  # red, blue
SIDE, FAINT = 160, 0.35  # least pixels a side of a picture; how much of the image shows through


@torch.no_grad()
def difference_maps(
    network: Denoises,
    x: Tensor,
    first: Tensor,
    second: Tensor,
    levels: Levels,
    measure: Measure = Measure(),  # noqa: B008  (frozen)
    seed: int = 0,
) -> Tensor:
    """Where each image speaks for the first class (above 0) or the second, `[n, h, w]` float32.

    The mean over places is the difference of the two scores under the same levels, noise and
    distance.

    Args:
        network: Knows both classes.
        x: Images `[n, c, h, w]` in [-1, 1].
        first: Class indices `[n]`, such as of the answer.
        second: Class indices `[n]`, such as of the runner-up.
        levels: Noise levels and weights.
        measure: Distance, calls at once, precision, device.
        seed: Draws the noise, the same for both classes and all images.

    Raises:
        InputError: Images or classes do not go with the network.
    """
    fits(network, x, first, second)
    n, m, (_, h, w) = len(x), len(levels), network.shape
    noise, sigmas = levels.noise(network, seed), torch.tensor(levels.sigmas)
    weights = torch.tensor(levels.weights, dtype=torch.float64) / m
    out = torch.zeros(n, h, w, dtype=torch.float64)
    for at in torch.split(torch.arange(n * m), max(1, measure.batch // 2)):
        image, level = at // m, at % m
        sigma, clean = sigmas[level], x[image].float()
        noisy = (clean + column(sigma, clean) * noise[level]).repeat(2, 1, 1, 1)
        made = denoised(
            network, noisy, sigma.repeat(2), torch.cat([first[image], second[image]]), measure
        )
        miss = places(made, clean.repeat(2, 1, 1, 1), measure.distance).double()
        apart = (miss[len(at) :] - miss[: len(at)]) * column(weights[level], miss)
        out.index_add_(0, image, apart)
    return out.float()


def denoised(
    network: Denoises, noisy: Tensor, sigma: Tensor, label: Tensor, measure: Measure
) -> Tensor:
    """What `network` makes of `noisy` `[b, c, h, w]` as classes `[b]`, on the CPU in float32."""
    device = measure.device
    told, which = torch.unique(label, return_inverse=True)
    known = network.condition(told).to(device)[which.to(device)]
    low = measure.precision == "bfloat16"
    with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=low):
        made = network.denoise(noisy.to(device), sigma.to(device), known)
    return made.float().cpu()


def places(made: Tensor, clean: Tensor, kind: str) -> Tensor:
    """How far images lie from images at each place, a mean over channels, `[b, h, w]`."""
    apart = [v.movedim(1, -1).flatten(0, 2) for v in (made, clean)]
    return distance(apart[0], apart[1], kind).view(len(made), *made.shape[2:])


def fits(network: Denoises, x: Tensor, first: Tensor, second: Tensor) -> None:
    """Refuse images and classes that the network cannot compare.

    Raises:
        InputError: They do not go with it.
    """
    if tuple(x.shape[1:]) != network.shape:
        told, takes = (" x ".join(map(str, s)) for s in (x.shape[1:], network.shape))
        raise InputError(f"images of {told} cannot go in: the network takes {takes}")
    k = len(network.classes)
    for which in (first, second):
        if which.shape != (len(x),) or not bool(((which >= 0) & (which < k)).all()):
            raise InputError(
                f"classes {which.tolist()[:5]} for {len(x)} images: give each image one of the "
                f"network's {k} classes, counted from 0"
            )


def render(x: Tensor, found: Tensor, scale: float = 0.0) -> Image.Image:
    """An image and its map side by side: red speaks for the first class, blue against it.

    Args:
        x: `[c, H, W]` in [-1, 1]; of more than 3 channels, the first three.
        found: Map `[h, w]`; stretched to the image where that is larger, as it is over latents.
        scale: The value of full colour; 0 takes the map's largest, of either sign.

    Raises:
        InputError: `found` is not of an image's form, or not finite.
    """
    if found.dim() != 2 or x.dim() != 3 or not bool(found.isfinite().all()):
        raise InputError(
            f"a map of shape {tuple(found.shape)} over an image of shape {tuple(x.shape)} cannot "
            "be drawn; give finite numbers [h, w] and [c, h, w]"
        )
    high, wide = x.shape[1:]
    size = tuple(side * max(1, -(-SIDE // min(high, wide))) for side in (wide, high))
    shown = stretched(pixels(x), size)
    full = scale or float(found.abs().max()) or 1.0
    share = np.asarray((found.double() / full).clamp(-1, 1))
    heat = stretched(coloured(share), size)
    strength = stretched((np.abs(share) * 255).astype(np.uint8), size)[..., None] / 255.0
    faint = 255 - FAINT * (255 - np.asarray(Image.fromarray(shown).convert("L"), float)[..., None])
    over = ((1 - strength) * faint + strength * heat).astype(np.uint8)
    gap = np.full((shown.shape[0], max(2, SIDE // 20), 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([shown, gap, over], 1))


def pixels(x: Tensor) -> NDArray[np.uint8]:
    """`[c, h, w]` in [-1, 1] as `[h, w, 3]`."""
    colours = x[:3] if len(x) >= 3 else x[:1].expand(3, *x.shape[1:])
    grey = ((colours.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.asarray(grey.movedim(0, 2))


def coloured(share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The colour of each share `[h, w]` in [-1, 1], `[h, w, 3]`."""
    return np.where(share[..., None] >= 0, FOR, AGAINST).astype(np.uint8)


def stretched(values: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """`[h, w]` or `[h, w, 3]` at `size` (width, height); every pixel becomes a block."""
    wide, high = size
    return np.asarray(Image.fromarray(values).resize((wide, high), Image.Resampling.NEAREST))
