"""`ilk select` as a user types it: what is kept, what is said, what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.digit_folders import write_digits
from ilk.cli.select import command
from ilk.core.errors import IlkError, InputError, NoLabels, OutputError, UnknownName
from ilk.subset_selection.folder import read_selection

HERDING = ["--method", "Herding"]
QUICK = ["--encoder", "pixels/8x8x1", "--keep-copies"]


def select(*args):
    command.main([str(a) for a in args], standalone_mode=False, obj=())


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    home = tmp_path_factory.mktemp("digits") / "d"
    return write_digits(home, {"a0": 40, "b1": 20, "c2": 10})


def read_table(folder):
    with (folder / "selection.csv").open() as file:
        return list(csv.DictReader(file))


def test_an_ordinary_folder_of_the_files_as_they_are(digits, tmp_path, capsys):
    out = tmp_path / "kept"
    select(digits, "--keep", "0.3", "--out", out, *QUICK)
    read = ilk.read(out)
    assert [sum(r.label == c for r in read.used) for c in ("a0", "b1", "c2")] == [12, 6, 3]
    assert not read.refused
    for row in read.used:
        assert (out / row.path).read_bytes() == (digits / row.path).read_bytes()
    text = capsys.readouterr().out
    assert "kept 21 of 70 distinct pictures" in text
    assert "as many at random" in text
    assert "* is kept; its loss" in text
    assert "95 % interval" in text
    assert f"ilk fit {out}" in text


def test_every_image_is_listed_with_rank_score_and_reason(digits, tmp_path):
    out = tmp_path / "kept"
    select(digits, "--keep", 7, "--out", out, *QUICK, "--method", "Herding")
    lines = read_table(out)
    assert len(lines) == 70
    kept = [line for line in lines if line["kept"] == "yes"]
    assert {line["path"] for line in kept} == {
        p.relative_to(out).as_posix() for p in out.rglob("*.png")
    }
    assert sorted(int(line["rank"]) for line in lines) == list(range(1, 71))
    scores = [float(line["score"]) for line in sorted(lines, key=lambda line: int(line["rank"]))]
    assert scores == sorted(scores, reverse=True)
    assert {line["reason"] for line in lines} == {"", "less useful"}
    record = read_selection(out)
    assert record.command == "select"
    selection = record.facts["selection"]
    assert selection["selector"] == "Herding"
    assert selection["lost"]["measure"] == "accuracy"
    assert selection["lost"]["all"]["low"] <= selection["lost"]["all"]["value"]
    digests = {line["path"]: line["digest"] for line in kept}
    assert {image["digest"] for image in record.images} == set(digests.values())


def test_balance_keeps_equally_many_of_each_class(digits, tmp_path, capsys):
    out = tmp_path / "kept"
    select(digits, "--keep", 24, "--balance", "--out", out, *QUICK, "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"a0": 8, "b1": 8, "c2": 8}
    assert report["classes"] == "balanced"


def test_copies_of_one_picture_are_counted_and_left_out(tmp_path, capsys):
    source = tmp_path / "photos"
    from helpers.drawn_pictures import draw

    for c, name in enumerate(("cat", "dog")):
        (source / name).mkdir(parents=True)
        for i in range(8):
            draw(100 * c + i, (48, 40)).save(source / name / f"{i}.png")
    first = Image.open(source / "cat" / "0.png")
    first.save(source / "cat" / "again.jpg", quality=80)
    shutil.copy(source / "dog" / "3.png", source / "dog" / "same.png")
    first.resize((40, 33)).save(source / "dog" / "other.png")  # the cat, named a dog
    out = tmp_path / "kept"
    encoder = ["--encoder", "pixels/16x16x3"]
    select(source, "--keep", 1, "--out", out, *encoder)
    reasons = {line["path"]: line["reason"] for line in read_table(out)}
    text = capsys.readouterr().out
    assert "under another label left out" in text
    assert "1 copy of other images left out" in text
    for path in ("cat/0.png", "cat/again.jpg", "dog/other.png"):
        assert reasons[path].startswith("copy under another label")
    assert sorted([reasons["dog/3.png"], reasons["dog/same.png"]])[0] == ""
    assert len(ilk.read(out).used) == 15


def test_images_like_the_target_are_kept(digits, tmp_path, capsys):
    source, target = tmp_path / "s", tmp_path / "t"
    write_digits(source, {"x0": 30, "y1": 30, "z3": 30, "w4": 30}, seed=1)
    write_digits(target, {"any1": 20, "thing4": 20}, seed=2)
    out = tmp_path / "kept"
    options = ["--target", target, "--method", "SourcePruning"]
    select(source, "--keep", 0.5, "--out", out, *QUICK, *options)
    text = capsys.readouterr().out
    assert {row.label for row in ilk.read(out).used} == {"y1", "w4"}
    assert "no image is kept of 2 of 4 classes" in text
    assert "fewer than two classes in common" in text
    assert "log density of the target" in text


def test_a_source_without_labels_is_ranked_for_a_target(tmp_path, capsys):
    from helpers.digit_folders import write_digits

    write_digits(tmp_path / "s" / "unlabelled", {"0": 25, "1": 25})
    write_digits(tmp_path / "t", {"1": 15})
    for path in list((tmp_path / "s" / "unlabelled").rglob("*.png")):
        path.rename(tmp_path / "s" / "unlabelled" / f"{path.parent.name}-{path.name}")
    out = tmp_path / "kept"
    options = ["--target", tmp_path / "t"]
    select(tmp_path / "s", "--keep", 20, "--out", out, *QUICK, *options)
    read = ilk.read(out)
    assert len(read.used) == 20
    assert all(row.label is None for row in read.used)
    assert sum(p.name.startswith("1-") for p in out.rglob("*.png")) >= 18
    assert "ilk fit" not in capsys.readouterr().out


def test_links_share_the_file(digits, tmp_path):
    source = tmp_path / "d"
    shutil.copytree(digits, source)
    out = tmp_path / "kept"
    select(source, "--keep", 9, "--link", "--out", out, *QUICK, "--method", "RandomSubset")
    for path in out.rglob("*.png"):
        assert os.path.samefile(path, source / path.relative_to(out))


def test_archives_and_tables_are_read_as_fit_reads_them(digits, tmp_path):
    with tarfile.open(tmp_path / "d.tar.gz", "w:gz") as archive:
        archive.add(digits, "d")
    select(tmp_path / "d.tar.gz", "--keep", 9, "--out", tmp_path / "one", *QUICK, *HERDING)
    assert len(ilk.read(tmp_path / "one").used) == 9
    lines = [f"{p},{p.parent.name}" for p in sorted(digits.rglob("*.png"))]
    (tmp_path / "t.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    select(tmp_path / "t.csv", "--keep", 9, "--out", tmp_path / "two", *QUICK, *HERDING)
    assert ilk.read(tmp_path / "two").classes == ("a0", "b1", "c2")


def test_the_test_split_is_left_alone(digits, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(digits, tmp_path / "d" / split)
    for path in list((tmp_path / "d" / "test").rglob("*.png")):
        pixels = 255 - np.asarray(Image.open(path))
        Image.fromarray(pixels).save(path)
    select(tmp_path / "d", "--keep", 9, "--out", tmp_path / "kept", *QUICK, *HERDING)
    assert {line["path"].split("/")[0] for line in read_table(tmp_path / "kept")} == {"train"}
    with pytest.raises(InputError, match="there are 70 distinct pictures"):
        select(tmp_path / "d", "--keep", 71, "--out", tmp_path / "more", *QUICK, *HERDING)


def test_the_same_command_gives_the_same_folder(digits, tmp_path):
    for name in ("one", "two"):
        select(digits, "--keep", 0.2, "--out", tmp_path / name, *QUICK, *HERDING)
    assert read_table(tmp_path / "one") == read_table(tmp_path / "two")


@pytest.mark.parametrize(
    ("keep", "error", "match"),
    [
        ("0", InputError, "is 0; give a fraction above 0"),
        ("-0.5", InputError, "is -0.5; give a fraction"),
        ("nan", InputError, "is nan; give a fraction"),
        ("71", InputError, "is 71 and there are 70 distinct pictures"),
        ("0.03", InputError, "keeps 2 of 70 images, and at least one per class"),
    ],
)
def test_impossible_numbers_are_refused_in_one_sentence(digits, tmp_path, keep, error, match):
    with pytest.raises(error, match=match) as caught:
        select(digits, "--keep", keep, "--out", tmp_path / "kept", *QUICK)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "kept").exists()


def test_what_cannot_be_selected_is_refused_in_one_sentence(digits, tmp_path):
    flat, one, empty = tmp_path / "flat", tmp_path / "one", tmp_path / "empty"
    for folder in (flat, one / "a", one / "b", empty):
        folder.mkdir(parents=True)
    for i, path in enumerate(sorted(digits.rglob("*.png"))[:6]):
        shutil.copy(path, flat / f"{i}.png")
    shutil.copy(flat / "0.png", one / "a" / "0.png")
    out = tmp_path / "kept"
    cases = [
        ([flat], NoLabels, "no labels; without a target"),
        ([one], InputError, "only one picture"),
        ([digits, "--target", empty], InputError, "is empty"),
        ([digits, "--method", "Hering"], UnknownName, "Herding"),
        ([digits, "--method", "ColorFilter"], InputError, "--target"),
        ([digits, "--target", tmp_path / "gone"], InputError, "gone"),
    ]
    for arguments, error, match in cases:
        with pytest.raises(error, match=match) as caught:
            select(*arguments, "--keep", "0.5", "--out", out, *QUICK)
        assert "\n" not in str(caught.value)
        assert not out.exists()


def test_the_folder_lies_outside_of_what_is_read(digits, tmp_path):
    source = tmp_path / "d"
    shutil.copytree(digits, source)
    target = tmp_path / "t"
    shutil.copytree(digits, target)
    for out in (source / "kept", source, tmp_path, target / "kept"):
        with pytest.raises(OutputError, match="read as images"):
            select(source, "--keep", 0.5, "--target", target, "--out", out, *QUICK)


def test_a_full_disk_leaves_what_was_there(digits, tmp_path, monkeypatch):
    from ilk.core.folder_transaction import FolderTransaction

    out = tmp_path / "kept"
    select(digits, "--keep", 9, "--out", out, *QUICK, *HERDING)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    calls = []

    def fail(_change, name, _content):
        calls.append(name)
        raise OutputError(f"cannot write {name}: No space left on device; free some space")

    monkeypatch.setattr(FolderTransaction, "write", fail)
    with pytest.raises(IlkError, match="No space left"):
        select(digits, "--keep", 30, "--out", out, *QUICK, *HERDING)
    assert calls
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_files_of_others_are_not_replaced(digits, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        select(digits, "--keep", 9, "--out", tmp_path / "kept", *QUICK)


def test_a_link_in_the_folder_is_not_followed(digits, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in (digits / "a0").iterdir():
        (photos / path.name).write_bytes(b"mine")
    out = tmp_path / "kept"
    out.mkdir()
    (out / "a0").symlink_to(photos)
    with pytest.raises(OutputError, match="such as a0"):
        select(digits, "--keep", 9, "--out", out, *QUICK, *HERDING)
    assert {path.read_bytes() for path in photos.iterdir()} == {b"mine"}


def test_a_table_that_a_user_put_there_is_left_alone(digits, tmp_path):
    out = tmp_path / "kept"
    select(digits, "--keep", 9, "--out", out, *QUICK, *HERDING)
    (out / "metadata.csv").write_text("file_name,label\n")
    with pytest.raises(OutputError, match=r"metadata\.csv"):
        select(digits, "--keep", 9, "--out", out, *QUICK, *HERDING)
    assert (out / "metadata.csv").read_text() == "file_name,label\n"


def test_images_of_the_source_do_not_judge_as_target(digits, tmp_path, capsys):
    with pytest.raises(InputError, match="every image of the target"):
        select(digits, "--keep", 9, "--out", tmp_path / "kept", *QUICK, "--target", digits)
    assert not (tmp_path / "kept").exists()
    mixed = write_digits(tmp_path / "mixed", {"a0": 30, "b1": 30}, seed=5)
    known = {path.read_bytes() for path in digits.rglob("*.png")}
    n_new = sum(path.read_bytes() not in known for path in mixed.rglob("*.png"))
    assert 0 < n_new < 60
    args = ["--method", "NearestTarget", "--target", mixed]
    select(digits, "--keep", 9, "--out", tmp_path / "kept", *QUICK, *args)
    out = " ".join(capsys.readouterr().out.split())
    assert f"measured on {n_new} images" in out
    assert f"{60 - n_new} images of the target are in the source as well" in out


def test_a_class_that_copies_fill_is_named(tmp_path, capsys):
    source = write_digits(tmp_path / "d", {"a0": 8, "b1": 8})
    (source / "z").mkdir()
    for path in sorted((source / "a0").iterdir())[:3]:
        shutil.copy(path, source / "z" / path.name)
    select(source, "--keep", 4, "--out", tmp_path / "kept", *QUICK, *HERDING)
    assert "no image is left of 1 of 3 classes" in " ".join(capsys.readouterr().out.split())


def test_nothing_is_measured_on_a_single_class(tmp_path, capsys):
    source = write_digits(tmp_path / "d", {"a0": 10})
    select(source, "--keep", 5, "--out", tmp_path / "kept", *QUICK, *HERDING)
    out = " ".join(capsys.readouterr().out.split())
    assert "nothing could be measured" in out
    assert "1.000" not in out
