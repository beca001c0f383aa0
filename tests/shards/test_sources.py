"""Whatever `ilk fit` reads becomes shards with the same rows and features."""

from __future__ import annotations

import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from helpers.noise_images import noise
from ilk.core.errors import InputError
from ilk.encode import encode_and_refuse
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.shards.encode import encode_shards
from ilk.shards.features import ShardedFeatures
from ilk.shards.listing import load_listing
from ilk.shards.manifest import Manifest
from ilk.store import Store


def _zip(photos, tmp_path):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(photos.rglob("*.png")):
            archive.write(file, f"photos/{file.relative_to(photos).as_posix()}")
    return path, {}


def _tar(photos, tmp_path):
    return shutil.make_archive(str(tmp_path / "photos"), "gztar", photos), {}


def _table(photos, tmp_path):
    path = tmp_path / "photos.csv"
    lines = [
        f"photos/{file.parent.name}/{file.name},{file.parent.name},{['train', 'test'][i % 2]},p{i}"
        for i, file in enumerate(sorted(photos.rglob("*.png")))
    ]
    path.write_text("\n".join(["path,label,split,patient", *lines[::-1]]))
    return path, {"group_column": "patient"}


def _several(photos, tmp_path):
    return [str(photos / "cat"), str(_zip(photos, tmp_path)[0])], {}


def _pages(photos, tmp_path):
    frames = [noise(8, 8, 50 + i) for i in range(4)]
    frames[0].save(photos / "cat" / "stack.tif", save_all=True, append_images=frames[1:])
    return photos, {"pages": "all"}


def _deep(photos, tmp_path):
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 4000, (9, 9)).astype(np.uint16)
        Image.fromarray(pixels).save(photos / "dog" / f"deep {i}.png")
    return photos, {}


def _sets(photos, tmp_path):
    path = tmp_path / "sets.csv"
    files = [f.relative_to(tmp_path).as_posix() for f in sorted(photos.rglob("*.png"))]
    path.write_text("\n".join(["path,labels", *(f"{f},a;b" for f in files[::2]), f"{files[1]},"]))
    return path, {"multi_label": True, "label_column": "labels"}


def _names(photos, tmp_path):
    (photos / "cat").rename(photos / "Kätzchen")
    shutil.move(photos / "dog" / "00.png", bytes(photos / "dog") + b"/caf\xe9.png")
    return photos, {}


SOURCES = (_zip, _tar, _table, _several, _pages, _deep, _sets, _names)


@pytest.mark.parametrize("make", SOURCES, ids=lambda f: f.__name__)
def test_shards_have_the_rows_and_features_of_the_source(make, photos, tmp_path):
    source, options = make(photos, tmp_path)
    listed = read_images(source, verify=False, **options)
    if isinstance(source, list):  # equal files here and in the archive: one row of each is kept
        assert any(row.reason == "duplicate" for row in listed.rows)
    manifest = Manifest.write(tmp_path / "s", listed, shard_size=6)
    assert load_listing(Manifest.read(tmp_path / "s")).rows == listed.rows
    encoder = resolve_encoder("pixels/4x4x3")
    list(encode_shards(tmp_path / "s", range(manifest.n_shards), encoder))
    features = ShardedFeatures.open(tmp_path / "s")
    store = Store(tmp_path / "store.sqlite")
    images = encode_and_refuse(read_images(source, verify=False, **options), [encoder], store)
    assert [row.reason or None for row in images.rows] == features.reasons.tolist()
    want = store.get(encoder.space, [row.digest for row in images.used])
    np.testing.assert_array_equal(features.memory_map()[features.is_used], want)
    assert manifest.extend(read_images(source, verify=False, **options)).digest == manifest.digest
    assert features.group.tolist() == [row.group for row in images.rows]
    store.close()


def test_a_changed_archive_is_noticed(photos, tmp_path):
    source, _ = _zip(photos, tmp_path)
    manifest = Manifest.write(tmp_path / "s", read_images(source, verify=False))
    source.unlink()
    with pytest.raises(InputError, match=r"the archive .*photos.zip of the manifest is missing"):
        manifest.open_shard(0)
    (photos / "cat" / "03.png").unlink()
    _zip(photos, tmp_path)
    with pytest.raises(InputError, match=r"no longer has the file photos/cat/03.png"):
        manifest.open_shard(0)
