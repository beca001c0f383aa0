"""Copies are found by evidence; different pictures, bad files and blank ones are not paired."""

from __future__ import annotations

import json
import shutil

import pytest
from PIL import Image, ImageOps

from helpers.drawn_pictures import draw
from ilk.core.errors import InputError, NoImages
from ilk.deduplication.evidence import CONTENT, FEATURES, HASH, PIXELS
from ilk.deduplication.find_groups import find_groups
from ilk.images import read_images
from ilk.images.duplicates.near_pairs import CONFLICT, LEAK


def read(folder, store):
    return read_images(folder, store=store, verify=False)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "a").mkdir(parents=True)
    for i in range(16):
        draw(i).save(folder / "a" / f"{i:02}.png")
    return folder


def test_every_kind_of_evidence(photos, store, hog):
    shutil.copy(photos / "a" / "00.png", photos / "a" / "content.png")
    draw(1).save(photos / "a" / "pixels.bmp")
    draw(2).resize((64, 48)).save(photos / "a" / "resized.jpg", quality=60)
    draw(3).crop((10, 8, 90, 68)).save(photos / "a" / "cropped.png")
    ImageOps.mirror(draw(4)).save(photos / "a" / "mirrored.jpg", quality=80)
    draw(5).transpose(Image.Transpose.ROTATE_90).save(photos / "a" / "turned.png")
    before = {path: path.read_bytes() for path in photos.rglob("*.*")}
    found = find_groups(read(photos, store), hog, store)
    names = {
        frozenset(m.path.removeprefix("a/") for m in g.members): g.evidence for g in found.groups
    }
    assert names == {
        frozenset(("00.png", "content.png")): CONTENT,
        frozenset(("01.png", "pixels.bmp")): PIXELS,
        frozenset(("02.png", "resized.jpg")): HASH,
        frozenset(("03.png", "cropped.png")): FEATURES,
        frozenset(("04.png", "mirrored.jpg")): HASH,
        frozenset(("05.png", "turned.png")): HASH,
    }
    kept = {m.path for g in found.groups for m in g.members if m.keep}
    assert {"a/02.png", "a/03.png", "a/04.png"} <= kept  # more pixels, no loss
    cropped = next(g for g in found.groups if g.evidence == FEATURES)
    assert cropped.members[1].share == pytest.approx(80 * 60 / (96 * 72), abs=0.06)
    mirrored = next(g for g in found.groups if any("mirrored" in m.path for m in g.members))
    assert mirrored.members[1].is_mirrored
    assert before == {path: path.read_bytes() for path in photos.rglob("*.*")}
    json.dumps(found.to_json(), allow_nan=False)


def test_different_pictures_are_not_paired(photos, store, hog):
    found = find_groups(read(photos, store), hog, store)
    assert found.groups == ()
    assert found.threshold.n_candidates > 0


def test_leaks_come_first_then_conflicts(tmp_path, store, hog):
    for split, label, seeds in (
        ("train", "cat", range(12)),
        ("train", "dog", range(20, 30)),
        ("test", "cat", range(40, 46)),
        ("test", "dog", range(50, 54)),
    ):
        folder = tmp_path / "photos" / split / label
        folder.mkdir(parents=True)
        for i in seeds:
            draw(i).save(folder / f"{i}.png")
    draw(0).save(tmp_path / "photos" / "train" / "dog" / "wrong.png")
    draw(1).save(tmp_path / "photos" / "test" / "cat" / "leak.jpg", quality=70)
    found = find_groups(read(tmp_path / "photos", store), hog, store)
    assert [g.concerns for g in found.groups] == [LEAK, CONFLICT]
    assert found.groups[1].labels == ("cat", "dog")
    assert found.groups[0].splits == ("test", "train")


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_images(n, tmp_path, store, hog):
    for i in range(n):
        draw(i).save(tmp_path / f"{i}.png")
    assert find_groups(read(tmp_path, store), hog, store).groups == ()


def test_empty_folder(tmp_path, store, hog):
    (tmp_path / "none").mkdir()
    with pytest.raises(NoImages):
        read(tmp_path / "none", store)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(NoImages):
        find_groups(read(tmp_path / "bad", store), hog, store)


def test_all_images_identical(tmp_path, store, hog):
    for i in range(30):
        draw(0).save(tmp_path / f"{i}.png")
    (group,) = find_groups(read(tmp_path, store), hog, store).groups
    assert len(group.members) == 30
    assert group.evidence == CONTENT


def test_blank_images_are_no_copies_of_each_other(tmp_path, store, hog):
    for i in range(40):
        colour = (i, 2 * i, 255 - i)
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{i}.png")
    for i in range(10):
        draw(i).save(tmp_path / f"drawn{i}.png")
    assert find_groups(read(tmp_path, store), hog, store).groups == ()


def test_unreadable_and_huge_files(photos, store, hog):
    (photos / "a" / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    draw(0).resize((3000, 2250)).save(photos / "a" / "huge.jpg")
    found = find_groups(read(photos, store), hog, store)
    (group,) = found.groups
    assert {m.path for m in group.members} == {"a/00.png", "a/huge.jpg"}
    assert group.members[0].path == "a/huge.jpg"  # more pixels
    assert len(found.images.refused) == 1


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_wrong_rate(value, photos, store, hog):
    with pytest.raises(InputError, match="above 0"):
        find_groups(read(photos, store), hog, store, false_matches=value)


def test_the_same_answer_twice_and_a_file_that_vanishes_is_no_error(photos, store, hog):
    draw(3).crop((10, 8, 90, 68)).save(photos / "a" / "cropped.png")
    images = read(photos, store)
    first, second = (find_groups(images, hog, store).to_json() for _ in range(2))
    assert first == second
    assert len(first["groups"]) == 1
    (photos / "a" / "03.png").unlink()
    assert find_groups(images, hog, store).groups == ()
