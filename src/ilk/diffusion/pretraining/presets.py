"""Default networks by image size, and default training lengths."""

from __future__ import annotations

from typing import Any

MIN_EPOCHS, MIN_UPDATES = 30, 300  # over the images; updates


def choose_options(network: str, size: int, width: int = 0) -> dict[str, Any]:
    """Return options of a network with 0.4 to 3 million weights for images of `size` pixels."""
    if network == "dit":
        patch = 4 if size >= 16 and size % 4 == 0 else 2 if size % 2 == 0 else 1
        return {"width": width or 192, "depth": 4, "patch": patch}
    patch = 2 if size >= 16 and size % 4 == 0 else 1
    levels = [1, 2] if size // patch % 2 == 0 else [1]
    if size // patch >= 16 and size // patch % 4 == 0:
        levels = [1, 2, 2]
    return {"width": width or (24 if size < 16 else 48), "levels": levels, "patch": patch}


def count_updates(images: int, batch: int) -> int:
    """Updates that show every image 30 times, and no fewer than 300."""
    return max(MIN_UPDATES, MIN_EPOCHS * images // batch)
