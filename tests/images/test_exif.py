"""When and with which camera a picture was taken is read with the header; nothing is decoded."""

from __future__ import annotations

import pytest
from PIL import Image

from ilk.images import inspect_file


def save(path, **tags):
    exif = Image.Exif()
    for name, tag in (("maker", 0x010F), ("model", 0x0110), ("changed", 0x0132)):
        if name in tags:
            exif[tag] = tags[name]
    if "taken" in tags:
        exif.get_ifd(0x8769)[0x9003] = tags["taken"]
    Image.new("RGB", (9, 7), "red").save(path, exif=exif)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_time_and_camera_are_those_of_the_file(tmp_path, suffix, monkeypatch):
    tags = {"maker": "Canon ", "model": "EOS 5D", "taken": "2024:05:31 17:02:59"}
    path = save(tmp_path / f"a.{suffix}", **tags)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    row = inspect_file(path)
    assert (row.status, row.taken, row.camera) == ("used", "2024:05:31 17:02:59", "Canon EOS 5D")


def test_the_time_of_a_change_and_other_types_do_not_count(tmp_path):
    row = inspect_file(save(tmp_path / "a.jpg", changed="2024:05:31 17:02:59", model="\x1b[31mX\0"))
    assert (row.taken, row.camera) == ("", "[31mX")
    assert inspect_file(save(tmp_path / "c.tif", maker="Zeiss", model="Z1")).camera == "Zeiss Z1"
    plain = tmp_path / "b.png"
    Image.new("RGB", (3, 3)).save(plain)
    assert inspect_file(plain).taken == ""


def test_damaged_metadata_is_ignored(tmp_path):
    path = save(tmp_path / "a.jpg", maker="Canon", taken="2024:05:31 17:02:59")
    data = path.read_bytes()
    at = data.index(b"Exif\0\0") + 6
    for offset in range(4, 30, 3):
        path.write_bytes(data[: at + offset] + b"\xff\xff" + data[at + offset + 2 :])
        assert inspect_file(path).status == "used"
