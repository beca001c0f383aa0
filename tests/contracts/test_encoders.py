"""What every family of encoders owes, checked for every file of `ilk.encoders` that is one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from helpers.noise_images import noise
from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.errors import InputError, UnknownName
from ilk.core.registry import read_constants
from ilk.encoders import families, resolve_encoder, restore_encoder

FAMILIES = {family.module.rpartition(".")[2]: family for family in families.list_families()}


@pytest.fixture(scope="module", params=FAMILIES)
def example(request, tmp_path_factory):
    """An encoder of each family, loaded; families that need files find tiny ones in the helpers."""
    stem = request.param
    with pytest.MonkeyPatch.context() as monkeypatch:
        if not {"/", ":"} & set(FAMILIES[stem].form) and not FAMILIES[stem].package:
            name = FAMILIES[stem].form
        else:
            make = import_module(f"helpers.encoder_examples.{stem}").make
            name = make(tmp_path_factory.mktemp(stem), monkeypatch)
        encoder = resolve_encoder(name)
        encoder.load()
        yield FAMILIES[stem], name, encoder


def check_encoder(family, encoder):
    """Raise AssertionError where an encoder breaks the contract."""
    assert isinstance(encoder, Embeds)
    assert family.matches(encoder.name)
    assert encoder.batch_size >= 1
    images = [noise(20 + i, 30, i) for i in range(3)]
    batch = np.stack([encoder.prepare(image) for image in images])
    assert batch.dtype == np.uint8
    assert batch.ndim == 4
    features = encoder.embed(batch)
    assert features.shape == (3, encoder.space.dim)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert not np.array_equal(features[0], features[1])
    np.testing.assert_array_equal(encoder.embed(batch), features)
    alone = np.concatenate([encoder.embed(batch[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(alone, features, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(encoder.prepare(images[0]), batch[0])
    assert json.loads(json.dumps(encoder.describe()))["key"] == encoder.space.key
    if isinstance(encoder, EmbedsText):
        text = encoder.embed_text(["a cat", "a dog"])
        assert text.shape == (2, encoder.space.dim)
        np.testing.assert_allclose(np.linalg.norm(text, axis=1), 1, rtol=1e-5)


def test_an_encoder_keeps_the_contract(example):
    family, _, encoder = example
    check_encoder(family, encoder)


def test_a_described_encoder_is_restored(example):
    _, _, encoder = example
    assert restore_encoder(encoder.describe()).space == encoder.space
    other = {**encoder.describe(), "key": "0" * 64}
    with pytest.raises(Exception, match="is not the encoder that was fitted with"):
        restore_encoder(other)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_form_tells_its_family_and_no_other(family):
    assert families.find_family(family.form) is family
    if "/" in family.form or ":" in family.form:
        with pytest.raises(InputError, match="ends too early; write"):
            resolve_encoder(family.prefix)


def test_a_name_of_no_family_is_refused_with_all_forms():
    with pytest.raises(UnknownName) as caught:
        resolve_encoder("pixel")
    assert "pixels" in str(caught.value)


def test_a_family_that_needs_a_package_says_how_to_get_it():
    for family in FAMILIES.values():
        if family.package:
            assert family.pretrained
            assert family.repo
            assert family.extra


def test_listing_families_imports_nothing_heavy():
    code = (
        "import sys; from ilk.encoders.families import list_families; list_families();"
        "print(sorted({'torch', 'timm', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_helper_is_not_taken_for_a_family():
    assert {"network", "runtime", "registry", "families"}.isdisjoint(
        read_constants("ilk.encoders", "FORM")
    )


class Faulty:
    """An encoder of random pixels with one fault at a time."""

    name, batch_size = "pixels/2x2x1", 1

    def __init__(self, fault):
        from ilk.images.pixels import PixelEncoder

        self.fault, self.good = fault, PixelEncoder(2, 2, 1)
        self.space = self.good.space
        self.count = 0

    def load(self):
        """Nothing."""

    def describe(self):
        return {"key": "another"} if self.fault == "key" else self.good.describe()

    def prepare(self, image):
        pixels = self.good.prepare(image)
        return pixels.astype(np.float32) if self.fault == "dtype" else pixels

    def embed(self, batch):
        x = self.good.embed(batch)
        if self.fault == "width":
            return x[:, 1:]
        if self.fault == "batch":
            return x - x.mean(0)
        if self.fault == "nan":
            return x * np.float32("nan")
        if self.fault == "random":
            self.count += 1
            return x + np.float32(self.count)
        return x


def test_planted_faults_are_found():
    family = FAMILIES["pixels"]
    check_encoder(family, Faulty(""))
    for fault in ("key", "dtype", "width", "batch", "nan", "random"):
        with pytest.raises(AssertionError):
            check_encoder(family, Faulty(fault))
    with pytest.raises(AssertionError):
        check_encoder(replace(family, form="hog"), Faulty(""))
