"""Selected images are an ordinary image folder, written in one step."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

import ilk
from ilk.core.errors import ArtifactError, InputError, OutputError
from ilk.subset_selection.folder import (
    FolderImage,
    check_image_folder,
    name_class_folders,
    read_selection,
    write_image_folder,
)


@pytest.fixture
def source(tmp_path):
    """Two classes of three grey images each."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    return ilk.read(tmp_path / "photos")


def choose(source, *numbers):
    return [FolderImage.from_row(source, source.used[i]) for i in numbers]


def test_chosen_images_are_copied_byte_for_byte_and_read_back(source, tmp_path):
    out = tmp_path / "few"
    record = write_image_folder(out, choose(source, 0, 4), "select", {"keep": 0.3})
    read = ilk.read(out)
    assert [row.label for row in read.used] == ["cat", "dog"]
    assert [row.digest for row in read.used] == [source.used[i].digest for i in (0, 4)]
    assert not read.refused
    assert not read.notes
    assert record.files == ["cat/0.png", "dog/1.png"]
    assert record.facts == {"keep": 0.3}
    assert [image["synthetic"] for image in read_selection(out).images] == [False, False]
    assert record.images[0]["digest"] == source.used[0].digest


def test_a_later_run_replaces_the_images_and_their_folders(source, tmp_path):
    out = tmp_path / "few"
    write_image_folder(out, choose(source, 0, 4, 5), "select", {})
    write_image_folder(out, choose(source, 1), "select", {})
    assert [row.path for row in ilk.read(out).used] == ["cat/1.png"]
    assert not (out / "dog").exists()


def test_names_of_one_class_do_not_collide(source, tmp_path):
    content = (source.root / "cat" / "0.png").read_bytes()
    twice = [FolderImage("cat", "a.png", lambda: content, True) for _ in range(2)]
    assert write_image_folder(tmp_path / "few", twice, "condense", {}).files == [
        "cat/a.png",
        "cat/a-2.png",
    ]


@pytest.mark.parametrize(
    "label",
    ["a/b", "test", "Train Data", "unlabelled", ".hidden", "con", "Metadata.csv", "selection.json"],
)
def test_every_class_name_survives(label, source, tmp_path):
    out = tmp_path / "few"
    contents = [p.read_bytes() for p in sorted(source.root.rglob("*.png"))]
    images = [
        FolderImage(label if i < 3 else "other", f"{i}.png", lambda c=c: c, True)
        for i, c in enumerate(contents)
    ]
    write_image_folder(out, images, "condense", {})
    read = ilk.read(out)
    assert sorted(row.label for row in read.used) == sorted([label] * 3 + ["other"] * 3)
    assert {row.split for row in read.used} <= {None, "train"}


def test_folders_of_classes_differ_and_are_no_split():
    folders = name_class_folders(["test", "test_", "x"])
    assert len(set(folders.values())) == 3
    assert "test" not in folders.values()


def test_files_of_others_are_left_alone(source, tmp_path):
    out = tmp_path / "few"
    out.mkdir()
    (out / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not written by ilk .* such as thesis.txt; choose"):
        write_image_folder(out, choose(source, 0), "select", {})
    write_image_folder(tmp_path / "few2", choose(source, 0), "select", {})
    (tmp_path / "few2" / "cat" / "mine.png").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"cat/mine.png"):
        check_image_folder(tmp_path / "few2")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        check_image_folder(tmp_path / "file")


def test_a_full_disk_leaves_the_folder_as_it_was(source, tmp_path, monkeypatch):
    out = tmp_path / "few"
    write_image_folder(out, choose(source, 0), "select", {})
    before = sorted(p.relative_to(out).as_posix() for p in out.rglob("*"))
    calls = []

    def write(change, name, content):
        calls.append(name)
        if len(calls) > 1:
            raise OutputError("cannot write: No space left on device; free some space")
        original(change, name, content)

    from ilk.subset_selection import folder

    original = folder.FolderTransaction.write
    monkeypatch.setattr(folder.FolderTransaction, "write", write)
    with pytest.raises(OutputError, match="No space left"):
        write_image_folder(out, choose(source, 1, 2, 3), "select", {})
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*")) == before
    assert read_selection(out).files == ["cat/0.png"]


def test_an_image_that_changed_meanwhile_ends_in_one_sentence(source, tmp_path):
    chosen = choose(source, 0, 1)
    (source.root / "cat" / "1.png").write_bytes(b"other")
    with pytest.raises(InputError, match=r"1.png has changed .*; run the command again"):
        write_image_folder(tmp_path / "few", chosen, "select", {})
    assert not list((tmp_path / "few").rglob("*.png"))


def test_an_altered_record_is_refused(source, tmp_path):
    out = tmp_path / "few"
    write_image_folder(out, choose(source, 0), "select", {"accuracy": 0.9})
    fields = json.loads((out / "selection.json").read_text())
    fields["accuracy"] = 0.99
    (out / "selection.json").write_text(json.dumps(fields))
    with pytest.raises(ArtifactError, match="was altered"):
        read_selection(out)


def test_pages_of_a_file_become_png_files(tmp_path):
    pages = [Image.new("L", (8, 8), 40 * i) for i in range(1, 4)]
    (tmp_path / "scans" / "cat").mkdir(parents=True)
    pages[0].save(tmp_path / "scans" / "cat" / "a.tif", save_all=True, append_images=pages[1:])
    images = ilk.read(tmp_path / "scans", pages="all")
    chosen = list(map(partial(FolderImage.from_row, images), images.used))
    write_image_folder(tmp_path / "few", chosen, "select", {})
    read = ilk.read(tmp_path / "few")
    assert len(read.used) == 3
    assert {row.format for row in read.used} == {"PNG"}
