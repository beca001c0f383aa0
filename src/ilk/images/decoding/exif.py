"""When and with which camera a picture was taken, from the header of its file."""

from __future__ import annotations

from PIL.ImageFile import ImageFile

EXIF_IFD, MAKER, MODEL, ORIGINAL_TIME = 0x8769, 0x010F, 0x0110, 0x9003  # EXIF 2.3, table 4 and 6
MAX_LENGTH = 100  # characters that are kept of what a file says about itself


def read_origin(image: ImageFile) -> tuple[str, str]:
    """Return when a picture was taken and its camera; "" for what its EXIF does not say.

    Nothing is decoded. The time is that of the exposure: that of a change is the same for all
    pictures that a program has converted.
    """
    if image.format != "TIFF" and "exif" not in image.info:
        return "", ""
    try:
        exif = image.getexif()
        taken = exif.get_ifd(EXIF_IFD).get(ORIGINAL_TIME, "")
        names = [_clean(exif.get(tag, "")) for tag in (MAKER, MODEL)]
    except Exception:  # Pillow's reader raises errors of many kinds for damaged metadata
        return "", ""
    return _clean(taken), " ".join(filter(None, names))


def _clean(value: object) -> str:
    """Return the printable characters of a text, without what surrounds it; "" for others."""
    if not isinstance(value, str):
        return ""
    return "".join(c for c in value[:MAX_LENGTH] if c.isprintable()).strip()
