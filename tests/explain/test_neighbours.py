"""The nearest training images: what is kept, found, saved, and what happens to a damaged file."""

import json

import numpy as np
import pytest
from safetensors import SafetensorError

import ilk
from helpers.digit_folders import write_digits
from ilk.cli import run
from ilk.core.errors import ArtifactError
from ilk.explain.build_neighbours import choose_rows, count_rows
from ilk.explain.neighbours import FILE, NeighbourIndex
from ilk.store import Store


def make_index(n=4):
    x = np.eye(n, 6, dtype=np.float16)
    labels = tuple("ab"[i % 2] for i in range(n))
    names = tuple(f"{i}.png" for i in range(n))
    thumbnails = tuple(bytes([i] * i) for i in range(n))
    return NeighbourIndex(x, labels, names, tuple(f"d{i}" for i in range(n)), thumbnails, "space")


def test_what_is_written_is_read_again():
    index = make_index()
    again = NeighbourIndex.from_bytes(index.to_bytes())
    np.testing.assert_array_equal(again.features, index.features)
    assert (again.labels, again.paths, again.digests) == (index.labels, index.paths, index.digests)
    assert again.thumbnails == index.thumbnails
    assert again.read_thumbnail("d2") == b"\x02\x02"
    assert again.read_thumbnail("none") == b""
    assert index.to_bytes() == again.to_bytes()


def test_the_nearest_is_found_by_the_cosine_after_centring():
    index = make_index()
    x = index.features.astype(np.float64)
    query = np.array([0.1, 0.9, 0.2, 0, 0.3, 0])
    centred, q = x - x.mean(0), query - x.mean(0)
    cosine = centred @ q / np.linalg.norm(centred, axis=1) / np.linalg.norm(q)
    found = index.find(query, 3)
    assert [n.path for n in found] == [f"{i}.png" for i in np.argsort(-cosine)[:3]]
    assert found[0].similarity == pytest.approx(cosine.max(), abs=1e-3)


def test_some_of_the_images_keep_all_that_is_theirs():
    index = make_index()
    part = index.take([3, 1])
    assert [part.get(i) for i in (0, 1)] == [index.get(3), index.get(1)]
    np.testing.assert_array_equal(part.features, index.features[[3, 1]])
    assert part.read_thumbnail("d3") == bytes([3] * 3)
    assert part.read_thumbnail("d0") == b""


def test_rows_are_balanced_over_classes():
    labels = ["a"] * 100 + ["b"] * 3 + ["c"] * 50
    chosen = choose_rows(labels, 30)
    counts = {name: sum(labels[i] == name for i in chosen) for name in "abc"}
    assert counts["b"] == 3
    assert abs(counts["a"] - counts["c"]) <= 1
    assert len(set(chosen)) == len(chosen) == 30
    assert sorted(choose_rows(labels, 1000)) == list(range(153))
    assert count_rows(10) == 2000
    assert count_rows(100_000) == 80


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    home = tmp_path_factory.mktemp("neighbours")
    source = write_digits(home / "digits", {"0": 12, "1": 12, "7": 12})
    store = Store(home / "store.sqlite")
    classifier = ilk.fit(source, encoders="pixels", methods="GDA", store=store)
    model = classifier.save(home / "model")
    return home, source, store, model


def test_fit_keeps_training_images_and_explain_shows_them(fitted):
    _home, source, _, model = fitted
    index = NeighbourIndex.load(model)
    assert len(index) == 36
    assert all(content.startswith(b"\xff\xd8") for content in index.thumbnails)
    image = sorted((source / "7").iterdir())[0]
    found = ilk.load(model).explain(image, method="occlusion")
    assert found.neighbours[0].similarity == pytest.approx(1, abs=0.01)
    assert found.neighbours[0].path.endswith(image.name)
    near = ilk.load(model).explain(image, method="nearest-images")
    assert near.values.shape == found.values.shape


def test_without_thumbnails_features_are_kept_and_no_pictures(fitted, tmp_path):
    _, source, store, _ = fitted
    classifier = ilk.fit(source, encoders="pixels", methods="GDA", store=store, thumbnails=False)
    index = NeighbourIndex.load(classifier.save(tmp_path / "model"))
    assert len(index) == 36
    assert set(index.thumbnails) == {b""}


def test_a_saved_copy_keeps_them_and_an_old_model_has_none(fitted, tmp_path):
    _, source, _, model = fitted
    copy = ilk.load(model).save(tmp_path / "copy")
    assert (copy / FILE).read_bytes() == (model / FILE).read_bytes()
    (copy / FILE).unlink()
    image = sorted((source / "7").iterdir())[0]
    assert ilk.load(copy).explain(image, method="occlusion").neighbours == ()
    again = ilk.load(copy).save(tmp_path / "again")
    assert "neighbours" not in json.loads((again / "model.json").read_text())


def test_an_altered_file_is_one_sentence(fitted, tmp_path):
    _, source, _, model = fitted
    copy = ilk.load(model).save(tmp_path / "copy")
    content = bytearray((copy / FILE).read_bytes())
    content[-1] ^= 1
    (copy / FILE).write_bytes(content)
    image = sorted((source / "7").iterdir())[0]
    with pytest.raises(ArtifactError, match="is not the file that the model was saved with"):
        ilk.load(copy).explain(image, method="occlusion")


def test_added_images_are_kept_too(fitted, tmp_path, monkeypatch):
    _, _, _, model = fitted
    monkeypatch.setenv("ILK_STORE", str(tmp_path / "store.sqlite"))
    added = write_digits(tmp_path / "added", {"4": 9})
    out = tmp_path / "bigger"
    assert run(["add", str(model), str(added), "--out", str(out), "--force"]) == 0
    index = NeighbourIndex.load(out)
    assert len(index) == 45
    assert index.labels.count("4") == 9
    assert all(index.thumbnails)
    found = ilk.load(out).explain(sorted((added / "4").iterdir())[0], method="occlusion")
    assert found.neighbours[0].label == "4"


@pytest.mark.parametrize("n_bytes", [0, 7, 60, 300])
def test_a_cut_file_is_refused(n_bytes):
    content = make_index().to_bytes()
    with pytest.raises((ValueError, LookupError, SafetensorError)):
        NeighbourIndex.from_bytes(content[:n_bytes])
