"""Files with several pages or frames: the first, with a note, or a row of each."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.format_examples import make_picture, save
from ilk.artifacts.image_blocks import iter_image_blocks
from ilk.core.errors import InputError
from ilk.encode import encode_images
from ilk.images import Images, decode, inspect_file, inspect_inputs, iter_inputs, read_images
from ilk.images.decoding import pages
from ilk.images.display import find_picture
from ilk.images.pixels import PixelEncoder
from ilk.store import Store

COLOURS = ("red", "lime", "blue")
FRAMES = [Image.new("RGB", (20, 10), colour) for colour in COLOURS]
WRITERS = {
    "TIFF": {"save_all": True},
    "GIF": {"save_all": True},
    "WEBP": {"save_all": True, "lossless": True},
    "PNG": {"save_all": True},
}
WANT = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def several(kind: str) -> bytes:
    return save(FRAMES[0], kind, append_images=FRAMES[1:], **WRITERS[kind])


def colour_of(images: Images, row_number: int) -> tuple[int, ...]:
    row = images.rows[row_number]
    return tuple(np.asarray(decode(images.source_of(row), **row.reading))[5, 5].tolist())


@pytest.mark.parametrize("kind", WRITERS)
def test_the_first_page_is_used_and_that_is_said(kind: str, tmp_path: Path) -> None:
    data = several(kind)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "many").write_bytes(data)
    (tmp_path / "a" / "one.png").write_bytes(save(make_picture(), "PNG"))
    images = read_images(tmp_path)
    [note] = [note for note in images.notes if "several pages" in note]
    assert "1 file has several pages or frames (a/many has 3); the first is used" in note
    assert [row.n_pages for row in images.rows] == [3, 0]
    assert colour_of(images, 0) == WANT[0]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_page_is_a_row(kind: str, tmp_path: Path) -> None:
    data = several(kind)
    file = tmp_path / "scan.x"
    file.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    for source in ([str(file)], [data]):
        images = read_images(source, pages="all", labels=["a"])
        assert [row.path.rpartition("[")[2] for row in images.rows] == ["1]", "2]", "3]"]
        assert [colour_of(images, i) for i in range(3)] == WANT
        assert [row.page for row in images.rows] == [1, 2, 3]
        assert images.rows[0].digest == digest  # what the file stands for
        assert len({row.digest for row in images.rows}) == 3
        assert {row.label for row in images.rows} == {"a"}
        assert len({row.group for row in images.rows}) == 1
        assert images.rows[0].group  # what is known of one page helps with the others
        note = "each page or frame of 1 file is an image; the pages of a file are one group"
        assert images.notes[0] == note
    row = read_images([str(file)], pages="all").rows[1]
    assert row.path == f"{file}[2]"
    assert Images(None, (row,)).path_of(row) == file


def test_pages_are_encoded_apart(tmp_path: Path) -> None:
    file = tmp_path / "scan.tif"
    file.write_bytes(several("TIFF"))
    store, encoder = Store(tmp_path / "store"), PixelEncoder(2, 2, 3)
    for images in (
        read_images([str(file)], pages="all"),
        inspect_inputs(iter_inputs([str(file)]), "all"),
        inspect_inputs(iter_inputs([several("TIFF")]), "all"),
    ):
        assert encode_images(images, [encoder], store) == {}
        x = store.get(encoder.space, [row.digest for row in images.rows])
        assert (x.reshape(3, 3, 4)[:, :, 0] * 255 == WANT).all()
    restored = Images.from_json(images.to_json())
    assert restored.rows == images.rows


def test_images_with_pages_are_predicted_as_they_were_read() -> None:
    read = read_images([several("TIFF"), save(make_picture(), "PNG")], pages="all")
    [images] = iter_image_blocks(read)
    assert [colour_of(images, i) for i in range(3)] == WANT
    assert [row.path for row in images.rows] == [row.path for row in read.rows]
    assert [row.digest for row in images.rows] == [row.digest for row in read.rows]


def test_pages_of_different_sizes(tmp_path: Path) -> None:
    data = save(FRAMES[0], "TIFF", save_all=True, append_images=[Image.new("RGB", (7, 9), "blue")])
    images = read_images([data], pages="all")
    assert [(row.width, row.height) for row in images.rows] == [(20, 10), (7, 9)]
    assert [decode(data, page=p).size for p in (1, 2)] == [(20, 10), (7, 9)]


def test_too_many_pages_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_PAGES", 2)
    for kind in WRITERS:
        assert inspect_file(several(kind)).n_pages == 3
        row = inspect_inputs(iter_inputs([several(kind)]), "all").rows[0]
        assert (row.status, row.reason) == ("refused", "too large"), kind
        assert "more than 2 pages" in row.detail
    monkeypatch.setattr(pages, "MAX_PAGES", 100)
    monkeypatch.setattr(pages, "MAX_TOTAL_PIXELS", 500)
    row = inspect_inputs(iter_inputs([several("TIFF")]), "all").rows[0]
    assert "3 pages of 20 × 10 pixels, too much together" in row.detail


def test_frames_are_counted_without_decoding_them() -> None:
    data = several("GIF")
    for cut in range(0, len(data), 3):
        assert inspect_file(data[:cut]).n_pages in (0, 2, 3)
    assert inspect_file(data[:-1]).n_pages == 3


def test_a_page_that_is_not_there_is_refused() -> None:
    from ilk.images import ImageError

    for kind in WRITERS:
        with pytest.raises(ImageError):
            decode(several(kind), page=4)


def test_the_setting_is_first_or_all() -> None:
    with pytest.raises(InputError, match="'first' or 'all'"):
        read_images([several("GIF")], pages="2")


def test_pages_are_a_group_of_their_file_whatever_its_folder(tmp_path: Path) -> None:
    for name, data in (
        ("old", several("TIFF")),
        ("copy", several("TIFF")),
        ("new", several("GIF")),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scan.tif").write_bytes(data)
    groups = {
        name: {row.group for row in read_images(tmp_path / name, pages="all").rows}
        for name in ("old", "copy", "new")
    }
    assert groups["old"] == groups["copy"] != groups["new"]
    assert len(groups["new"]) == 1
    (listed,) = {row.group for row in read_images([tmp_path / "old/scan.tif"], pages="all").rows}
    assert {listed} == groups["old"]


def test_pages_keep_the_group_that_is_given(tmp_path: Path) -> None:
    (tmp_path / "p1_a.tif").write_bytes(several("TIFF"))
    (tmp_path / "p1_b.gif").write_bytes(several("GIF"))
    images = read_images(tmp_path, pages="all", group_from="(p[0-9])_")
    assert [row.group for row in images.rows] == ["p1"] * 6
    assert len(images.used) == 3  # the same pictures


def test_the_picture_of_a_page_is_that_page(tmp_path: Path) -> None:
    (tmp_path / "scan.tif").write_bytes(several("TIFF"))
    for source in (tmp_path / "scan.tif", several("TIFF")):
        images = read_images([source], pages="all")
        for row, want in zip(images.rows, WANT, strict=True):
            picture = find_picture(images, images.shown_path_of(row))
            assert isinstance(picture, Image.Image)
            assert picture.getpixel((5, 5)) == want
