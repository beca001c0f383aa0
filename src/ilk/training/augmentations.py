"""Data augmentation: random changes of images that preserve their class.

Each is a function of a batch and a generator, an `Augmentation` for `augment_objective`. Images are
`[n, c, h, w]`, floats of any range or uint8. Gradients flow through all of them to images of
floats, so that images can be learned through them (Bo Zhao and Hakan Bilen, 2021, Dataset
Condensation with Differentiable Siamese Augmentation, arXiv 2102.08259). With `per_image=False` one
change is drawn for the whole batch: batches of different sizes get the same one from generators of
equal seeds ("siamese").
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ilk.core.errors import InputError
from ilk.training.batch import Batch

BORDERS = ("zeros", "edge", "reflect")


def compose(*augmentations: Callable[[Batch, torch.Generator], Batch]) -> Compose:
    """Return one augmentation that applies several, in order."""
    return Compose(augmentations)


@dataclass(frozen=True)
class Compose:
    """Several augmentations, in order."""

    augmentations: tuple[Callable[[Batch, torch.Generator], Batch], ...]

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the changed batch."""
        for augment in self.augmentations:
            batch = augment(batch, generator)
        return batch


@dataclass(frozen=True)
class Flip:
    """Flip images horizontally; wrong for digits, letters and other images with a left and a right.

    Attributes:
        probability: Of an image to be flipped, in [0, 1].
        per_image: Draw for each image; otherwise once for the batch.
    """

    probability: float = 0.5
    per_image: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise InputError(f"probability is {self.probability}; it must lie in [0, 1]")

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the changed batch."""
        x = _get_images(batch)
        flipped = _draw(x, generator, self.per_image) < self.probability
        return replace(batch, x=torch.where(flipped[:, None, None, None], x.flip(-1), x))


@dataclass(frozen=True)
class Shift:
    """Move images by whole pixels: what padding and a random crop of the old size do.

    Attributes:
        pixels: Greatest shift to each side, >= 0.
        border: What moves in: "zeros", "edge" (the nearest pixel), or "reflect".
        per_image: Draw for each image; otherwise once for the batch.
    """

    pixels: int = 4
    border: str = "zeros"
    per_image: bool = True

    def __post_init__(self) -> None:
        if self.pixels < 0:
            raise InputError(f"pixels is {self.pixels}; it must be at least 0")
        _check_border(self.border)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the changed batch."""
        x = _get_images(batch)
        indices, inside = [], []
        for size in x.shape[-2:]:
            drawn = _draw(x, generator, self.per_image)
            offsets = ((2 * self.pixels + 1) * drawn).long() - self.pixels
            positions = torch.arange(size, device=x.device) + offsets[:, None]
            indices.append(_move_inside(positions, size, self.border))
            inside.append((positions >= 0) & (positions < size))
        (rows, columns), n = indices, torch.arange(len(x), device=x.device)
        moved = x.movedim(1, -1)[n[:, None, None], rows[:, :, None], columns[:, None, :]]
        moved = moved.movedim(-1, 1)
        if self.border == "zeros":
            mask = inside[0][:, None, :, None] & inside[1][:, None, None, :]
            moved = torch.where(mask, moved, torch.zeros((), dtype=x.dtype, device=x.device))
        return replace(batch, x=moved.contiguous())


@dataclass(frozen=True)
class RotateAndScale:
    """Rotate images about their centre and scale them, with bilinear interpolation.

    Attributes:
        degrees: Greatest angle to each side, in [0, 180].
        scale: Greatest factor, >= 1; sizes are drawn evenly in their logarithm from its inverse to
            it.
        border: What is seen outside the image: "zeros", "edge" or "reflect".
        per_image: Draw for each image; otherwise once for the batch.
    """

    degrees: float = 10.0
    scale: float = 1.1
    border: str = "zeros"
    per_image: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.degrees <= 180 or not 1 <= self.scale < math.inf:
            raise InputError(
                f"degrees is {self.degrees} and must lie in [0, 180]; "
                f"scale is {self.scale} and must be at least 1"
            )
        _check_border(self.border)

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the changed batch."""
        x = _get_images(batch)
        n, (h, w) = len(x), x.shape[-2:]
        angle = math.radians(self.degrees) * (2 * _draw(x, generator, self.per_image) - 1)
        zoom = self.scale ** (1 - 2 * _draw(x, generator, self.per_image))  # of the grid: inverse
        cosine, sine, zero = angle.cos() * zoom, angle.sin() * zoom, torch.zeros_like(angle)
        # Coordinates of a grid run from -1 to 1 on either axis, whatever the size.
        across = torch.stack([cosine, -sine * (h / w), zero], 1)
        down = torch.stack([sine * (w / h), cosine, zero], 1)
        values = x if x.is_floating_point() else x.float()
        affine = torch.stack([across, down], 1).to(values.dtype)
        grid = functional.affine_grid(affine, [n, 1, h, w], align_corners=False)
        mode = {"zeros": "zeros", "edge": "border", "reflect": "reflection"}[self.border]
        rotated = functional.grid_sample(values, grid, "bilinear", mode, align_corners=False)
        return replace(batch, x=_restore_type(rotated, x))


@dataclass(frozen=True)
class JitterColor:
    """Change brightness, saturation and contrast.

    The parts of an image are its mean, the difference of a pixel's mean over channels from it, and
    that of a channel from its pixel's mean. The last is multiplied by the saturation, both
    differences by the contrast, and the brightness is added, as a share of the standard deviation
    of the batch; so any range of values will do. uint8 is cut to its range.

    Attributes:
        brightness: Greatest change to each side, >= 0.
        saturation: Factors are drawn from [1 - saturation, 1 + saturation], in [0, 1].
        contrast: Factors are drawn from [1 - contrast, 1 + contrast], in [0, 1].
        per_image: Draw for each image; otherwise once for the batch.
    """

    brightness: float = 0.2
    saturation: float = 0.5
    contrast: float = 0.3
    per_image: bool = True

    def __post_init__(self) -> None:
        if self.brightness < 0 or not (0 <= self.saturation <= 1 and 0 <= self.contrast <= 1):
            raise InputError(
                f"brightness {self.brightness} must be at least 0, saturation {self.saturation} "
                f"and contrast {self.contrast} in [0, 1]"
            )

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the changed batch."""
        x = _get_images(batch)
        values = x if x.is_floating_point() else x.float()
        brightness, saturation, contrast = (
            (limit * (2 * _draw(x, generator, self.per_image) - 1))[:, None, None, None]
            for limit in (self.brightness, self.saturation, self.contrast)
        )
        mean, grey = values.mean((1, 2, 3), keepdim=True), values.mean(1, keepdim=True)
        colour = (1 + saturation) * (values - grey)
        spread = values.detach().std(unbiased=False)
        changed = mean + (1 + contrast) * (grey - mean + colour) + brightness * spread
        return replace(batch, x=_restore_type(changed, x))


@dataclass(frozen=True)
class Erase:
    """Set a square of each image to 0 (Terrance DeVries and Graham Taylor, 2017, arXiv 1708.04552).

    The centre of the square may be any pixel, so a part of it may lie outside.

    Attributes:
        share: Side of the square relative to the shorter side of the image, in [0, 1].
        per_image: Draw for each image; otherwise once for the batch.
    """

    share: float = 0.5
    per_image: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"share is {self.share}; it must lie in [0, 1]")

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Return the changed batch."""
        x = _get_images(batch)
        side = round(self.share * min(x.shape[-2:]))
        hidden = []
        for size in x.shape[-2:]:
            first = (size * _draw(x, generator, self.per_image)).long()[:, None] - side // 2
            positions = torch.arange(size, device=x.device)
            hidden.append((positions >= first) & (positions < first + side))
        mask = hidden[0][:, None, :, None] & hidden[1][:, None, None, :]
        return replace(batch, x=x.masked_fill(mask, 0))


def _get_images(batch: Batch) -> Tensor:
    if batch.x.dim() != 4:
        raise InputError(
            f"an augmentation takes images [n, c, h, w] and got {tuple(batch.x.shape)}; "
            "flatten views first, and leave features as they are"
        )
    return batch.x


def _check_border(border: str) -> None:
    if border not in BORDERS:
        raise InputError(f"border is {border!r}; write one of {', '.join(BORDERS)}")


def _draw(x: Tensor, generator: torch.Generator, per_image: bool) -> Tensor:
    """Return numbers in [0, 1), `[n]`: one per image, or the same for all."""
    count = len(x) if per_image else 1
    drawn = torch.rand(count, generator=generator, device=generator.device)
    return drawn.to(x.device).expand(len(x))


def _move_inside(positions: Tensor, size: int, border: str) -> Tensor:
    """Return positions `[n, m]` that lie in an axis of `size` pixels."""
    if border == "reflect" and size > 1:
        period = 2 * (size - 1)
        folded = positions.remainder(period)
        return torch.minimum(folded, period - folded)
    return positions.clamp(0, size - 1)


def _restore_type(values: Tensor, like: Tensor) -> Tensor:
    """Return values as those of `like`: whole numbers are rounded and cut to their range."""
    if like.is_floating_point():
        return values.to(like.dtype)
    limits = torch.iinfo(like.dtype)
    return values.round().clamp(limits.min, limits.max).to(like.dtype)
