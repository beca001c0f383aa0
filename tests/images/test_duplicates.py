"""Who is used, who is refused and why; whatever is planted, every file ends in one row."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from io import BytesIO
from itertools import count

import pytest
from PIL import Image
from PIL.ImageFile import ImageFile

from ilk.core import threaded_map as threads
from ilk.core.errors import NoImages
from ilk.images import REASONS, Images, Row, decode, read_images, verify
from ilk.store import Store


def png(n, kind="PNG"):
    out = BytesIO()
    random_ = random.Random(n)
    Image.frombytes("RGB", (9, 8), random_.randbytes(216)).save(out, kind)
    return out.getvalue()


def write(root, files):
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def fates(images):
    return {row.path: (row.reason or row.status, row.detail) for row in images.rows}


def test_of_copies_the_first_is_used(tmp_path):
    write(tmp_path, {"cat/b.png": png(1), "cat/a.png": png(1), "cat/c.png": png(2)})
    assert fates(read_images(tmp_path)) == {
        "cat/a.png": ("used", ""),
        "cat/b.png": ("duplicate", "of cat/a.png"),
        "cat/c.png": ("used", ""),
    }


def test_one_content_under_two_labels_is_used_under_neither(tmp_path):
    write(tmp_path, {"cat/a.png": png(1), "dog/b.png": png(1), "b/c.png": png(2), "x.png": png(1)})
    assert fates(read_images(tmp_path)) == {
        "cat/a.png": ("same content under two labels", "as cat, but dog/b.png as dog"),
        "dog/b.png": ("same content under two labels", "as dog, but cat/a.png as cat"),
        "x.png": ("same content under two labels", "without a label, but cat/a.png as cat"),
        "b/c.png": ("used", ""),
    }


def test_two_labels_across_parts_are_used_in_neither(tmp_path):
    write(
        tmp_path, {"train/cat/a.png": png(1), "test/dog/b.png": png(1), "train/dog/c.png": png(2)}
    )
    assert [r.path for r in read_images(tmp_path).used] == ["train/dog/c.png"]


def test_the_test_part_stays_as_it_is(tmp_path):
    write(
        tmp_path,
        {
            "train/cat/a.png": png(1),
            "val/cat/a.png": png(1),
            "test/cat/z.png": png(1),
            "test/cat/zz.png": png(1),
            "train/cat/b.png": png(2),
            "val/cat/c.png": png(2),
        },
    )
    assert fates(read_images(tmp_path)) == {
        "train/cat/a.png": ("in both train and test", "also test/cat/z.png"),
        "val/cat/a.png": ("in both train and test", "also test/cat/z.png"),
        "test/cat/z.png": ("used", ""),
        "test/cat/zz.png": ("duplicate", "of test/cat/z.png"),
        "train/cat/b.png": ("duplicate", "of val/cat/c.png"),
        "val/cat/c.png": ("used", ""),
    }


def test_an_unlabelled_copy_is_the_duplicate(tmp_path):
    write(tmp_path, {"a.png": png(1), "cat/b.png": png(1)})
    assert fates(read_images(tmp_path)) == {
        "a.png": ("duplicate", "of cat/b.png"),
        "cat/b.png": ("used", ""),
    }


def test_an_unlabelled_copy_in_the_test_part_does_not_take_the_label_away(tmp_path):
    write(tmp_path, {"train/cat/a.png": png(1), "test/b.png": png(1)})
    assert [r.path for r in read_images(tmp_path).used] == ["train/cat/a.png"]


def test_files_that_are_no_images_are_not_each_others_copies(tmp_path):
    write(
        tmp_path,
        {"a/1.png": b"", "b/2.png": b"", "a/3.txt": b"x", "b/4.txt": b"x", "a/5.png": png(1)},
    )
    assert Counter(r.reason for r in read_images(tmp_path).rows) == {
        "empty": 2,
        "not an image": 2,
        "": 1,
    }


def test_damage_found_now_or_later_is_the_same(tmp_path):
    files = {f"c{i % 3}/{i}.png": png(i) for i in range(12)}
    files["c0/cut.png"] = files["c1/cut.png"] = files["c0/again.png"] = png(99)[:-40]
    files["c2/lone.png"] = png(98)[:-40]
    write(tmp_path, files)
    now, later = read_images(tmp_path), read_images(tmp_path, verify=False)
    assert later.classes == now.classes
    assert sum(r.reason == "truncated" for r in later.rows) == 0
    digest = hashlib.sha256(png(98)[:-40]).hexdigest()
    told = next(r for r in now.rows if r.digest == digest)
    undecoded = tuple(replace(row, pixel_digest="") for row in now.rows)
    assert later.refuse({digest: (told.reason, told.detail)}).rows == undecoded
    assert [r.path for r in now.rows] == [r.path for r in later.rows]


def test_refusing_moves_no_row_and_touches_no_other():
    rows = tuple(Row(f"{i}", "a", digest=f"d{i}") for i in range(5))
    rows += (Row("x", status="refused", reason="empty", digest="d1"),)
    images = Images(None, rows)
    after = images.refuse({"d1": ("truncated", "why"), "none": ("truncated", "")})
    assert [r.path for r in after.rows] == [r.path for r in rows]
    assert [i for i, (a, b) in enumerate(zip(rows, after.rows, strict=True)) if a != b] == [1]
    assert after.rows[1].reason == "truncated"
    assert images.refuse({}) is images


def test_verdicts_are_remembered(tmp_path, monkeypatch):
    write(tmp_path / "data", {f"c/{i}.png": png(i) for i in range(5)} | {"c/x.png": png(9)[:-30]})
    store = Store(tmp_path / "store")
    seen = []
    monkeypatch.setattr(
        verify, "decode", lambda file, *a, **k: seen.append(file) or decode(file, *a, **k)
    )
    first = read_images(tmp_path / "data", store=store)
    assert len(seen) == 6
    assert read_images(tmp_path / "data", store=store) == first
    assert len(seen) == 6
    write(tmp_path / "data", {"c/new.png": png(50)})
    assert len(read_images(tmp_path / "data", store=store).used) == 6
    assert len(seen) == 7


def test_what_depends_on_the_moment_is_not_remembered(tmp_path, monkeypatch):
    write(tmp_path / "data", {"c/0.png": png(0), "c/1.bmp": png(1, "BMP")})
    store, real = Store(tmp_path / "store"), ImageFile.load

    def short(self):
        if self.format == "BMP":
            raise MemoryError
        return real(self)

    monkeypatch.setattr(ImageFile, "load", short)
    assert len(read_images(tmp_path / "data", store=store).used) == 1
    monkeypatch.setattr(ImageFile, "load", real)
    assert len(read_images(tmp_path / "data", store=store).used) == 2


def test_work_that_was_stopped_ends_soon_and_keeps_its_verdicts(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "BATCH_SIZE", 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    write(tmp_path / "data", {f"c/{i}.png": png(i) for i in range(400)})
    store = Store(tmp_path / "store")
    done, number = [], count(1)

    def stopping(file, limit, **reading):
        done.append(file)
        if (n := next(number)) == 100:
            raise KeyboardInterrupt
        if n > 100:
            time.sleep(0.05)
        return decode(file, limit, **reading)

    monkeypatch.setattr(verify, "decode", stopping)
    with pytest.raises(KeyboardInterrupt):
        read_images(tmp_path / "data", store=store)
    held = store.get_decode_results([hashlib.sha256(png(i)).hexdigest() for i in range(400)])
    assert 32 <= len(held) <= 100  # 16 batches of 4 may wait for a slow one before them
    assert len(done) < 145  # what had begun is finished; what waited is not begun


def test_progress_adds_up(tmp_path):
    write(tmp_path, {f"c/{i}.png": png(i) for i in range(150)})
    told = Counter()

    class Bar:
        def __init__(self, what, total):
            self.what = what
            told[f"{what} of"] += total

        def __enter__(self):
            return lambda n: told.update({self.what: n})

        def __exit__(self, *_):
            return None

    read_images(tmp_path, progress=Bar)
    assert told == {
        "inspecting files of": 150,
        "inspecting files": 150,
        "decoding of": 150,
        "decoding": 150,
    }


def test_the_summary_counts_every_row(tmp_path):
    write(tmp_path, {"c/a.png": png(1), "c/b.png": png(1), "c/x.txt": b"hello", "c/y.png": png(2)})
    assert read_images(tmp_path).summarize() == [
        ("used", 2, "c/a.png"),
        ("not an image", 1, "c/x.txt begins with the text “hello”"),
        ("duplicate", 1, "c/b.png of c/a.png"),
    ]


def test_nothing_but_conflicts_is_no_images(tmp_path):
    write(tmp_path, {"cat/a.png": png(1), "dog/b.png": png(1)})
    with pytest.raises(NoImages, match="2 same content under two labels"):
        read_images(tmp_path)


def test_the_benchmark_finds_what_it_planted():
    from benchmarks.intake.run import run

    told = run(small=True)
    assert told["counts"] == {
        **dict.fromkeys(("duplicate", "truncated", "empty", "not an image"), 100),
        "used": 600,
    }


def test_importing_the_room_brings_no_torch():
    heavy = {"torch", "pyarrow", "sklearn", "rich"}
    code = f"import sys, ilk.images; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


TROUBLE = {
    "good": lambda r, old: png(r.random()),
    "jpeg": lambda r, old: png(r.random(), "JPEG"),
    "copy": lambda r, old: r.choice(old) if old else png(0),
    "cut": lambda r, old: png(r.random())[: r.randrange(1, 200)],
    "empty": lambda r, old: b"",
    "text": lambda r, old: b"no image",
    "noise": lambda r, old: r.randbytes(50),
    "broken": lambda r, old: (lambda d: d[:60] + bytes([d[60] ^ 255]) + d[61:])(png(r.random())),
}


@pytest.mark.parametrize("seed", range(12))
def test_every_file_ends_in_one_row_whatever_is_planted(tmp_path, seed):
    r = random.Random(seed)
    parts = r.choice([[""], ["train/", "test/"], ["train/", "val/", "test/"]])
    places = [f"{p}{c}" for p in parts for c in ("cat/", "dog/deep/", "unlabelled/", "")]
    old, planted = [png(-1)], {f"{parts[0]}cat/sure.png": png(-1)}
    for i in range(80):
        data = TROUBLE[r.choice([*TROUBLE, "copy", "good"])](r, old)
        old.append(data)
        name = r.choice(["{}.png", "{} é.JPG", "{}", ".{}.gif", "🐈{}.txt"]).format(i)
        planted[r.choice(places) + name] = data
    planted[f"{places[0]}.DS_Store"] = b"\0"
    write(tmp_path, planted)
    images = read_images(tmp_path)
    assert [row.path for row in images.rows] == sorted(planted)
    digests = [row.digest for row in images.used]
    assert len(set(digests)) == len(digests)
    labels, parts_of = {}, {}
    for row in images.rows:
        assert (row.status == "used") == (row.reason == "")
        assert row.reason == "" or row.reason in REASONS
        assert (
            row.status == "ignored" or row.digest == hashlib.sha256(planted[row.path]).hexdigest()
        )
        assert row.status == "ignored" or row.size == len(planted[row.path])
        labels.setdefault(row.digest, set()).add(row.label)
        if row.label is not None:
            parts_of.setdefault(row.digest, set()).add(row.split)
    for row in images.used:
        image = decode(images.path_of(row))  # it can be decoded, and is what the row says
        assert image.size == (row.width, row.height) == (9, 8)
        assert labels[row.digest] <= {row.label, None}
        assert row.split == "test" or "test" not in parts_of.get(row.digest, ())
    good = {d for d in labels if len(labels[d] - {None}) < 2}
    lost = {d for d in good if d} - set(digests)
    for row in images.rows:  # what is lost gives no image, in any copy
        if row.digest in lost and row.reason in ("duplicate", "in both train and test"):
            kept = row.detail.split(" ", 1)[1]
            assert fates(images)[kept][0] in ("truncated", "unreadable")
    assert read_images(tmp_path) == images
    assert os.fspath(images.root) == os.fspath(tmp_path)
