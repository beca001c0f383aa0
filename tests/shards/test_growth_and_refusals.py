"""Late images, changed sources, and what cannot be written: one sentence each, nothing lost."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from helpers.noise_images import noise
from ilk.core.errors import ArtifactError, InputError, OutputError
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.shards.encode import encode_shard, encode_shards
from ilk.shards.features import ShardedFeatures
from ilk.shards.jobs import Job
from ilk.shards.manifest import Manifest
from ilk.shards.spaces import open_space
from ilk.shards.verify import count_rows


def _list(folder):
    return read_images(folder, verify=False)


def _encoder(size="4x4x3"):
    return resolve_encoder(f"pixels/{size}")


@pytest.fixture
def shards(photos, tmp_path):
    manifest = Manifest.write(tmp_path / "shards", _list(photos), shard_size=7)
    list(encode_shards(manifest.folder, range(3), _encoder()))
    return manifest


def _read_all(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_late_images_get_new_shards_and_no_part_changes(photos, shards):
    before = _read_all(shards.folder / "features")
    for i in range(8):
        noise(9, 9, 100 + i).save(photos / "cat" / f"00 late {i}.png")
    grown = shards.extend(_list(photos))
    assert (grown.n_rows, grown.n_shards) == (28, 5)
    assert grown.shards[:3] == shards.shards
    assert Manifest.read(shards.folder) == grown
    parts = list(encode_shards(shards.folder, range(5), _encoder()))
    assert [part.is_new for part in parts] == [False] * 3 + [True] * 2
    after = _read_all(shards.folder / "features")
    assert {path: after[path] for path in before} == before
    features = ShardedFeatures.open(shards.folder)
    assert features.is_used.sum() == 17 + 8
    assert sorted(features.paths) == sorted(map(str, photos.rglob("*.png")))


def test_nothing_new_changes_nothing(photos, shards):
    before = shards.path.read_bytes()
    assert shards.extend(_list(photos)).digest == shards.digest
    assert shards.path.read_bytes() == before


def test_moved_images_are_read_where_they_are(photos, shards, tmp_path):
    photos.rename(tmp_path / "moved")
    moved = shards.extend(_list(tmp_path / "moved"))
    assert (moved.digest, moved.base) == (shards.digest, str(tmp_path / "moved"))
    assert Manifest.read(shards.folder) == moved
    assert encode_shard(shards.folder, 0, _encoder("2x2x3")).n_transient == 0


def test_a_changed_source_is_refused_by_name_and_leaves_the_manifest(photos, shards):
    before = shards.path.read_bytes()
    changed = photos / "cat" / "03.png"
    content = changed.read_bytes()
    noise(9, 9, 5).save(changed)
    with pytest.raises(InputError, match=r"the content of cat/03.png has changed since .*manifest"):
        shards.extend(_list(photos))
    changed.unlink()
    with pytest.raises(InputError, match=r"cat/03.png, an image of .* is no longer in the source"):
        shards.extend(_list(photos))
    changed.write_bytes(content)
    assert shards.path.read_bytes() == before
    assert shards.extend(_list(photos)).digest == shards.digest


def test_labels_change_only_when_asked_and_features_stay(photos, shards):
    images = _list(photos)
    rows = tuple(replace(r, label="fox") if r.path == "cat/03.png" else r for r in images.rows)
    images = replace(images, rows=rows)
    with pytest.raises(InputError, match=r"the label of cat/03.png .* from 'cat' to 'fox'.*--rel"):
        shards.extend(images)
    relabelled = shards.extend(images, relabel=True)
    assert relabelled.digest != shards.digest
    assert not encode_shard(shards.folder, 0, _encoder()).is_new
    assert ShardedFeatures.open(shards.folder).classes == ("cat", "dog", "fox")


def test_a_file_that_changed_since_it_was_listed_is_a_row_with_a_reason(photos, tmp_path):
    manifest = Manifest.write(tmp_path / "s", _list(photos))
    changed = photos / "cat" / "03.png"
    content = changed.read_bytes()
    noise(9, 9, 5).save(changed)
    part = encode_shard(tmp_path / "s", 0, _encoder())
    assert (part.n, part.n_refused, part.n_transient) == (20, 3, 1)
    features = ShardedFeatures.open(tmp_path / "s")
    row = features.paths.index(str(changed))
    assert features.reasons[row] == "unreadable"
    changed.write_bytes(content)
    assert not encode_shard(tmp_path / "s", 0, _encoder()).is_new
    again = encode_shard(tmp_path / "s", 0, _encoder(), again=True)
    assert (again.is_new, again.n_transient) == (True, 0)
    assert ShardedFeatures.open(tmp_path / "s").reasons[row] is None
    assert count_rows(manifest, features.space, [0]).n_rows == 20


def test_a_copy_has_its_own_outcome(photos, tmp_path):
    """Of two equal files, one may change or vanish after both were listed."""
    Manifest.write(tmp_path / "s", _list(photos))
    (photos / "dog" / "04.png").unlink()
    encode_shard(tmp_path / "s", 0, _encoder())
    features = ShardedFeatures.open(tmp_path / "s")
    gone = features.paths.index(str(photos / "dog" / "04.png"))
    copy = features.paths.index(str(photos / "dog" / "zz copy.png"))
    assert not features.has_features[gone]
    assert features.has_features[copy]


def test_other_weights_of_the_same_encoder_are_refused(shards, monkeypatch):
    encoder = _encoder()
    space = replace(encoder.space, key="0" * 64)
    monkeypatch.setattr(type(encoder), "space", space)
    with pytest.raises(ArtifactError, match=r"features of pixels/4x4x3 with different weights"):
        encode_shard(shards.folder, 0, encoder)


def test_another_dtype_is_refused_and_another_encoder_is_not(shards):
    with pytest.raises(InputError, match=r"holds features as float32; leave --dtype float16 out"):
        encode_shard(shards.folder, 0, _encoder(), dtype="float16")
    assert encode_shard(shards.folder, 0, _encoder("2x2x1"), dtype="float16").is_new
    with pytest.raises(InputError, match="has features of 2 encoders"):
        ShardedFeatures.open(shards.folder)


def test_a_path_twice_is_refused(photos, tmp_path):
    images = _list(photos)
    twice = replace(images, rows=(*images.rows, images.rows[1]))
    with pytest.raises(InputError, match=r"cat/03.png is listed twice, as images 2 and 21"):
        Manifest.write(tmp_path / "s", twice)
    assert not (tmp_path / "s").exists()


def test_images_in_memory_are_refused(tmp_path):
    images = read_images([noise(5, 5, 0), noise(5, 5, 1)], labels=["a", "b"])
    with pytest.raises(InputError, match="image 0 is in memory"):
        Manifest.write(tmp_path / "s", images)


def test_a_folder_that_cannot_be_written(photos, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"cannot create the folder .*file/s: Not a directory"):
        Manifest.write(tmp_path / "file" / "s", _list(photos))


def test_a_full_disk_loses_nothing(photos, tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    manifest = Manifest.write(tmp_path / "s", _list(photos), shard_size=7)
    first = encode_shard(tmp_path / "s", 0, _encoder()).path.read_bytes()

    def fail(_self, _table, **_options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", fail)
        with pytest.raises(OutputError, match="No space left on device"):
            encode_shard(tmp_path / "s", 1, _encoder())
        with pytest.raises(OutputError, match="No space left on device"):
            manifest.extend(_grow(photos))
    assert Manifest.read(tmp_path / "s") == manifest
    space = open_space(tmp_path / "s", _encoder())
    assert sorted(p.name for p in space.home.iterdir()) == ["part-00000.parquet", "space.json"]
    assert space.part_path(0).read_bytes() == first
    count = count_rows(manifest, space, range(3))
    assert (count.is_whole, count.n_rows, count.missing) == (False, 7, (1, 2))
    assert "hold 7 of the 20 rows" in count.describe(manifest)


def _grow(photos):
    noise(9, 9, 77).save(photos / "dog" / "late.png")
    return _list(photos)


def test_jobs_share_all_shards_between_them():
    for n_shards in (0, 1, 7, 64, 65):
        for n_jobs in (1, 2, 3, 64, 100):
            jobs = [Job.parse(f"{i}/{n_jobs}") for i in range(1, n_jobs + 1)]
            numbers = [i for job in jobs for i in job.list_shards(n_shards)]
            assert sorted(numbers) == list(range(n_shards))
    for text in ("0/4", "5/4", "1", "a/b", "1/0", "-1/2", "1/2/3"):
        with pytest.raises(InputError, match="write I/N"):
            Job.parse(text)


def test_a_machine_without_the_disk_of_the_images_writes_no_parts(tmp_path):
    home = tmp_path / "photos"
    home.mkdir()
    for i in range(25):
        noise(5, 5, i).save(home / f"{i:02}.png")
    Manifest.write(tmp_path / "s", _list(home))
    home.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"none of the 25 images of shard 0 .* 00.png, missing: "):
        encode_shard(tmp_path / "s", 0, _encoder())
    assert not list((tmp_path / "s").rglob("part-*"))
    (tmp_path / "elsewhere").rename(home)
    assert encode_shard(tmp_path / "s", 0, _encoder()).n_refused == 0


def test_late_images_that_change_the_value_range_are_refused_with_the_option(tmp_path):
    home = tmp_path / "deep"
    home.mkdir()

    def save(name, high):
        pixels = np.random.default_rng(high).integers(0, high, (9, 9)).astype(np.uint16)
        pixels[0, 0] = high
        Image.fromarray(pixels).save(home / name)

    save("1.png", 4000)
    manifest = Manifest.write(tmp_path / "s", _list(home))
    save("2.png", 60000)
    with pytest.raises(InputError, match=r"value range of 1.png .* pass --value-range 0-4095"):
        manifest.extend(_list(home))
    grown = manifest.extend(read_images(home, verify=False, value_range="0-4095"))
    assert grown.n_shards == 2


def test_features_that_float16_does_not_hold_are_refused(photos, tmp_path, monkeypatch):
    Manifest.write(tmp_path / "s", _list(photos))
    encoder = _encoder()
    embed = type(encoder).embed
    monkeypatch.setattr(type(encoder), "embed", lambda self, batch: embed(self, batch) * 1e6)
    with pytest.raises(InputError, match=r"features of cat/01.png do not fit into float16"):
        encode_shard(tmp_path / "s", 0, encoder, dtype="float16")
    assert not list((tmp_path / "s").rglob("part-*"))


def test_a_shard_folder_lies_on_a_disk(photos):
    for call in (lambda: Manifest.read("s3://b/s"), lambda: Manifest.write("gs://b/s", None)):
        with pytest.raises(InputError, match="is an address in a bucket"):
            call()
