"""`Classifier.explain`: what it returns, that it repeats, and what it refuses."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from helpers.planted_classifier import RED, draw_image, make_classifier, make_mask
from ilk.core.errors import InputError, Unavailable, UnknownName
from ilk.core.linear_models import Linear
from ilk.explain.choice import choose_explainer
from ilk.explain.explain_image import choose_on_pictures, explain_image
from ilk.explain.explanation import NO_NEIGHBOURS
from ilk.explain.facts import find_place, word_facts
from ilk.explain.question import ask
from ilk.explain.registry import parse_explainer


@pytest.fixture(scope="module")
def explanation():
    return make_classifier().explain(draw_image())


def test_an_explanation_says_what_where_compared_with_what_and_what_removal_does(explanation):
    assert explanation.target == explanation.predicted == "red"
    assert explanation.against == ""
    assert explanation.values.shape == (48, 48)
    assert explanation.values.dtype == np.float32
    assert explanation.facts.place == "top right"
    assert explanation.facts.runner_up == "green"
    assert explanation.facts.answer_without < 0.5 < explanation.facts.answer
    for part in ("red with probability", "then green", "top right", "Removing it lowers"):
        assert part in explanation.text
    assert explanation.text.endswith(explanation.verdict.sentence)
    assert explanation.verdict.is_trustworthy, explanation.text
    assert explanation.n_passes > 0
    assert explanation.seconds > 0


def test_the_probability_is_that_of_predict(explanation):
    classifier, image = make_classifier(), draw_image()
    x = classifier.encoder.embed(classifier.encoder.prepare(image)[None])
    p = classifier.to_probabilities(classifier.model.logits(x))
    assert explanation.probability == pytest.approx(p[0, 0])


def test_the_same_image_and_seed_give_the_same_map(explanation):
    again = make_classifier().explain(draw_image())
    np.testing.assert_array_equal(again.values, explanation.values)
    assert again.text == explanation.text
    assert again.verdict == explanation.verdict or again.verdict.to_dict() == (
        explanation.verdict.to_dict()
    )


def test_any_form_of_an_image_gives_the_same_explanation(tmp_path, explanation):
    image = draw_image()
    path = tmp_path / "image.png"
    image.save(path)
    for form in (
        path,
        str(path),
        path.read_bytes(),
        np.asarray(image),
        io.BytesIO(path.read_bytes()),
    ):
        found = make_classifier().explain(form, method="occlusion")
        assert found.probability == pytest.approx(explanation.probability)


def test_the_overlay_is_a_picture_and_the_dictionary_is_json(explanation):
    drawn = explanation.draw_overlay()
    assert drawn.mode == "RGB"
    assert min(drawn.size) >= 224
    colours = np.asarray(drawn.resize((48, 48))).astype(int)
    warm = colours[..., 0] - colours[..., 2]
    assert warm[make_mask(RED)].mean() > warm[~make_mask(RED)].mean() + 40
    plain = json.loads(json.dumps(explanation.to_dict()))
    assert plain["verdict"]["is_trustworthy"] is True
    assert np.shape(plain["values"]) == (48, 48)
    assert plain["neighbours"] == []
    assert plain["neighbours_note"] == NO_NEIGHBOURS


def test_a_contrast_is_between_two_classes():
    classifier = make_classifier()
    found = explain_image(classifier, draw_image(), against="runner-up", method="gradient-token")
    assert (found.target, found.against) == ("red", "green")
    assert "rather than green" in found.text
    other = explain_image(
        classifier, draw_image(), target="green", against="red", method="gradient-token"
    )
    np.testing.assert_allclose(other.values, -found.values, atol=1e-4)


def test_bad_questions_are_one_sentence():
    classifier, image = make_classifier(), draw_image()
    with pytest.raises(UnknownName, match="no class of this model is called 'rde'"):
        classifier.explain(image, target="rde")
    with pytest.raises(UnknownName, match=r"no explainer is called 'gradcam'.*grad-cam"):
        classifier.explain(image, method="gradcam")
    with pytest.raises(InputError, match="contrasted with itself"):
        classifier.explain(image, target="red", against="red")
    with pytest.raises(InputError, match="explain takes one image"):
        classifier.explain([image, image])
    with pytest.raises(InputError, match="cannot be explained, because it cannot be read"):
        classifier.explain(b"not an image at all")


def test_gradients_of_an_encoder_without_a_network_are_one_sentence():
    from ilk.encoders.hog import HogEncoder

    encoder = HogEncoder()
    head = Linear(np.eye(3, encoder.space.dim, dtype=np.float32), np.zeros(3, np.float32))
    classifier = make_classifier(encoder, model=head)
    with pytest.raises(Unavailable, match="grad-cam needs the gradients of a network, and hog"):
        classifier.explain(draw_image(), method="grad-cam")
    assert classifier.explain(draw_image()).method in ("occlusion", "rise")


def test_a_class_without_training_images_is_refused():
    weight = np.array([[120, 0, 0, 0], [0, 120, 0, 0], [0, 0, 0, 0]], np.float32)
    head = Linear(weight, np.array([0, 0, -np.inf], np.float32))
    with pytest.raises(InputError, match="'dark' cannot be explained: the model has never seen"):
        make_classifier(model=head).explain(draw_image(), target="dark")


def test_the_choice_prefers_the_candidate_with_the_higher_score_and_fits_the_budget():
    subject, _ = ask(make_classifier(), draw_image())
    choice = choose_explainer([subject])
    assert choice.scores == dict(sorted(choice.scores.items(), key=lambda item: -item[1]))
    assert next(iter(choice.scores)).partition("(")[0] == choice.explainer.name
    cheap = choose_explainer([subject], budget=5)
    assert {name.partition("(")[0] for name in cheap.scores} == {"grad-cam", "gradient-token"}
    with pytest.raises(Unavailable, match="none takes 1 passes or fewer"):
        choose_explainer([subject], budget=1)


def test_a_choice_on_other_images_is_used_for_all():
    classifier = make_classifier()
    choice = choose_on_pictures(classifier, [draw_image(i) for i in range(2)])
    assert not choice.is_on_the_image
    assert "on 2 images" in choice.sentence


def test_places_are_cells_of_a_grid_and_two_corners_are_not_the_middle():
    weights = np.zeros((9, 9))
    assert find_place(weights) == "nowhere"
    weights[0, 0] = 2
    weights[8, 8] = 1
    assert find_place(weights) == "top left"
    assert find_place(np.pad(np.ones((3, 3)), 3)) == "centre"


def test_the_words_can_be_those_of_a_language_model():
    found = explain_image(
        make_classifier(),
        draw_image(),
        method="grad-cam",
        words=lambda facts: f"It is {facts.target}!",
    )
    assert found.text == f"It is red! {found.verdict.sentence}"
    assert word_facts(found.facts) != "It is red!"


def test_an_image_of_one_pixel_and_a_long_one_are_explained():
    classifier = make_classifier()
    for size in ((1, 1), (400, 3)):
        found = classifier.explain(Image.new("RGB", size, (200, 10, 10)), method="occlusion")
        assert not found.verdict.is_trustworthy or found.values.any()


@pytest.mark.parametrize(
    "text",
    [
        "Rise(n_masks=0)",
        "Rise(keep=1.0)",
        "Occlusion(n_windows=0)",
        "Occlusion(refined_part=0.0)",
        "IntegratedGradients(n_steps=0)",
        "IntegratedGradients(fill='black')",
        "NearestImages(n_images=0)",
        "GradCam(stage=-1)",
        "GradientToken(stage=-1)",
        "Vale(n_cells=0)",
    ],
)
def test_settings_out_of_range_are_refused_in_a_sentence(text):
    with pytest.raises(InputError, match="it must"):
        parse_explainer(text)
