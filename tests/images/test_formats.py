"""Formats beyond the everyday ones: the pixels of a reference decoder, or one sentence."""

from __future__ import annotations

import builtins
import struct
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from helpers.format_examples import (
    ASCII,
    BYTE,
    LONG,
    SHORT,
    grey_tags,
    make_dicom,
    make_dng,
    make_picture,
    save,
    write_tiff,
)
from ilk.images import REASONS, ImageError, decode, inspect_file

PICTURE = make_picture()
PIXELS = np.asarray(PICTURE)
GREY = PIXELS[..., 0]
needs_heif = pytest.mark.skipif(not find_spec("pillow_heif"), reason="pillow-heif is not installed")
needs_dicom = pytest.mark.skipif(not find_spec("pydicom"), reason="pydicom is not installed")
needs_raw = pytest.mark.skipif(not find_spec("rawpy"), reason="rawpy is not installed")
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
needs_jpeg2000 = pytest.mark.skipif(not features.check("jpg_2000"), reason="no JPEG 2000")


def pixels(data: bytes, **options: Any) -> np.ndarray:
    image = decode(data, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def refusal(data: bytes, **options: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data, **options)
    assert caught.value.reason in REASONS
    row = inspect_file(data, max_pixels=options.get("max_pixels", 10**6))
    assert row.status in ("used", "refused")
    return caught.value


def make_heic(**options: Any) -> bytes:
    import pillow_heif

    out = BytesIO()
    pillow_heif.from_pillow(PICTURE).save(out, quality=-1, chroma=444, **options)
    return out.getvalue()


def make_samples() -> dict[str, bytes]:
    """Every format beyond the everyday ones that this machine writes."""
    deep = GREY.astype(np.uint16) * 16
    samples = {
        "pbm": save(PICTURE.convert("1"), "PPM"),
        "pgm": save(PICTURE.convert("L"), "PPM"),
        "ppm": save(PICTURE, "PPM"),
        "pgm16": b"P5 72 48 4095\n" + deep.astype(">u2").tobytes(),
        "pgm text": b"P2\n# words\n72 48\n255\n" + b"\n".join(b"%d" % v for v in GREY.ravel()),
        "tiff sub": write_tiff(
            [
                grey_tags(GREY[:8, :8], t254=(LONG, (1,)), t330=(LONG, ("sub:1",))),
                grey_tags(GREY, t254=(LONG, (0,))),
            ],
            [GREY[:8, :8].tobytes(), GREY.tobytes()],
        ),
    }
    if features.check("avif"):
        samples["avif"] = save(PICTURE, "AVIF")
    if features.check("jpg_2000"):
        samples["jpeg 2000"] = save(PICTURE, "JPEG2000")
    if find_spec("pillow_heif"):
        samples["heic"] = make_heic()
    if find_spec("pydicom"):
        samples["dicom"] = make_dicom(GREY.astype(np.uint16) * 16, BitsStored=12)
    if find_spec("rawpy"):
        samples["dng"] = make_dng()
    return samples


SAMPLES = make_samples()
CHECKED = ("pbm", "pgm", "ppm", "pgm16", "tiff sub", "dicom", "heic", "avif", "jpeg 2000")


@pytest.mark.parametrize("name", SAMPLES)
def test_cuts_and_flips_give_an_image_or_a_refusal(name: str) -> None:
    data, rng = SAMPLES[name], np.random.default_rng(1)
    told: list[tuple[str, str]] = []
    decode(data)
    for i in range(60):
        changed = bytearray(data if i % 3 else data[: rng.integers(0, len(data))])
        head = min(len(changed), 400 if i % 2 else 10**9)
        for at in rng.integers(0, head, 4) if head and i % 3 else ():
            changed[at] ^= int(rng.integers(1, 256))
        row = inspect_file(bytes(changed), max_pixels=10**6)
        assert row.reason in (*REASONS, "")
        try:
            image = decode(bytes(changed), max_pixels=10**6)
        except ImageError as error:
            told.append((error.reason, error.detail))
        else:
            assert image.mode == "RGB"
    assert all(reason in REASONS and detail for reason, detail in told)


@pytest.mark.parametrize("name", [name for name in CHECKED if name in SAMPLES])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.97])
def test_a_file_that_is_cut_off_is_refused(name: str, part: float) -> None:
    data = SAMPLES[name]
    reasons = {"truncated"} | ({"unreadable"} if name == "tiff sub" else set())  # no directory
    assert refusal(data[: int(part * len(data))]).reason in reasons


@pytest.mark.parametrize("name", SAMPLES)
def test_the_limit_of_pixels_holds_before_anything_is_decoded(name: str) -> None:
    assert refusal(SAMPLES[name], max_pixels=1000).reason == "too large"
    assert inspect_file(SAMPLES[name], max_pixels=1000).reason == "too large"


# ---- PBM, PGM, PPM ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_portable_anymaps_have_the_pixels_that_pillow_reads(mode: str) -> None:
    data = save(PICTURE.convert(mode), "PPM")
    with Image.open(BytesIO(data)) as reference:
        assert (pixels(data) == np.asarray(reference.convert("RGB"))).all()


def test_text_forms_have_the_pixels_of_the_binary_forms() -> None:
    numbers = b" ".join(b"%d" % v for v in PIXELS.ravel())
    text = b"P3 # comment\n#another\n72 # width\n48\n255\n" + numbers
    assert (pixels(text) == PIXELS).all()
    bits = GREY > 120
    digits = "\n".join("".join("01"[int(not b)] for b in line) for line in bits)
    text = b"P1\n72 48\n" + digits.encode()  # 1 is black
    assert (pixels(text)[..., 0] == bits * 255).all()


@pytest.mark.parametrize("largest", [1, 15, 100, 255, 1023, 4095])
def test_the_largest_sample_is_white(largest: int) -> None:
    values = np.rint(np.linspace(0, largest, 72 * 48)).reshape(48, 72)
    dtype = ">u2" if largest > 255 else "u1"
    data = b"P5\n72 48\n%d\n" % largest + values.astype(dtype).tobytes()
    assert np.abs(pixels(data)[..., 0] - values * 255 / largest).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5 100000 100000 255\n", "too large"),
        (b"P6 60000 2000 255\n123", "truncated"),
        (b"P5 4 4 255", "truncated"),
        (b"P5 4 4", "truncated"),
        (b"P5 4 4 0\n" + bytes(16), "unreadable"),
        (b"P5 4 4 70000\n" + bytes(32), "unreadable"),
        (b"P5 4 4 100\n" + b"\xff" * 16, "unreadable"),
        (b"P2 2 2 255\n1 2 3", "truncated"),
        (b"P2 2 2 255\n1 2 3 x y", "unreadable"),
        (b"P2 2 2 255\n1 2 3 -4", "unreadable"),
        (b"P2 2 2 255\n1 2 3 " + b"9" * 40, "unreadable"),
        (b"P1 2 2\n1 0 2 1", "unreadable"),
        (b"P5 0 4 255\n", "unreadable"),
        (b"P3 is the way to go, he said to himself", "not an image"),
    ],
)
def test_damaged_anymaps_are_refused(data: bytes, reason: str) -> None:
    assert refusal(data).reason == reason


# ---- TIFF: thumbnails ------------------------------------------------------------------------


def test_the_page_of_full_resolution_is_the_image() -> None:
    small, rest = GREY[::4, ::4].copy(), GREY.copy()
    reduced, full = (LONG, (1,)), (LONG, (0,))
    chain = write_tiff(
        [grey_tags(small, t254=reduced), grey_tags(rest, t254=full)],
        [small.tobytes(), rest.tobytes()],
    )
    old = write_tiff(
        [grey_tags(small, t255=(SHORT, (2,))), grey_tags(rest)], [small.tobytes(), rest.tobytes()]
    )
    pyramid = write_tiff(
        [grey_tags(rest), grey_tags(small, t254=reduced)], [rest.tobytes(), small.tobytes()]
    )
    for data in (chain, old, pyramid, SAMPLES["tiff sub"]):
        row = inspect_file(data)
        assert (row.width, row.height, row.n_pages) == (72, 48, 0)
        assert (pixels(data)[..., 0] == GREY).all()


def test_a_tiff_of_thumbnails_alone_is_refused() -> None:
    data = write_tiff([grey_tags(GREY, t254=(LONG, (1,)))], [GREY.tobytes()])
    assert "only thumbnails" in refusal(data).detail


def test_a_colour_map_in_8_bits_is_not_black() -> None:
    index = (GREY > 100).astype(np.uint8)
    colours = np.zeros((3, 256), int)
    colours[:, 0], colours[:, 1] = (10, 20, 30), (200, 100, 50)
    for scale in (1, 256):
        tags = grey_tags(index) | {262: (SHORT, (3,)), 320: (SHORT, tuple(colours.ravel() * scale))}
        found = pixels(write_tiff([tags], [index.tobytes()]))
        assert (found == colours.T[index]).all()


def test_directories_in_a_circle_end() -> None:
    data = bytearray(write_tiff([grey_tags(GREY)], [GREY.tobytes()]))
    struct.pack_into("<I", data, len(data) - 4, struct.unpack_from("<I", data, 4)[0])
    assert (pixels(bytes(data))[..., 0] == GREY).all()


# ---- camera raw ------------------------------------------------------------------------------


@needs_raw
def test_a_raw_file_is_developed_and_its_thumbnail_left() -> None:
    import rawpy

    data = make_dng()
    with rawpy.imread(BytesIO(data)) as file:
        want = file.postprocess(use_camera_wb=True, no_auto_bright=True, output_bps=8)
    row = inspect_file(data)
    assert (row.width, row.height, row.format) == (128, 64, "RAW")
    found = pixels(data)
    assert (found == want).all()
    assert found[:, :20].mean() + 20 < found[:, -20:].mean()  # brighter to the right, as drawn
    assert found[:20].mean() + 5 < found[-20:].mean()


def test_a_raw_file_that_cannot_be_read_says_what_to_do() -> None:
    dng = write_tiff(
        [grey_tags(GREY, t254=(LONG, (1,)), t50706=(BYTE, (1, 4, 0, 0)), t271=(ASCII, (77, 0)))],
        [GREY.tobytes()],
    )
    for data in (dng, b"FUJIFILMCCD-RAW 0201" + bytes(200), b"IIU\0" + bytes(200)):
        found = refusal(data)
        assert "camera raw file" in found.detail
        assert "export it" in found.detail or "pip install rawpy" in found.detail


# ---- HEIC, AVIF, JPEG 2000 -------------------------------------------------------------------


@needs_heif
def test_heic_has_the_pixels_of_libheif() -> None:
    import pillow_heif

    data = make_heic()
    want = np.asarray(pillow_heif.open_heif(BytesIO(data)).to_pillow().convert("RGB"))
    row = inspect_file(data)
    assert (row.format, row.width, row.height) == ("HEIF", 72, 48)
    assert (pixels(data) == want).all()
    assert np.abs(pixels(data).astype(int) - PIXELS).mean() < 2


@needs_heif
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_turned_once(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {1: 0, 3: 2, 6: -1, 8: 1}
    found = pixels(make_heic(exif=exif.tobytes()))
    want = np.rot90(PIXELS, turned[orientation])
    assert found.shape == want.shape
    assert np.abs(found.astype(int) - want).mean() < 3


@needs_avif
def test_avif_has_the_pixels_that_were_stored_or_nearly() -> None:
    data = save(PICTURE, "AVIF", quality=95)
    assert np.abs(pixels(data).astype(int) - PIXELS).mean() < 2
    exif = Image.Exif()
    exif[0x0112] = 6
    found = pixels(save(PICTURE, "AVIF", quality=95, exif=exif))
    assert np.abs(found.astype(int) - np.rot90(PIXELS, -1)).mean() < 2


@needs_jpeg2000
def test_jpeg_2000_without_loss_has_the_pixels_that_were_stored() -> None:
    assert (pixels(save(PICTURE, "JPEG2000", irreversible=False)) == PIXELS).all()
    raw = save(PICTURE, "JPEG2000", irreversible=False, no_jp2=True)
    assert (pixels(raw) == PIXELS).all()


# ---- DICOM -----------------------------------------------------------------------------------


@needs_dicom
@pytest.mark.parametrize(
    ("values", "tags", "low", "high"),
    [
        (GREY.astype(np.uint16) * 16, {"BitsStored": 12}, 0, 4095),
        (GREY.astype(np.uint8), {}, 0, 255),
        (
            GREY.astype(np.uint16) * 16,
            {"BitsStored": 12, "RescaleSlope": 1, "RescaleIntercept": -1024},
            -1024,
            3071,
        ),
        (  # a window of linear form: from center - 0.5 - (width - 1) / 2
            GREY.astype(np.uint16) * 16,
            {
                "RescaleSlope": 2,
                "RescaleIntercept": -1000,
                "WindowCenter": 40,
                "WindowWidth": 401,
            },
            40 - 0.5 - 200,
            40 - 0.5 + 200,
        ),
        (
            GREY.astype(np.uint16) * 16,
            {"WindowCenter": [2000, 5], "WindowWidth": [3000, 9], "VOILUTFunction": "LINEAR_EXACT"},
            500,
            3500,
        ),
        (GREY.astype(np.int16) * 8 - 1000, {"BitsStored": 12}, -2048, 2047),
    ],
    ids=["12 bits", "8 bits", "rescaled", "window", "exact", "signed"],
)
@pytest.mark.parametrize("is_inverted", [False, True])
def test_dicom_says_what_is_black_and_white(
    values: np.ndarray, tags: dict[str, Any], low: float, high: float, is_inverted: bool
) -> None:
    if is_inverted:
        tags = tags | {"PhotometricInterpretation": "MONOCHROME1"}
    found = pixels(make_dicom(values, **tags))[..., 0]
    modality = values * float(tags.get("RescaleSlope", 1)) + float(tags.get("RescaleIntercept", 0))
    want = np.rint(((modality - low) * 255 / (high - low)).clip(0, 255))
    assert (found == (255 - want if is_inverted else want)).all()


@needs_dicom
def test_dicom_colours_and_frames() -> None:
    assert (pixels(make_dicom(PIXELS)) == PIXELS).all()
    frames = np.stack([GREY, 255 - GREY])
    data = make_dicom(frames, NumberOfFrames=2)
    assert inspect_file(data).n_pages == 2
    assert (pixels(data)[..., 0] == GREY).all()
    assert (pixels(data, page=2)[..., 0] == 255 - GREY).all()


@needs_dicom
def test_a_deflated_dicom_file_is_not_inflated() -> None:
    data = make_dicom(GREY).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99", 1)
    assert "deflated" in refusal(data).detail


@needs_dicom
def test_a_dicom_file_without_a_picture_says_so() -> None:
    assert "without a picture" in refusal(b"\0" * 128 + b"DICM" + b"\0" * 100).detail


# ---- what is not read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a" + bytes(20), "JPEG XL"),
        (b"8BPS\0\1" + bytes(20), "Photoshop"),
        (b"%PDF-1.7 ", "PDF"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'>", "SVG"),
        (b"\0\0\1\0\1\0" + bytes(20), "icon"),
        (b"\0\0\0\x20ftypisom" + bytes(30), "video"),
        (b"\0\0\0\x20ftypqt  " + bytes(30), "video"),
        (b"RIFF\0\0\0\0AVI LIST", "video"),
        (b"\x93NUMPY\1\0", "NumPy"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
    ],
)
def test_what_is_not_read_says_what_to_do(data: bytes, words: str) -> None:
    detail = refusal(data + bytes(40)).detail
    assert words in detail
    assert any(verb in detail for verb in ("convert", "extract", "save"))


@pytest.mark.parametrize(
    ("name", "module", "package", "extra"),
    [
        ("heic", "pillow_heif", "pillow-heif", "heic"),
        ("dicom", "pydicom", "pydicom", "dicom"),
        ("dng", "rawpy", "rawpy", "raw"),
    ],
)
def test_a_missing_library_is_named_and_not_remembered(
    name: str, module: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name not in SAMPLES:
        pytest.skip(f"{package} is needed to write the file")
    real = builtins.__import__
    monkeypatch.setattr(
        "ilk.images.decoding.array_image.import_module",
        lambda m: (_ for _ in ()).throw(ImportError) if m == module else real(m),
    )
    found = refusal(SAMPLES[name])
    assert f"pip install {package} (or 'ilk[{extra}]')" in found.detail
    assert not found.is_permanent
