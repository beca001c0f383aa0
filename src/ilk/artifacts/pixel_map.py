"""How anomalous each part of an image is, drawn over the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[int, int, int, int]
Map = NDArray[np.float32]
DIMMED = 0.45  # brightness of the image below the map
RED, YELLOW = np.array([255.0, 40.0, 0.0]), np.array([255.0, 235.0, 60.0])


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Distances of the patches of an image, and where they lie.

    Attributes:
        values: Distance of each patch, `[rows, columns]`, at least 0.
        box: Left, top, right and bottom of the grid, in pixels of the image; outside of the image
            where it was padded.
        size: Width and height of the image, in pixels.
    """

    values: Map
    box: tuple[float, float, float, float]
    size: tuple[int, int]

    def render(self) -> Map:
        """Return the map at the size of the image, `[height, width]`; 0 where it was cut off."""
        left, top, right, bottom = self.box
        seen = self._see()
        rows, columns = self.values.shape
        scale = (columns / (right - left), rows / (bottom - top))
        part = (
            max(0.0, (seen[0] - left) * scale[0]),
            max(0.0, (seen[1] - top) * scale[1]),
            min(float(columns), (seen[2] - left) * scale[0]),
            min(float(rows), (seen[3] - top) * scale[1]),
        )
        shape = (seen[2] - seen[0], seen[3] - seen[1])
        grid = Image.fromarray(np.asarray(self.values, np.float32))
        canvas = np.zeros((self.size[1], self.size[0]), np.float32)
        drawn = grid.resize(shape, Image.Resampling.BILINEAR, box=part)
        canvas[seen[1] : seen[3], seen[0] : seen[2]] = np.asarray(drawn)
        return canvas

    def _see(self) -> Box:
        """Return the part of the image that the network saw, in whole pixels, one at least."""
        left, top = (max(0, round(edge)) for edge in self.box[:2])
        left, top = min(left, self.size[0] - 1), min(top, self.size[1] - 1)
        right = min(self.size[0], max(left + 1, round(self.box[2])))
        return left, top, right, min(self.size[1], max(top + 1, round(self.box[3])))

    def find_region(self) -> Box:
        """Return left, top, right and bottom of the most anomalous region, in pixels.

        It holds the patches around the greatest distance, through sides, that are above the middle
        between that distance and the median one.
        """
        peak = np.unravel_index(int(np.argmax(self.values)), self.values.shape)
        is_high = self.values >= (self.values[peak] + np.median(self.values)) / 2
        region = np.zeros_like(is_high)
        region[peak] = True
        while True:
            spread = region.copy()
            spread[1:] |= region[:-1]
            spread[:-1] |= region[1:]
            spread[:, 1:] |= region[:, :-1]
            spread[:, :-1] |= region[:, 1:]
            spread &= is_high
            if (spread == region).all():
                return self._to_pixels(region)
            region = spread

    def _to_pixels(self, region: NDArray[np.bool_]) -> Box:
        left, top, right, bottom = self.box
        steps = ((right - left) / region.shape[1], (bottom - top) / region.shape[0])
        columns, rows = np.flatnonzero(region.any(0)), np.flatnonzero(region.any(1))
        edges = (
            left + columns[0] * steps[0],
            top + rows[0] * steps[1],
            left + (columns[-1] + 1) * steps[0],
            top + (rows[-1] + 1) * steps[1],
        )
        seen = self._see()
        # A patch of a small image may be narrower than a pixel; one pixel is the least.
        x0, y0 = (min(max(round(edges[i]), seen[i]), seen[i + 2] - 1) for i in (0, 1))
        x1, y1 = (min(max(round(edges[i]), start + 1), seen[i]) for i, start in ((2, x0), (3, y0)))
        return x0, y0, x1, y1

    def draw(self, image: Image.Image, scale: float) -> Image.Image:
        """Return the image, dimmed, with the map over it: red around `scale`, yellow beyond.

        Distances of many features are much alike, so that colour begins at 0.8 of the scale; it is
        full at 1.2 and yellow from 1.6 on.

        Args:
            image: The RGB image, of the size of the map.
            scale: Distance that a normal image hardly exceeds, > 0.
        """
        level = (self.render() / scale)[..., None]
        colour = RED + (YELLOW - RED) * np.clip((level - 1.2) / 0.4, 0, 1)
        strength = np.clip((level - 0.8) / 0.4, 0, 1) * 0.8
        below = np.asarray(image.convert("RGB"), np.float32) * DIMMED
        drawn = below * (1 - strength) + colour * strength
        return Image.fromarray(np.clip(drawn, 0, 255).astype(np.uint8))
