"""`ilk.search` on folders, models, shards and indexes: what is found, left out and marked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ilk
from helpers.coloured_images import COLOURS, write_images
from helpers.tiny_checkpoints import save_clip
from ilk.core.errors import InputError, UnknownName
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.retrieval import open_index
from ilk.retrieval.image_source import collect_images
from ilk.retrieval.results import NEAR, SAME_FILE, SAME_PIXELS
from ilk.store import Store

ENCODER = "pixels/4x4x3"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three folders of images in one colour each; files with the same bytes and pixels."""
    root, flat = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("flat")
    write_images(flat, per_colour=12)
    for path in sorted(flat.glob("*.png")):
        folder = root / path.name.split("_")[0]
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder / path.name)
    shutil.copy(root / "red" / "red_0_0.png", root / "blue" / "copy.png")
    Image.open(root / "red" / "red_0_0.png").save(root / "green" / "pixels.bmp")
    (root / "red" / "broken.jpg").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def model(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "kinds"
    ilk.fit(str(photos), encoders=[ENCODER], methods=["GDA"]).save(folder)
    return folder


def find(photos: Path, *args, **options):
    return ilk.search(photos, *args, **{"encoder": ENCODER, **options})


def test_the_query_is_left_out_and_its_copies_are_marked(photos: Path) -> None:
    query = photos / "red" / "red_0_0.png"
    result = find(photos, query, count=5)
    assert result.left_out.endswith("copy.png")  # the same bytes: one image with two paths
    first = result.hits[0]
    assert (first.path.endswith("pixels.bmp"), first.copy) == (True, SAME_PIXELS)
    assert first.similarity == pytest.approx(1, abs=1e-5)
    assert [hit.copy for hit in result.hits[1:]] == [""] * 4
    assert {hit.label for hit in result.hits[1:]} == {"red"}
    shown = find(photos, query, count=5, include_self=True).hits[0]
    assert shown.copy == SAME_FILE
    assert shown.label == "blue; red"
    assert [Path(p).name for p in shown.others] == ["red_0_0.png"]


def test_a_resized_picture_is_nearly_the_same(tmp_path: Path) -> None:
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    for i in range(12):
        scene = gaussian_filter(rng.normal(size=(96, 96, 3)), (9, 9, 0))
        scene = (scene - scene.min()) / np.ptp(scene) * 255
        Image.fromarray(scene.astype(np.uint8)).save(tmp_path / f"{i}.png")
    picture = Image.open(tmp_path / "4.png")
    query = picture.resize((60, 60))
    result = ilk.search(tmp_path, query, encoder="pixels/8x8x3", count=6)
    assert [hit.copy for hit in result.hits] == [NEAR, *[""] * 5]
    assert Path(result.hits[0].path).name == "4.png"
    assert result.left_out == ""


def test_several_queries_are_averaged(photos: Path) -> None:
    both = [photos / "red" / "red_0_1.png", photos / "blue" / "blue_0_1.png"]
    labels = find(photos, both, count=24).labels
    assert labels["green"] < min(labels["red"], labels["blue"])


def test_like_and_unlike_move_the_query(photos: Path) -> None:
    red, blue = (photos / c / f"{c}_0_2.png" for c in ("red", "blue"))
    mixed = Image.blend(Image.open(red), Image.open(blue), 0.5)
    more = find(photos, mixed, like=[red], unlike=[blue], count=8)
    less = find(photos, mixed, like=[blue], unlike=[red], count=8)
    assert set(more.labels) == {"red"}
    assert set(less.labels) == {"blue"}
    with pytest.raises(InputError, match="cancel out"):
        find(photos, like=[red], unlike=[red], unlike_weight=0.75)


def test_a_class_is_its_mean_and_a_wrong_one_names_the_nearest(photos: Path) -> None:
    assert set(find(photos, class_name="green", count=10).labels) == {"green"}
    with pytest.raises(UnknownName, match="nearest are green"):
        find(photos, class_name="gren")


def test_the_features_are_those_of_the_encoder(photos: Path) -> None:
    query = photos / "red" / "red_0_3.png"
    result = find(photos, query, count=3)

    def read(path: str | Path) -> np.ndarray:
        encoder = ilk.encoders.resolve_encoder(ENCODER)  # type: ignore[attr-defined]
        x = encoder.embed(encoder.prepare(Image.open(path).convert("RGB"))[None])[0]
        return x / np.linalg.norm(x)

    import ilk.encoders

    for hit in result.hits:
        assert hit.similarity == pytest.approx(float(read(query) @ read(hit.path)), abs=1e-5)


def test_a_model_folder_is_searched_by_its_training_images(photos: Path, model: Path) -> None:
    result = ilk.search(model, photos / "red" / "red_0_1.png", count=4)
    assert set(result.labels) == {"red"}
    assert any("training images" in note for note in result.notes)
    assert result.find_picture(result.hits[0].digest)[:2] == b"\xff\xd8"  # the JPEG that it keeps
    with pytest.raises(InputError, match="model's own encoder"):
        ilk.search(model, photos / "red" / "red_0_1.png", encoder=ENCODER)


def test_a_class_of_a_model_orders_by_its_probability(photos: Path, model: Path) -> None:
    result = ilk.search(photos, class_name="blue", model=str(model), count=12)
    assert result.measure == "probability"
    probability = [hit.similarity for hit in result.hits]
    assert probability == sorted(probability, reverse=True)
    classifier = ilk.load(model)
    column = classifier.classes.index("blue")
    expected = classifier.predict_proba([hit.path for hit in result.hits])[:, column]
    np.testing.assert_allclose(probability, expected, atol=1e-6)
    with pytest.raises(UnknownName, match="class of this model"):
        ilk.search(photos, class_name="violet", model=str(model))


def test_a_saved_index_follows_its_folder(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(photos, folder)
    index = tmp_path / "index"
    query = folder / "red" / "red_0_1.png"
    first = find(folder, query, index=index, count=3)
    assert any("index saved" in note for note in first.notes)
    before = open_index(index)
    (folder / "red" / "red_0_2.png").unlink()
    (folder / "red" / "red_0_4.png").rename(folder / "blue" / "moved.png")
    Image.new("RGB", (8, 8), COLOURS["red"]).save(folder / "red" / "new.png")
    again = find(folder, query, index=index, count=40)
    (told,) = [note for note in again.notes if "has changed" in note]
    assert "1 new, 1 gone, 1 renamed" in told
    after = open_index(index)
    paths = {Path(hit.path).name: hit for hit in again.hits}
    assert "red_0_2.png" not in paths
    assert paths["new.png"].id == before.entries.next_id  # the next, not the one that is free
    assert paths["moved.png"].label == "blue"
    kept = {e.digest: i for i, e in before.entries.by_id.items()}
    for i, entry in after.entries.by_id.items():
        assert kept.get(entry.digest, i) == i
    third = find(folder, query, index=index, count=3)
    assert not any("has changed" in note for note in third.notes)
    saved = ilk.search(index, query, count=3)  # the index alone, with its own encoder
    assert [hit.path for hit in saved.hits] == [hit.path for hit in third.hits]
    with pytest.raises(InputError, match="pixels/4x4x3 and the query would be encoded by"):
        find(folder, query, index=index, encoder="pixels/8x8x3")
    with pytest.raises(InputError, match="of the kind Exact"):
        find(folder, query, index=index, kind="HashCodes")
    with pytest.raises(InputError, match="has the projection cosine"):
        find(folder, query, index=index, projection="Centring")


def test_recall_is_measured_again_when_much_is_new(tmp_path: Path) -> None:
    pytest.importorskip("usearch")
    folder, index = tmp_path / "a", tmp_path / "index"
    write_images(folder, seed=0, per_colour=40)
    query = folder / "red_0_0.png"
    first = find(folder, query, index=index, kind="HNSW")
    assert any("of the 10 nearest of 108 images" in note for note in first.notes)
    write_images(folder, seed=1, per_colour=20)
    second = find(folder, query, index=index)
    assert any("of the 10 nearest of 120 images" in note for note in second.notes)


def test_shards_are_searched_like_the_folder(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from ilk.encoders import resolve_encoder
    from ilk.shards.features import write_features

    encoder = resolve_encoder(ENCODER)
    images = read_images(photos)
    rows = images.used
    x = np.stack(
        [
            encoder.embed(encoder.prepare(Image.open(images.path_of(r)).convert("RGB"))[None])[0]
            for r in rows
        ]
    )
    write_features(
        tmp_path / "shards",
        x,
        [row.label for row in rows],
        paths=[str(images.path_of(row)) for row in rows],
        shard_size=10,
        name=ENCODER,
        key=encoder.space.key,
    )
    query = photos / "green" / "green_0_3.png"
    from_shards = ilk.search(tmp_path / "shards", query, count=5, include_self=True)
    assert set(from_shards.labels) == {"green"}
    assert from_shards.hits[0].path == str(query)
    write_features(tmp_path / "other", x, [None] * len(x), name=ENCODER, key="other weights")
    with pytest.raises(InputError, match="weights, preprocessing or version differ"):
        ilk.search(tmp_path / "other", query)


def test_a_text_is_asked_of_an_encoder_that_reads_text(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    name = f"clip/local-dir:{save_clip(tmp_path / 'clip', 'clip')}"
    result = find(photos, text="a photo of the red cat", encoder=name, count=4)
    from ilk.encoders import resolve_encoder

    encoder = resolve_encoder(name)
    text = encoder.embed_text(["a photo of the red cat"])[0]  # type: ignore[attr-defined]
    pixels = np.stack([encoder.prepare(Image.open(h.path).convert("RGB")) for h in result.hits])
    x = encoder.embed(pixels)
    expected = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ text
    np.testing.assert_allclose([h.similarity for h in result.hits], expected, atol=1e-5)
    with pytest.raises(InputError, match="text is empty"):
        find(photos, text="  ", encoder=name)
    with pytest.raises(InputError, match="reads no text"):
        find(photos, text="red")


def test_labelled_only_leaves_the_others_out(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    lines = [
        f"{path},{'red' if i % 2 else ''}"
        for i, path in enumerate(sorted((photos / "red").glob("*.png")))
    ]
    table.write_text("\n".join(["path,label", *lines]) + "\n")
    query = photos / "blue" / "blue_0_1.png"
    everything = find(table, query, count=50)
    labelled = find(table, query, count=50, labelled_only=True)
    assert len(everything) == 12
    assert len(labelled) == 6
    assert {hit.label for hit in labelled} == {"red"}
    assert any("50 labelled images were requested, and only 6" in note for note in labelled.notes)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("red/broken.jpg", "not an image"),
        ("red/missing.jpg", "missing"),
        ("red", "is a folder"),
    ],
)
def test_a_query_that_is_no_image_is_refused_before_any_work(
    photos: Path, query: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ilk.retrieval.image_source.encode_images", lambda *_a, **_k: 1 / 0)
    with pytest.raises(InputError, match=message) as caught:
        find(photos, photos / query)
    assert "\n" not in str(caught.value)


def test_nothing_asked_and_an_empty_folder_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no query"):
        find(photos)
    with pytest.raises(InputError):
        find(tmp_path, photos / "red" / "red_0_1.png")
    with pytest.raises(InputError, match="at least 1"):
        find(photos, photos / "red" / "red_0_1.png", count=0)
    with pytest.raises(InputError, match="leave it out"):
        ilk.search(open_in(photos, tmp_path), photos / "red" / "red_0_1.png", index=tmp_path / "x")


def open_in(photos: Path, folder: Path) -> Path:
    """A saved index."""
    find(photos, class_name="red", index=folder / "index")
    return folder / "index"


def test_images_that_an_index_holds_are_encoded_only_if_taken(photos: Path, tmp_path: Path) -> None:
    encoder, store = resolve_encoder(ENCODER), Store(tmp_path / "store.sqlite")
    home = shutil.copytree(photos / "red", tmp_path / "red")
    images = read_images(home)
    digests = [row.digest for row in images.used]
    found = collect_images(images, encoder, store, known=frozenset(digests[1:])).collection
    assert [entry.digest for entry in found.entries] == digests
    assert store.find_missing(encoder.space, digests) == digests[1:]
    x = found.take(np.array([2, 0, 1]))
    assert store.find_missing(encoder.space, digests) == digests[3:]
    want = store.get(encoder.space, [digests[i] for i in (2, 0, 1)])
    np.testing.assert_array_equal(x, want)
    images.path_of(images.used[3]).unlink()
    with pytest.raises(InputError, match=r"red_0_\d+.png cannot be read any more \(missing"):
        found.take(np.array([3]))
    store.close()


def test_the_model_names_the_class_of_images_that_the_index_holds(
    photos: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {}
    for name in ("one", "two"):  # the second time the store knows no image
        monkeypatch.setenv("ILK_STORE", str(tmp_path / f"{name}.sqlite"))
        index = {"index": tmp_path / "index", "projection": "none"}
        result = ilk.search(photos, class_name="red", model=model, count=4, **index)
        shown[name] = [(hit.path, round(hit.similarity, 6)) for hit in result.hits]
    assert shown["one"] == shown["two"]
    assert len(shown["one"]) == 4
