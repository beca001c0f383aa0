"""A fit on a shard folder that fits in memory is the fit on the images."""

from __future__ import annotations

import numpy as np
import pytest

import ilk.encode.encode_task
from helpers.noise_images import noise, write_two_classes
from ilk.encoders import resolve_encoder
from ilk.fitting.fit import FitConfig, fit_with_report
from ilk.images import read_images
from ilk.shards.encode import encode_shards
from ilk.shards.features import ShardedFeatures
from ilk.shards.listing import load_listing
from ilk.shards.manifest import Manifest
from ilk.shards.store_view import ShardStore
from ilk.store import Store


@pytest.fixture
def flawed(tmp_path):
    """A folder with a copy, the same pixels in another format, damage, and a flat image."""
    home = tmp_path / "photos"
    shades = (lambda v: v // 2, lambda v: v // 2 + 120)
    write_two_classes(home, (noise(12, 12, i).point(shades[i % 2]) for i in range(40)))
    (home / "cat" / "99 copy.png").write_bytes((home / "cat" / "03.png").read_bytes())
    noise(12, 12, 3).point(lambda v: v // 2 + 120).save(home / "cat" / "98 same.bmp")
    noise(12, 12, 5).point(lambda v: v // 2 + 120).save(home / "dog" / "97 conflict.bmp")
    (home / "dog" / "cut.png").write_bytes((home / "dog" / "02.png").read_bytes()[:-60])
    noise(12, 12, 1).point(lambda v: 77).save(home / "dog" / "flat.png")
    (home / "dog" / "empty.png").write_bytes(b"")
    return home


def test_a_fit_on_shards_is_the_fit_on_the_folder_and_decodes_nothing(
    flawed, tmp_path, monkeypatch
):
    encoder = resolve_encoder("pixels/4x4x3")
    late = flawed / "cat" / "00 late.png"
    early = tmp_path / "late.png"
    noise(12, 12, 90).save(late)
    late.rename(early)
    shards = Manifest.write(tmp_path / "s", read_images(flawed, verify=False), shard_size=13)
    early.rename(late)
    (flawed / "cat" / "00 copy.png").write_bytes((flawed / "cat" / "05.png").read_bytes())
    listed = read_images(flawed, verify=False)
    manifest = shards.extend(listed)
    assert manifest.n_shards == shards.n_shards + 1
    list(encode_shards(tmp_path / "s", range(manifest.n_shards), encoder))

    config = FitConfig(encoders=("pixels/4x4x3",), methods=("GDA", "Ridge"), folds=3)
    store = Store(tmp_path / "store.sqlite")
    want, report = fit_with_report(listed, config, store=store)
    probe = store.get(encoder.space, [row.digest for row in report.images.used])
    store.close()

    def refuse(*_args, **_options):
        raise AssertionError("an image is decoded")

    monkeypatch.setattr(ilk.encode.encode_task, "prepare_row", refuse)
    features = ShardedFeatures.open(tmp_path / "s")
    view = ShardStore([features], tmp_path / "empty.sqlite")
    images = load_listing(manifest)
    assert images.rows == listed.rows
    got, again = fit_with_report(images, config, store=view)
    assert again.images.rows == report.images.rows
    assert again.notes == report.notes
    scores = [[(r.method, r.scores) for r in one.results] for one in (again, report)]
    assert scores[0] == scores[1]
    np.testing.assert_allclose(got.model.logits(probe), want.model.logits(probe), rtol=1e-6)
    assert sorted(features.paths[i] for i in np.flatnonzero(features.is_used)) == [
        str(report.images.path_of(row)) for row in report.images.used
    ]
    assert [listed.rows[i].path for i in np.argsort(features.order)] == [
        row.path for i in range(manifest.n_shards) for row in manifest.rows(i)
    ]
    by_row = [features.reasons[i] for i in features.order]
    assert by_row == [row.reason or None for row in report.images.rows]
    view.close()
