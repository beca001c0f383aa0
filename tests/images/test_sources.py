"""What a path stands for: the same images, in the same order, whatever form they come in."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from helpers.archives import make_classes, make_png, write_archive, write_folder
from ilk.core.errors import InputError, NoImages
from ilk.images import Row, inspect_inputs, iter_inputs, list_sources, read_images
from ilk.images.inspection.members import Member
from ilk.images.sources.kinds import find_kind

FILES = make_classes(2)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the same images in every form, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", FILES)
    write_archive(tmp_path / "p.zip", FILES)
    write_archive(tmp_path / "p.tar.gz", {f"photos/{n}": c for n, c in FILES.items()})
    lines = [f"photos/{name}" for name in FILES]
    Path("t.csv").write_text("path,label\n" + "".join(f"{x},{x.split('/')[1]}\n" for x in lines))
    Path("t.tsv").write_text("label\tpath\n" + "".join(f"a\t{x}\n" for x in lines))
    Path("t.jsonl").write_text("".join(f'{{"path": "{x}"}}\n' for x in lines))
    Path("l.txt").write_text("\n".join(lines))
    (tmp_path / "sub").mkdir()
    Path("sub/t.csv").write_text("file\n" + "".join(f"../{x}\n" for x in lines))
    return tmp_path


def pipe(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def digests(source: object) -> list[str]:
    return [row.digest for row in inspect_inputs(iter_inputs(source)).rows]


@pytest.mark.parametrize(
    "source",
    [
        *("photos", "photos/", "p.zip", "p.tar.gz", "t.csv", "t.tsv", "t.jsonl", "l.txt"),
        *("photos/**/*.png", "photos/*/*.png", "photos/[dl]*", "sub/t.csv"),
    ],
)
def test_every_form_gives_the_same_images(source: str, home: Path) -> None:
    expected = [Row("", digest=d).digest for d in digests([f"photos/{name}" for name in FILES])]
    assert digests(source) == expected
    assert digests(Path(source)) == expected
    assert digests([source]) == expected
    assert [r.digest for r in inspect_inputs(list_sources([source]).inputs).rows] == expected
    images = read_images(list_sources([source]))
    assert [row.digest for row in images.rows] == expected
    assert {row.label for row in images.rows} == {None}


def test_paths_say_where_the_image_is(home: Path) -> None:
    for source, prefix in (
        ("photos", "photos"),
        ("p.zip", "p.zip"),
        ("p.tar.gz", "p.tar.gz/photos"),
    ):
        names = [name for name, _ in list_sources([source]).inputs]
        assert names == [f"{prefix}/{name}" for name in FILES]


@pytest.mark.parametrize("end", [b"\0", b"\n", b"\r\n"])
def test_standard_input_lists_paths(
    end: bytes, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "photos/dark/a\nb.png" if end == b"\0" else "photos/dark/ü b.png"
    Path(odd).write_bytes(make_png(5))
    raw = os.fsencode("photos/dark/") + b"\xff.png"
    Path(os.fsdecode(raw)).write_bytes(make_png(6))
    names = [b"photos/light/1.png", os.fsencode(odd), raw]
    pipe(end.join(names) + end, monkeypatch)
    listed = list_sources(["photos/light/0.png", "-", "p.zip"])
    assert [os.fsencode(name) for name, _ in listed.inputs[:4]] == [b"photos/light/0.png", *names]
    rows = inspect_inputs(listed.inputs).rows
    assert all(row.status == "used" for row in rows)
    assert len(rows) == 4 + len(FILES)
    pipe(end.join(names), monkeypatch)
    assert len(read_images("-").used) == 3


def test_standard_input_that_lists_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(b"\n \n", monkeypatch)
    with pytest.raises(NoImages, match="standard input lists no path; pipe some: find photos"):
        list_sources(["-"])
    stdin = io.StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(InputError, match="which is this terminal; pipe them"):
        list_sources(["-"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="closed"):
        read_images("-")


def test_a_table_keeps_one_row_per_line_in_order(home: Path) -> None:
    Path("t.csv").write_text(
        "label,path,split\nx,photos/light/1.png,test\n,photos/none.png,\ny,photos/light/1.png,val\n"
    )
    listed = list_sources(["t.csv"])
    rows = inspect_inputs(listed.inputs).rows
    assert [(r.path, r.status, r.reason) for r in rows] == [
        ("photos/light/1.png", "used", ""),
        ("photos/none.png", "refused", "missing"),
        ("photos/light/1.png", "used", ""),
    ]
    assert listed.notes == ("labels in t.csv are not read; ilk evaluate compares with them",)
    Path("t.csv").write_text("which\nphotos/light/1.png\n")
    assert list_sources(["t.csv"], "which").list_paths() == ["photos/light/1.png"]
    with pytest.raises(InputError, match="no column of paths"):
        list_sources(["t.csv"])
    with pytest.raises(InputError, match="path_column"):
        list_sources(["photos"], "which")


def test_several_sources_keep_their_labels(home: Path) -> None:
    write_archive(home / "q.zip", {"train/red/1.png": make_png(7), "test/red/2.png": make_png(8)})
    images = read_images(["photos", "q.zip", "photos/../extra.png"], verify=False)
    found = {row.path: (row.label, row.split) for row in images.rows}
    assert found["photos/dark/0.png"] == ("dark", "train")
    assert found["q.zip/test/red/2.png"] == ("red", "test")
    assert images.root is None
    assert images.folders == (home / "photos",)
    assert [row.reason for row in images.refused] == ["missing"]
    assert images.source_of(next(r for r in images.rows if r.path.endswith("2.png"))) == make_png(8)


def test_labels_are_for_one_image_each(home: Path) -> None:
    images = read_images(["photos/dark/0.png", "p.zip"], labels=["a", "b"])
    assert [row.reason for row in images.refused] == ["not an image"]
    with pytest.raises(
        InputError, match=r"labels= is for a list of images; p\.zip stands for several"
    ):
        read_images("p.zip", labels=["a"])


def test_items_of_a_generator_are_one_image_each(home: Path) -> None:
    assert list(iter_inputs(iter(["photos", "p.zip"]))) == [
        ("photos", "photos"),
        ("p.zip", "p.zip"),
    ]


def test_a_stray_table_beside_single_images_is_not_read(home: Path) -> None:
    Path("photos/notes.txt").write_text("prose\nmore prose\n")
    write_archive(home / "photos" / "old.zip", FILES)
    shell = sorted(str(path) for path in Path("photos").rglob("*") if path.is_file())
    (home / "photos" / "0.png").write_bytes(make_png(9))
    listed = list_sources(["photos/0.png", "photos/notes.txt", "photos/old.zip", "l.txt"])
    assert listed.list_paths()[:3] == ["photos/0.png", "photos/notes.txt", "photos/old.zip"]
    assert len(listed) == 3 + len(FILES)
    assert len(listed.notes) == 2
    assert len(list(iter_inputs(shell))) >= len(FILES)


def test_a_missing_table_or_archive_is_an_error_and_a_missing_image_a_row(home: Path) -> None:
    for name in ("none.csv", "none.txt", "none.zip"):
        with pytest.raises(InputError, match=f"there is no file {name}"):
            list_sources([name])
    assert find_kind("none.png") == "missing"
    assert list_sources(["none.png"]).list_paths() == ["none.png"]
    with pytest.raises(NoImages, match="there is no file in an empty list"):
        list_sources([])


def test_a_named_pipe_is_not_waited_for(home: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no named pipes here")
    for name in ("pipe.csv", "pipe.txt", "pipe.zip", "pipe.tar"):
        os.mkfifo(name)
        with pytest.raises(InputError, match=f"{name} is not a regular file"):
            read_images(name)
        with pytest.raises(InputError, match=f"{name} is not a regular file"):
            list_sources([name])


def test_the_label_table_of_a_folder_and_the_store_are_no_images(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list_sources(["photos"]).list_paths()
    Path("photos/metadata.csv").write_text("file_name,label\ndark/0.png,x\n")
    monkeypatch.setenv("ILK_STORE", "photos/cache.db")
    for name in ("cache.db", "cache.db-wal", "cache.db-shm"):
        Path("photos", name).write_bytes(b"x")
    assert list_sources(["photos"]).list_paths() == expected
    images = read_images("photos")
    assert images.refused == ()
    write_archive(home / "m.zip", {**FILES, "metadata.csv": b"file_name,label\ndark/0.png,x\n"})
    assert len(list_sources(["m.zip"])) == len(FILES)


def test_members_are_read_when_they_are_needed(home: Path) -> None:
    listed = list_sources(["p.zip"])
    assert all(isinstance(image, Member) for _, image in listed.inputs)
    images = inspect_inputs(listed.inputs)
    assert len(images.contents) == len(FILES)
    assert images.used[0].digest in images.contents
