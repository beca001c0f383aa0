"""Images in buckets: read as those of a folder; a bucket without an answer is one sentence."""

from __future__ import annotations

import hashlib
import sys
import threading
import time

import numpy as np
import pytest

from helpers.noise_images import noise, write_two_classes
from ilk.cli import run
from ilk.core.errors import InputError, NoImages, Unavailable
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.images.sources import buckets
from ilk.shards.encode import encode_shards
from ilk.shards.features import ShardedFeatures
from ilk.shards.manifest import Manifest
from ilk.store import Store

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def photos(tmp_path):
    home = tmp_path / "photos"
    write_two_classes(home, (noise(9 + i, 8, i) for i in range(12)))
    (home / "dog" / "cut.png").write_bytes((home / "dog" / "02.png").read_bytes()[:-60])
    (home / "dog" / "empty.png").write_bytes(b"")
    (home / "dog" / "copy.png").write_bytes((home / "dog" / "04.png").read_bytes())
    return home


@pytest.fixture
def bucket(photos, monkeypatch):
    """The same images at an address; opened anew, so that no failures are counted."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    for path in photos.rglob("*.png"):
        fs.pipe_file(f"/b/photos/{path.relative_to(photos).as_posix()}", path.read_bytes())
    monkeypatch.setattr(buckets, "PAUSE_SECONDS", 0.0)
    buckets.open_bucket.cache_clear()
    yield fs
    fs.store.clear()


def _strip(images, prefix):
    return [
        (r.path.removeprefix(prefix), r.label, r.split, r.status, r.reason, r.digest, r.size)
        for r in images.rows
    ]


def test_a_folder_in_a_bucket_is_read_as_a_folder_here(photos, bucket):
    here, there = read_images(photos), read_images("memory://b/photos")
    assert _strip(there, "memory://b/photos/") == _strip(here, "")
    assert read_images("memory://b/photos/cat/01.png").rows[0].digest == here.rows[0].digest


def test_a_table_lists_addresses_and_files(photos, bucket, tmp_path):
    table = tmp_path / "photos.csv"
    table.write_text(
        "path,label\nmemory://b/photos/cat/01.png,cat\nphotos/dog/00.png,dog\n"
        "memory://b/photos/dog/02.png,dog\nmemory://b/photos/dog/none.png,dog\n"
    )
    rows = read_images(table).rows
    assert [row.reason for row in rows] == ["", "", "", "missing"]
    content = (photos / "cat" / "01.png").read_bytes()
    assert (rows[0].path, rows[0].size) == ("memory://b/photos/cat/01.png", len(content))
    assert rows[0].digest == hashlib.sha256(content).hexdigest()


def test_label_tables_in_a_bucket_are_read(bucket):
    bucket.pipe_file("/b/flat/1.png", bucket.cat_file("/b/photos/cat/01.png"))
    bucket.pipe_file("/b/flat/metadata.csv", b"file_name,label\n1.png,lynx\n2.png,lynx\n")
    rows = {row.path: row for row in read_images("memory://b/flat/").rows}
    assert rows["memory://b/flat/1.png"].label == "lynx"
    assert rows["memory://b/flat/2.png"].reason == "missing"


def test_shards_of_a_bucket_have_the_features_of_the_files(photos, bucket, tmp_path):
    from ilk.encode import encode_and_refuse

    encoder = resolve_encoder("pixels/4x4x3")
    images = read_images("memory://b/photos", verify=False)
    manifest = Manifest.write(tmp_path / "s", images, shard_size=6)
    bucket.rm_file("/b/photos/dog/08.png")
    list(encode_shards(tmp_path / "s", range(manifest.n_shards), encoder))
    features = ShardedFeatures.open(tmp_path / "s")
    reasons = dict(zip(features.paths, features.reasons, strict=True))
    assert reasons["memory://b/photos/dog/08.png"] == "missing"
    store = Store(tmp_path / "store.sqlite")
    here = encode_and_refuse(read_images(photos, verify=False), [encoder], store)
    rows = [row for row in here.used if row.path != "dog/08.png"]
    want = store.get(encoder.space, [row.digest for row in rows])
    np.testing.assert_array_equal(features.memory_map()[features.is_used], want)
    store.close()


def test_a_brief_failure_is_tried_again_and_a_lasting_one_is_a_row(bucket, monkeypatch):
    calls = {}
    read = bucket.cat_file

    def fail(path, *args, **options):
        calls[path] = calls.get(path, 0) + 1
        if path.endswith("01.png") and calls[path] < 3:
            raise ConnectionError("reset by peer")
        if path.endswith("03.png"):
            raise ConnectionError("reset by peer")
        return read(path, *args, **options)

    monkeypatch.setattr(type(bucket), "cat_file", lambda _self, *args, **kw: fail(*args, **kw))
    rows = {row.path[-6:]: row for row in read_images("memory://b/photos", verify=False).rows}
    assert rows["01.png"].reason == ""
    assert (rows["03.png"].reason, rows["03.png"].detail) == ("unreadable", "reset by peer")


def test_a_bucket_that_refuses_stops_the_run_with_one_sentence(bucket, tmp_path, monkeypatch):
    for i in range(200):
        bucket.pipe_file(f"/b/more/{i}.png", b"x")
    listed = read_images("memory://b/photos", verify=False)
    n_calls = []

    def refuse(_self, path, **_options):
        n_calls.append(path)
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(bucket), "cat_file", refuse)
    with pytest.raises(InputError, match=r"20 files in a row of memory://b could .* Forbidden;.*"):
        read_images("memory://b/more", verify=False)
    assert len(n_calls) < 100
    Manifest.write(tmp_path / "s", listed)
    monkeypatch.setattr(buckets, "MAX_FAILURES", 3)
    buckets.open_bucket.cache_clear()
    with pytest.raises(InputError, match="3 files in a row"):
        list(encode_shards(tmp_path / "s", [0], resolve_encoder("hog")))
    assert not list(tmp_path.rglob("part-*"))


def test_a_bucket_that_cannot_be_listed_is_one_sentence(bucket, monkeypatch):
    with pytest.raises(InputError, match="there is no file at memory://b/none"):
        read_images("memory://b/none")
    for name in ("labels.parquet", "photos.tar.gz", "paths.txt"):
        with pytest.raises(InputError, match="table or archive in a bucket"):
            read_images(f"memory://b/{name}")

    def refuse(_self, path, **_options):
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(bucket), "find", refuse)
    with pytest.raises(InputError, match=r"memory://b/photos cannot be listed \(Access Denied\)"):
        read_images("memory://b/photos")


def test_a_bucket_that_never_answers_is_waited_for_a_bounded_time(bucket, monkeypatch):
    free = threading.Event()
    monkeypatch.setenv("ILK_READ_SECONDS", "0.3")
    monkeypatch.setattr(type(bucket), "cat_file", lambda *_args, **_options: free.wait(60))
    started_at = time.monotonic()
    with pytest.raises(InputError, match=r"gave no answer in 0\.3 s"):
        read_images("memory://b/photos")
    monkeypatch.setattr(type(bucket), "find", lambda *_args, **_options: free.wait(60))
    with pytest.raises(InputError, match=r"cannot be listed \(.*no answer in 0.3 s"):
        read_images("memory://b/photos")
    assert time.monotonic() - started_at < 20
    free.set()


def test_a_missing_package_is_named(monkeypatch, capsys, tmp_path):
    buckets.open_bucket.cache_clear()
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(Unavailable, match=r"s3:// is read .* s3fs; run: pip install s3fs"):
        read_images("s3://bucket/photos")
    assert run(["encode", "gs://b/photos", "--out", str(tmp_path / "s"), "--encoder", "hog"]) == 3
    error = capsys.readouterr().err
    assert "pip install gcsfs" in error
    assert "Traceback" not in error
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(Unavailable, match=r"pip install 'ilk\[shards\]'"):
        read_images("s3://other/photos")


def test_what_looks_like_no_bucket_stays_a_path(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("path,label\nhttp://x/1.png,a\nfile:///etc/passwd,b\ns3://b::memory://x,b\n")
    with pytest.raises((InputError, NoImages), match="none of the 3 files"):
        read_images(table)
