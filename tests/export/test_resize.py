"""Images are prepared by ONNX operators exactly as Pillow and the encoders prepare them."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from helpers.onnx_graphs import make_model, run_graph
from ilk.encoders.hog import HogEncoder
from ilk.encoders.variants import Variant
from ilk.export.graphs.find_writers import find_encoder_writer
from ilk.export.graphs.picture import Picture, prepare, resize
from ilk.hub.preprocessing import Preprocess
from ilk.images.framing import resize_image
from ilk.images.pixels import PixelEncoder

FILTERS = ("bilinear", "bicubic", "lanczos", "box", "hamming", "nearest")
SHAPES = ((1, 1), (3, 2), (227, 227), (40, 800), (800, 40), (31, 57), (333, 250), (24, 20), (1, 90))


def draw_image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def make_preprocess(fit, kind="bicubic", crop="round", size=(24, 20), scale=(28, 30)):
    scale = size if fit == "contain" else scale
    colors = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return Preprocess(size, scale, fit, kind, fill=(7, 100, 255), crop=crop, **colors)


def open_session(write):
    import onnxruntime

    model = make_model(write, np.uint8, 4)
    return onnxruntime.InferenceSession(model.SerializeToString())


def read_picture(pixels):
    return Picture.from_pixels(pixels.transpose(0, 3, 1, 2))


def check_prepared(write, expect, shapes=SHAPES):
    session = open_session(lambda x: write(read_picture(x)))
    for seed, (height, width) in enumerate(shapes):
        image = draw_image(height, width, seed)
        got = session.run(None, {"x": image[None]})[0][0]
        np.testing.assert_array_equal(got, expect(Image.fromarray(image)), f"{height} x {width}")


@pytest.mark.parametrize("fit", ["short", "cover", "squash", "contain"])
@pytest.mark.parametrize("crop", ["round", "floor"])
def test_every_way_to_fit_and_crop(fit, crop):
    preprocess = make_preprocess(fit, crop=crop)
    check_prepared(lambda picture: prepare(picture, preprocess), preprocess.prepare)


@pytest.mark.parametrize("kind", FILTERS)
def test_every_filter(kind):
    preprocess = make_preprocess("short", kind)
    check_prepared(lambda picture: prepare(picture, preprocess), preprocess.prepare)


def test_what_is_smaller_than_the_input_is_padded():
    for crop in ("round", "floor"):
        preprocess = make_preprocess("short", size=(41, 40), crop=crop)
        check_prepared(lambda picture, p=preprocess: prepare(picture, p), preprocess.prepare)


def test_more_output_pixels_than_a_block_has():
    preprocess = make_preprocess("short", size=(224, 192), scale=(256, 256))
    check_prepared(lambda picture: prepare(picture, preprocess), preprocess.prepare, SHAPES[:5])


@pytest.mark.parametrize("mode", ["squash", "crop", "letterbox"])
def test_images_of_encoders_without_weights(mode):
    def expect(image):
        pixels = resize_image(image, (20, 24), mode, Image.Resampling.BILINEAR)
        return np.asarray(pixels).transpose(2, 0, 1)

    check_prepared(lambda picture: resize(picture, (24, 20), mode, "bilinear"), expect)


@pytest.mark.parametrize("seed", range(4))
def test_random_sizes(seed):
    rng = np.random.default_rng(seed)
    shapes = [tuple(int(v) for v in np.exp(rng.uniform(0, 6.5, 2))) for _ in range(6)]
    preprocess = make_preprocess(str(rng.choice(["short", "cover", "squash"])))
    check_prepared(lambda picture: prepare(picture, preprocess), preprocess.prepare, shapes)


def test_the_first_axis_matters_and_is_pillows():
    """An image that shrinks more in height: the other order gives other pixels."""
    from ilk.export.graphs import resize as resizing

    preprocess = make_preprocess("squash")
    image = draw_image(600, 40)
    write = lambda picture: prepare(picture, preprocess)  # noqa: E731
    expected = preprocess.prepare(Image.fromarray(image))
    right = run_graph(lambda x: write(read_picture(x)), image[None])[0]
    np.testing.assert_array_equal(right, expected)
    never = lambda rows, columns: rows.size < 0  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resizing, "starts_with_height", never)
        wrong = run_graph(lambda x: write(read_picture(x)), image[None])[0]
    assert (wrong != expected).any()
    assert np.abs(wrong - expected).max() < 40


def test_several_images_at_once():
    preprocess = make_preprocess("short")
    images = np.stack([draw_image(50, 70, seed) for seed in range(3)])
    got = run_graph(lambda x: prepare(read_picture(x), preprocess), images)
    expected = np.stack([preprocess.prepare(Image.fromarray(image)) for image in images])
    np.testing.assert_array_equal(got, expected)


def embed(encoder, image):
    def write(pixels):
        writer = find_encoder_writer(encoder)
        return writer.write_features(encoder, writer.write_pixels(encoder, read_picture(pixels)))

    return run_graph(write, image[None])


@pytest.mark.parametrize(
    "encoder",
    [
        PixelEncoder(8, 6, 3),
        PixelEncoder(8, 6, 1),
        PixelEncoder(8, 6, 1, "crop"),
        PixelEncoder(9, 7, 1, "letterbox"),
        HogEncoder(32),
        HogEncoder(16, "letterbox"),
        Variant(views=12).open(HogEncoder(16)),
        Variant(views=2).open(PixelEncoder(8, 6, 3, "crop")),
    ],
    ids=lambda encoder: encoder.name,
)
@pytest.mark.parametrize("shape", [(33, 51), (64, 64), (3, 90)])
def test_features_without_a_network(encoder, shape):
    image = draw_image(*shape)
    expected = encoder.embed(encoder.prepare(Image.fromarray(image))[None])
    np.testing.assert_allclose(embed(encoder, image), expected, rtol=0, atol=2e-5)


def test_gradients_of_flat_and_steep_images():
    image = np.zeros((32, 32, 3), np.uint8)
    encoder = HogEncoder(32)
    ramp = np.tile(np.arange(32) * 8, (32, 3, 1)).astype(np.uint8)  # [rows, 3, columns]
    for pixels in (image, image + 255, ramp.transpose(0, 2, 1), ramp.transpose(2, 0, 1)):
        expected = encoder.embed(encoder.prepare(Image.fromarray(pixels))[None])
        got = embed(encoder, np.ascontiguousarray(pixels))
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_the_first_answer_of_openvino_is_like_the_second():
    """With the operator `If`, OpenVINO 2026.4 answered wrongly once after a file was compiled."""
    preprocess = make_preprocess("short", size=(224, 192), scale=(256, 256))
    model = make_model(lambda x: prepare(read_picture(x), preprocess), np.uint8, 4)
    assert all(node.op_type != "If" for node in model.graph.node)
