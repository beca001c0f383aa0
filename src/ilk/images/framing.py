"""Resize an image of any shape to a fixed size: squashed, cropped or letterboxed."""

from __future__ import annotations

from PIL import Image

from ilk.core.capabilities import ResizeMode

PADDING = (128, 128, 128)  # color of letterbox bars, where no network states a mean


def resize_image(
    image: Image.Image, size: tuple[int, int], mode: ResizeMode, kind: Image.Resampling
) -> Image.Image:
    """Return an RGB image resized to `size`.

    Args:
        image: An RGB image.
        size: Width and height of the result, in pixels.
        mode: `squash` stretches the image, `crop` takes its largest centred part of the shape of
            `size`, `letterbox` puts all of it, unstretched, between grey bars.
        kind: The resampling filter.
    """
    if image.size == size or mode == "squash":
        return image if image.size == size else image.resize(size, kind)
    ratios = (image.width / size[0], image.height / size[1])
    if mode == "crop":
        width, height = size[0] * min(ratios), size[1] * min(ratios)
        left, top = max(0.0, (image.width - width) / 2), max(0.0, (image.height - height) / 2)
        right, bottom = min(image.width, left + width), min(image.height, top + height)
        return image.resize(size, kind, box=(left, top, right, bottom))
    inner = (max(1, round(image.width / max(ratios))), max(1, round(image.height / max(ratios))))
    canvas = Image.new("RGB", size, PADDING)
    canvas.paste(image.resize(inner, kind), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas
