"""The same picture in several files is one picture, whatever format, compression or metadata."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from ilk.images import Images, read_images
from ilk.images.inspection.pixel_summary import compute_pixel_digest, summarize_pixels
from ilk.store import Store


def picture(seed, size=(20, 14)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)


def outcomes(images: Images):
    return {row.path: row.reason or "used" for row in images.rows}


@pytest.fixture(params=["with a store", "without"])
def store(request, tmp_path):
    if request.param == "without":
        yield None
        return
    made = Store(tmp_path / "store.sqlite")
    yield made
    made.close()


def test_formats_compression_metadata_and_orientation_do_not_matter(tmp_path, store):
    image = picture(1)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned by 90 degrees, shown upright
    save(tmp_path / "d/0.png", image)
    save(tmp_path / "d/1.png", image, compress_level=1)
    save(tmp_path / "d/2.bmp", image)
    save(tmp_path / "d/3.tif", image, compression="tiff_lzw")
    save(tmp_path / "d/4.webp", image, lossless=True)
    save(tmp_path / "d/5.tif", image.transpose(Image.Transpose.ROTATE_90), exif=exif)
    save(tmp_path / "d/6.png", image.convert("RGBA"))
    save(tmp_path / "d/other.png", picture(2))
    images = read_images(tmp_path / "d", store=store)
    assert outcomes(images) == {
        "0.png": "used",
        **dict.fromkeys(("1.png", "2.bmp", "3.tif", "4.webp", "5.tif", "6.png"), "duplicate"),
        "other.png": "used",
    }
    assert "of 0.png (the same pixels, saved differently)" in images.rows[2].detail
    assert len({row.pixel_digest for row in images.rows}) == 2
    assert Images.from_json(images.to_json()) == images


def test_one_pixel_or_another_shape_is_another_picture():
    image = picture(3, (12, 8))
    changed = image.copy()
    changed.putpixel((11, 7), tuple(255 - v for v in image.getpixel((11, 7))))
    flat = Image.frombytes("RGB", (8, 12), image.tobytes())
    assert len({compute_pixel_digest(i) for i in (image, changed, flat)}) == 3
    assert compute_pixel_digest(image.copy()) == compute_pixel_digest(image)


def test_a_large_picture_is_digested_in_strips_to_the_same_result(monkeypatch):
    image = picture(4, (30, 40))
    whole = compute_pixel_digest(image)
    monkeypatch.setattr(
        "ilk.images.inspection.pixel_summary.STRIP_PIXELS", 70
    )  # two rows and a bit
    assert compute_pixel_digest(image) == whole


def test_two_labels_leave_none_and_test_images_stay(tmp_path, store):
    for seed, split, name in ((1, "train", "a"), (2, "train", "b"), (5, "test", "a")):
        save(tmp_path / f"d/{split}/{name}/{seed}.png", picture(seed))
    save(tmp_path / "d/train/b/twice.bmp", picture(1))  # also a/1.png: two labels
    save(tmp_path / "d/train/a/leak.bmp", picture(5))  # also in test
    rows = {row.path: row for row in read_images(tmp_path / "d", store=store).rows}
    assert {path: row.reason for path, row in rows.items()} == {
        "train/a/1.png": "same content under two labels",
        "train/b/twice.bmp": "same content under two labels",
        "train/a/leak.bmp": "in both train and test",
        "test/a/5.png": "",
        "train/b/2.png": "",
    }
    assert "b/twice.bmp as b (the same pixels" in rows["train/a/1.png"].detail
    assert "also test/a/5.png (the same pixels" in rows["train/a/leak.bmp"].detail


def test_images_in_memory_and_files_are_compared(tmp_path, store):
    image, out = picture(6), BytesIO()
    image.save(out, "PNG")
    save(tmp_path / "x.bmp", image)
    images = read_images(
        [np.asarray(image), str(tmp_path / "x.bmp"), out.getvalue(), picture(7)], store=store
    )
    assert [row.reason for row in images.rows] == ["", "duplicate", "duplicate", ""]


def test_a_second_look_decodes_nothing(tmp_path, monkeypatch):
    for seed in range(3):
        save(tmp_path / f"d/{seed}.png", picture(seed))
    save(tmp_path / "d/again.bmp", picture(0))
    store = Store(tmp_path / "store.sqlite")
    first = read_images(tmp_path / "d", store=store)
    monkeypatch.setattr("ilk.images.verify.decode", lambda *_: pytest.fail("decoded again"))
    assert read_images(tmp_path / "d", store=store) == first
    store.close()


def test_the_thumbnail_is_a_small_picture_of_the_whole():
    rows, columns = np.mgrid[:90, :120]
    ramp = np.stack([rows * 2, columns * 2, np.full((90, 120), 7)], 2).astype(np.uint8)
    thumbnail = summarize_pixels(Image.fromarray(ramp)).thumbnail
    small = np.frombuffer(thumbnail, np.uint8).reshape(16, 16, 3).astype(float)
    centres = 2 * (np.arange(16) + 0.5) / 16
    assert np.abs(small[1:-1, :, 0] - (centres * 90 - 1)[1:-1, None]).max() <= 2
    assert np.abs(small[:, 1:-1, 1] - (centres * 120 - 1)[None, 1:-1]).max() <= 2
    assert (small[:, :, 2] == 7).all()


def test_a_deep_picture_in_memory_is_that_of_a_file(tmp_path):
    values = np.random.default_rng(0).integers(0, 4096, (12, 12)).astype(np.uint16)
    picture = Image.fromarray(values)
    picture.save(tmp_path / "1.png")
    picture.save(tmp_path / "2.tif")
    content = (tmp_path / "1.png").read_bytes()
    images = read_images([picture, tmp_path / "1.png", content, tmp_path / "2.tif"])
    assert [row.reason for row in images.rows] == ["", *["duplicate"] * 3]
    assert len({row.pixel_digest for row in images.rows} - {""}) == 1
