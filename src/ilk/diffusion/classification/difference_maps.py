"""Maps of the difference of two classes' denoising errors.

Alexander C. Li and others, 2023, Your Diffusion Model is Secretly a Zero-Shot Classifier,
arXiv 2303.16203: the score of a class is a mean over pixels, so the difference of two scores
decomposes into one term per pixel:

    score_first - score_second = mean over pixels of  mean_j w_j (e_j(second) - e_j(first))
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ilk.core.errors import InputError
from ilk.diffusion.denoiser.protocol import Denoises, expand_like
from ilk.diffusion.errors.denoising_errors import Measure, reconstruction_error
from ilk.diffusion.errors.levels import Levels

FIRST_COLOR, SECOND_COLOR = (214, 39, 40), (31, 119, 180)  # red, blue
MIN_SIDE, BACKGROUND_OPACITY = 160, 0.35  # of the rendered image, in pixels


@torch.no_grad()
def compute_difference_maps(
    network: Denoises,
    x: Tensor,
    first: Tensor,
    second: Tensor,
    levels: Levels,
    measure: Measure = Measure(),  # noqa: B008  (frozen)
    seed: int = 0,
) -> Tensor:
    """Return where each image supports the first class (> 0) or the second, `[n, h, w]` float32.

    The mean over pixels is the difference of the two scores with the same levels, noise and
    distance.

    Args:
        network: A denoiser of both classes.
        x: Images `[n, c, h, w]` in [-1, 1].
        first: Class indices `[n]`, such as the predicted class.
        second: Class indices `[n]`, such as the runner-up.
        levels: Noise levels with weights.
        measure: Distance, batch size, precision, device.
        seed: Seed of the noise, which both classes and all images share.

    Raises:
        InputError: Images or classes do not match the network.
    """
    check_map_inputs(network, x, first, second)
    n, m, (_, h, w) = len(x), len(levels), network.shape
    noise, sigmas = levels.draw_noise(network, seed), torch.tensor(levels.sigmas)
    weights = torch.tensor(levels.weights, dtype=torch.float64) / m
    out = torch.zeros(n, h, w, dtype=torch.float64)
    for pairs in torch.split(torch.arange(n * m), max(1, measure.batch_size // 2)):
        image, level = pairs // m, pairs % m
        sigma, clean = sigmas[level], x[image].float()
        noisy = (clean + expand_like(sigma, clean) * noise[level]).repeat(2, 1, 1, 1)
        predicted = denoise_classes(
            network, noisy, sigma.repeat(2), torch.cat([first[image], second[image]]), measure
        )
        pixel_errors = compute_pixel_errors(
            predicted, clean.repeat(2, 1, 1, 1), measure.distance, sigma.repeat(2)
        ).double()
        difference = (pixel_errors[len(pairs) :] - pixel_errors[: len(pairs)]) * expand_like(
            weights[level], pixel_errors
        )
        out.index_add_(0, image, difference)
    return out.float()


def denoise_classes(
    network: Denoises, noisy: Tensor, sigma: Tensor, label: Tensor, measure: Measure
) -> Tensor:
    """Return the clean images `[b, c, h, w]` for classes `[b]`, on the CPU in float32."""
    device = measure.device
    classes, inverse = torch.unique(label, return_inverse=True)
    condition = network.condition(classes).to(device)[inverse.to(device)]
    use_bfloat16 = measure.precision == "bfloat16"
    with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=use_bfloat16):
        predicted = network.denoise(noisy.to(device), sigma.to(device), condition)
    return predicted.float().cpu()


def compute_pixel_errors(predicted: Tensor, clean: Tensor, metric: str, sigma: Tensor) -> Tensor:
    """How far images lie from images at each place, a mean over channels, `[b, h, w]`.

    `sigma` are their noise levels `[b]`.
    """
    flattened = [v.movedim(1, -1).flatten(0, 2) for v in (predicted, clean)]
    levels = sigma.repeat_interleave(predicted.shape[2] * predicted.shape[3])
    return reconstruction_error(flattened[0], flattened[1], metric, levels).view(
        len(predicted), *predicted.shape[2:]
    )


def check_map_inputs(network: Denoises, x: Tensor, first: Tensor, second: Tensor) -> None:
    """Check that images `[n, c, h, w]` and classes `[n]` match the network.

    Raises:
        InputError: They do not.
    """
    if tuple(x.shape[1:]) != network.shape:
        actual, expected = (" x ".join(map(str, s)) for s in (x.shape[1:], network.shape))
        raise InputError(f"images of {actual} cannot be processed: the network takes {expected}")
    k = len(network.classes)
    for labels in (first, second):
        if labels.shape != (len(x),) or not bool(((labels >= 0) & (labels < k)).all()):
            raise InputError(
                f"classes {labels.tolist()[:5]} for {len(x)} images: give each image one of the "
                f"network's {k} classes, counted from 0"
            )


def render(x: Tensor, difference_map: Tensor, scale: float = 0.0) -> Image.Image:
    """Render an image next to its map: red supports the first class, blue the second.

    Args:
        x: `[c, H, W]` in [-1, 1]; of more than 3 channels, the first three.
        difference_map: Map `[h, w]`; stretched to the size of the image.
        scale: Value of full colour; 0 uses the largest absolute value.

    Raises:
        InputError: The shapes are wrong, or the map is not finite.
    """
    if difference_map.dim() != 2 or x.dim() != 3 or not bool(difference_map.isfinite().all()):
        raise InputError(
            f"a map of shape {tuple(difference_map.shape)} over an image of shape "
            f"{tuple(x.shape)} cannot be drawn; give finite numbers [h, w] and [c, h, w]"
        )
    height, width = x.shape[1:]
    size = tuple(side * max(1, -(-MIN_SIDE // min(height, width))) for side in (width, height))
    image = resize_nearest(to_rgb(x), size)
    max_value = scale or float(difference_map.abs().max()) or 1.0
    normalized = np.asarray((difference_map.double() / max_value).clamp(-1, 1))
    overlay = resize_nearest(color_by_sign(normalized), size)
    strength = resize_nearest((np.abs(normalized) * 255).astype(np.uint8), size)[..., None] / 255.0
    faded = 255 - BACKGROUND_OPACITY * (
        255 - np.asarray(Image.fromarray(image).convert("L"), float)[..., None]
    )
    blended = ((1 - strength) * faded + strength * overlay).astype(np.uint8)
    gap = np.full((image.shape[0], max(2, MIN_SIDE // 20), 3), 255, np.uint8)
    return Image.fromarray(np.concatenate([image, gap, blended], 1))


def to_rgb(x: Tensor) -> NDArray[np.uint8]:
    """Convert `[c, h, w]` in [-1, 1] to `[h, w, 3]` uint8."""
    channels = x[:3] if len(x) >= 3 else x[:1].expand(3, *x.shape[1:])
    rgb = ((channels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return np.asarray(rgb.movedim(0, 2))


def color_by_sign(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the colours `[h, w, 3]` of values `[h, w]` in [-1, 1]."""
    return np.where(values[..., None] >= 0, FIRST_COLOR, SECOND_COLOR).astype(np.uint8)


def resize_nearest(values: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Resize `[h, w]` or `[h, w, 3]` to `size` (width, height) by nearest neighbour."""
    width, height = size
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.NEAREST))
