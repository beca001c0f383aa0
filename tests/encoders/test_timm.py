"""timm networks from a folder and from the hub client's cache, offline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from helpers.noise_images import noise
from helpers.tiny_checkpoints import into_cache, save_timm
from ilk.core.errors import InputError, Unavailable, UnknownName
from ilk.encoders import resolve_encoder, restore_encoder
from ilk.encoders import timm as timm_family
from ilk.hub import client as hub

NAME = "test_efficientnet.r160_in1k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_timm(tmp_path_factory.mktemp("timm") / "network")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the hub client, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "is_reachable", lambda *_: pytest.fail("the hub was asked"))
    return tmp_path / "hub"


def _theirs(folder, images):
    import timm
    import torch
    from timm.data import create_transform, resolve_model_data_config

    network = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    transform = create_transform(**resolve_model_data_config(network))
    with torch.inference_mode():
        return network(torch.stack([transform(image) for image in images])).numpy()


def _ours(encoder, images):
    return encoder.embed(np.stack([encoder.prepare(image) for image in images]))


def _relative(got, want):
    return np.linalg.norm(got - want) / np.linalg.norm(want)


IMAGES = [noise(90 + 30 * i, 200 - 20 * i, i) for i in range(6)]


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_vit", "test_mambaout"])
def test_features_are_timms_own(tmp_path, architecture):
    folder = save_timm(tmp_path / "network", architecture)
    encoder = resolve_encoder(f"local-dir:{folder}", device="cpu", runtime="torch")
    got = _ours(encoder, IMAGES)
    assert got.shape == (6, encoder.space.dim)
    assert got.dtype == np.float32
    assert _relative(got, _theirs(folder, IMAGES)) < 1e-6


def test_precision_has_an_address_of_its_own(folder):
    plain = resolve_encoder(f"local-dir:{folder}", device="cpu")
    other = resolve_encoder(f"local-dir:{folder}", device="cpu", precision="bfloat16")
    assert other.space.key != plain.space.key
    assert 1e-6 < _relative(_ours(other, IMAGES), _ours(plain, IMAGES)) < 0.05
    assert restore_encoder(other.describe(), device="cpu").space == other.space


def test_the_address_follows_the_files_and_needs_no_torch(folder, tmp_path):
    code = (
        "import sys; from ilk.encoders import resolve_encoder\n"
        f"e = resolve_encoder({f'local-dir:{folder}'!r}); print(e.space.key, e.space.dim)\n"
        "print([m for m in ('torch', 'timm', 'torchvision') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = resolve_encoder(f"local-dir:{folder}").space
    assert done.stdout.splitlines() == [f"{here.key} {here.dim}", "[]"]

    other = shutil.copytree(folder, tmp_path / "other")
    assert resolve_encoder(f"local-dir:{other}").space.key == here.key
    config = json.loads((other / "config.json").read_text())
    config["pretrained_cfg"]["crop_pct"] = 0.5
    (other / "config.json").write_text(json.dumps(config))
    assert resolve_encoder(f"local-dir:{other}").space.key != here.key


def test_a_fitted_encoder_is_found_again_from_another_folder(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder.parent)
    told = resolve_encoder(f"local-dir:{folder.name}").describe()
    assert json.loads(json.dumps(told)) == told
    monkeypatch.chdir(tmp_path)
    assert restore_encoder(told).space.key == told["key"]


def test_all_names_of_a_network_in_the_cache_give_one_address(folder, cache):
    into_cache(folder, cache, f"timm/{NAME}")
    want = resolve_encoder(f"local-dir:{folder}").space.key
    for name in (f"timm/{NAME}", f"hf-hub:timm/{NAME}", "timm/test_efficientnet"):
        found = resolve_encoder(name, device="cpu")
        assert found.space.key == want
        assert found.name == name
    assert _relative(_ours(found, IMAGES), _theirs(folder, IMAGES)) < 1e-6


def test_a_revision_can_be_asked_for(folder, cache):
    into_cache(folder, cache, "me/mine", revision="v2")
    assert resolve_encoder("hf-hub:me/mine@v2").space.dim == 256
    with pytest.raises(Unavailable, match=r"hf download me/mine config\.json"):
        resolve_encoder("hf-hub:me/mine")


def test_files_that_are_not_here_are_named_with_the_command(cache):
    with pytest.raises(Unavailable) as raised:
        resolve_encoder(f"timm/{NAME}")
    assert "config.json, model.safetensors of timm/test_efficientnet.r160_in1k" in str(raised.value)
    assert "HF_HUB_OFFLINE is set" in str(raised.value)
    assert str(raised.value).endswith(f"hf download timm/{NAME} config.json model.safetensors")


def test_a_name_that_timm_does_not_know_gets_the_nearest(cache):
    for name in ("test_efficientnett", "test_efficientnet.r161_in1k"):
        with pytest.raises(UnknownName, match="the nearest are test_efficientnet"):
            resolve_encoder(f"timm/{name}")


def test_a_name_that_no_repository_can_have_is_refused(cache):
    with pytest.raises(InputError, match="not a valid name of a hub repository"):
        resolve_encoder("hf-hub:a/b/c d")


def test_a_hub_that_does_not_answer_is_given_up(cache, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "is_reachable", lambda *_: False)
    with pytest.raises(Unavailable, match="the hub gave no answer"):
        resolve_encoder("hf-hub:me/mine")


def test_files_are_fetched_into_the_cache_when_the_hub_answers(folder, cache, monkeypatch):
    import huggingface_hub
    from huggingface_hub import constants

    fetched = []

    def download(repo, file, revision=None, token=None):
        assert token is None  # the client's own choice: it is the user who names the repository
        fetched.append((repo, file, revision))
        if len(fetched) == 2:
            into_cache(folder, cache, repo)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "is_reachable", lambda *_: True)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert resolve_encoder("hf-hub:me/mine").space.dim == 256
    assert fetched == [("me/mine", name, None) for name in ("config.json", "model.safetensors")]
    resolve_encoder("hf-hub:me/mine")
    assert len(fetched) == 2


def test_pickled_weights_are_not_read(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    (other / "model.safetensors").rename(other / "pytorch_model.bin")
    with pytest.raises(Unavailable, match=r"lacks model\.safetensors"):
        resolve_encoder(f"local-dir:{other}")


def test_damaged_files_are_named(folder, tmp_path):
    other = shutil.copytree(folder, tmp_path / "other")
    whole = (other / "model.safetensors").read_bytes()
    (other / "model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(InputError, match=r"model\.safetensors is not a complete safetensors file"):
        _ = resolve_encoder(f"local-dir:{other}").space
    (other / "model.safetensors").write_bytes(whole)
    for text in ("{", "[]", "{}", '{"architecture": "no_such_net"}'):
        (other / "config.json").write_text(text)
        with pytest.raises(InputError, match="other"):
            resolve_encoder(f"local-dir:{other}", device="cpu").embed(
                np.zeros((1, 3, 224, 224), np.uint8)
            )


def test_the_width_is_found_without_a_classifier_or_a_word(tmp_path):
    other = save_timm(tmp_path / "other", classes=0)
    config = json.loads((other / "config.json").read_text())
    assert config["num_features"] == 256
    assert timm_family.TimmCheckpoint(other).dim == 256
    del config["num_features"]
    (other / "config.json").write_text(json.dumps(config))
    assert timm_family.TimmCheckpoint(other).dim == 256


def test_a_width_that_is_not_true_is_refused(tmp_path):
    other = save_timm(tmp_path / "other", classes=0)
    config = json.loads((other / "config.json").read_text())
    config["num_features"] = 99
    (other / "config.json").write_text(json.dumps(config))
    encoder = resolve_encoder(f"local-dir:{other}", device="cpu")
    with pytest.raises(InputError, match=r"features of shape \(256,\), its files say 99"):
        encoder.embed(encoder.prepare(noise(30, 30))[None])


def test_a_missing_package_is_named_with_its_command(folder, monkeypatch):
    monkeypatch.setattr(hub, "find_spec", lambda _name: None)
    with pytest.raises(Unavailable, match=r"timm is not installed; run: pip install 'ilk\[timm\]'"):
        resolve_encoder(f"local-dir:{folder}")
