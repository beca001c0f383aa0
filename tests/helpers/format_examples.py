"""Small files of the rarer image formats, written here from their specifications."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BYTE, ASCII, SHORT, LONG, RATIONAL, SRATIONAL = 1, 2, 3, 4, 5, 10
CODES = {BYTE: "B", ASCII: "B", SHORT: "H", LONG: "I", RATIONAL: "II", SRATIONAL: "ii"}


def make_picture(seed: int = 0, side: int = 48) -> Image.Image:
    """Smooth shapes, as codecs expect them, which differ in all eight orientations."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, : side * 3 // 2] / side
    colour = [np.sin(3 * x + rng.uniform(0, 3)), np.cos(2 * y + 4 * x), x + y - 1]
    return Image.fromarray((127 + 100 * np.stack(colour, -1).clip(-1, 1)).astype(np.uint8))


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a file that Pillow writes."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write_tiff(
    directories: list[dict[int, tuple[int, tuple[Any, ...]]]], data: list[bytes]
) -> bytes:
    """Return a little-endian TIFF: a chain of directories, each with a strip of `data`.

    A tag is its type and its values; strip offsets and byte counts are added. The value "sub:N" of
    tag 330 stands for the offset of directory N, which then is not part of the chain.
    """
    out = bytearray(b"II*\0" + bytes(4))
    starts, link = [], 4
    strips = []
    for strip in data:
        strips.append(len(out))
        out += strip + bytes(len(strip) % 2)
    inner = {
        int(v[4:])
        for d in directories
        for _, (_, vs) in d.items()
        for v in vs
        if isinstance(v, str)
    }
    order = sorted(range(len(directories)), key=lambda i: i not in inner)  # sub-directories first
    where: dict[int, int] = {}
    for i in order:
        tags = {**directories[i], 273: (LONG, (strips[i],)), 279: (LONG, (len(data[i]),))}
        entries = b""
        for tag, (kind, values) in sorted(tags.items()):
            flat = [where[int(v[4:])] if isinstance(v, str) else v for v in values]
            body = struct.pack("<" + CODES[kind][0] * len(flat), *flat)
            count = len(flat) // len(CODES[kind])
            if len(body) > 4:
                place = struct.pack("<I", len(out))
                out += body + bytes(len(body) % 2)
            else:
                place = body.ljust(4, b"\0")
            entries += struct.pack("<HHI", tag, kind, count) + place
        where[i] = len(out)
        starts.append(len(out))
        if i not in inner:
            struct.pack_into("<I", out, link, len(out))
            link = len(out) + 2 + len(entries)
        out += struct.pack("<H", len(tags)) + entries + bytes(4)
    return bytes(out)


def grey_tags(pixels: NDArray[Any], **more: tuple[int, tuple[Any, ...]]) -> dict[int, Any]:
    """Return the tags of an uncompressed grey or RGB page with one strip."""
    height, width = pixels.shape[:2]
    bands = pixels.shape[2] if pixels.ndim == 3 else 1
    return {
        256: (LONG, (width,)),
        257: (LONG, (height,)),
        258: (SHORT, (8 * pixels.dtype.itemsize,) * bands),
        259: (SHORT, (1,)),
        262: (SHORT, (2 if bands == 3 else 1,)),
        277: (SHORT, (bands,)),
        278: (LONG, (height,)),
        **{int(tag[1:]): value for tag, value in more.items()},
    }


def make_dng(side: int = 64) -> bytes:
    """A raw file with a Bayer pattern: a thumbnail first, the picture in a SubIFD."""
    y, x = np.mgrid[:side, : 2 * side]
    bayer = (1000 + 20000 * (x / (2 * side)) + 8000 * (y > side // 2)).astype("<u2")
    thumbnail = np.full((16, 32, 3), 90, np.uint8)
    identity = (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1)
    camera = tuple(b"ilk test camera\0")
    first = grey_tags(thumbnail, t254=(LONG, (1,)), t330=(LONG, ("sub:1",))) | {
        271: (ASCII, tuple(b"ilk\0")),
        272: (ASCII, camera),
        274: (SHORT, (1,)),
        50706: (BYTE, (1, 4, 0, 0)),
        50708: (ASCII, camera),
        50721: (SRATIONAL, identity),
        50728: (RATIONAL, (1, 1, 1, 1, 1, 1)),
        50778: (SHORT, (21,)),
    }
    second = grey_tags(bayer, t254=(LONG, (0,)), t33421=(SHORT, (2, 2))) | {
        262: (SHORT, (32803,)),
        33422: (BYTE, (0, 1, 1, 2)),
        50714: (SHORT, (0,)),
        50717: (LONG, (65535,)),
    }
    return write_tiff([first, second], [thumbnail.tobytes(), bayer.tobytes()])


def make_dicom(pixels: NDArray[Any], **tags: Any) -> bytes:
    """An uncompressed DICOM image `[h, w]`, `[h, w, 3]` or, with NumberOfFrames, `[n, h, w]`."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["ilk"])
    dataset = Dataset()
    dataset.file_meta = meta
    is_colour = pixels.ndim == 3 and "NumberOfFrames" not in tags
    dataset.Rows, dataset.Columns = pixels.shape[:2] if is_colour else pixels.shape[-2:]
    dataset.SamplesPerPixel = 3 if is_colour else 1
    dataset.PhotometricInterpretation = "RGB" if is_colour else "MONOCHROME2"
    if is_colour:
        dataset.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    data = pixels.tobytes()
    dataset.add_new(0x7FE00010, "OW" if bits > 8 else "OB", data + bytes(len(data) % 2))
    out = BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()
