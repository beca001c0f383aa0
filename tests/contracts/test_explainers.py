"""Every file of `ilk.explain.explainers`: shape, finite, the same again, class, place."""

import dataclasses

import numpy as np
import pytest

from helpers.planted_classifier import (
    CLASSES,
    GREEN,
    RED,
    draw_image,
    make_classifier,
    make_encoder,
    make_mask,
)
from ilk.core.errors import IlkError, Unavailable
from ilk.core.space import FeatureSpace
from ilk.explain.build_neighbours import NeighbourIndex
from ilk.explain.contract import ExplainerTags
from ilk.explain.evaluation import evaluate
from ilk.explain.neighbours import HeldIndex
from ilk.explain.question import ask
from ilk.explain.registry import list_explainers, parse_explainer
from ilk.explain.train_maps import train_maps

EXPLAINERS = list_explainers()


def make_index(encoder):
    """Return the index of a few images of each class."""
    images = [draw_image(i, RED, None) for i in range(3)] + [
        draw_image(i, GREEN, None) for i in range(3)
    ]
    images[3:] = [draw_image(i, (slice(0, 0), slice(0, 0))) for i in range(3)]
    x = encoder.embed(np.stack([encoder.prepare(image) for image in images]))
    names = ("red",) * 3 + ("green",) * 3
    return NeighbourIndex(
        x.astype(np.float16), names, names, tuple("abcdef"), (b"",) * 6, encoder.space.key
    )


@pytest.fixture(scope="module")
def classifier():
    encoder = make_encoder()
    assert isinstance(encoder.space, FeatureSpace)
    classifier = make_classifier(encoder, neighbours=HeldIndex(make_index(encoder)))
    places = ((RED, None), ((slice(0, 0), slice(0, 0)), GREEN), (RED, GREEN), (GREEN, None))
    images = [draw_image(i, *places[i % len(places)]) for i in range(32)]
    return train_maps(classifier, images, lambda image: image, steps=100)


def explain(kind, classifier, **question):
    """Return the map of an explainer; skip where the classifier lacks what it needs."""
    subject, _ = ask(classifier, draw_image(), **question)
    try:
        return evaluate(kind(), subject)[0], subject
    except Unavailable as error:
        if kind.needs_attention or kind.needs_class_errors:
            pytest.skip(str(error))
        raise


@pytest.mark.parametrize("name", EXPLAINERS)
def test_an_explainer_is_a_frozen_dataclass_with_working_defaults(name):
    kind = EXPLAINERS[name]
    assert issubclass(kind, ExplainerTags)
    assert kind.name == name
    assert kind.paper
    assert name == name.lower()
    assert dataclasses.fields(kind) is not None
    assert kind.__dataclass_params__.frozen
    assert kind() == kind() == parse_explainer(name)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_a_map_is_finite_has_the_picture_s_shape_and_is_the_same_again(name, classifier):
    kind = EXPLAINERS[name]
    values, subject = explain(kind, classifier)
    again, _ = explain(kind, classifier)
    assert values.shape == subject.shape
    assert np.isfinite(values).all()
    assert np.ptp(values) > 0
    np.testing.assert_array_equal(values, again)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_passes_that_it_states_are_about_those_that_it_takes(name, classifier):
    kind = EXPLAINERS[name]
    subject, _ = ask(classifier, draw_image())
    subject.features, before = subject.features, subject.n_passes
    try:
        kind().explain(subject, 0)
    except Unavailable as error:
        if kind.needs_attention or kind.needs_class_errors:
            pytest.skip(str(error))
        raise
    taken, stated = subject.n_passes - before, kind().count_passes(subject)
    assert taken <= 1.5 * stated + 5, (taken, stated)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_largest_value_lies_on_the_planted_object(name, classifier):
    kind = EXPLAINERS[name]
    values, _ = explain(kind, classifier, target="red")
    if not kind.is_class_specific:
        pytest.skip("it makes no claim about a class")
    place = np.unravel_index(values.argmax(), values.shape)
    near = np.pad(make_mask(RED), 3)
    near = np.any([near[i : i + 48, j : j + 48] for i in range(7) for j in range(7)], axis=0)
    assert near[place], place


@pytest.mark.parametrize("name", EXPLAINERS)
def test_the_map_of_another_class_is_another_one_where_that_is_claimed(name, classifier):
    kind = EXPLAINERS[name]
    red, _ = explain(kind, classifier, target="red")
    green, _ = explain(kind, classifier, target="green")
    if kind.is_class_specific:
        red_on, green_on = make_mask(RED), make_mask(GREEN)
        assert red[red_on].mean() - red[green_on].mean() > 0
        assert green[green_on].mean() - green[red_on].mean() > 0
    else:
        np.testing.assert_array_equal(red, green)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_what_a_classifier_lacks_is_one_sentence(name):
    from ilk.encoders.pixels import PixelEncoder

    kind = EXPLAINERS[name]
    encoder = PixelEncoder(8, 8, 3)
    from ilk.core.linear_models import Linear

    rng = np.random.default_rng(0)
    head = Linear(
        rng.normal(size=(3, encoder.space.dim)).astype(np.float32), np.zeros(3, np.float32)
    )
    subject, _ = ask(make_classifier(encoder, model=head), draw_image())
    needs = kind.needs_gradients or kind.needs_class_errors or kind.needs_neighbours
    if not needs:
        values = kind().explain(subject, 0)
        assert values.shape == subject.shape
        assert np.isfinite(values).all()
        return
    with pytest.raises(IlkError) as caught:
        kind().explain(subject, 0)
    assert kind.name in str(caught.value)
    assert "use --method" in str(caught.value)


def test_the_classes_of_the_planted_classifier_are_what_the_tests_rely_on(classifier):
    _, question = ask(classifier, draw_image())
    assert question.predicted == "red"
    assert set(CLASSES) == {"red", "green", "dark"}
