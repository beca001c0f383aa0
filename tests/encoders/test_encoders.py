"""Names of encoders, and the two that need no weights."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from helpers.noise_images import noise
from ilk.core import device
from ilk.core.capabilities import Embeds, EmbedsText
from ilk.core.errors import InputError, Unavailable, UnknownName
from ilk.encoders import choose_encoders, resolve_encoder, restore_encoder
from ilk.encoders import default_encoders as choice
from ilk.encoders.hog import HogEncoder, compute_gradients, compute_histograms
from ilk.hub import client as hub
from ilk.images import Images, Row
from ilk.images.pixels import PixelEncoder


def _images(*rows: tuple[int, int, str]) -> Images:
    return Images(
        None, tuple(Row(f"{i}.png", width=w, height=h, mode=m) for i, (w, h, m) in enumerate(rows))
    )


GREY = _images((8, 8, "L"), (8, 9, "1"), (9, 8, "I;16"))


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.astype(np.uint8)).convert("RGB")


@pytest.mark.parametrize("name", ["pixels/8x8x1", "pixels/4x6x3", "hog/32", "hog/64"])
def test_canonical_names_stay_as_they_are_and_say_the_width_of_a_row(name):
    encoder = resolve_encoder(name)
    batch = np.stack([encoder.prepare(noise(20, 30, seed)) for seed in range(3)])
    features = encoder.embed(batch)
    assert isinstance(encoder, Embeds)
    assert not isinstance(encoder, EmbedsText)
    assert encoder.name == encoder.space.name == name
    assert features.shape == (3, encoder.space.dim)
    assert features.dtype == np.float32
    assert restore_encoder(encoder.describe()).space == encoder.space


def test_pixels_fits_its_size_and_channels_to_the_images():
    assert resolve_encoder("pixels", images=GREY).name == "pixels/8x8x1"
    assert (
        resolve_encoder("pixels", images=_images((8, 8, "L"), (8, 8, "RGB"))).name == "pixels/8x8x3"
    )
    assert resolve_encoder("pixels", images=_images((500, 400, "RGB"))).name == "pixels/32x32x3"
    assert resolve_encoder("pixels", images=_images((3, 900, "L"))).name == "pixels/3x3x1"
    assert resolve_encoder("pixels", images=_images((0, 0, ""))).name == "pixels/16x16x3"
    assert resolve_encoder("pixels").name == "pixels/16x16x3"


def test_pixels_of_an_image_of_that_size_are_the_image():
    grey = np.arange(64).reshape(8, 8) * 4
    encoder = PixelEncoder(8, 8, 1)
    got = encoder.embed(encoder.prepare(_picture(grey))[None])
    np.testing.assert_array_equal(got[0], (grey.ravel() / 255).astype(np.float32))
    colour = noise(5, 4)
    got = PixelEncoder(4, 5, 3).prepare(colour)
    np.testing.assert_array_equal(got.transpose(1, 2, 0), np.asarray(colour))


@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("pixel", UnknownName, "the nearest is pixels"),
        ("timn/resnet18.a1_in1k", UnknownName, "timm/NAME"),
        ("hogg", UnknownName, "hog"),
        ("pixels/8x8", InputError, "pixels/8x8x1"),
        ("pixels/0x8x1", InputError, "sides up to 256"),
        ("hog/33", InputError, "a multiple of 8"),
        ("hog/x", InputError, "hog/SIDE"),
        ("clip/", InputError, "clip/ORG/NAME"),
        ("local-dir:", InputError, "local-dir:PATH"),
        ("local-dir:no such folder", Unavailable, "no folder 'no such folder'"),
    ],
)
def test_a_wrong_name_gets_one_sentence(name, kind, says):
    with pytest.raises(kind, match=says):
        resolve_encoder(name)


@pytest.mark.parametrize("wrong", ["gpu", "cuda:", "cuda:-1", "CPU"])
def test_a_device_that_is_none_is_refused(wrong):
    with pytest.raises(InputError, match="write auto, cpu, cuda, cuda:0 or mps"):
        device.check_device(wrong)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    import torch

    monkeypatch.setattr(device, "may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device.pick_device("cuda:1") == "cuda:1"
    assert device.pick_device("auto") == "cuda"
    with pytest.raises(Unavailable, match=r"'cuda:2' is not available: .*finds 2 CUDA GPUs"):
        device.check_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(Unavailable, match=r"finds 0 CUDA GPUs.*--device auto or cpu"):
        device.check_device("cuda")
    assert device.pick_device("cpu") == "cpu"


def test_gradients_of_a_slope_are_its_steepness_and_angle():
    y, x = np.mgrid[0:16, 0:16]
    for right, down in ((4, 0), (0, 4), (3, 3), (3, -3), (-2, 4)):
        slope = (128 + right * (x - 8) + down * (y - 8)).astype(np.uint8)
        flat = np.full_like(slope, 7)
        length, angle = compute_gradients(np.stack([flat, slope, flat])[None])
        inside = (0, slice(1, -1), slice(1, -1))
        np.testing.assert_allclose(length[inside], 2 * np.hypot(right, down) / 255, rtol=1e-5)
        np.testing.assert_allclose(angle[inside], np.arctan2(down, right) / np.pi % 1, atol=1e-6)


def test_cells_are_the_loop_of_the_paper():
    rng = np.random.default_rng(0)
    length, angle = rng.random((2, 2, 16, 16), dtype=np.float32)
    want = np.zeros((2, 2, 2, 9))
    for b in range(2):
        for y in range(16):
            for x in range(16):
                place = angle[b, y, x] * 9 - 0.5
                low = int(np.floor(place))
                share = place - low
                want[b, y // 8, x // 8, low % 9] += length[b, y, x] * (1 - share)
                want[b, y // 8, x // 8, (low + 1) % 9] += length[b, y, x] * share
    np.testing.assert_allclose(compute_histograms(length, angle, 2), want, rtol=1e-4)


def test_hog_cares_little_for_contrast_and_nothing_for_a_constant():
    image = np.asarray(noise(32, 32)).astype(int)
    encoder = HogEncoder(32)

    def embed(pixels):
        return encoder.embed(encoder.prepare(_picture(pixels))[None])[0]

    want = embed(image // 2)
    assert np.linalg.norm(embed(image // 2 + 60) - want) < 1e-5 * np.linalg.norm(want)
    assert np.linalg.norm(embed(image) - want) < 0.05 * np.linalg.norm(want)
    assert np.linalg.norm(embed(image[::-1]) - want) > 0.2 * np.linalg.norm(want)
    assert not embed(np.full((32, 32, 3), 90)).any()


def test_hog_tells_digits_apart():
    digits = load_digits()
    encoder = HogEncoder()
    x = np.stack([encoder.prepare(_picture(np.rint(d * 255 / 16))) for d in digits.images])
    train, test = train_test_split(
        np.arange(len(x)), test_size=0.3, random_state=0, stratify=digits.target
    )
    features = encoder.embed(x)
    model = KNeighborsClassifier(3).fit(features[train], digits.target[train])
    assert model.score(features[test], digits.target[test]) > 0.985


def test_a_row_depends_on_its_own_image_alone():
    batch = np.stack([HogEncoder().prepare(noise(40, 40, seed)) for seed in range(5)])
    alone = np.concatenate([HogEncoder().embed(batch[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(HogEncoder().embed(batch), alone)


def test_addresses_differ_where_features_do():
    names = ["pixels/8x8x1", "pixels/8x8x3", "pixels/4x16x1", "hog/32", "hog/64"]
    assert len({resolve_encoder(name).space.key for name in names}) == len(names)


def test_another_network_under_the_old_name_is_refused():
    told = {**resolve_encoder("hog/32").describe(), "key": "of other weights"}
    with pytest.raises(Unavailable, match="hog/32 on this machine is not the encoder"):
        restore_encoder(told)


def test_defaults_offline_are_what_needs_no_download(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "is_reachable", lambda *_: pytest.fail("the hub was asked"))
    found, line = choose_encoders(GREY)
    assert [e.name for e in found] == ["pixels/8x8x1", "hog/32", "efficientnet-lite0"]
    assert line.startswith(
        "encoders: pixels/8x8x1, hog/32, efficientnet-lite0; continuing without "
    )
    assert "timm/convnext_nano.in12k" in line
    assert "clip/laion/CLIP-ViT-B-32-laion2B-s34B-b79K" in line
    assert "HF_HUB_OFFLINE" in line


def test_defaults_ask_the_hub_once_and_give_up(monkeypatch, tmp_path):
    from huggingface_hub import HfApi, constants

    asked = []

    def never_answers(_self, repo, **_options):
        asked.append(repo)
        hang.wait(20)

    import threading

    hang = threading.Event()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "model_info", never_answers)
    monkeypatch.setattr(choice, "HUB_TIMEOUT", 0.2)
    found, line = choose_encoders(GREY)
    hang.set()
    assert len(asked) == 1
    assert len(found) == 3
    assert "gave no answer" in line


def test_defaults_say_which_package_is_missing(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda _name: None)
    found, line = choose_encoders(GREY)
    assert len(found) == 3
    assert "timm is not installed: pip install 'ilk[timm]'" in line
    assert "transformers is not installed: pip install 'ilk[clip]'" in line


def test_encoders_without_weights_import_nothing_heavy():
    code = (
        "import sys, numpy, PIL.Image; from ilk.encoders import resolve_encoder\n"
        "for e in (resolve_encoder('hog'), resolve_encoder('pixels')):\n"
        "    e.embed(e.prepare(PIL.Image.new('RGB', (9, 9)))[None])\n"
        "print([m for m in ('torch', 'timm', 'transformers', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
