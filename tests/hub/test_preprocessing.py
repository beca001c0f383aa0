"""Preprocessing is the libraries' own, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from helpers.noise_images import noise
from helpers.tiny_checkpoints import declare_missing_ops, image_processor
from ilk.core.errors import InputError
from ilk.hub.configs import parse_timm_config, parse_transformers_config

SIZES = [
    (500, 400),
    (400, 500),
    (640, 480),
    (600, 400),
    (400, 600),
    (300, 300),
    (65, 52),
    (31, 97),
    (256, 256),
]


def _timm(mode, size, pct, interpolation):
    return {
        "input_size": size,
        "crop_pct": pct,
        "crop_mode": mode,
        "interpolation": interpolation,
        "mean": (0.485, 0.456, 0.4),
        "std": (0.2, 0.224, 0.3),
    }


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(3, 224, 224), (3, 96, 128), (3, 37, 37)])
def test_it_is_timms_own(mode, size):
    declare_missing_ops()
    from timm.data import create_transform, resolve_data_config

    rng = np.random.default_rng(0)
    shapes = SIZES + [tuple(rng.integers(8, 400, 2)) for _ in range(4)]
    for pct in (0.875, 1.0, 1.1):
        for interpolation in ("bilinear", "bicubic", "nearest"):
            config = _timm(mode, size, pct, interpolation)
            theirs = create_transform(**resolve_data_config(pretrained_cfg=config))
            ours = parse_timm_config({"pretrained_cfg": config}, "config.json")
            for i, (width, height) in enumerate(shapes):
                image = noise(width, height, i)
                got = ours.normalize(ours.prepare(image)[None])[0]
                want = theirs(image).numpy()
                np.testing.assert_array_equal(got, want, f"{pct} {interpolation} {width}x{height}")


def test_timms_defaults_fill_what_is_not_said():
    declare_missing_ops()
    from timm.data import create_transform, resolve_data_config

    theirs = create_transform(**resolve_data_config(pretrained_cfg={"crop_pct": None}))
    ours = parse_timm_config({"pretrained_cfg": {}}, "config.json")
    image = noise(300, 260)
    got = ours.normalize(ours.prepare(image)[None])[0]
    np.testing.assert_array_equal(got, theirs(image).numpy())


TRANSFORMERS = [
    ("clip", {}),
    ("clip", {"size": {"shortest_edge": 48}, "crop_size": {"height": 40, "width": 33}}),
    ("clip", {"size": {"shortest_edge": 30}, "crop_size": {"height": 41, "width": 36}}),
    ("clip", {"size": {"height": 40, "width": 50}, "do_center_crop": False, "resample": 2}),
    ("siglip", {}),
    ("siglip", {"size": {"height": 64, "width": 48}, "image_mean": [0.1, 0.2, 0.3]}),
]


@pytest.mark.parametrize(("kind", "settings"), TRANSFORMERS)
def test_it_is_the_image_processor_of_transformers(kind, settings):
    theirs = image_processor(kind)(**settings)
    for config in (settings, theirs.to_dict()):
        ours = parse_transformers_config(config, kind, "preprocessor_config.json")
        for i, (width, height) in enumerate(SIZES):
            image = noise(width, height, i)
            want = theirs(image, return_tensors="np")["pixel_values"][0]
            got = ours.normalize(ours.prepare(image)[None])[0]
            np.testing.assert_allclose(got, want, atol=1e-6, rtol=0)


def test_old_files_give_sizes_as_numbers():
    old = parse_transformers_config({"size": 48, "crop_size": 40}, "clip", "x")
    new = {"size": {"shortest_edge": 48}, "crop_size": {"height": 40, "width": 40}}
    assert old == parse_transformers_config(new, "clip", "x")
    assert parse_transformers_config({"size": 48}, "siglip", "x").scale == (48, 48)


@pytest.mark.parametrize("shape", [(1, 9000), (9000, 1), (2, 3), (1, 1)])
def test_a_sliver_is_resized_without_eating_the_memory(shape):
    image = Image.new("RGB", shape, (10, 20, 30))
    for mode in ("center", "squash", "border"):
        ours = parse_timm_config(
            {"pretrained_cfg": _timm(mode, (3, 224, 224), 0.875, "bilinear")}, "x"
        )
        got = ours.prepare(image)
        assert got.shape == (3, 224, 224)
        assert got.dtype == np.uint8
        np.testing.assert_array_equal(got[:, 111, 111], (10, 20, 30))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"crop_mode": "tile"}, "crop_mode 'tile'"),
        ({"input_size": [1, 28, 28]}, "with 1 input channels"),
        ({"interpolation": "random"}, "filter 'random'"),
        ({"mean": [0.5], "std": [0.5]}, "other than 3 channels"),
    ],
)
def test_what_timm_asks_for_and_is_not_done_is_said(config, says):
    with pytest.raises(InputError, match=f"here/config.json .*{says}"):
        parse_timm_config({"pretrained_cfg": config}, "here/config.json")


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"do_resize": False}, "do_resize"),
        ({"do_pad": True}, "do_pad"),
        ({"size": {"longest_edge": 9}}, "longest_edge"),
        ({"do_center_crop": False}, "no fixed size"),
    ],
)
def test_what_transformers_asks_for_and_is_not_done_is_said(config, says):
    with pytest.raises(InputError, match=says):
        parse_transformers_config(config, "clip", "preprocessor_config.json")
