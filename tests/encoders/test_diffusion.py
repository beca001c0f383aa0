"""`diffusion:PATH` as an encoder: names there and back, its address, its features."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ilk.core.capabilities import Embeds
from ilk.core.errors import ArtifactError, InputError
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.checkpoint.encoder_name import EncoderName
from ilk.diffusion.features.extract import extract_features
from ilk.diffusion.features.feature_point import FeatureConfig, FeaturePoint
from ilk.diffusion.features.hooks import Hooks
from ilk.diffusion.features.search_result import FILE, FeatureLocation, SearchResult, write
from ilk.encoders.diffusion import DiffusionEncoder, open_encoder
from ilk.encoders.options import EncoderOptions

BUILD = saved.DenoiserSpec((1, 8, 8), ("a", "b"), 0.6, (0.05, 20.0), options={"width": 8})


def model(folder: Path, build: saved.DenoiserSpec = BUILD, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    denoiser = build.build()
    with torch.no_grad():
        for weight in denoiser.parameters():
            weight += 0.1 * torch.randn_like(weight)
    folder.mkdir(parents=True, exist_ok=True)
    saved.save(denoiser, build, folder)
    return folder


def picture(seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "name",
    [
        "diffusion:some/where",
        "diffusion:a@b/c",
        "diffusion:C:/x@block=9,sigma=0.4,pool=2",
        "diffusion:a@b@block=9,sigma=0.4,pool=2+block=7,sigma=1e-05,pool=0",
        "diffusion:x@block=9,sigma=12.5,pool=16+draws=4",
        "diffusion:x@block=9,sigma=0.30000000000000004,pool=1+draws=4,seed=7",
        "diffusion:x@seed=7",
    ],
)
def test_names_go_there_and_back(name: str):
    assert str(EncoderName.parse(name)) == name
    assert EncoderName.parse(str(EncoderName.parse(name))) == EncoderName.parse(name)


def test_what_a_name_says():
    parsed = EncoderName.parse(
        "diffusion:a b@block=9,sigma=0.4+seed=3+block=1,sigma=2,pool=0+draws=5"
    )
    assert parsed == EncoderName("a b", (FeaturePoint(9, 0.4, 2), FeaturePoint(1, 2.0, 0)), 5, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("diffusion:", "is incomplete; write diffusion:PATH"),
        ("diffusion:x@block=9", "'block=9' is not a feature point; write block=NUMBER,sig"),
        ("diffusion:x@block=9,sigma=0.4,pool=2+place=3", "'place=3' in .* is not a setting"),
        ("diffusion:x@block=9,sigma=-1,pool=2", "is not a feature point"),
        ("diffusion:x@block=9,sigma=0.0,pool=2", "sigma > 0"),
        ("diffusion:x@block=9,sigma=0.4+draws=0", "0 draws"),
    ],
)
def test_names_that_say_nothing(tmp_path: Path, name: str, message: str):
    model(tmp_path)
    with pytest.raises(InputError, match=message):
        open_encoder(name.replace(":x", f":{tmp_path}"))


def test_it_embeds_as_the_network_reads(tmp_path: Path):
    name = f"diffusion:{model(tmp_path)}@block=6,sigma=0.4,pool=2+block=2,sigma=1.0,pool=0+draws=2"
    encoder = open_encoder(name, EncoderOptions(device="cpu"))
    assert isinstance(encoder, Embeds)
    assert encoder.name == name
    batch = np.stack([encoder.prepare(picture(seed)) for seed in range(3)])
    assert (batch.shape, batch.dtype) == ((3, 1, 8, 8), np.uint8)
    found = encoder.embed(batch)
    assert (found.shape, found.dtype) == ((3, encoder.space.dim), np.float32)
    points = [FeaturePoint(6, 0.4, 2), FeaturePoint(2, 1.0, 0)]
    by_hand = extract_features(
        Hooks(saved.load(tmp_path)), torch.from_numpy(batch), points, FeatureConfig(draws=2)
    )
    np.testing.assert_allclose(found, by_hand.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(encoder.embed(batch[1:2]), found[1:2], rtol=1e-4, atol=1e-5)


def test_no_weight_is_read_before_it_has_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    model(tmp_path)
    monkeypatch.setattr(saved, "load", lambda _: pytest.fail("the weights were read"))
    encoder = open_encoder(f"diffusion:{tmp_path}")
    assert encoder.space.dim == 16 * 4
    assert encoder.prepare(picture()).shape == (1, 8, 8)
    json.dumps(encoder.describe())


def test_the_address_hangs_on_all_that_features_hang_on(tmp_path: Path):
    here = model(tmp_path / "here")
    plain = f"diffusion:{here}@block=6,sigma=0.4,pool=2"
    keys = {open_encoder(plain + more).space.key for more in ("", "+draws=2", "+seed=1")}
    keys.add(open_encoder(plain.replace("0.4", "0.5")).space.key)
    keys.add(open_encoder(plain, EncoderOptions(precision="bfloat16")).space.key)
    other = model(tmp_path / "other", seed=1)
    keys.add(open_encoder(plain.replace(str(here), str(other))).space.key)
    scaled = model(tmp_path / "scaled", replace(BUILD, sigma_data=0.5))
    keys.add(open_encoder(plain.replace(str(here), str(scaled))).space.key)
    assert len(keys) == 7
    moved = shutil.copytree(here, tmp_path / "moved")
    told = replace(BUILD, metadata={"images": 5})
    saved.save(saved.load(moved), told, moved)
    same = open_encoder(plain.replace(str(here), str(moved)))
    assert same.space.key == open_encoder(plain).space.key  # not on where it lies, nor what is told


def test_where_it_reads_when_nothing_is_said(tmp_path: Path):
    encoder = open_encoder(f"diffusion:{model(tmp_path)}")
    # after the middle, half of 0.6
    assert encoder.encoder_name.points == (FeaturePoint(6, 0.3, 2),)
    assert "half the spread of the data" in encoder.describe()["chosen"]
    assert open_encoder(encoder.name).space == encoder.space
    best = FeaturePoint(7, 0.8, 4)
    write(SearchResult((FeatureLocation(best, 128, 0.9, 0.1, 0.0, 0.0),), best, best, 50), tmp_path)
    assert open_encoder(f"diffusion:{tmp_path}").encoder_name.points == (best,)
    assert open_encoder(f"diffusion:{tmp_path}").describe()["chosen"].startswith("found by cross-")
    assert open_encoder(encoder.name).encoder_name.points == encoder.encoder_name.points
    (tmp_path / FILE).unlink()
    dit = replace(BUILD, network="dit", options={"width": 16, "depth": 1, "heads": 2, "patch": 8})
    only = open_encoder(f"diffusion:{model(tmp_path / 'dit', dit)}")
    assert only.encoder_name.points == (FeaturePoint(1, 0.3, 1),)
    narrow = replace(BUILD, sigmas=(1.0, 2.0))
    assert (
        open_encoder(f"diffusion:{model(tmp_path / 'n', narrow)}").encoder_name.points[0].sigma
        == 1.0
    )


def test_what_cannot_be_an_encoder(tmp_path: Path):
    with pytest.raises(ArtifactError, match=r"holds no diffusion model of ilk"):
        open_encoder(f"diffusion:{tmp_path}")
    here = f"diffusion:{model(tmp_path)}"
    with pytest.raises(InputError, match="no block 12; its 9 blocks"):
        open_encoder(f"{here}@block=12,sigma=0.4,pool=2")
    with pytest.raises(InputError, match="sigma 50 is above what this network was trained on"):
        open_encoder(f"{here}@block=6,sigma=50,pool=2")
    with pytest.raises(InputError, match="pool 5 is finer"):
        open_encoder(f"{here}@block=6,sigma=0.4,pool=5")
    latents = model(tmp_path / "latents", replace(BUILD, shape=(4, 8, 8)))
    with pytest.raises(InputError, match="takes images of 4 channels"):
        open_encoder(f"diffusion:{latents}")
    with pytest.raises(InputError, match="no device is called 'gpu'"):
        open_encoder(here, EncoderOptions(device="gpu"))
    with pytest.raises(InputError, match="unknown precision"):
        DiffusionEncoder(EncoderName(str(tmp_path)), precision="int8")
