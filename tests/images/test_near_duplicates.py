"""Nearly the same pictures are found with their distance; different or flat ones are not."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance
from scipy.fft import dctn

from ilk.cli.check import command
from ilk.images import read_images
from ilk.images.duplicates import near_duplicates
from ilk.images.duplicates.near_duplicates import find_near_duplicates
from ilk.images.duplicates.near_pairs import find_concern, find_near_pairs
from ilk.images.duplicates.perceptual_hash import (
    compute_hashes,
    count_differing_bits,
    stack_thumbnails,
)
from ilk.images.inspection.pixel_summary import summarize_pixels
from ilk.images.rows import Row
from ilk.store import Store


def scene(seed, side=96):
    """A smooth random picture with structure at several scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((side, side, 3))
    for cells, weight in ((3, 60), (6, 40), (12, 25), (24, 10)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8))
        total += weight * (np.asarray(coarse.resize((side, side), Image.BICUBIC)) / 127.5 - 1)
    return Image.fromarray(np.clip(total + 128, 0, 255).astype(np.uint8))


def jpeg(image, quality):
    out = BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


VARIANTS = {
    "jpeg 40": lambda i: jpeg(i, 40),
    "half": lambda i: i.resize((48, 48), Image.BICUBIC),
    "double": lambda i: i.resize((192, 192), Image.BICUBIC),
    "three quarters": lambda i: i.resize((72, 72), Image.BICUBIC),
    "cropped": lambda i: i.crop((1, 1, 94, 95)),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.15),
}


def summarize(images):
    return stack_thumbnails([summarize_pixels(image).thumbnail for image in images])


@pytest.fixture(scope="module")
def scenes():
    return [scene(seed) for seed in range(60)]


def test_the_hash_is_that_of_a_second_derivation(scenes):
    thumbnails = summarize(scenes[:5])
    order = sorted(((u, v) for u in range(16) for v in range(16)), key=lambda f: (sum(f), f[0]))
    for thumbnail, value in zip(thumbnails, compute_hashes(thumbnails), strict=True):
        grey = thumbnail.astype(float) @ [0.299, 0.587, 0.114]
        spectrum = dctn(grey, norm="ortho")
        low = np.array([spectrum[f] for f in order[1:65]])
        text = "".join("1" if c > np.median(low) else "0" for c in low)
        assert bin(int(value) ^ int(text, 2)).count("1") <= 1  # float32 at the median


@pytest.mark.parametrize("kind", VARIANTS)
def test_saved_resized_cropped_or_brightened_is_found_and_nothing_else(scenes, kind):
    copies = [VARIANTS[kind](image) for image in scenes[:10]]
    found = find_near_duplicates(summarize([*scenes, *copies]))
    assert set(zip(found.first, found.second, strict=True)) == {(i, 60 + i) for i in range(10)}
    assert (found.distance > 0).all()
    assert (found.distance[1:] >= found.distance[:-1]).all()
    assert (found.bits <= near_duplicates.MAX_BITS).all()


def test_the_bands_lose_no_pair_that_comparing_all_would_find():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**63, 300).astype(np.uint64) * np.uint64(2)
    flips = np.zeros(300, np.uint64)
    for i, n in enumerate(rng.integers(0, near_duplicates.MAX_BITS + 3, 300)):
        for bit in rng.choice(64, n, replace=False):
            flips[i] |= np.uint64(1) << np.uint64(bit)
    hashes = np.concatenate([base, base ^ flips])
    bits = count_differing_bits(hashes[:, None], hashes)
    expected = {(a, b) for a, b in np.argwhere(bits <= near_duplicates.MAX_BITS).tolist() if a < b}
    pairs = set()
    for first, second in near_duplicates._iter_candidates(hashes):
        pairs |= {(min(p), max(p)) for p in zip(first.tolist(), second.tolist(), strict=True)}
    assert len(expected) > 200
    assert pairs == expected


def test_flat_pictures_and_small_marks_on_white_do_not_collapse():
    flat = [Image.new("RGB", (40, 40), (v, v, 255 - v)) for v in range(0, 250, 10)]
    for value in range(10, 250, 10):  # the same faint spot of dust on every one
        flat.append(Image.new("RGB", (40, 40), (value,) * 3))
        flat[-1].paste((value + 4,) * 3, (5, 5, 12, 12))
    noisy = [
        jpeg(
            Image.fromarray(
                np.random.default_rng(i).integers(200, 203, (40, 40, 3)).astype(np.uint8)
            ),
            90,
        )
        for i in range(20)
    ]
    assert len(find_near_duplicates(summarize([*flat, *noisy]))) == 0
    logos = []
    for i in range(40):
        rng = np.random.default_rng(i)
        logo = Image.new("RGB", (64, 64), "white")
        for _ in range(3):
            x, y, w, h = rng.integers(4, 30, 4)
            shape = (x, y, x + w, y + h)
            draw = ImageDraw.Draw(logo)
            (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(
                shape, fill=tuple(rng.integers(0, 200, 3).tolist())
            )
        logos.append(logo)
    found = find_near_duplicates(summarize(logos))
    assert len(found) <= 1, (found.first, found.second, found.distance)


def test_pictures_that_all_look_alike_are_not_all_near_duplicates():
    base = np.asarray(scene(0)).astype(float)
    alike = [
        Image.fromarray(np.uint8(np.clip(0.8 * base + 0.2 * np.asarray(scene(i + 1)), 0, 255)))
        for i in range(80)
    ]
    found = find_near_duplicates(summarize([*alike, jpeg(alike[0], 70)]))
    assert (0, 80) in set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    assert len(found) <= 3


def test_the_cost_grows_no_faster_than_the_number_of_pictures(monkeypatch):
    monkeypatch.setattr(near_duplicates, "WINDOW", 100)
    monkeypatch.setattr(near_duplicates, "BLOCK", 20)
    n_compared = []

    def count(first, second):
        bits = count_differing_bits(first, second)
        n_compared.append(bits.size)
        return bits

    monkeypatch.setattr(near_duplicates, "count_differing_bits", count)
    rng = np.random.default_rng(0)
    base = summarize([scene(0)])[0].astype(int)
    thumbnails = np.clip(base + rng.integers(-1, 2, (3000, *base.shape)), 0, 255)
    found = find_near_duplicates(thumbnails.astype(np.uint8))
    assert sum(n_compared) < 3000 * (100 + 20) * (near_duplicates.MAX_BITS + 1) + len(found) + 1
    assert len(np.unique(np.concatenate([found.first, found.second]))) > 2900


def test_no_picture_or_one_has_no_pair():
    assert len(find_near_duplicates(summarize([scene(0)]))) == 0
    assert len(find_near_duplicates(np.zeros((0, 16, 16, 3), np.uint8))) == 0


@pytest.fixture
def folder(tmp_path, scenes):
    def save(path, image, **options):
        (tmp_path / "d" / path).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / "d" / path, **options)

    for i in range(12):
        save(f"train/{'ab'[i % 2]}/{i}.png", scenes[i])
        save(f"test/{'ab'[i % 2]}/{20 + i}.png", scenes[20 + i])
    save("train/a/leak.jpg", scenes[20], quality=60)  # of test/a/20.png
    save("train/b/other.jpg", scenes[2], quality=60)  # of train/a/2.png
    save("train/a/again.jpg", scenes[4], quality=60)  # of train/a/4.png
    return tmp_path / "d"


def test_pairs_say_what_they_concern(folder, tmp_path):
    store = Store(tmp_path / "store.sqlite")
    pairs = find_near_pairs(read_images(folder, store=store).used, store)
    assert [(p.first, p.second, p.concerns) for p in pairs] == [
        ("train/a/leak.jpg", "test/a/20.png", "train and test"),
        ("train/a/2.png", "train/b/other.jpg", "two labels"),
        ("train/a/4.png", "train/a/again.jpg", "one label"),
    ]
    store.close()


def test_what_a_pair_concerns_is_what_is_known_of_both():
    red, none = Row("a", "red"), Row("b")
    several, no_label = Row("c", "red", labels=("red",)), Row("d", labels=())
    for rows, concern in (
        ((red, red), "one label"),
        ((red, none), "one label and none"),
        ((none, none), "no label"),
        ((none, none, red), "one label and none"),
        ((several, several), "one label"),
        ((no_label, no_label), "one label"),  # known: none applies
        ((no_label, several), "two labels"),
        ((replace(none, group="p"), replace(none, group="q")), "two groups"),
        ((replace(none, split="test"), none), "train and test"),
    ):
        assert find_concern(rows, "test") == concern, rows


def test_check_lists_near_duplicates_and_uses_them(folder, capsys):
    command.main([str(folder)], standalone_mode=False, obj=())
    shown = capsys.readouterr().out
    assert "train/a/leak.jpg" in shown
    assert "1 pair of images is nearly the same, between training and test images" in shown
    command.main([str(folder), "--json"], standalone_mode=False, obj=())
    report = json.loads(capsys.readouterr().out)
    assert report["near_duplicates"]["counts"] == {
        "train and test": 1,
        "two labels": 1,
        "two groups": 0,
        "one label": 1,
        "one label and none": 0,
        "no label": 0,
    }
    assert 0 < report["near_duplicates"]["pairs"][0]["distance"] < 0.2
    assert report["counts"]["used"] == 27


@pytest.mark.parametrize("grouped", [False, True])
def test_check_says_how_to_keep_many_together(scenes, tmp_path, capsys, grouped):
    """Bursts of the same scene: named by their file names, or not yet."""
    rng = np.random.default_rng(0)
    for i in range(4):
        base = np.asarray(scenes[i]).astype(int)
        for shot in range(4):
            pixels = np.clip(base + rng.integers(-3, 4, base.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / f"p{i}_{shot}.png")
    groups = ["--group-from", "(p[0-9]+)_"] if grouped else []
    command.main([str(tmp_path), *groups], standalone_mode=False, obj=())
    shown = capsys.readouterr().out
    assert "24 pairs of images are nearly the same, without labels" in shown
    assert "no label" in shown
    assert "one label" not in shown
    assert "and 4 more pairs" in shown
    assert ("--group-from" in shown) is not grouped
