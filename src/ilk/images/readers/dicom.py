"""DICOM, by pydicom: stored values become modality values, and the file says what is white.

White and black are the window of the file (PS3.3, C.11.2.1.2: the first, if it has several);
without one, what its `BitsStored` can hold; of 16 bits, the value range of all images decides (see
`ilk.images.value_ranges.value_range`). MONOCHROME1 is inverted. Frames are pages.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ilk.images.decoding.array_image import ArrayImage, require
from ilk.images.decoding.formats import MAX_PIXELS, check_size
from ilk.images.rows.refused import ImageError

PREAMBLE = 128
META_BYTES = 4_096  # that hold the transfer syntax
DEFLATED = b"1.2.840.10008.1.2.1.99"  # a few bytes may inflate to any size
GREY = ("MONOCHROME1", "MONOCHROME2")
HAS_LIMITED_BITS = 16  # of fewer bits, the file's own limit says what is white


def matches(head: bytes) -> bool:
    """Whether a file has the preamble of DICOM."""
    return head[PREAMBLE : PREAMBLE + 4] == b"DICM"


def open_image(source: BinaryIO, page: int) -> ArrayImage:
    """Return a frame with the header of the file read.

    Raises:
        ImageError: pydicom is not installed, or the file holds no picture that it can read.
    """
    pydicom = require("pydicom", "pydicom", "a DICOM image", "dicom")
    source.seek(0)
    if DEFLATED in source.read(META_BYTES):
        raise ImageError(
            "unreadable", "a deflated DICOM file, which is not read; save it uncompressed"
        )
    source.seek(0)
    try:
        header = pydicom.dcmread(source, stop_before_pixels=True)
        width, height = int(header.get("Columns", 0) or 0), int(header.get("Rows", 0) or 0)
        frames = int(header.get("NumberOfFrames", 1) or 1)
        bits = int(header.get("BitsStored", 0) or 0)
        kind = str(header.get("PhotometricInterpretation", ""))
        stated = _find_range(header, bits) if kind in GREY else None
    except ImageError:
        raise
    except Exception as error:
        raise ImageError("unreadable", f"a damaged DICOM file ({_shorten(error)})") from None
    if not (width and height and bits):
        raise ImageError("unreadable", "a DICOM file without a picture, such as a report or a plan")
    check_size(width, height, MAX_PIXELS)
    if page > frames:
        raise ImageError("unreadable", f"it has {frames} frames, and no frame {page}")
    is_grey = kind in GREY
    return ArrayImage(
        (width, height),
        ("L" if bits <= 8 else "I;16") if is_grey else "RGB",
        "DICOM",
        lambda: _read_frame(pydicom, source, max(page, 1) - 1, is_grey),
        stated,
        is_inverted=kind == "MONOCHROME1",
        n_pages=max(1, frames),
    )


def _find_range(header: Any, bits: int) -> tuple[float, float] | None:
    """Return the modality values that are black and white according to the file, if it says."""
    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    if center is not None and width is not None and width >= 1:
        if str(header.get("VOILUTFunction", "LINEAR")) == "LINEAR":
            center, width = center - 0.5, width - 1
        if width > 0:
            return center - width / 2, center + width / 2
    if not 0 < bits < HAS_LIMITED_BITS or "ModalityLUTSequence" in header:
        return None
    is_signed = int(header.get("PixelRepresentation", 0) or 0) == 1
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    slope = _first(header.get("RescaleSlope"))
    offset = _first(header.get("RescaleIntercept")) or 0.0
    ends = sorted((slope if slope is not None else 1.0) * v + offset for v in (low, high))
    return (ends[0], ends[1]) if ends[1] > ends[0] else None


def _first(value: Any) -> float | None:
    """Return the first of the values of an element as a finite number, None if there is none."""
    if value is None or value == "":
        return None
    if not isinstance(value, str | int | float) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) else None


def _read_frame(pydicom: Any, source: BinaryIO, index: int, is_grey: bool) -> NDArray[Any]:
    """Return modality values `[h, w]`, or colours `[h, w, 3]`."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    source.seek(0)
    try:
        dataset = pydicom.dcmread(source)
        samples = pixel_array(dataset, index=index)
        if is_grey:
            return np.asarray(apply_modality_lut(samples, dataset))
        if str(dataset.PhotometricInterpretation) == "PALETTE COLOR":
            samples = apply_color_lut(samples, dataset)
    except MemoryError:
        raise
    except Exception as error:
        message = _shorten(error)
        if "less than expected" in message or "truncated" in message.casefold():
            raise ImageError("truncated", "a DICOM file whose picture ends early") from None
        is_missing = isinstance(error, RuntimeError | NotImplementedError | ImportError)
        raise ImageError(
            "unreadable",
            f"a DICOM image that cannot be decoded ({message}); convert it to PNG, or to an "
            "uncompressed DICOM file",
            is_permanent=not is_missing,  # another installed library may decode it
        ) from None
    if samples.dtype != np.uint8:  # colours of 16 bits, as a palette has
        samples = (samples.astype(np.uint32) >> 8 * (samples.dtype.itemsize - 1)).astype(np.uint8)
    return np.asarray(samples)


def _shorten(error: Exception) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__
