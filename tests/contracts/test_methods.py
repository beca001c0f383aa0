"""What every method owes, asked of every method file without a word added here."""

import re
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import numpy as np
import pytest

from ilk.core.contracts import MethodTags
from ilk.core.data import Data
from ilk.core.errors import InputError, NoLabels
from ilk.core.linear_models import Linear
from ilk.core.metrics import log_loss, macro_accuracy, softmax
from ilk.methods import describe, list_methods, parse

COUNTS = (40, 23, 11, 6)  # unequal: a balanced toy hides a forgotten prior
DIM = 6
KINDS = list_methods()
written = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
READERS = {  # of any features, one logit a class
    name: kind
    for name, kind in KINDS.items()
    if kind.input_kind == "features" and not kind.needs_class_scores
}
every = pytest.mark.parametrize("kind", READERS.values(), ids=READERS)


def toy(seed=0, counts=COUNTS, dim=DIM, offset=0.0, apart=2.5):
    """Two draws from the same Gaussians with correlated features: learn from one, test on one."""
    rng = np.random.default_rng(seed)
    k = len(counts)
    means = apart * rng.standard_normal((k, dim)) + offset
    mix = np.linalg.qr(rng.standard_normal((dim, dim)))[0] * np.linspace(0.5, 1.5, dim)
    y = rng.permutation(np.repeat(np.arange(k), counts))
    draw = lambda: (means[y] + rng.standard_normal((len(y), dim)) @ mix).astype(np.float32)  # noqa: E731
    hints = (means + 0.2 * rng.standard_normal(means.shape)).astype(np.float32)
    names = tuple(f"kind {c}" for c in range(k))
    known = Linear(hints, -(hints**2).sum(1) / 2)  # knows the classes, as a pretrained one may
    return (
        Data(draw(), y, names, class_embeddings=hints, class_model=known),
        Data(draw(), y, names, class_embeddings=hints, class_model=known),
    )


def accuracy(model, test):
    return float(np.mean(model.logits(test.x).argmax(1) == test.y))


def same(a, b):
    for f in fields(a):
        np.testing.assert_array_equal(getattr(a, f.name), getattr(b, f.name))


@written
def test_opens_with_what_it_does_and_cites_its_paper(kind):
    story = sys.modules[kind.__module__].__doc__.split("\n\n")
    assert story[0].endswith(".")
    assert re.search(r"arXiv \d{4}\.\d{4,5}|doi:10\.\d{4,}/\S+", story[1])
    assert re.search(r"\b(19|20)\d\d\b", story[1])


@written
def test_is_a_frozen_value_with_facts(kind):
    method = kind()
    assert issubclass(kind, MethodTags)
    assert kind.input_kind in ("features", "images")
    assert kind() == method
    assert hash(kind()) == hash(method)
    for f in fields(kind):
        with pytest.raises(FrozenInstanceError):
            setattr(method, f.name, 1)


@written
def test_documents_each_field(kind):
    for f in fields(kind):
        assert re.search(rf"^ +{f.name}: \S", kind.__doc__, re.M), f.name


@every
def test_answers_with_finite_logits_of_the_right_shape_and_beats_chance(kind):
    train, test = toy()
    logits = kind().fit(train).logits(test.x)
    assert logits.shape == (len(test), test.k)
    assert np.issubdtype(logits.dtype, np.floating)
    assert np.isfinite(logits).all()
    assert np.mean(logits.argmax(1) == test.y) > 0.8 > max(COUNTS) / sum(COUNTS)
    assert kind().fit(train).logits(test.x[:0]).shape == (0, test.k)


@every
def test_the_model_can_be_stored_field_by_field(kind):
    model = kind().fit(toy()[0])
    assert is_dataclass(model)
    with pytest.raises(FrozenInstanceError):
        setattr(model, fields(model)[0].name, 1)
    for f in fields(model):
        value = getattr(model, f.name)
        assert isinstance(value, np.ndarray | float | int | str | bool | None), f.name
        if isinstance(value, np.ndarray):
            assert value.dtype in (np.float32, np.float64, np.int64)
            copy = value.copy()
            np.testing.assert_array_equal(copy, value)
    again = type(model)(**{f.name: getattr(model, f.name) for f in fields(model)})
    x = toy()[1].x
    np.testing.assert_array_equal(again.logits(x), model.logits(x))


@every
def test_a_row_is_judged_alone(kind):
    train, test = toy()
    model = kind().fit(train)
    whole = model.logits(test.x)
    order = np.random.default_rng(0).permutation(len(test))
    if not kind.transductive:
        alone = np.concatenate([model.logits(test.x[i : i + 1]) for i in range(len(test))])
        np.testing.assert_allclose(alone, whole, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(model.logits(test.x[order]), whole[order], rtol=1e-7, atol=1e-7)


@every
def test_the_same_seed_gives_the_same_model_whatever_the_global_seed(kind):
    train, _ = toy()
    np.random.seed(1)
    first = kind().fit(train)
    np.random.seed(2)
    same(first, kind().fit(train))


@every
def test_data_are_left_as_they_were(kind):
    train, test = toy()
    kept = [a.copy() for a in (train.x, train.y, train.class_embeddings, test.x)]
    writable = replace(train)  # the arrays behind the read-only views can be written
    kind().fit(writable).logits(test.x)
    for before, after in zip(kept, (train.x, train.y, train.class_embeddings, test.x), strict=True):
        np.testing.assert_array_equal(before, after)


@every
def test_unlabelled_rows_are_survived(kind):
    train, test = toy()
    y = train.y.copy()
    y[np.random.default_rng(3).random(len(y)) < 0.5] = -1
    assert accuracy(kind().fit(replace(train, y=y)), test) > 0.7


@every
def test_one_item_a_class_is_enough(kind):
    train, test = toy(counts=(12, 9, 7, 5), apart=4.0)
    first = [int(np.flatnonzero(train.y == c)[0]) for c in range(train.k)]
    model = kind().fit(train.take(first))
    assert np.isfinite(model.logits(test.x)).all()
    assert accuracy(model, test) > 0.7
    lone = kind().fit(train.take(first[:1]))
    assert not np.isnan(lone.logits(test.x)).any()


@every
def test_no_label_at_all_is_refused_in_words(kind):
    train, test = toy()
    bare = replace(train, y=np.full(len(train), -1))
    if not kind.needs_labels:
        assert accuracy(kind().fit(bare), test) > 0.8
        return
    with pytest.raises(NoLabels, match=rf"{kind.__name__} learns from labels and there are none"):
        kind().fit(bare)


@every
def test_a_method_that_reads_text_says_so_when_there_is_none(kind):
    train, _ = toy()
    if not kind.needs_class_embeddings:
        kind().fit(replace(train, class_embeddings=None))
        return
    with pytest.raises(InputError, match=rf"{kind.__name__} needs a text embedding"):
        kind().fit(replace(train, class_embeddings=None))
    narrow = replace(train, class_embeddings=train.class_embeddings[:, :-1])
    if kind.any_embedding_width:
        kind().fit(narrow)
        return
    with pytest.raises(InputError, match="different widths"):
        kind().fit(narrow)


@every
def test_a_class_never_seen_is_never_answered(kind):
    train, test = toy()
    part = train.take(train.y != 1)
    logits = kind().fit(part).logits(test.x)
    if kind.needs_class_embeddings or kind.needs_class_model:  # a name is a way of having seen it
        assert np.isfinite(logits).all()
        return
    assert np.isneginf(logits[:, 1]).all()
    assert np.isfinite(np.delete(logits, 1, axis=1)).all()
    fewer = [0, 2, 3]
    only = Data(part.x, np.searchsorted(fewer, part.y), tuple(part.classes[c] for c in fewer))
    np.testing.assert_allclose(
        softmax(logits, axis=1)[:, fewer],
        softmax(kind().fit(only).logits(test.x), axis=1),
        rtol=1e-4,
        atol=1e-6,
    )


@every
def test_what_is_printed_can_be_pasted_back(kind):
    method = kind()
    assert parse(describe(method)) == method
    assert parse(kind.__name__) == method
    for f in fields(kind):
        other = replace(method, **{f.name: _another(f.type, f.default)})
        assert other != method
        assert parse(describe(other)) == other


def _another(hint, default):
    """A value that a field of this type may have, other than its default."""
    text = str(hint)
    if "bool" in text:
        return not default
    if text == "str | None":
        return "unit"  # a form of rows
    if isinstance(default, tuple):
        return tuple(value + 0.25 for value in default)
    return (default or 1) * 2 if "float" not in text and "Shrink" not in text else 0.25


@every
def test_more_features_than_rows(kind):
    train, test = toy(counts=(9, 7, 6, 5), dim=200, apart=0.6)
    assert accuracy(kind().fit(train), test) > 0.7


@every
def test_a_constant_feature_changes_nothing_of_note(kind):
    train, test = toy()
    for value in (0.0, 3.0):
        add = lambda d, v=value: replace(  # noqa: E731
            d,
            x=np.column_stack([d.x, np.full(len(d), v, np.float32)]),
            class_embeddings=np.column_stack([d.class_embeddings, np.full(d.k, v, np.float32)]),
            class_model=Linear(np.pad(d.class_model.weight, ((0, 0), (0, 1))), d.class_model.bias),
        )
        model = kind().fit(add(train))
        assert np.isfinite(model.logits(add(test).x)).all()
        assert accuracy(model, add(test)) > 0.8


@every
def test_features_far_from_zero_are_no_harder(kind):
    near, far = toy(), toy(offset=1e3)
    logits = kind().fit(far[0]).logits(far[1].x)
    assert np.isfinite(logits).all()
    if kind.needs_class_embeddings:  # angles from 0 mean something to it
        return
    there, here = softmax(logits, axis=1), softmax(kind().fit(near[0]).logits(near[1].x), axis=1)
    assert np.mean(logits.argmax(1) == far[1].y) > 0.8
    assert np.mean(np.abs(there - here)) < 0.01


@every
def test_heavy_imbalance_is_survived(kind):
    train, test = toy(counts=(400, 30, 3, 1))
    logits = kind().fit(train).logits(test.x)
    assert np.isfinite(logits).all()
    assert macro_accuracy(test.y, logits.argmax(1)) > 0.5 > 1 / test.k


@every
def test_two_identical_rows_under_two_labels_are_survived(kind):
    train, test = toy()
    twice = train.concat(replace(train.take([0, 1]), y=(train.y[:2] + 1) % train.k))
    assert accuracy(kind().fit(twice), test) > 0.75
    one = Data(
        np.ones((4, 3), np.float32),
        [0, 0, 1, 1],
        ("a", "b"),
        class_embeddings=np.eye(2, 3),
        class_model=Linear.from_arrays(np.eye(2, 3), np.zeros(2)),
    )
    assert np.isfinite(kind().fit(one).logits(one.x)).all()


@every
def test_float64_rows_give_the_same_answers(kind):
    train, test = toy()
    single = kind().fit(train).logits(test.x)
    double = kind().fit(replace(train, x=train.x.astype(np.float64)))
    np.testing.assert_allclose(double.logits(test.x.astype(np.float64)), single, rtol=1e-6)


@every
def test_probabilities_are_no_worse_than_the_class_shares(kind):
    train, test = toy(apart=0.8)
    if kind.needs_class_embeddings:  # the paper's factor of 100 is for a trained encoder's cosines
        return
    told = log_loss(test.y, softmax(kind().fit(train).logits(test.x), axis=1))
    share = np.tile(train.count_labels() / len(train), (len(test), 1))
    assert told < log_loss(test.y, share)


FIXED = {  # hyperparameters that are else chosen on held-out rows, where copies are dealt apart
    "AlphaTIM": {"guard": False},
    "EMDirichlet": {"guard": False},
    "GDAZeroShot": {"alpha": 1.0},
    "KNearest": {"k": 5},
    "LogisticRegression": {"C": 1.0},
    "Loki": {"C": 1.0, "temperature": 1.0},
    "PADDLE": {"guard": False},
    "PriorCorrection": {"C": 1.0},
    "TEEN": {"alpha": 0.5, "tau": 16.0},
    "UNEM": {"guard": False},
}
WEIGHTED = {name: kind for name, kind in READERS.items() if kind.supports_weights}


def weighted_toy(hidden=0.3):
    """Rows with weights 0 to 3, some without a label, and the rows as many times over."""
    train, test = toy(apart=0.8)
    rng = np.random.default_rng(5)
    y = np.where(rng.random(len(train)) < hidden, -1, train.y)
    descriptions = rng.standard_normal((40, DIM)).astype(np.float32)
    train = replace(train, description_embeddings=descriptions)
    weighted = replace(train, y=y, weight=rng.integers(0, 4, len(train)))
    copies = np.repeat(np.arange(len(train)), weighted.weight.astype(int))
    return weighted, replace(weighted.take(copies), weight=np.ones(len(copies))), test


def probabilities(method, data, x):
    return softmax(method.fit(data).logits(x), axis=1)


@every
def test_a_weight_is_so_many_copies_of_the_row_or_refused(kind):
    weighted, repeated, test = weighted_toy()
    method = kind(**FIXED.get(kind.__name__, {}))
    if kind.weighted_loss:
        return  # the next test
    if not kind.supports_weights:
        with pytest.raises(InputError, match=rf"{kind.__name__} does not support row weights"):
            method.fit(weighted)
        return
    got, want = (probabilities(method, data, test.x) for data in (weighted, repeated))
    np.testing.assert_allclose(got, want, atol=2e-4)
    plain = replace(weighted, weight=np.ones(len(weighted)))
    if kind.__name__ not in ("ZeroShot", "PretrainedHead"):  # they look at no row
        with pytest.raises(AssertionError):
            same(method.fit(weighted), method.fit(plain))


@pytest.mark.parametrize("kind", [k for k in READERS.values() if k.weighted_loss])
def test_a_weighted_loss_follows_the_rows_that_weigh_most(kind):
    """Six labels in ten are wrong; with little weight on those, they hardly matter."""
    train, test = toy()
    rng = np.random.default_rng(0)
    is_wrong = rng.random(len(train)) < 0.6
    wrong = (train.y + 1 + rng.integers(0, train.k - 1, len(train))) % train.k
    noisy = replace(train, y=np.where(is_wrong, wrong, train.y))
    weighted = replace(noisy, weight=np.where(is_wrong, 0.02, 1.0))
    assert accuracy(kind().fit(noisy), test) < 0.75
    assert accuracy(kind().fit(weighted), test) > 0.8


@every
def test_a_labelled_row_of_weight_0_is_absent(kind):
    train, test = toy()
    is_present = np.random.default_rng(6).random(len(train)) < 0.6
    got = probabilities(kind(), replace(train, weight=is_present), test.x)
    np.testing.assert_array_equal(got, probabilities(kind(), train.take(is_present), test.x))


@pytest.mark.parametrize("kind", WEIGHTED.values(), ids=WEIGHTED)
def test_more_features_than_weighted_rows(kind):
    train, test = toy(counts=(9, 7, 6, 5), dim=60, apart=0.6)
    weight = np.random.default_rng(7).integers(1, 3, len(train))
    method = kind(**FIXED.get(kind.__name__, {}))
    rows = train.take(np.repeat(np.arange(len(train)), weight))  # still fewer than features
    got = probabilities(method, replace(train, weight=weight), test.x)
    np.testing.assert_allclose(got, probabilities(method, rows, test.x), atol=2e-4)


@pytest.mark.parametrize("kind", WEIGHTED.values(), ids=WEIGHTED)
def test_weights_that_are_no_whole_numbers_are_survived(kind):
    train, test = toy()
    weight = np.random.default_rng(8).random(len(train)) + 0.01
    assert accuracy(kind().fit(replace(train, weight=weight)), test) > 0.8


def test_a_method_that_ignores_weights_is_found_out():
    """The planted fault: methods that drop the weights."""
    weighted, repeated, test = weighted_toy()
    present = weighted.take(weighted.weight > 0)
    for kind in (READERS["NearestClassMean"], READERS["GDA"], READERS["PADDLE"]):
        method = kind(**FIXED.get(kind.__name__, {}))
        blind = probabilities(method, replace(present, weight=np.ones(len(present))), test.x)
        assert np.abs(blind - probabilities(method, repeated, test.x)).max() > 1e-2


def test_a_field_type_that_this_file_cannot_vary_is_noticed():
    for kind in KINDS.values():
        for f in fields(kind):
            assert re.fullmatch(
                r"(float|int|bool|Shrinkage|str)( \| None)?|tuple\[float, \.\.\.\]", str(f.type)
            ), f
