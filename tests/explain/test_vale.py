"""VALE on a classifier whose evidence is known, and its two networks in the hub's format."""

from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image

from helpers.planted_classifier import GREEN, RED, draw_image, make_classifier, make_mask
from helpers.tiny_explaining_networks import save_blip, save_sam
from ilk.core.errors import InputError, Unavailable
from ilk.explain.explain_image import explain_image
from ilk.explain.explainers.vale import Vale, cut_out, tile_cells
from ilk.explain.question import ask
from ilk.explain.segment_anything import open_segment_anything
from ilk.explain.segment_text import measure_segment, word_segment
from ilk.explain.vision_language import open_vision_language

if find_spec("transformers") is None:
    pytest.skip("transformers is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def classifier():
    return make_classifier()


@pytest.mark.parametrize(("target", "place"), [("red", RED), ("green", GREEN)])
def test_the_segment_is_the_object_of_the_class(classifier, target, place):
    subject, _ = ask(classifier, draw_image(), target=target)
    segment = Vale(n_coalitions=200).explain(subject, 0) >= 1
    square = make_mask(place)
    assert (segment & square).sum() / (segment | square).sum() > 0.7


def test_the_sentences_are_what_was_measured(classifier):
    explanation = explain_image(classifier, draw_image(), method=Vale(n_coalitions=200))
    segment = explanation.values >= 1
    share = round(100 * float(segment.mean()))
    assert f"is at the top right and covers {share} % of the image" in explanation.text
    subject, _ = ask(classifier, draw_image())
    without = float(subject.score_masks(~segment[None])[0])
    assert f"blurring it lowers the answer from {subject.value:.2f} to {without:.2f}" in (
        explanation.text
    )


def test_an_empty_segment_is_said(classifier):
    subject, _ = ask(classifier, draw_image())
    facts = measure_segment(subject, np.zeros(subject.shape, bool))
    assert word_segment(facts, "red") == "No object was found that the answer red depends on."
    assert facts.answer_without == pytest.approx(facts.answer)


def test_cells_cover_a_picture_evenly():
    cells = tile_cells((48, 50), 8)
    assert np.array_equal(np.unique(cells), np.arange(64))
    assert np.bincount(cells.ravel()).min() >= 6 * 6
    assert tile_cells((3, 5), 8).max() == 14


def test_the_part_that_is_described_has_a_margin():
    picture = np.zeros((20, 20, 3), np.uint8)
    segment = np.zeros((20, 20), bool)
    segment[5:15, 0:10] = True
    assert cut_out(picture, segment).shape == (12, 11, 3)


@pytest.fixture(scope="module")
def sam(tmp_path_factory):
    return save_sam(tmp_path_factory.mktemp("sam"))


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    return save_blip(tmp_path_factory.mktemp("blip"))


def test_segment_anything_is_read_and_asked(sam, classifier):
    segmenter = open_segment_anything(str(sam))
    picture = np.asarray(draw_image())
    points = np.array([[10, 30], [12, 33]])
    found = segmenter(picture, points, np.zeros((48, 48), bool))
    assert found.shape == (48, 48)
    assert found.dtype == bool
    assert found[points[:, 0], points[:, 1]].all()
    assert np.array_equal(found, segmenter(picture, points, np.zeros((48, 48), bool)))
    method = Vale(n_coalitions=20, segment_anything=str(sam))
    subject, _ = ask(classifier, draw_image())
    assert np.isfinite(method.explain(subject, 0)).all()


def test_segment_anything_gets_points_as_column_and_row(sam, monkeypatch):
    segmenter, seen = open_segment_anything(str(sam)), {}
    call = type(segmenter.processor).__call__

    def spy(self, *args, **options):
        seen.update(options)
        return call(self, *args, **options)

    monkeypatch.setattr(type(segmenter.processor), "__call__", spy)
    segmenter(np.zeros((30, 40, 3), np.uint8), np.array([[7, 33]]), np.zeros((30, 40), bool))
    assert seen["input_points"] == [[[33.0, 7.0]]]


def test_a_vision_language_model_describes_the_part(blip, classifier):
    model = open_vision_language(str(blip))
    image = Image.fromarray(np.asarray(draw_image()))
    words = model.describe(image, "red")
    assert words == model.describe(image, "red")
    assert "\n" not in words
    method = Vale(n_coalitions=20, language=str(blip))
    text = explain_image(classifier, draw_image(), method=method).text
    assert f"In the words of {blip}:" in text


def test_what_is_missing_or_wrong_is_one_sentence(tmp_path, sam, blip):
    with pytest.raises(Unavailable, match="there is no folder"):
        open_segment_anything(str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="lacks"):
        open_vision_language(str(sam))  # has no tokenizer
    with pytest.raises(InputError, match=r"holds a blip network; name a `sam` one|cannot build"):
        open_segment_anything(str(blip))
