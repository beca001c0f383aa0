"""Which encoder names groups, and what the names are made of."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.noise_images import noise
from ilk.core.space import FeatureSpace
from ilk.encoders import resolve_encoder
from ilk.images import read_images
from ilk.store import Store
from ilk.updates import group_names
from ilk.updates.group_names import find_naming_part, make_name_head, suggest_group_names
from ilk.vocabulary.wordnet import load_vocabulary

N = 1000


class TextEncoder:
    """Images and texts in one space: text i has direction i, whatever it says."""

    name, batch_size, space = "texts", 4, FeatureSpace("0" * 64, "texts", N)

    def __init__(self):
        self.prompts = []

    def embed_text(self, prompts):
        self.prompts = list(prompts)
        return np.eye(N, dtype=np.float32)


def test_a_text_encoder_gets_a_prompt_for_each_imagenet_class():
    encoder = TextEncoder()
    head = make_name_head(encoder)
    assert len(encoder.prompts) == N
    assert encoder.prompts[1] == "a photo of a goldfish."
    assert "a photo of a crane (bird)." in encoder.prompts
    x = np.zeros((2, N), np.float32)
    x[0, 7], x[1, 3] = 5.0, 0.1  # the length does not count
    assert head.logits(x).argmax(1).tolist() == [7, 3]
    assert head.logits(x).max(1) == pytest.approx(100)


def test_the_part_of_several_encoders_that_knows_words_is_found():
    plain, text = resolve_encoder("hog/32"), TextEncoder()
    assert find_naming_part(plain) is None
    assert find_naming_part(text) is text
    assert find_naming_part(SimpleNamespace(parts=(plain, text))) is text
    with pytest.raises(ValueError, match="hog/32 knows no words"):
        make_name_head(plain)


@pytest.fixture
def images(tmp_path):
    for i in range(4):
        noise(40, 40, i).save(tmp_path / f"{i}.png")
    return read_images([str(path) for path in sorted(tmp_path.glob("*.png"))])


def test_each_group_is_named_by_its_own_images(images, tmp_path):
    store, encoder = Store(tmp_path / "store.sqlite"), TextEncoder()
    x = np.zeros((4, N), np.float32)
    x[[0, 1], 1], x[2, 954], x[3, 30] = 1, 1, 1  # two goldfish, a banana, a bullfrog
    store.put(encoder.space, [row.digest for row in images.used], x)
    group = np.array([1, 1, 2, 0])
    names, by = suggest_group_names(encoder, images, group, (), store)
    assert by == "texts"
    assert {number: name.name for number, name in names.items()} == {1: "goldfish", 2: "banana"}
    known, _ = suggest_group_names(encoder, images, group, ("banana",), store)
    assert set(known) == {1}


def test_an_encoder_without_words_is_helped_by_the_embedded_one(images, tmp_path, monkeypatch):
    store, hog = Store(tmp_path / "store.sqlite"), resolve_encoder("hog/32")
    names, by = suggest_group_names(hog, images, np.array([1, 1, 1, 0]), (), store)
    assert by == "efficientnet-lite0"
    assert all(name.synset in load_vocabulary().synsets for name in names.values())
    monkeypatch.setattr(group_names, "NAMING_ENCODER", "timm/none")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert suggest_group_names(hog, images, np.array([1, 1, 1, 0]), (), store) == ({}, "")


def test_without_groups_nothing_is_encoded(images, tmp_path):
    store = Store(tmp_path / "store.sqlite")
    assert suggest_group_names(TextEncoder(), images, np.zeros(4, int), (), store) == ({}, "")
