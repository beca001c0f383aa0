"""Values of more than 8 bits: one range per source, known to the digest, never per image."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.format_examples import make_picture, save
from ilk.core.errors import ArtifactError, InputError
from ilk.encode import encode_images
from ilk.images import Images, decode, inspect_inputs, iter_inputs, read_images
from ilk.images.pixels import PixelEncoder
from ilk.images.value_ranges.model_ranges import use_ranges
from ilk.images.value_ranges.value_range import (
    EVERY,
    FLOAT,
    HOUNSFIELD,
    INTEGER,
    choose_range,
    parse_value_range,
    restore_ranges,
)
from ilk.store import Store

GREY = np.asarray(make_picture().convert("L")).astype(float) / 255
COLOUR = np.asarray(make_picture()).astype(np.int64)


def deep(scale: float, dtype: str = "u2") -> Image.Image:
    """Return a picture whose values go up to about `scale`; white is `scale`."""
    values = np.rint(GREY * scale) if dtype != "f4" else GREY * scale
    return Image.fromarray(values.astype(np.uint16 if dtype == "u2" else dtype))


def write(folder: Path, files: dict[str, Image.Image | bytes]) -> Path:
    for name, image in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.save(path)
    return folder


def png16(samples: np.ndarray) -> bytes:
    """A PNG of 16-bit colour, which Pillow cannot write: `[h, w, 3]` or `[h, w, 4]`."""

    def chunk(name: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + checksum

    height, width, bands = samples.shape
    kind = {2: 4, 3: 2, 4: 6}[bands]
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in samples)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def pixels(images: Images, name: str) -> np.ndarray:
    [row] = [row for row in images.rows if row.path == name]
    assert row.status == "used", row
    return np.asarray(decode(images.source_of(row), **row.reading))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_bits_that_are_used_become_all_greys(bits: int, tmp_path: Path) -> None:
    white = 2**bits - 1
    images = read_images(
        write(tmp_path, {"a/bright.png": deep(white), "a/dark.png": deep(white / 4)})
    )
    assert images.value_ranges == {INTEGER: (0, white)}
    found = pixels(images, "a/bright.png")[..., 0]
    assert np.abs(found - GREY * 255).max() <= 0.5 + 255 / white
    dark = pixels(images, "a/dark.png")[..., 0]  # not stretched: it is a quarter as bright
    assert np.abs(dark - GREY * 255 / 4).max() <= 0.5 + 255 / white
    assert len(np.unique(found)) > 100


@pytest.mark.parametrize(
    ("kind", "low", "high", "want"),
    [
        (INTEGER, 0, 0, (0, 255)),
        (INTEGER, 3, 1024, (0, 4095)),
        (INTEGER, 0, 65536, (0, 65536)),
        (INTEGER, -1, 100, (-128, 127)),
        (INTEGER, -1024, 2000, HOUNSFIELD),
        (INTEGER, -2000, 2000, (-2048, 2047)),
        (INTEGER, -40000, 70000, (-40000, 70000)),
        (FLOAT, 0, 1, (0, 1)),
        (FLOAT, -0.2, 0.7, (-1, 1)),
        (FLOAT, 0, 1.0001, (0, 1.0001)),
        (FLOAT, 0, 254.5, (0, 255)),
        (FLOAT, 0, 4000, (0, 4095)),
        (FLOAT, 5, 10.0, (0, 10)),
        (FLOAT, -3, -2, (-3, -2)),
    ],
)
def test_the_smallest_standard_range_that_holds_all_values(
    kind: str, low: float, high: float, want: tuple[float, float]
) -> None:
    assert choose_range(kind, low, high) == want


def test_kinds_of_deep_files(tmp_path: Path) -> None:
    signed = np.rint(GREY * 2000 - 1000).astype(np.int32)
    files = {
        "a/float.tif": deep(0.9, "f4"),
        "a/plain.png": make_picture(),
        "a/signed.tif": Image.fromarray(signed),
    }
    images = read_images(write(tmp_path, files))
    assert images.value_ranges == {FLOAT: (0, 1), INTEGER: HOUNSFIELD}
    want = np.rint((signed + 1024) * 255 / 4095)
    assert (pixels(images, "a/signed.tif")[..., 0] == want).all()
    assert np.abs(pixels(images, "a/float.tif")[..., 0] - GREY * 0.9 * 255).max() <= 0.5 + 1e-4


@pytest.mark.parametrize("bands", [3, 4])
def test_colour_of_12_bits_keeps_its_lower_bits(bands: int, tmp_path: Path) -> None:
    samples = COLOUR * 4095 // 255
    if bands == 4:
        samples = np.dstack([samples, np.full(samples.shape[:2], 65535, np.uint16)])
    tiff = write_colour_tiff(samples[..., :3])
    images = read_images(
        write(tmp_path, {"a/x.png": png16(samples), "a/y.tif": tiff}), verify=False
    )
    assert images.value_ranges == {INTEGER: (0, 4095)}
    for name in ("a/x.png", "a/y.tif"):
        found = pixels(images, name).astype(int)
        assert np.abs(found - samples[..., :3] * 255 / 4095).max() <= 0.5 + 1e-9, name


def write_colour_tiff(samples: np.ndarray) -> bytes:
    from helpers.format_examples import grey_tags, write_tiff

    wide = samples.astype("<u2")
    return write_tiff([grey_tags(wide)], [wide.tobytes()])


def test_transparent_grey_of_16_bits(tmp_path: Path) -> None:
    samples = np.stack([np.rint(GREY * 4095), np.full(GREY.shape, 65535)], -1)
    samples[0, 0, 1] = 0
    images = read_images(write(tmp_path, {"a/x.png": png16(samples)}))
    found = pixels(images, "a/x.png")
    assert found[0, 0].tolist() == [255] * 3
    assert np.abs(found[1:, :, 0] - samples[1:, :, 0] * 255 / 4095).max() <= 0.5 + 1e-9


def test_images_of_8_bits_keep_their_digest_and_their_cache(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", {"a/8.png": make_picture(), "a/16.png": deep(4095)})
    full = write(tmp_path / "full", {"a/16.png": deep(65535)})
    rows = {row.path: row for row in read_images(folder).rows}
    for name, is_same in (("a/8.png", True), ("a/16.png", False)):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert (rows[name].digest == digest) == is_same
    [row] = read_images(full).rows  # the whole range is what 16 bits were always read with
    assert row.digest == hashlib.sha256((full / "a/16.png").read_bytes()).hexdigest()
    assert row.value_range == (0, 65535)


def test_features_of_two_ranges_never_mix(tmp_path: Path) -> None:
    folder = write(tmp_path / "d", {"a/16.png": deep(4095)})
    store, encoder = Store(tmp_path / "store"), PixelEncoder(8, 8, 1)
    means = []
    for value_range in ("0-4095", "0-65535", "0-8190", "auto"):
        images = read_images(folder, value_range=value_range, store=store)
        assert encode_images(images, [encoder], store) == {}
        means.append(store.get(encoder.space, [images.rows[0].digest]).mean())
    assert means[0] == means[3]
    assert means[0] == pytest.approx(2 * means[2], rel=0.02)
    assert means[0] == pytest.approx(16 * means[1], rel=0.1)


def test_extremes_are_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "d", {f"a/{i}.png": deep(4000 - i) for i in range(3)})
    write(folder, {"a/plain.png": make_picture()})
    store, measured = Store(tmp_path / "store"), []
    import ilk.images.value_ranges.assign_ranges as ranges

    real = ranges.measure_extremes
    monkeypatch.setattr(ranges, "measure_extremes", lambda *a: measured.append(a) or real(*a))
    first = read_images(folder, store=store)
    assert len(measured) == 3  # of the deep ones alone
    assert read_images(folder, store=store) == first
    assert len(measured) == 3


def test_test_images_do_not_choose_the_range_and_are_clipped(tmp_path: Path) -> None:
    files = {"train/a/1.png": deep(4095), "train/b/2.png": deep(3000), "test/a/3.png": deep(8000)}
    images = read_images(write(tmp_path, files))
    assert images.value_ranges == {INTEGER: (0, 4095)}
    [row] = [row for row in images.rows if row.path == "test/a/3.png"]
    assert "are clipped to 0 to 4,095" in row.detail
    assert pixels(images, "test/a/3.png").max() == 255
    assert any("outside the value range" in note and "3.png" in note for note in images.notes)


def test_a_model_reads_with_its_own_range(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a/1.png": deep(900), "a/2.png": deep(8000)})
    model = {INTEGER: (0.0, 4095.0)}
    for images in (read_images(folder), inspect_inputs(iter_inputs(str(folder)))):
        found = use_ranges(images, model)
        assert found.value_ranges == model
        one, two = found.used
        assert {one.value_range, two.value_range} == {(0, 4095)}
        want = np.rint(np.rint(GREY * 900) * 255 / 4095)
        assert (np.asarray(decode(found.source_of(one), **one.reading))[..., 0] == want).all()
        assert "clipped" in two.detail
        assert not any("sets others" in note for note in found.notes)
    again = use_ranges(read_images(folder, value_range=(0, 4095)), {EVERY: (0.0, 4095.0)})
    assert [row.digest for row in again.rows] == [row.digest for row in found.rows]


def test_a_model_without_a_range_reads_as_files_say(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a/1.png": deep(4095)})
    [row] = use_ranges(read_images(folder), {}).rows
    assert row.value_range is None
    assert row.digest == hashlib.sha256((folder / "a/1.png").read_bytes()).hexdigest()


def test_images_in_memory_follow_the_same_range(tmp_path: Path) -> None:
    forms = [deep(4095), save(deep(2000), "PNG")]
    images = read_images(forms, labels=["a", "b"])
    assert images.value_ranges == {INTEGER: (0, 4095)}
    store, encoder = Store(tmp_path / "store"), PixelEncoder(8, 8, 1)
    assert encode_images(images, [encoder], store) == {}
    bright, dark = store.get(encoder.space, [row.digest for row in images.rows]).mean(1)
    assert bright / dark == pytest.approx(4095 / 2000, rel=0.02)


def test_two_deep_pictures_in_memory_that_differ_in_low_bits_are_two() -> None:
    values = np.asarray(deep(4095)).copy()
    other = values.copy()
    other[3, 3] ^= 1
    images = read_images([Image.fromarray(values), Image.fromarray(other)], verify=False)
    assert len(images.used) == 2


def test_a_file_that_states_its_range_is_read_with_it(tmp_path: Path) -> None:
    values = np.rint(GREY * 900).astype(">u2")
    pgm = b"P5 %d %d 4095\n" % values.shape[::-1] + values.tobytes()
    folder = write(tmp_path, {"a/1.pgm": pgm, "a/2.png": deep(900)})
    images = read_images(folder)
    assert images.value_ranges == {INTEGER: (0, 1023)}
    assert (pixels(images, "a/1.pgm")[..., 0] == np.rint(values * 255.0 / 4095)).all()
    images = read_images(folder, value_range="0-1023")  # the user knows better
    assert "of a/1.pgm (the same pixels" in images.rows[1].detail


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0-4095", (0, 4095)),
        ("-1024-3071", (-1024, 3071)),
        ("-5 - -1", (-5, -1)),
        ("0.5-1e3", (0.5, 1000)),
        ((0, 1), (0, 1)),
    ],
)
def test_a_value_range_is_read_from_text(text: Any, want: tuple[float, float]) -> None:
    assert parse_value_range(text) == {EVERY: want}


@pytest.mark.parametrize("text", ["", "4095", "9-1", "0-0", "a-b", "0-nan", "0-1-2", (1,), 5])
def test_what_is_no_value_range_is_refused(text: Any) -> None:
    with pytest.raises(InputError, match="LOW-HIGH"):
        parse_value_range(text)


@pytest.mark.parametrize("stored", [5, {"integer": 3}, {"integer": [2, 1]}, {"i": ["a", 1]}])
def test_a_damaged_range_of_a_model_is_refused(stored: Any) -> None:
    with pytest.raises(ArtifactError):
        restore_ranges(stored)
    assert restore_ranges(None) == {}


def test_the_report_says_the_range_and_comes_back(tmp_path: Path) -> None:
    images = read_images(write(tmp_path, {"a/1.png": deep(4095), "a/2.png": deep(300)}))
    assert "values of 2 images of more than 8 bits go from 45 to 3,260" in images.notes[0]
    assert "black and white are 0 to 4,095" in images.notes[0]
    back = Images.from_json(images.to_json())
    assert back == images
    assert back.value_ranges == images.value_ranges


def test_near_constant_images_are_noted_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    flat = Image.fromarray(7 + rng.integers(0, 2, (40, 40, 3), np.uint8))
    line = np.full((400, 400, 3), 255, np.uint8)
    line[::40] = 0  # a drawing: most of it is white
    folder = write(tmp_path / "d", {"a/flat.png": flat, "a/line.png": Image.fromarray(line)})
    store = Store(tmp_path / "store")
    for images in (read_images(folder), read_images(folder, store=store)):
        [note] = images.notes
        assert "1 of 2 images is near-constant, such as a/flat.png" in note
    assert read_images(folder, store=store).notes == images.notes  # from the cache


def test_values_that_fill_little_of_their_range_are_noted(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a/1.png": deep(2000)})
    [note] = [n for n in read_images(folder, value_range="0-65535").notes if "constant" in n]
    assert "--value-range" in note
    assert not any("constant" in n for n in read_images(folder).notes)


def test_a_cut_deep_file_is_refused_and_hides_no_range(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a/1.png": deep(4095), "a/2.png": save(deep(60000), "PNG")[:-300]})
    images = read_images(folder)
    assert images.value_ranges == {INTEGER: (0, 4095)}
    assert [row.reason for row in images.rows] == ["", "truncated"]


def test_deep_pictures_in_memory_that_are_shown_differently_are_two(tmp_path: Path) -> None:
    upright, turned, keyed = deep(4095), deep(4095), deep(4095)
    turned.getexif()[0x0112] = 6
    keyed.info["transparency"] = int(np.asarray(keyed)[0, 0])
    images = read_images([upright, turned, keyed])
    assert [row.status for row in images.rows] == ["used"] * 3
    assert len({row.digest for row in images.rows}) == 3
    store, encoder = Store(tmp_path / "store.sqlite"), PixelEncoder(16, 16, 1)
    assert encode_images(images, [encoder], store) == {}
    x = store.get(encoder.space, [row.digest for row in images.rows]).reshape(3, 16, 16)
    assert np.allclose(x[1], np.rot90(x[0], -1), atol=0.02)
    assert not np.allclose(x[1], x[0], atol=0.02)


def test_a_loaded_file_in_memory_keeps_the_range_that_it_states() -> None:
    loaded: Any = deep(900)
    loaded.tag_v2 = {258: (12,)}  # as Pillow's images of TIFF files
    images = read_images([loaded, deep(901)])
    assert images.rows[0].value_range == (0, 4095)
    assert images.value_ranges == {INTEGER: (0, 1023)}


def test_the_values_of_every_page_are_measured(tmp_path: Path) -> None:
    scan = save(deep(500), "TIFF", save_all=True, append_images=[deep(4000)])
    images = read_images(write(tmp_path, {"a/scan.tif": scan}), pages="all")
    assert images.value_ranges == {INTEGER: (0, 4095)}
    assert images.rows[0].detail == images.rows[1].detail == ""
    [first, second] = read_images([scan], pages="all", value_range=(0, 1000)).rows
    assert first.detail == ""
    assert "are clipped" in second.detail
