"""Manifest, parts and features: what is written is what is read, and nothing else is taken."""

from __future__ import annotations

import numpy as np
import pytest

from helpers.noise_images import noise
from ilk.core.errors import ArtifactError, InputError
from ilk.encode import encode_and_refuse
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.shards.encode import encode_shard, encode_shards
from ilk.shards.features import ShardedFeatures, write_features
from ilk.shards.manifest import Manifest
from ilk.shards.parts import check_part
from ilk.shards.spaces import choose_space
from ilk.shards.verify import count_rows
from ilk.store import Store


def _list(folder):
    return read_images(folder, verify=False)


def _encoder(size="4x4x3"):
    return resolve_encoder(f"pixels/{size}")


def test_a_shard_folder_has_the_rows_and_features_of_the_folder_in_a_store(photos, tmp_path):
    shards = tmp_path / "shards"
    manifest = Manifest.write(shards, _list(photos), shard_size=6)
    assert (manifest.n_rows, manifest.n_shards) == (20, 4)
    parts = [encode_shard(shards, i, _encoder()) for i in range(4)]
    assert [part.n for part in parts] == [6, 6, 6, 2]
    assert sum(part.n_refused for part in parts) == 2
    features = ShardedFeatures.open(shards)
    store = Store(tmp_path / "store.sqlite")
    images = encode_and_refuse(_list(photos), [_encoder()], store)
    assert [row.status == "used" for row in images.rows] == features.is_used.tolist()
    assert [row.reason or None for row in images.rows] == features.reasons.tolist()
    assert features.classes == images.classes == ("cat", "dog")
    assert features.paths == [str(images.path_of(row)) for row in images.rows]
    want = store.get(_encoder().space, [row.digest for row in images.used])
    blocks = list(features.iterate(4))
    np.testing.assert_array_equal(np.concatenate([x for _, x in blocks]), want)
    positions = np.concatenate([p for p, _ in blocks])
    np.testing.assert_array_equal(positions, np.flatnonzero(features.is_used))
    labels = [features.classes[features.y[p]] for p in positions]
    assert labels == [row.label for row in images.used]
    backwards = positions[::-1]
    np.testing.assert_array_equal(features.take(backwards), want[::-1])
    np.testing.assert_array_equal(features.memory_map()[positions], want)
    store.close()


def test_all_threads_and_any_cut_give_the_same_bytes(photos, tmp_path):
    contents = []
    for name, threads in (("one", 1), ("two", 3)):
        Manifest.write(tmp_path / name, _list(photos), shard_size=7)
        parts = list(encode_shards(tmp_path / name, range(3), _encoder(), n_threads=threads))
        contents.append([part.path.read_bytes() for part in parts])
    assert contents[0] == contents[1]
    again = list(encode_shards(tmp_path / "one", range(3), _encoder()))
    assert not any(part.is_new for part in again)


def test_a_cut_off_part_is_encoded_again_and_never_read(photos, tmp_path):
    Manifest.write(tmp_path, _list(photos), shard_size=7)
    whole = [part.path for part in encode_shards(tmp_path, range(3), _encoder())]
    before = whole[1].read_bytes()
    whole[1].write_bytes(before[:-9])
    with pytest.raises(ArtifactError, match=r"part-00001.parquet is damaged; run: ilk encode"):
        ShardedFeatures.open(tmp_path)
    assert encode_shard(tmp_path, 1, _encoder()).is_new
    assert whole[1].read_bytes() == before


def test_a_changed_byte_is_noticed(photos, tmp_path):
    Manifest.write(tmp_path, _list(photos))
    part = encode_shard(tmp_path, 0, _encoder())
    content = bytearray(part.path.read_bytes())
    x = ShardedFeatures.open(tmp_path).take([1])[0]
    at = bytes(content).index(x.astype("<f4").tobytes())
    content[at] ^= 1
    part.path.write_bytes(content)
    with pytest.raises(ArtifactError, match="cut off or damaged"):
        ShardedFeatures.open(tmp_path).take([1])
    space = choose_space(tmp_path)
    assert count_rows(Manifest.read(tmp_path), space, [0]).is_whole
    count = count_rows(Manifest.read(tmp_path), space, [0], whole=True)
    assert count.damaged == (0,)
    assert "delete the damaged parts" in count.describe(Manifest.read(tmp_path))


def test_parts_of_other_weights_or_images_are_refused(photos, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    Manifest.write(one, _list(photos), shard_size=7)
    noise(9, 9, 400).save(photos / "cat" / "01.png")
    Manifest.write(other, _list(photos), shard_size=7)
    part = encode_shard(one, 0, _encoder())
    alien = encode_shard(other, 0, _encoder())
    own = part.path.read_bytes()
    part.path.write_bytes(alien.path.read_bytes())
    with pytest.raises(ArtifactError, match="belongs to a different manifest"):
        encode_shard(one, 0, _encoder())
    weights = encode_shard(other, 0, _encoder("2x2x3"))
    part.path.write_bytes(weights.path.read_bytes())
    with pytest.raises(ArtifactError, match="different weights"):
        encode_shard(one, 0, _encoder())
    part.path.write_bytes(own)
    assert not encode_shard(one, 0, _encoder()).is_new


def test_features_of_an_array_come_back(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 5)).astype(np.float32)
    labels = ["ab"[i % 2] if i % 3 else None for i in range(100)]
    blocks = (x[i : i + 13] for i in range(0, 100, 13))
    features = write_features(tmp_path, blocks, labels, shard_size=30, dtype="float16")
    opened = ShardedFeatures.open(tmp_path)
    assert opened.manifest.digest == features.manifest.digest
    assert (opened.n, opened.d, opened.classes) == (100, 5, ("a", "b"))
    np.testing.assert_array_equal(opened.take(range(100)), x.astype(np.float16))
    assert opened.memory_map().dtype == np.float16
    assert [opened.classes[y] if y >= 0 else None for y in opened.y] == labels
    with pytest.raises(InputError, match="too few rows"):
        write_features(tmp_path / "b", iter([x[:50]]), labels)
    with pytest.raises(InputError, match="more features"):
        write_features(tmp_path / "c", x, labels[:99])


def test_a_changed_manifest_is_refused(photos, tmp_path):
    import pyarrow.parquet as pq

    manifest = Manifest.write(tmp_path / "s", _list(photos))
    table = pq.read_table(manifest.path)
    i = table.column_names.index("label")
    labels = ["cat"] * len(table)
    pq.write_table(table.set_column(i, table.schema.field(i), [labels]), manifest.path)
    with pytest.raises(ArtifactError, match=r"shard 0 of .* has changed since it was written"):
        Manifest.read(tmp_path / "s").rows(0)
    manifest.path.write_bytes(manifest.path.read_bytes()[:-3])
    with pytest.raises(ArtifactError, match="cut off or damaged"):
        Manifest.read(tmp_path / "s")


def test_a_footer_that_counts_other_rows_than_the_head_is_refused(photos, tmp_path):
    import pyarrow.parquet as pq

    manifest = Manifest.write(tmp_path, _list(photos), shard_size=9)
    part = encode_shard(tmp_path, 0, _encoder())
    for path, told in (
        (manifest.path, r"has 19 rows in 3 shards, and says 20 in 3; restore it"),
        (part.path, "belongs to a different manifest"),
    ):
        table, whole = pq.read_table(path), path.read_bytes()
        pq.write_table(table.slice(0, len(table) - 1), path, row_group_size=9)
        with pytest.raises(ArtifactError, match=told):
            encode_shard(tmp_path, 0, _encoder())
        path.write_bytes(whole)
    table = pq.read_table(manifest.path)
    pq.write_table(table, manifest.path, row_group_size=10)  # all rows, cut elsewhere
    with pytest.raises(ArtifactError, match="has 20 rows in 2 shards, and says 20 in 3"):
        Manifest.read(tmp_path)


def test_rows_come_back_as_they_were(photos, tmp_path):
    images = _list(photos)
    rows = Manifest.write(tmp_path, images, shard_size=8).rows(1)
    assert rows == list(images.rows[8:16])
    state, part = check_part(Manifest.read(tmp_path), choose_space(_with_parts(tmp_path)), 1)
    assert state == "done"
    assert part is not None


def _with_parts(folder):
    list(encode_shards(folder, range(3), _encoder()))
    return folder


def test_a_manifest_whose_rows_are_not_those_that_its_head_names_is_refused(photos, tmp_path):
    import pyarrow.parquet as pq

    Manifest.write(tmp_path / "s", read_images(photos), shard_size=4)
    path = tmp_path / "s" / "manifest.parquet"
    table = pq.read_table(path)
    for rows, size in ((table.slice(1), 4), (table, 5)):  # a row less, other shards
        pq.write_table(rows, path, row_group_size=size)
        with pytest.raises(
            ArtifactError, match=f"has {len(rows)} rows in .*, and says {len(table)}"
        ):
            Manifest.read(tmp_path / "s")
