"""`tuned:PATH`: what the folder holds, what it refuses, and stored features that are used again."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from helpers.encoder_examples.tuned import make
from helpers.noise_images import noise
from ilk import images
from ilk.architectures.convolutional_embedding import ConvolutionalEmbedding
from ilk.core.errors import ArtifactError, Unavailable
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.tuned_folder import (
    TunedEmbedding,
    pack_digests,
    read_tuned,
    take_weights,
    write_tuned,
)
from ilk.images.pixels import PixelEncoder
from ilk.store import Store

DIGESTS = [f"{i:064x}" for i in (7, 1, 300)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    make(tmp_path, monkeypatch)
    return tmp_path / "tuned"


def test_what_is_written_is_read(folder, tmp_path):
    written = read_tuned(folder)
    changed = TunedEmbedding(
        written.base,
        written.kind,
        written.settings,
        written.arrays,
        ("cat", "dög"),
        "ProxyAnchor(margin=0.1)",
        pack_digests(DIGESTS),
        ("key",),
        {"gain": 0.5},
    )
    write_tuned(tmp_path / "other", changed)
    found = read_tuned(tmp_path / "other")
    assert found.classes == ("cat", "dög")
    assert found.loss == "ProxyAnchor(margin=0.1)"
    assert found.compatible_with == ("key",)
    assert found.results == {"gain": 0.5}
    assert found.digest_weights() == written.digest_weights()
    assert found.knows([*DIGESTS, f"{8:064x}"]).tolist() == [True, True, True, False]


def test_other_weights_are_another_space(folder):
    before = resolve_encoder(f"tuned:{folder}").space.key
    embedding = read_tuned(folder)
    arrays = {name: a + 1 for name, a in embedding.arrays.items()}
    write_tuned(folder, TunedEmbedding(embedding.base, embedding.kind, embedding.settings, arrays))
    assert resolve_encoder(f"tuned:{folder}").space.key != before


def test_a_moved_folder_is_the_same_space(folder, tmp_path):
    key = resolve_encoder(f"tuned:{folder}").space.key
    shutil.move(folder, tmp_path / "moved")
    assert resolve_encoder(f"tuned:{tmp_path / 'moved'}").space.key == key


def test_a_convolutional_network_is_saved(tmp_path):
    network = ConvolutionalEmbedding(1, (8, 8), 5, (8, 8)).eval()
    base = resolve_encoder("pixels/8x8x1")
    write_tuned(tmp_path / "t", TunedEmbedding(base.describe(), *take_weights(network)))
    encoder = resolve_encoder(f"tuned:{tmp_path / 't'}")
    batch = np.stack([encoder.prepare(noise(9, 9, i)) for i in range(3)])
    expected = network(__import__("torch").from_numpy(base.embed(batch))).detach().numpy()
    np.testing.assert_allclose(encoder.embed(batch), expected, atol=1e-6)


def test_embeddings_have_unit_length(folder):
    encoder = resolve_encoder(f"tuned:{folder}")
    batch = np.stack([encoder.prepare(noise(9, 9, i)) for i in range(4)])
    np.testing.assert_allclose(np.linalg.norm(encoder.embed(batch), axis=1), 1, rtol=1e-5)
    assert encoder.transform(np.zeros((0, 192), np.float32)).shape == (0, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / "weights.safetensors").write_bytes(b"x" * 50), "damaged, or belongs to"),
        (lambda f: (f / "weights.safetensors").unlink(), "cannot read"),
        (lambda f: (f / "tuned.json").write_text("{"), "is damaged"),
        (lambda f: edit(f, loss="other", digest=None), "altered after it was saved"),
        (lambda f: edit(f, kind="transformer"), "does not know"),
        (lambda f: edit(f, classes=3), "classes is 3 instead of a list"),
        (lambda f: edit(f, settings={"width": -4}), "damaged"),
        (lambda f: edit(f, base={"name": f"tuned:{f}"}), "names no encoder"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(folder, change, message):
    change(folder)
    with pytest.raises(ArtifactError, match=message) as caught:
        resolve_encoder(f"tuned:{folder}")
    assert "\n" not in str(caught.value)


def edit(folder, digest="new", **entries):
    from ilk.core.digested_json import encode_digested

    fields = {**json.loads((folder / "tuned.json").read_text()), **entries}
    content = json.dumps(fields).encode() if digest is None else encode_digested(fields)
    (folder / "tuned.json").write_bytes(content)


def test_weights_that_do_not_fit_the_settings_are_refused(folder):
    edit(folder, settings={"d": 7, "width": 5, "hidden": 4})
    encoder = resolve_encoder(f"tuned:{folder}")
    with pytest.raises(ArtifactError, match="do not fit"):
        encoder.transform(np.zeros((1, 192), np.float32))


def test_a_missing_folder_and_another_base_are_refused(folder, tmp_path):
    with pytest.raises(Unavailable, match=r"holds no tuned\.json"):
        resolve_encoder(f"tuned:{tmp_path / 'nowhere'}")
    base = {**PixelEncoder(8, 8, 3).describe(), "key": "0" * 64}
    edit(folder, base=base)
    with pytest.raises(Unavailable, match="that encoder is a different one on this machine"):
        resolve_encoder(f"tuned:{folder}")


def write_pictures(folder, n=4):
    folder.mkdir()
    for i in range(n):
        noise(12, 12, i).save(folder / f"{i}.png")
    return images.read_images(folder)


def test_stored_features_of_the_base_are_not_computed_again(folder, tmp_path, monkeypatch):
    pictures, store = write_pictures(tmp_path / "p"), Store(tmp_path / "store.sqlite")
    encoder = resolve_encoder(f"tuned:{folder}")
    assert not encode_images(pictures, [encoder.base], store)
    monkeypatch.setattr(PixelEncoder, "embed", lambda *_: pytest.fail("encoded again"))
    assert not encode_images(pictures, [encoder], store)
    digests = [row.digest for row in pictures.used]
    expected = encoder.transform(store.get(encoder.base.space, digests))
    np.testing.assert_array_equal(store.get(encoder.space, digests), expected)


def test_both_encoders_decode_and_embed_an_image_once(folder, tmp_path, monkeypatch):
    pictures, store = write_pictures(tmp_path / "p"), Store(tmp_path / "store.sqlite")
    encoder, counts = resolve_encoder(f"tuned:{folder}"), []
    original = PixelEncoder.embed
    monkeypatch.setattr(
        PixelEncoder, "embed", lambda self, b: counts.append(len(b)) or original(self, b)
    )
    combined = CombinedEncoder((encoder.base, encoder))
    assert not encode_images(pictures, [combined, encoder], store)
    assert sum(counts) == 4
    digests = [row.digest for row in pictures.used]
    assert store.get(combined.space, digests).shape == (4, 192 + 5)
