"""A first guess without labels from names that the embedded encoder knows."""

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.core.grouped_softmax import GroupedSoftmax
from ilk.core.metrics import softmax
from ilk.encoders import resolve_encoder
from ilk.fitting.candidates import make_zero_shot_leaderboard, select_candidates
from ilk.fitting.class_names import check_class_names, make_class_model
from ilk.methods.gda import GDA
from ilk.methods.pretrained_head import PretrainedHead
from ilk.methods.zero_shot import ZeroShot


@pytest.fixture(scope="module")
def encoder():
    return resolve_encoder("efficientnet-lite0")


def test_the_probability_of_a_name_is_that_of_its_imagenet_classes(encoder):
    model = make_class_model(encoder, ("dog", "guitar"))
    assert isinstance(model, GroupedSoftmax)
    x = np.random.default_rng(0).gamma(1.0, 0.5, (5, 1280)).astype(np.float32)
    p = softmax(encoder.load_name_head().logits(x), axis=1)
    named = np.stack([p[:, 151:269].sum(1), p[:, [402, 546]].sum(1)], axis=1)
    outside = 1 - named.sum(1)
    np.testing.assert_allclose(model.outside(x), outside, rtol=1e-6)
    np.testing.assert_allclose(np.exp(model.logits(x)), named + outside[:, None] / 2, rtol=1e-6)


def test_other_names_give_no_model(encoder):
    assert make_class_model(encoder, ("dog", "giraffe")) is None
    assert make_class_model(encoder, ("dog", "domestic dog")) is None


def test_the_method_is_a_candidate_only_where_the_names_are_known(encoder):
    methods = [GDA(), PretrainedHead()]
    assert select_candidates(encoder, methods, labels=True) == [GDA()]
    assert select_candidates(encoder, methods, labels=True, knows_classes=True) == methods
    assert select_candidates(encoder, methods, labels=False, knows_classes=True) == methods[1:]


def features_of(encoder, classes):
    return {encoder.name: Data(np.zeros((0, 1280), np.float32), [], classes)}


@pytest.mark.parametrize(
    ("classes", "sentence"),
    [
        (("dog", "giraffe"), "giraffe is neither among ImageNet's 1,000 classes.*--encoder clip"),
        (("dog", "Dogs"), "dog and Dogs stand for the same ImageNet classes; give one"),
    ],
)
def test_names_that_cannot_be_used_are_told_where_nothing_else_can_be_done(
    encoder, classes, sentence
):
    features = features_of(encoder, classes)
    with pytest.raises(InputError, match=sentence):
        check_class_names([GDA(), PretrainedHead()], [encoder], features, {encoder.name: []})
    check_class_names([GDA(), PretrainedHead()], [encoder], features, {encoder.name: [GDA()]})


def test_the_method_alone_needs_an_encoder_that_knows_names():
    hog = resolve_encoder("hog/32")
    with pytest.raises(InputError, match="add --encoder efficientnet-lite0"):
        check_class_names([PretrainedHead()], [hog], features_of(hog, ("a", "b")), {hog.name: []})


def test_an_encoder_that_reads_any_name_comes_first():
    board = make_zero_shot_leaderboard({"lite": [PretrainedHead()], "clip": [ZeroShot()]}, 3)
    assert board.winner == ("clip", ZeroShot())
    assert make_zero_shot_leaderboard({"lite": [PretrainedHead()]}, 3).winner[0] == "lite"
