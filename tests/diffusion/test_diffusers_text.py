"""Text-to-image checkpoints as classifiers: latents and prompts, each computed once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from helpers import tiny_diffusers as tiny
from helpers.noise_images import noise
from helpers.tiny_checkpoints import into_cache
from ilk.core.capabilities import Embeds
from ilk.core.errors import InputError, Unavailable
from ilk.diffusion.checkpoint import checkpoint as saved
from ilk.diffusion.classification.context import DEFAULT_PROMPTS, ClassificationContext
from ilk.diffusion.diffusers import clip, open_checkpoint, parts
from ilk.diffusion.errors.class_errors import Measure, compute_class_errors, draw_level_noise
from ilk.encode import encode_images
from ilk.encoders import resolve_encoder, restore_encoder
from ilk.hub import client as hub
from ilk.images import read_images as intake
from ilk.store import Store

CLASSES = ("cat", "dog", "owl")


@pytest.fixture(scope="module")
def stable(tmp_path_factory):
    return tiny.stable(tmp_path_factory.mktemp("hub") / "stable")


@pytest.fixture(scope="module")
def stable3(tmp_path_factory):
    return tiny.stable3(tmp_path_factory.mktemp("hub") / "stable3", t5=True)


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "store.sqlite")
    yield made
    made.close()


@pytest.fixture
def read(monkeypatch):
    """Every prompt that a text encoder reads."""
    seen = []
    states = clip.CLIPTextEncoder.encode

    def spy(self, prompts):
        seen.extend(prompts)
        return states(self, prompts)

    monkeypatch.setattr(clip.CLIPTextEncoder, "encode", spy)
    return seen


def latent(network, n=3):
    return torch.randn(n, *network.shape, generator=torch.Generator().manual_seed(1))


def test_it_classifies_from_pictures_to_errors(stable):
    opened = open_checkpoint(stable, CLASSES)
    pictures = [noise(12 + i, 9 + 2 * i, i) for i in range(4)]
    prepared = np.stack([opened.latents.prepare(p) for p in pictures])
    x = opened.latents.unflatten(opened.latents.embed(prepared))
    assert x.shape[1:] == opened.network.shape
    sigmas, shared = torch.tensor([0.5, 4.0]), draw_level_noise(opened.network, 2)
    found = compute_class_errors(opened.network, x, sigmas, shared, Measure(batch_size=5))
    pipe, states = _library(stable, [f"a photo of a {c}." for c in CLASSES])
    abar = pipe.scheduler.alphas_cumprod.double()
    table = ((1 - abar) / abar).sqrt()
    for i, label, level in ((0, 0, 0), (1, 2, 1), (3, 1, 0)):
        sigma = sigmas[level].double()
        right = int(torch.searchsorted(table, sigma))
        share = (sigma / table[right - 1]).log() / (table[right] / table[right - 1]).log()
        noisy = x[i : i + 1] + sigma.float() * shared[level]
        out = pipe.unet(
            noisy / (1 + sigma.float() ** 2).sqrt(),
            right - 1 + share.float(),
            encoder_hidden_states=states[label : label + 1].half().float(),
        ).sample
        want = (noisy - sigma.float() * out - x[i]).square().mean()
        assert found[i, label, level].item() == pytest.approx(want.item(), rel=1e-4)
    alone = compute_class_errors(opened.network, x[2:3], sigmas, shared)
    assert torch.allclose(alone[0], found[2], rtol=1e-5)
    assert found.std(1).min() > 0  # the texts make a difference


def _library(folder, texts):
    with parts.silence_libraries():
        pipe = tiny.library().StableDiffusionPipeline.from_pretrained(folder)
    with torch.no_grad():
        states = pipe.encode_prompt(texts, "cpu", 1, False)[0]
    return pipe, states


@pytest.mark.parametrize("t5", [False, True])
def test_texts_are_read_once_for_good(stable, stable3, store, read, monkeypatch, t5):
    folder, each = (stable3, 2) if t5 else (stable, 1)  # encoders that read a prompt
    prompts = ("a photo of a {}.", "a sketch of the {}.")
    first = open_checkpoint(folder, CLASSES, prompts, store=store)
    compute_class_errors(
        first.network, latent(first.network), torch.ones(2), draw_level_noise(first.network, 2)
    )
    assert sorted(read) == sorted([p.replace("{}", c) for p in prompts for c in CLASSES] * each
                                  + [""] * each)  # fmt: skip
    read.clear()
    monkeypatch.setattr(
        clip, "load_network", lambda *_: pytest.fail("a text encoder was loaded for nothing")
    )
    again = open_checkpoint(folder, ("owl", "cat"), prompts[:1], store=store)
    assert read == []
    kept, fresh = again.network.network.texts, first.network.network.texts
    assert torch.equal(kept.rows[kept.row_index[1, 0]], fresh.rows[fresh.row_index[0, 0]])
    # the empty prompt
    assert torch.equal(kept.rows[kept.row_index[2, 0]], fresh.rows[fresh.row_index[3, 1]])


def test_other_weights_have_other_rows_in_the_store(stable, tmp_path, store, read):
    import shutil

    same = shutil.copytree(stable, tmp_path / "here")
    open_checkpoint(same, CLASSES, store=store)
    from safetensors.torch import load_file, save_file

    path = same / "text_encoder" / "model.safetensors"
    save_file({k: v * 2 for k, v in load_file(path).items()}, path, {"format": "pt"})
    read.clear()
    open_checkpoint(same, CLASSES, store=store)
    assert len(read) == 4
    assert len(store.list_spaces()) == 2


def test_several_prompts_are_averaged_over_predictions(stable):
    prompts = ("a photo of a {}.", "a big red {}")
    both, one, two = (
        open_checkpoint(stable, CLASSES, p).network for p in (prompts, prompts[0], prompts[1:])
    )
    x, sigma = latent(both), torch.tensor([0.3, 1.0, 5.0])
    made = [n.denoise(x, sigma, n.condition(torch.tensor([0, 2, -1]))) for n in (both, one, two)]
    assert torch.allclose(made[0], (made[1] + made[2]) / 2, atol=1e-5)
    assert not torch.allclose(made[1][:2], made[2][:2], atol=1e-5)
    assert torch.allclose(made[1][2], made[2][2], atol=1e-6)  # not told: the empty prompt


def test_only_the_texts_of_a_batch_leave_the_cpu(stable, monkeypatch):
    names = [f"{a}{b}{c}" for a in "abcdef" for b in "abcdef" for c in "abcdef"]
    opened = open_checkpoint(stable, names)
    texts = opened.network.network.texts
    assert texts.rows.shape == (len(names) + 1, 77 * 8)
    assert (texts.rows.dtype, texts.rows.device.type) == (torch.float16, "cpu")
    assert opened.network.condition(torch.arange(len(names))).shape == (len(names),)
    moved = []
    went = torch.Tensor.to

    def to(self, *where, **how):
        if self.dtype == torch.float16 and self.dim() == 2:
            moved.append(len(self))
        return went(self, *where, **how)

    monkeypatch.setattr(torch.Tensor, "to", to)
    found = compute_class_errors(
        opened.network,
        latent(opened.network, 1),
        torch.ones(1),
        draw_level_noise(opened.network, 1),
        Measure(batch_size=50),
    )
    assert found.shape == (1, len(names), 1)
    assert max(moved) <= 50
    moved.clear()
    told = texts.get_arguments(torch.tensor([3, 3, 3, 7]), 0, torch.zeros(1))
    assert moved[0] == 2  # each row once, however often it is wanted
    want = texts.row_format.unpack(texts.rows[[3, 3, 3, 7]].float())
    assert torch.equal(told["encoder_hidden_states"], want["encoder_hidden_states"])


@pytest.mark.parametrize("which", ["stable", "stable3"])
def test_latents_are_the_scaled_mean_and_come_back(request, which, tmp_path):
    folder = request.getfixturevalue(which)
    latents = open_checkpoint(folder, CLASSES).latents
    picture = noise(23, 17)
    pixels = latents.prepare(picture)
    resized = picture.resize((int(8 * 23 / 17), 8), Image.Resampling.BICUBIC).crop((1, 0, 9, 8))
    assert np.array_equal(pixels, np.asarray(resized).transpose(2, 0, 1))
    vae = tiny.library().AutoencoderKL.from_pretrained(folder / "vae", low_cpu_mem_usage=False)
    x = torch.tensor(pixels)[None].float() / 127.5 - 1
    with torch.no_grad():
        posterior = vae.encode(x).latent_dist
        shift = 0.0609 if which == "stable3" else 0.0
        want = (posterior.mean - shift) * (1.5305 if which == "stable3" else 0.18215)
        drawn = vae.decode(posterior.mean).sample.clamp(-1, 1)
    got = latents.unflatten(latents.embed(np.stack([pixels] * 6)))
    assert got.shape == (6, *latents.shape)
    assert torch.allclose(got[5], want[0], atol=1e-6)
    assert (posterior.sample() - posterior.mean).abs().max() > 1e-3
    assert torch.allclose(latents.decode(got)[4], drawn[0], atol=1e-4)


def test_latents_fill_the_store(stable, tmp_path, store):
    home = tmp_path / "pictures"
    for i in range(6):
        (home / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        noise(10 + i, 12, i).save(home / "ab"[i % 2] / f"{i}.png")
    images = intake(home)
    latents = open_checkpoint(stable, CLASSES).latents
    assert isinstance(latents, Embeds)
    assert encode_images(images, [latents], store) == {}
    rows = store.get(latents.space, [row.digest for row in images.used])
    for row, kept in zip(images.used, rows, strict=True):
        pixels = latents.prepare(Image.open(images.path_of(row)).convert("RGB"))
        assert np.allclose(latents.embed(pixels[None])[0], kept, atol=1e-6)
    cold = open_checkpoint(stable, CLASSES).latents
    assert store.find_missing(cold.space, [row.digest for row in images.used]) == []
    assert cold._model is None  # the address is known without a network
    assert cold.describe()["key"] == latents.space.key


def test_latents_of_other_weights_or_size_have_another_address(stable, stable3, tmp_path):
    import json
    import shutil

    other = shutil.copytree(stable, tmp_path / "other")
    told = json.loads((other / "unet" / "config.json").read_text())
    (other / "unet" / "config.json").write_text(json.dumps({**told, "sample_size": 8}))
    keys = {open_checkpoint(f, CLASSES).latents.space.key for f in (stable, stable3, other)}
    assert len(keys) == 3
    assert open_checkpoint(other, CLASSES).image_size == 16


def test_pictures_of_another_size_are_refused(stable):
    latents = open_checkpoint(stable, CLASSES).latents
    with pytest.raises(InputError, match=r"images of 3 x 9 x 9 .* takes 3 x 8 x 8"):
        latents.encode(torch.zeros(1, 3, 9, 9))
    with pytest.raises(InputError, match="latents of 4 x 8 x 8 cannot be decoded"):
        latents.decode(torch.zeros(1, 4, 8, 8))
    assert latents.encode(torch.zeros(0, 3, 8, 8)).shape == (0, 4, 4, 4)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub client, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "is_reachable", lambda *_: pytest.fail("the hub was asked"))
    return tmp_path / "hub"


def test_the_cache_of_the_hub_client_serves_offline(stable3, cache):
    into_cache(stable3, cache, "me/tiny")
    here, there = open_checkpoint(stable3, CLASSES), open_checkpoint("hf-hub:me/tiny", CLASSES)
    assert there.digest == here.digest
    assert there.latents.space.key == here.latents.space.key
    (next(cache.rglob("vae")) / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(Unavailable, match=r"vae/diffusion_pytorch_model.safetensors.*hf download"):
        open_checkpoint("hf-hub:me/tiny", CLASSES)


def test_a_repository_that_is_not_here_is_named_with_the_command(cache):
    with pytest.raises(Unavailable, match=r"model_index.json of me/none .* hf download me/none"):
        open_checkpoint("hf-hub:me/none", CLASSES)


def test_a_name_of_the_hub_classifies_and_gives_features_like_its_folder(stable3, cache, tmp_path):
    into_cache(stable3, cache, "me/tiny")
    among = ClassificationContext(CLASSES, DEFAULT_PROMPTS)
    told = []
    for path in (str(stable3), "hf-hub:me/tiny"):
        judge = resolve_encoder(
            f"diffusion-classifier:{path}@strategy=naive,levels=2", context=among
        )
        features = resolve_encoder(f"diffusion:{path}")
        told.append((judge.space.key, features.space.key))
    assert told[0] == told[1]
    assert restore_encoder(features.describe()).space.key == features.space.key
    assert features.name.startswith("diffusion:hf-hub:me/tiny@block=")
    with pytest.raises(Unavailable, match="hf download me/none"):
        resolve_encoder("diffusion:hf-hub:me/none")


def test_a_model_of_ilk_still_opens_after_a_checkpoint_has_been(stable, tmp_path):
    open_checkpoint(stable, CLASSES)  # loads a text encoder, after which torch makes less on "meta"
    build = saved.DenoiserSpec((1, 8, 8), ("a", "b"), 0.6, (0.05, 20.0), options={"width": 8})
    saved.save(build.build(), build, tmp_path)
    assert resolve_encoder(f"diffusion:{tmp_path}").space.dim > 0
