"""A table that ilk wrote for an archive or for pages names no files: what is said of that."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from helpers.archives import make_classes, make_png, write_archive
from ilk.core.errors import InputError
from ilk.images import read_images


def write_table(folder: Path, *paths: str) -> Path:
    table = folder / "predictions.csv"
    table.write_text("path,name\n" + "".join(f"{path},cat\n" for path in paths))
    return table


def test_files_of_an_archive_and_pages_are_told_from_missing_files(tmp_path: Path) -> None:
    write_archive(tmp_path / "photos.zip", make_classes(2))
    Image.new("L", (4, 4)).save(tmp_path / "scan[2].tif")
    (tmp_path / "scan.tif").write_bytes((tmp_path / "scan[2].tif").read_bytes())
    (tmp_path / "a.png").write_bytes(make_png(0))
    paths = ("a.png", "photos.zip/dark/0.png", "scan.tif[2]", "gone.png", "scan[2].tif", "b.tif[1]")
    rows = read_images(write_table(tmp_path, *paths)).rows
    assert [row.detail for row in rows] == [
        "",
        "it is in an archive; give photos.zip itself, or unpack it",
        "it is page 2 of a file; give scan.tif itself, with --pages all",
        "No such file or directory",
        "",
        "No such file or directory",
    ]
    with pytest.raises(InputError, match=r"give photos.zip itself"):
        read_images(write_table(tmp_path, paths[1]))
