"""The images of a student: their size and channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ilk.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # weights of red, green and blue, as Pillow's (ITU-R 601)


def read_sides(size: int | Sequence[int]) -> tuple[int, int]:
    """Return height and width of images whose side, or height and width, is given in pixels."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def check_images(channels: int, sides: tuple[int, int], least: int, advice: str = "") -> None:
    """Check that a student takes images of a size.

    Args:
        channels: 1 for grey images, 3 for colour.
        sides: Height and width in pixels.
        least: The least side that it takes.
        advice: What else to do, for the message.

    Raises:
        InputError: An image of that size is too small, or there is another number of channels.
    """
    if channels not in (1, 3):
        raise InputError(f"a student takes images of 1 or 3 channels, not {channels}")
    if min(sides) < least:
        raise InputError(
            f"images of {sides[0]} x {sides[1]} pixels are smaller than a student takes, which is "
            f"{least} x {least}; give a larger --image-size{advice}"
        )


def convert_channels(x: Tensor, channels: int) -> Tensor:
    """Return images `[n, channels, h, w]`: colour ones become grey for a grey network."""
    if x.shape[1] <= channels:
        return x
    return (x * x.new_tensor(GREY).view(1, -1, 1, 1)).sum(1, keepdim=True)
