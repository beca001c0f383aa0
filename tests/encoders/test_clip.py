"""CLIP and SigLIP: images and texts as transformers has them, from a folder and from the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from helpers.noise_images import noise
from helpers.tiny_checkpoints import image_processor, into_cache, save_clip
from ilk.core.capabilities import EmbedsText
from ilk.core.errors import InputError, Unavailable
from ilk.encoders import resolve_encoder

KINDS = ["clip", "siglip"]
PROMPTS = ["a photo of a cat", "The red OWL of the blue dog", "a", " ".join(["owl"] * 40)]
IMAGES = [noise(40 + 9 * i, 90 - 11 * i, i) for i in range(5)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("clip")
    return {kind: save_clip(home / kind, kind) for kind in KINDS}


def _theirs(folder, kind):
    """Image and text features by the library's own model, image processor and tokenizer."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(folder).eval()
    pixels = image_processor(kind).from_pretrained(folder)(IMAGES, return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(folder)(
        PROMPTS,
        padding="max_length" if kind == "siglip" else True,
        truncation=True,
        max_length=16,
        return_tensors="pt",
    )
    with torch.inference_mode():
        image = model.get_image_features(**pixels).pooler_output
        text = model.get_text_features(**tokens).pooler_output
    return image.numpy(), (text / text.norm(dim=1, keepdim=True)).numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_those_of_transformers(folders, kind):
    encoder = resolve_encoder(f"clip/local-dir:{folders[kind]}", device="cpu")
    assert isinstance(encoder, EmbedsText)
    image, text = _theirs(folders[kind], kind)
    got = encoder.embed(np.stack([encoder.prepare(i) for i in IMAGES]))
    assert got.shape == (len(IMAGES), encoder.space.dim)
    np.testing.assert_allclose(got, image, atol=1e-5)
    np.testing.assert_allclose(encoder.embed_text(PROMPTS), text, atol=1e-5)
    assert encoder.embed_text([]).shape == (0, encoder.space.dim)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_does_not_depend_on_the_others(folders, kind):
    encoder = resolve_encoder(f"clip/local-dir:{folders[kind]}", device="cpu")
    together = encoder.embed_text(PROMPTS)
    for prompt, row in zip(PROMPTS, together, strict=True):
        np.testing.assert_allclose(encoder.embed_text([prompt])[0], row, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_cache_of_the_hub_client_serves_offline(folders, kind, tmp_path):
    into_cache(folders[kind], tmp_path / "hub", f"me/tiny-{kind}")
    code = (
        "import sys; from ilk.encoders import resolve_encoder; import numpy\n"
        f"e = resolve_encoder('clip/me/tiny-{kind}', device='cpu'); print(e.space.key)\n"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])\n"
        "print(e.embed(numpy.zeros((1, 3, 32, 32), 'uint8')).shape, e.embed_text(['a']).shape)"
    )
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    env.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    here = resolve_encoder(f"clip/local-dir:{folders[kind]}").space
    shape = f"(1, {here.dim})"
    assert done.stdout.splitlines() == [here.key, "[]", f"{shape} {shape}"], done.stderr
    assert "Loading" not in done.stderr  # no bar of the library's own


def test_newer_checkpoints_keep_the_preprocessing_elsewhere(folders, tmp_path):
    other = shutil.copytree(folders["clip"], tmp_path / "other")
    told = json.loads((other / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").unlink()
    (other / "processor_config.json").write_text(json.dumps({"image_processor": told}))
    before, after = (resolve_encoder(f"clip/local-dir:{f}") for f in (folders["clip"], other))
    assert after.space.key == before.space.key
    (other / "processor_config.json").write_text("{}")
    with pytest.raises(InputError, match="has no image preprocessing"):
        resolve_encoder(f"clip/local-dir:{other}")


@pytest.mark.parametrize(
    "file", ["model.safetensors", "preprocessor_config.json", "tokenizer.json"]
)
def test_a_missing_file_is_named(folders, tmp_path, file):
    other = shutil.copytree(folders["clip"], tmp_path / "other")
    (other / file).unlink()
    with pytest.raises(Unavailable, match=f"other lacks {file}; put them there"):
        resolve_encoder(f"clip/local-dir:{other}")


def test_another_family_is_refused(folders, tmp_path):
    other = shutil.copytree(folders["clip"], tmp_path / "other")
    (other / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="a bert network; clip/ supports clip and siglip"):
        resolve_encoder(f"clip/local-dir:{other}")


def test_what_is_not_here_is_named_with_the_command(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    files = "config.json model.safetensors preprocessor_config.json tokenizer.json"
    with pytest.raises(Unavailable, match=f"hf download openai/clip {files}$"):
        resolve_encoder("clip/openai/clip")
