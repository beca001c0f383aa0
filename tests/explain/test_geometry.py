"""Masks reach every view and every encoder of a combination at the right place."""

import numpy as np
import pytest
from PIL import Image

from helpers.planted_classifier import RED, draw_image, make_classifier, make_encoder
from ilk.encoders.combined import CombinedEncoder
from ilk.encoders.hog import HogEncoder
from ilk.encoders.pixels import PixelEncoder
from ilk.encoders.views import ViewEncoder
from ilk.explain.answer import Answer
from ilk.explain.geometry import find_geometry
from ilk.explain.question import ask
from ilk.explain.subject import Subject


def test_the_picture_of_a_plain_encoder_is_the_prepared_image():
    encoder = make_encoder()
    image = draw_image()
    prepared = encoder.prepare(image)
    geometry = find_geometry(encoder, image, prepared)
    np.testing.assert_array_equal(geometry.picture, prepared.transpose(1, 2, 0))
    assert geometry.places is None


def test_a_mask_covers_the_object_in_every_view_mirrored_ones_too():
    encoder = ViewEncoder(make_encoder(), 6)
    image = draw_image().resize((96, 96), Image.Resampling.NEAREST)
    subject, question = ask(make_classifier(encoder), image)
    assert question.predicted == "red"
    mask = np.ones((1, *subject.shape), np.float32)
    mask[0, 10:38, 54:82] = 0  # the red square with a margin, at twice the size
    covered = subject.apply_masks(mask, "mean")[0].reshape(6, 3, 48, 48)
    redness = covered[:, 0].astype(int) - covered[:, 1]
    assert redness.max() < 60, "some view still shows the square"
    whole = subject.prepared.reshape(6, 3, 48, 48)
    assert (whole[:, 0].astype(int) - whole[:, 1]).reshape(6, -1).max(1).min() > 100
    assert subject.score(subject.apply_masks(mask, "mean"))[0] < 0.5 < subject.value


def test_a_mask_of_ones_leaves_the_answer_of_predict_exactly():
    encoder = CombinedEncoder((PixelEncoder(8, 8, 3), HogEncoder()))
    from ilk.core.linear_models import Linear

    rng = np.random.default_rng(1)
    weight = rng.normal(size=(3, encoder.space.dim)).astype(np.float32)
    classifier = make_classifier(encoder, model=Linear(weight, np.zeros(3, np.float32)))
    subject = Subject.from_image(Answer(classifier, 0), draw_image())
    ones = np.ones((1, *subject.shape), np.float32)
    np.testing.assert_array_equal(subject.apply_masks(ones)[0], subject.prepared)
    assert subject.score_masks(ones)[0] == pytest.approx(subject.value)


def test_collecting_values_keeps_their_sum_except_for_padding():
    encoder = ViewEncoder(make_encoder(), 2)
    image = draw_image()
    prepared = encoder.prepare(image)
    geometry = find_geometry(encoder, image, prepared)
    values = np.random.default_rng(0).random(prepared.shape)
    kept = values.ravel()[geometry.places >= 0].sum()
    assert geometry.collect(values).sum() == pytest.approx(kept, rel=1e-5)


def test_padding_is_never_masked():
    class Letterbox:
        n_views = 1
        batch_size = 4

        def prepare(self, image):
            canvas = np.full((3, 20, 20), 7, np.uint8)
            canvas[:, 5:15] = np.asarray(image.resize((20, 10))).transpose(2, 0, 1)
            return canvas

    image = draw_image().resize((40, 20))
    prepared = Letterbox().prepare(image)
    geometry = find_geometry(Letterbox(), image, prepared)
    masks = geometry.expand(np.zeros((1, *geometry.shape), np.float32), prepared.shape)
    assert (masks[0, :, :5] == 1).all()
    assert (masks[0, :, 5:15] == 0).all()


def test_the_red_square_is_where_the_tests_say():
    picture = np.asarray(draw_image())
    assert (picture[RED][..., 0] == 230).all()
