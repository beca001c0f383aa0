"""What to do with a file that is a picture, but of a kind that is not read."""

from __future__ import annotations

from ilk.images.rows.refused import ImageError

CONVERT = "convert it to PNG or JPEG"
FLOATS = "convert it to a TIFF of floats"
VIDEO = "a video; extract its frames, for example with ffmpeg"
PICTURES = (  # offset, bytes, what it is and what to do
    (4, b"JXL ", f"a JPEG XL image, which is not read; {CONVERT}, for example with djxl"),
    (0, b"\xff\x0a", f"a JPEG XL image, which is not read; {CONVERT}, for example with djxl"),
    (0, b"8BPS", f"a Photoshop document, which is not read; {CONVERT} in the program it is from"),
    (0, b"\0\0\1\0", f"an icon, which is not read; {CONVERT}"),
    (0, b"\0\0\2\0", f"a cursor, which is not read; {CONVERT}"),
    (0, b"P7\n", f"a PAM image, which is not read; {CONVERT}"),
    (0, b"PF\n", f"a PFM image, which is not read; {FLOATS}"),
    (0, b"Pf\n", f"a PFM image, which is not read; {FLOATS}"),
    (0, b"SIMPLE  =", f"a FITS image, which is not read; {FLOATS}"),
    (0, b"\x76\x2f\x31\x01", f"an OpenEXR image, which is not read; {FLOATS}"),
    (0, b"#?RADIANCE", f"a Radiance HDR image, which is not read; {FLOATS}"),
    (0, b"gimp xcf", f"a GIMP document, which is not read; {CONVERT}"),
)
OTHERS = (  # what holds pictures, or draws them
    (0, b"%PDF-", f"a PDF document; {CONVERT}, one file per page, for example with pdftoppm"),
    (0, b"%!PS", f"a PostScript document; {CONVERT}"),
    (0, b"\x89HDF", "an HDF5 file; save its images as PNG or TIFF"),
    (0, b"\x93NUMPY", "a NumPy array; save its images as PNG, or give the arrays to ilk in Python"),
    (344, b"n+1\0", "a NIfTI volume; save its slices as PNG or TIFF"),
    (0, b"\x1aE\xdf\xa3", VIDEO),
    (0, b"OggS", VIDEO),
    (0, b"\0\0\1\xba", VIDEO),
    (4, b"ftyp", VIDEO),
    (4, b"moov", VIDEO),
    (4, b"mdat", VIDEO),
)


def refuse_unsupported(head: bytes) -> None:
    """Raise ImageError if the first bytes of a file are of a known kind that is not read."""
    for reason, signatures in (("unreadable", PICTURES), ("not an image", OTHERS)):
        for start, magic, sentence in signatures:
            if head[start:].startswith(magic):
                raise ImageError(reason, sentence)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        raise ImageError("not an image", VIDEO)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith(b"<svg") or (text.startswith((b"<?xml", b"<!--")) and b"<svg" in head):
        raise ImageError("not an image", f"an SVG drawing, which has no pixels; {CONVERT}")
