"""Filling the store: once per content and encoder, resumable, and never a wrong row."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.noise_images import noise
from helpers.tiny_checkpoints import save_timm
from ilk.core.errors import InputError, OutputError
from ilk.core.space import FeatureSpace
from ilk.encode import encode_and_refuse, encode_images, encode_task, fill_store, map_tasks
from ilk.encoders import resolve_encoder
from ilk.images import ImageError, Images, inspect_file
from ilk.images import decode as images_decode
from ilk.images.pixels import PixelEncoder
from ilk.store import Store


def _images(folder: Path) -> Images:
    """Every file of a folder as a used row, whatever it holds."""
    from dataclasses import replace

    rows = []
    for path in sorted(folder.iterdir()):
        try:
            row = inspect_file(path)
        except ImageError:
            continue
        rows.append(replace(row, path=path.name, status="used", reason="", detail=""))
    return Images(folder, tuple(rows))


@pytest.fixture
def folder(tmp_path):
    home = tmp_path / "images"
    home.mkdir()
    for i in range(37):
        noise(12 + i % 5, 10 + i % 7, i).save(home / f"{i:02}.png")
    return home


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store.sqlite")
    yield made
    made.close()


@dataclass
class Counting:
    """`pixels` that counts what it does."""

    inner: PixelEncoder = field(default_factory=lambda: PixelEncoder(4, 4, 3))
    key: str = "counting"
    prepared: int = 0
    loaded: int = 0
    most: int = 0
    batch_size: int = 4
    spoil: int = -1
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        return self.key

    @property
    def space(self) -> FeatureSpace:
        return FeatureSpace(self.key, self.key, 48)

    def describe(self):
        return {"name": self.name}

    def load(self) -> None:
        self.loaded += 1

    def prepare(self, image):
        with self.lock:
            self.prepared += 1
        return self.inner.prepare(image)

    def embed(self, batch):
        features = self.inner.embed(batch)
        self.most = max(self.most, len(batch))
        if self.spoil in batch[:, 0, 0, 0]:
            features[batch[:, 0, 0, 0] == self.spoil] = np.nan
        return features


def _alone(encoder, images: Images) -> np.ndarray:
    return np.concatenate(
        [
            encoder.embed(encoder.prepare(Image.open(images.path_of(row)).convert("RGB"))[None])
            for row in images.used
        ]
    )


def _digests(images: Images) -> list[str]:
    return [row.digest for row in images.used]


def test_rows_are_what_each_image_gives_alone(folder, store):
    images = _images(folder)
    encoders = [resolve_encoder("pixels/4x4x3"), resolve_encoder("hog/16")]
    assert encode_images(images, encoders, store) == {}
    for encoder in encoders:
        got = store.get(encoder.space, _digests(images))
        np.testing.assert_array_equal(got, _alone(encoder, images))


def test_a_network_gives_the_rows_that_it_gives_alone(folder, store, tmp_path):
    import torch

    images = _images(folder)
    before = torch.get_num_threads()
    encoder = resolve_encoder(f"local-dir:{save_timm(tmp_path / 'network')}", device="cpu")
    encode_images(images, [encoder], store)
    assert torch.get_num_threads() == before
    got, want = store.get(encoder.space, _digests(images)), _alone(encoder, images)
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


def test_only_what_is_missing_is_encoded_and_each_file_is_decoded_once(folder, store, monkeypatch):
    decoded: list[str] = []

    def watched(images, row, *rest):
        decoded.append(row.path)
        return original(images, row, *rest)

    original = encode_task._decode_row
    monkeypatch.setattr(encode_task, "_decode_row", watched)
    images = _images(folder)
    first, second = Counting(key="first"), Counting(key="second")
    encode_images(Images(folder, images.rows[:20]), [first], store)
    assert (first.prepared, len(decoded)) == (20, 20)
    encode_images(images, [first, second], store)
    assert (first.prepared, second.prepared, len(decoded)) == (37, 37, 57)
    third = Counting(key="first")
    encode_images(images, [third, second], store)
    assert (third.loaded, len(decoded)) == (0, 57)
    assert first.most == 4


def test_the_same_content_and_the_same_encoder_are_encoded_once(folder, store):
    for i in range(5):
        (folder / f"copy{i}.png").write_bytes((folder / "00.png").read_bytes())
    images = _images(folder)
    twin, other = Counting(), Counting()
    encode_images(images, [twin, other], store)
    assert twin.prepared + other.prepared == 37
    assert len(store.get(twin.space, _digests(images))) == 42


def test_what_cannot_be_decoded_is_told_and_not_stored(folder, store):
    whole = (folder / "00.png").read_bytes()
    noise(40, 40).save(folder / "cut.jpg")
    cut = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(cut[: len(cut) // 2])
    images = _images(folder)
    assert "cut.jpg" in [row.path for row in images.rows]
    (folder / "01.png").unlink()
    (folder / "02.png").write_bytes(whole)
    by_path = {row.path: row.digest for row in images.rows}
    encoder = Counting()
    failures = encode_images(images, [encoder], store)
    reasons = {path: failures[d][0] for path, d in by_path.items() if d in failures}
    assert reasons == {"cut.jpg": "truncated", "01.png": "missing", "02.png": "unreadable"}
    assert "changed" in failures[by_path["02.png"]][1]
    assert set(store.find_missing(encoder.space, by_path.values())) == set(failures)
    assert len(images.refuse(failures).used) == len(images.used) - 3

    # What the bytes themselves forbid is remembered; what only the disk forbade is tried again.
    noise(13, 11, 1).save(folder / "01.png")
    again = Counting()
    later = encode_images(images, [again], store)
    assert again.prepared == 1
    assert by_path["01.png"] not in later
    assert later[by_path["cut.jpg"]] == failures[by_path["cut.jpg"]]


def test_images_over_the_limit_are_told_each_time_by_the_limit_of_that_time(folder, store):
    images = _images(folder)
    failures = encode_images(images, [Counting()], store, max_pixels=150)
    assert {reason for reason, _ in failures.values()} == {"too large"}
    assert 0 < len(failures) < 37
    assert encode_images(images, [Counting()], store) == {}


def test_a_feature_that_is_not_finite_names_its_image_and_keeps_the_others(folder, store):
    flat = Image.new("RGB", (9, 9), (255, 255, 255))
    flat.save(folder / "30 odd.png")
    images = _images(folder)
    encoder = Counting(spoil=255)
    bad = [
        row.path
        for row in images.used
        if encoder.inner.prepare(Image.open(images.path_of(row)))[0, 0, 0] == 255
    ]
    assert bad == ["30 odd.png"]
    with pytest.raises(InputError, match=r"counting returned features .* not finite for 30"):
        encode_images(images, [encoder], store)
    held = 37 - len(store.find_missing(encoder.space, _digests(images)))
    assert held > 0
    assert store.find_missing(encoder.space, [r.digest for r in images.used if r.path in bad])


def test_progress_counts_every_content_once(folder, store):
    told = []

    @contextmanager
    def progress(what, total):
        told.append((what, total))
        yield told.append

    encode_images(_images(folder), [Counting()], store, progress=progress)
    assert told[0] == ("encoding", 37)
    assert sum(told[1:]) == 37


@pytest.mark.parametrize("after", [4, 20])
def test_ctrl_c_keeps_what_is_done(folder, store, after):
    images = _images(folder)

    @contextmanager
    def progress(_what, _total):
        done = 0

        def advance(n):
            nonlocal done
            done += n
            if done >= after:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        encode_images(images, [Counting()], store, progress=progress)
    held = 37 - len(store.find_missing(Counting().space, _digests(images)))
    assert after <= held < 37
    rest = Counting()
    encode_images(images, [rest], store)
    assert rest.prepared == 37 - held
    np.testing.assert_array_equal(
        store.get(rest.space, _digests(images)), _alone(rest.inner, images)
    )


def test_a_full_disk_stops_the_work_and_keeps_the_rows(folder, store, monkeypatch):
    monkeypatch.setattr(fill_store, "COMMIT_SECONDS", 0.0)
    images = _images(folder)
    put, calls = store.put, []

    def full(space, digests, values):
        calls.append(len(digests))
        if len(calls) == 3:
            pages = store._db.execute("PRAGMA page_count").fetchone()[0]
            store._db.execute(f"PRAGMA max_page_count = {pages}")
            values = np.repeat(values, 400, axis=0)
            digests = [f"{i:064x}" for i in range(len(values))]
        put(space, digests, values)

    monkeypatch.setattr(store, "put", full)
    with pytest.raises(OutputError, match=r"is full; free some space, .* are not lost"):
        encode_images(images, [Counting()], store)
    assert len(calls) == 3
    monkeypatch.undo()
    assert len(store.find_missing(Counting().space, _digests(images))) == 37 - sum(calls[:2])
    store._db.execute("PRAGMA max_page_count = 1000000")
    encode_images(images, [Counting()], store)
    assert not store.find_missing(Counting().space, _digests(images))


def test_no_more_than_a_few_tasks_wait(folder, store, monkeypatch):
    """Features that wait for a slow store hold the work back instead of piling up."""
    monkeypatch.setattr(map_tasks, "TASKS_PER_THREAD", 2)
    monkeypatch.setattr(map_tasks, "count_cores", lambda: 2)
    monkeypatch.setattr(fill_store, "COMMIT_SECONDS", 0.0)
    under_way, most, encode_one = [], [], fill_store.encode_task

    def counted(task):
        under_way.append(task)
        return encode_one(task)

    def put(_space, _digests, _values):
        most.append(len(under_way) - len(most))

    monkeypatch.setattr(fill_store, "encode_task", counted)
    monkeypatch.setattr(store, "put", put)
    encode_images(_images(folder), [Counting(batch_size=1)], store)
    assert len(under_way) == 37
    assert max(most) <= 2 * 2 + 1


def test_what_is_decoded_is_summarized_in_the_same_pass(folder, store, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        encode_task, "decode", lambda *a, **k: decoded.append(1) or images_decode(*a, **k)
    )
    images = _images(folder)
    n = len(images.used)
    encode_and_refuse(images, [Counting()], store)
    digests = [row.digest for row in images.used]
    assert len(decoded) == n == len(store.get_pixel_digests(digests))
    assert len(encode_and_refuse(images, [Counting()], store).used) == n == len(decoded)
    store._db.execute(
        "UPDATE pixels SET checksum = 0 WHERE digest = ?", (bytes.fromhex(digests[3]),)
    )
    encode_images(images, [Counting()], store)  # a prediction needs no summary
    assert len(decoded) == n
    encoder = Counting()
    encode_and_refuse(images, [encoder], store)
    assert len(decoded) == n + 1  # the damaged summary alone, and no feature
    assert len(store.get_pixel_digests(digests)) == n


def test_the_same_pixels_in_other_files_are_refused_after_encoding(folder, store):
    Image.open(folder / "05.png").save(folder / "copy.bmp")
    images = encode_and_refuse(_images(folder), [Counting()], store)
    (refused,) = images.refused
    assert (refused.path, refused.reason) == ("copy.bmp", "duplicate")
    assert "of 05.png (the same pixels" in refused.detail
    assert all(row.pixel_digest for row in images.rows)
