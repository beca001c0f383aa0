"""Tables in the encodings and forms in which programs write them."""

from __future__ import annotations

import csv
import io
import os
import sys
from pathlib import Path

import pytest

from helpers.noise_images import save_noise
from ilk.core.errors import InputError
from ilk.images import read_images
from ilk.images.tables.text_encoding import decode_windows


@pytest.fixture
def folder(tmp_path):
    for i, name in enumerate(("a.png", "b.png", "c.png")):
        save_noise(tmp_path / name, i)
    return tmp_path


def read(folder: Path, content: bytes | str, name: str = "t.csv"):
    data = content if isinstance(content, bytes) else content.encode()
    (folder / name).write_bytes(data)
    return read_images(folder / name)


def labels(images):
    return [row.label for row in images.used]


def test_windows_1252_is_read_as_text_and_said(folder):
    text = "path;label\na.png;Bär\nb.png;Été\nc.png;Kraków – Øre’s\n"
    images = read(folder, text.encode("cp1252"))
    assert labels(images) == ["Bär", "Été", "Kraków – Øre’s"]
    [note] = images.notes
    assert note == (
        "t.csv is not UTF-8 and was read as Windows-1252 (such as 'Bär'); if that is wrong, save "
        "it as UTF-8"
    )
    lines = b'{"path": "a.png", "label": "B\xe4r"}\n{"path": "b.png", "label": "x"}\n'
    assert labels(read(folder, lines, "t.jsonl")) == ["Bär", "x"]
    head = "file;Größe;Art".encode("cp1252")
    (folder / "h.csv").write_bytes(head + b"\na.png;3;x\nb.png;4;y\n")
    assert labels(read_images(folder / "h.csv", label_column="Art")) == ["x", "y"]
    assert labels(read_images(folder / "h.csv", label_column="Größe")) == ["3", "4"]


@pytest.mark.parametrize(
    ("encoding", "label"),
    [("cp1251", "Кошка"), ("mac-roman", "Bär"), ("cp437", "Bär"), ("shift-jis", "猫猫")],
)
def test_what_is_no_windows_1252_is_refused(folder, encoding, label):
    with pytest.raises(InputError, match="is not UTF-8 text; save the table as UTF-8"):
        read(folder, f"path,label\na.png,x\nb.png,{label}\n".encode(encoding))


def test_text_that_is_utf_8_is_left_alone(folder):
    content = "path,label,note\na.png,Bär,".encode() + b"caf\xe9\nb.png,x,\n"
    images = read(folder, content)
    assert labels(images) == ["Bär", "x"]
    assert decode_windows("Bär \udce9") == "Bär é"


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode there")
def test_paths_keep_the_bytes_that_the_files_have(folder):
    raw, unicode_name = os.fsdecode(b"caf\xe9.png"), "caf\u00e9.png"
    (folder / "a.png").rename(folder / raw)
    images = read(folder, b"path,label\ncaf\xe9.png,B\xe4r\nb.png,x\n")
    assert [(r.path, r.label) for r in images.used] == [(raw, "Bär"), ("b.png", "x")]
    (folder / raw).rename(folder / unicode_name)
    images = read(folder, b"path,label\ncaf\xe9.png,B\xe4r\nb.png,x\n")
    assert [(r.path, r.label) for r in images.used] == [(unicode_name, "Bär"), ("b.png", "x")]
    images = read(folder, b"caf\xe9.png\nb.png\n", "t.txt")
    assert [r.path for r in images.used] == [unicode_name, "b.png"]


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="file names are Unicode there")
def test_the_name_of_a_folder_is_text_too(folder):
    (folder / os.fsdecode(b"B\xe4r")).mkdir()
    (folder / "x").mkdir()
    (folder / "a.png").rename(folder / os.fsdecode(b"B\xe4r") / "a.png")
    (folder / "b.png").rename(folder / "x" / "b.png")
    images = read_images(folder)
    assert images.classes == ("Bär", "x")
    assert images.notes[0].startswith("a folder's name is not UTF-8 and was read as Windows-1252")
    (folder / os.fsdecode(b"\xca\xee\xf8\xea\xe0")).mkdir()
    (folder / "c.png").rename(folder / os.fsdecode(b"\xca\xee\xf8\xea\xe0") / "c.png")
    with pytest.raises(InputError, match=r"is not UTF-8 text; .* rename the folder"):
        read_images(folder)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32", "utf-8-sig"])
def test_unicode_with_and_without_a_mark(folder, encoding):
    text = "path\tlabel\na.png\tBär\nb.png\t猫\nc.png\tlonger than that\n"
    assert labels(read(folder, text.encode(encoding))) == ["Bär", "猫", "longer than that"]


@pytest.mark.parametrize(
    "head", ["sep=;\n", "sep=;\r\n", '"sep=;"\n', "SEP=;\n", "\ufeffsep=;\r\n"]
)
def test_the_separator_line_of_spreadsheets(folder, head):
    images = read(
        folder, f"{head}path;label, English\na.png;cat\nb.png;dog\n".replace(", English", "")
    )
    assert labels(images) == ["cat", "dog"]
    pipe = read(folder, "sep=|\npath|label\na.png|cat, big; old\nb.png|dog\n")
    assert labels(pipe) == ["cat, big; old", "dog"]
    with pytest.raises(InputError, match="line 4: '' where a path"):
        read(folder, "sep=;\npath;label\na.png;cat\n;dog\n")


def test_spaces_after_the_comma(folder):
    assert labels(read(folder, "path, label\na.png, cat\nb.png, dog\n")) == ["cat", "dog"]
    assert labels(read(folder, 'path,label\na.png, "cat, big"\nb.png, dog\n')) == [
        "cat, big",
        "dog",
    ]
    assert labels(read(folder, "path;label\na.png;  cat \nb.png;dog\t\n")) == ["cat", "dog"]


def test_empty_rows_are_skipped_and_a_label_without_a_path_is_not(folder):
    images = read(folder, "path,label,note\na.png,cat,\n,,\nb.png,dog,\n , ,\n,,\n")
    assert labels(images) == ["cat", "dog"]
    assert labels(
        read(folder, '{"path": "a.png", "label": "cat"}\n{"path": null}\n', "t.jsonl")
    ) == ["cat"]
    with pytest.raises(InputError, match="line 3: '' where a path"):
        read(folder, "path,label\na.png,cat\n,dog\n")


def test_quoted_line_breaks_and_headers(folder):
    (folder / "q.csv").write_text('"path";"what,\nit, is"\na.png;"cat\nbig"\nb.png;dog\n')
    images = read_images(folder / "q.csv", label_column="what,\nit, is")
    assert labels(images) == ["cat\nbig", "dog"]
    text = io.StringIO()
    csv.writer(text).writerows([("path", "label"), ("a.png", " cat\n"), ("b.png", 'd"o,g')])
    assert labels(read(folder, text.getvalue())) == ["cat", 'd"o,g']


# ---- which column is the label ----


def lines(head: str, n: int, *cells):
    return head + "\n" + "".join(",".join(str(c(i)) for c in cells) + "\n" for i in range(n))


@pytest.fixture
def many(tmp_path):
    for i in range(12):
        save_noise(tmp_path / f"{i}.png", i)
    return tmp_path


def test_a_better_column_than_name_is_taken_and_said(many):
    cells = (lambda i: f"{i}.png", lambda i: f"pic {i}", lambda i: "ab"[i % 2])
    images = read(many, lines("path,name,species", 12, *cells))
    assert images.classes == ("a", "b")
    assert images.notes == (
        (
            "labels were read from the column species of t.csv; another one (name) is read with "
            "--label-column (label_column=)"
        ),
        "columns of t.csv that were not read: name",
    )


def test_a_column_of_different_values_is_no_label(many):
    cells = (lambda i: f"{i}.png", lambda i: f"pic {i}", lambda i: "ab"[i % 2])
    text = lines("path,name,kind", 12, *cells)
    with pytest.raises(
        InputError, match=r"every line .* 'name'.*the labels may be in: kind\. Name"
    ):
        read(many, text)
    assert len(read_images(many / "t.csv", label_column="name").classes) == 12
    assert read_images(many / "t.csv", label_column="kind").classes == ("a", "b")
    few = lines("path,label", 9, *cells[:2])  # too few to tell
    assert len(read(many, few).classes) == 9


def test_columns_that_were_not_read_are_named_once(many):
    cells = (lambda i: f"{i}.png", lambda i: "ab"[i % 2], lambda i: i, lambda i: "", lambda i: "x")
    images = read(many, lines("path,label,id,empty,camera", 12, *cells))
    assert images.notes == ("columns of t.csv that were not read: camera",)
    assert read(many, lines("path,label,id", 12, *cells[:3])).notes == ()
