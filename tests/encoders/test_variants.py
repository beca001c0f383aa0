"""`NAME@resize=...,views=...`: how images are framed, and the mean over flips and crops."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.noise_images import noise
from helpers.tiny_checkpoints import save_clip, save_timm
from ilk.core.capabilities import RESIZE_MODES, EmbedsText, Resizes
from ilk.core.errors import InputError, UnknownName
from ilk.encoders import resolve_encoder, restore_encoder
from ilk.encoders.variants import Variant, apply_resize, split_variant
from ilk.encoders.views import MAX_VIEWS, ViewEncoder
from ilk.images.framing import resize_image

NAME = "efficientnet-lite0"
BICUBIC = Image.Resampling.BICUBIC


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_timm(tmp_path_factory.mktemp("network"))


def test_only_settings_make_a_variant():
    assert split_variant("timm/x@resize=squash,views=6") == ("timm/x", Variant("squash", 6))
    assert split_variant("x@views=2,resize=crop") == ("x", Variant("crop", 2))
    for name in (
        "hf-hub:me/mine@v2",
        "local-dir:/home/me@work/net",
        "local-dir:a@b=c",
        "diffusion:a@block=6,sigma=0.4,pool=2",
        "@resize=crop",
    ):
        assert split_variant(name) == (name, Variant())
    assert split_variant("hf-hub:me/mine@v2@views=6") == ("hf-hub:me/mine@v2", Variant(views=6))


@pytest.mark.parametrize(
    ("setting", "error", "message"),
    [
        ("resize=zoom", UnknownName, "no way to resize is called 'zoom'; known: crop, letterbox"),
        ("views=0", InputError, "views is 0; it must be from 1 to 12"),
        ("views=13", InputError, "views is 13; it must be from 1 to 12"),
        ("views=six", InputError, "views is 'six'; it must be a whole number from 1 to 12"),
    ],
)
def test_a_wrong_setting_is_one_sentence(setting, error, message):
    with pytest.raises(error, match=message):
        resolve_encoder(f"pixels/4x4x3@{setting}")


def test_the_name_says_what_differs_from_the_encoders_own_way():
    assert resolve_encoder(f"{NAME}@resize=crop").name == NAME
    assert resolve_encoder(f"{NAME}@resize=squash").name == f"{NAME}@resize=squash"
    assert resolve_encoder("hog/32@resize=squash").name == "hog/32"
    assert resolve_encoder(f"{NAME}@views=6,resize=squash").name == f"{NAME}@resize=squash,views=6"
    squashed = resolve_encoder(f"{NAME}@resize=squash")
    assert apply_resize(squashed, "crop").name == NAME
    assert apply_resize(squashed, "letterbox").name == f"{NAME}@resize=letterbox"
    viewed = resolve_encoder(f"{NAME}@views=3")
    assert apply_resize(viewed, "squash").name == f"{NAME}@resize=squash,views=3"


def test_every_variant_has_a_space_of_its_own_and_is_restored():
    for plain in (NAME, "pixels/8x8x1", "pixels/8x8x3", "hog/32"):
        names = {resolve_encoder(f"{plain}@resize={mode}").name for mode in RESIZE_MODES}
        names |= {f"{plain}@views={n}" for n in (2, 6)} | {f"{plain}@resize=letterbox,views=2"}
        encoders = [resolve_encoder(name) for name in names]
        assert len({e.space.key for e in encoders}) == len(names) == 6
        assert len({e.space.dim for e in encoders}) == 1
        for encoder in encoders:
            assert restore_encoder(encoder.describe()).space == encoder.space


def test_the_plain_encoders_keep_the_keys_that_older_models_recorded():
    keys = {n: resolve_encoder(n).space.key[:8] for n in ("pixels/8x8x1", "hog/32")}
    assert keys == {"pixels/8x8x1": "05354323", "hog/32": "fe0651e9"}


def test_variants_share_one_network(folder):
    plain = resolve_encoder(f"local-dir:{folder}", device="cpu")
    other = plain.with_resize("squash")
    other.load()
    assert other.get_runner() is plain.get_runner()
    assert other.with_resize("crop") is plain


def test_a_moved_folder_is_found_with_its_setting(folder, tmp_path):
    encoder = resolve_encoder(f"local-dir:{folder}@resize=letterbox,views=2")
    moved = {**encoder.describe(), "name": "local-dir:gone@resize=letterbox,views=2"}
    assert restore_encoder(moved).space.key == encoder.space.key


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (224, 224), (1, 500), (40, 30)])
def test_squash_shows_the_network_the_whole_image(size):
    image = noise(*size)
    expected = np.asarray(image.resize((224, 224), BICUBIC)).transpose(2, 0, 1)
    encoder = resolve_encoder(f"{NAME}@resize=squash")
    np.testing.assert_array_equal(encoder.prepare(image), expected)


@pytest.mark.parametrize("size", [(448, 224), (112, 224), (600, 400), (5, 1000)])
def test_letterbox_keeps_shape_and_content_and_pads_with_what_becomes_zero(size):
    image = noise(*size)
    encoder = resolve_encoder(f"{NAME}@resize=letterbox")
    pixels = encoder.prepare(image)
    ratio = 224 / max(size)
    width, height = (max(1, round(side * ratio)) for side in size)
    left, top = (224 - width) // 2, (224 - height) // 2
    expected = np.full((224, 224, 3), 127, np.uint8)
    expected[top : top + height, left : left + width] = image.resize((width, height), BICUBIC)
    np.testing.assert_array_equal(pixels, expected.transpose(2, 0, 1))
    assert float(encoder.preprocess.normalize(pixels[None])[0, 0, 0, 0]) == 0


def test_the_mean_color_is_that_of_the_networks_own_normalization(folder):
    preprocess = resolve_encoder(f"local-dir:{folder}@resize=letterbox").preprocess
    bar = preprocess.normalize(preprocess.prepare(noise(100, 10))[None])[0, :, 0, 0]
    assert float(abs(bar).max()) < 0.5 / 255 / min(preprocess.std)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(32, 32), (64, 32), (30, 50), (1, 900), (900, 1), (1, 1)])
def test_pixels_are_framed_as_pillow_frames_them(mode, size):
    image = noise(*size)
    framed = resize_image(image, (16, 16), mode, BICUBIC)
    assert framed.size == (16, 16)
    if mode == "crop" and min(size) > 1:
        np.testing.assert_array_equal(framed, ImageOps.fit(image, (16, 16), BICUBIC))
    if mode == "letterbox" and min(size) > 1:
        expected = ImageOps.pad(image, (16, 16), BICUBIC, color=(128, 128, 128))
        assert np.mean(np.asarray(framed) != np.asarray(expected)) < 0.1  # an odd bar's other side


def test_grey_pixels_are_framed_too():
    white = Image.new("RGB", (64, 32), "white")
    pixels = resolve_encoder("pixels/8x8x1@resize=letterbox").prepare(white)[0]
    assert pixels[:2].tolist() == pixels[6:].tolist() == [[128] * 8] * 2
    assert (pixels[2:6] == 255).all()


def _by_hand(encoder, image, n_views):
    """The mean feature over views that Pillow cuts, with the network's margin taken off."""
    width, height = image.size
    w, h = round(0.8 * width), round(0.8 * height)
    corners = [(0, 0), (width - w, 0), (0, height - h), (width - w, height - h)]
    views = [encoder.prepare(image), encoder.prepare(ImageOps.mirror(image))]
    for i, (left, top) in enumerate(corners):
        part = image.crop((left, top, left + w, top + h))
        part = ImageOps.mirror(part) if i % 2 else part
        views.append(np.asarray(ImageOps.fit(part, (224, 224), BICUBIC)).transpose(2, 0, 1))
    return encoder.embed(np.stack(views[:n_views])).astype(np.float64).mean(0)


@pytest.mark.parametrize("n_views", [2, 6])
def test_a_feature_is_the_mean_over_views(n_views):
    plain, viewed = resolve_encoder(NAME), resolve_encoder(f"{NAME}@views={n_views}")
    images = [Image.fromarray(np.asarray(noise(9, 7, i))).resize((320, 320)) for i in range(2)]
    features = viewed.embed(np.stack([viewed.prepare(image) for image in images]))
    for image, feature in zip(images, features, strict=True):
        expected = _by_hand(plain, image, n_views)
        np.testing.assert_allclose(feature, expected, atol=2e-3 * np.abs(expected).max())


def test_a_mirrored_image_has_the_same_feature_where_each_view_has_its_mirror_image(folder):
    image = noise(320, 320)
    for n_views, is_equal in ((1, False), (2, True), (MAX_VIEWS, True)):
        encoder = resolve_encoder(f"local-dir:{folder}@views={n_views}")
        pair = np.stack([encoder.prepare(i) for i in (image, ImageOps.mirror(image))])
        first, second = encoder.embed(pair)
        assert np.allclose(first, second, atol=1e-3 * np.abs(first).max()) == is_equal


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 7), (3, 1)])
def test_an_image_smaller_than_a_crop_is_its_own_view(size, folder):
    image = noise(*size)
    encoder = resolve_encoder(f"local-dir:{folder}@views={MAX_VIEWS}")
    feature = encoder.embed(encoder.prepare(image)[None])
    assert np.isfinite(feature).all()
    pixel = resolve_encoder(f"pixels/4x4x3@views={MAX_VIEWS}")
    if size in ((1, 1), (2, 2)):  # 80 % of 2 pixels, rounded, are 2 pixels
        views = pixel.prepare(image).reshape(MAX_VIEWS, 3, 4, 4)
        plain = resolve_encoder("pixels/4x4x3")
        np.testing.assert_array_equal(views[2], plain.prepare(image))
        np.testing.assert_array_equal(views[3], plain.prepare(ImageOps.mirror(image)))


def test_an_encoder_of_text_stays_one(tmp_path):
    folder = save_clip(tmp_path / "clip", "clip")
    plain = resolve_encoder(f"clip/local-dir:{folder}")
    for setting in ("resize=squash", "views=2", "resize=letterbox,views=2"):
        encoder = resolve_encoder(f"clip/local-dir:{folder}@{setting}")
        assert isinstance(encoder, EmbedsText)
        text = encoder.embed_text(["a cat"])
        np.testing.assert_array_equal(text, plain.embed_text(["a cat"]))
    assert not isinstance(resolve_encoder("pixels/4x4x3@views=2"), EmbedsText)


def test_a_network_that_squashes_can_crop(tmp_path):
    folder = save_clip(tmp_path / "siglip", "siglip")
    encoder = resolve_encoder(f"clip/local-dir:{folder}")
    assert encoder.resize == "squash"
    cropped = resolve_encoder(f"clip/local-dir:{folder}@resize=crop")
    assert cropped.name.endswith("@resize=crop")
    half = Image.new("RGB", (200, 100))
    half.paste((255, 255, 255), (50, 0, 150, 100))  # the centre is white
    assert (cropped.prepare(half)[:, :, 1:-1] == 255).all()
    assert not (encoder.prepare(half)[:, :, 1:-1] == 255).all()


class Fixed:
    """An encoder with one way to read images."""

    name, batch_size, classes = "fixed", 1, ("a", "b")

    def prepare(self, image):
        return image

    def is_held_out(self, digests):
        return np.ones(len(digests), bool)


def test_what_cannot_be_changed_is_said():
    assert not isinstance(Fixed(), Resizes)
    with pytest.raises(InputError, match="fixed has a fixed way to read images and takes"):
        Variant("crop").open(Fixed())
    with pytest.raises(InputError, match="is a classifier, and its scores are not averaged"):
        Variant(views=2).open(Fixed())
    assert apply_resize(ViewEncoder(Fixed(), 2), "crop") is None
