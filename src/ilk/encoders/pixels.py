"""`pixels`: the image itself, shrunk. Needs no weights; a strong baseline for glyphs."""

from __future__ import annotations

from ilk.encoders.options import EncoderOptions
from ilk.images.pixels import PixelEncoder

FORM = "pixels"
PRETRAINED = False
DEFAULT = "pixels"
COST = 0


def open_encoder(name: str, options: EncoderOptions) -> PixelEncoder:
    """Open `pixels`, sized to the images, or `pixels/HEIGHTxWIDTHxCHANNELS`.

    Raises:
        InputError: The size cannot be read.
    """
    _, _, size = name.partition("/")
    if size:
        return PixelEncoder.parse(size)
    return PixelEncoder.from_rows(options.images.used if options.images else ())
