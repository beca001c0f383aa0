"""No field of `Data` with one entry per row is dropped by any method or protocol.

The subclass `Dated` declares one more such field and nothing else. Its value, and that of every
field `Data` has, is made from the position of the row, which `x` holds too, so that each can be
checked wherever rows end up.
"""

import inspect
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest

from ilk import protocols
from ilk.core import data as data_module
from ilk.core.data import Data
from ilk.core.row_fields import per_row, row_field_names
from ilk.protocols import Step

NAMES = tuple("abcdef")


@dataclass(frozen=True, eq=False)
class Dated(Data):
    """`Data` with a field that no other module knows."""

    time: np.ndarray = field(default=None, metadata=per_row(np.float64))


CODES = {  # by field, the value that belongs to position i
    "domain": lambda i: i % 3,
    "bag": lambda i: 1000 + i,
    "group": lambda i: 2000 + i // 2,
    "weight": lambda i: 1.0 + i,
    "time": lambda i: 0.5 * i,
}


def dated(n=240, kind=Dated):
    position = np.arange(n)
    y = np.where(position % 10 == 9, -1, position % len(NAMES))
    given = {name: code(position) for name, code in CODES.items()}
    if kind is Data:
        del given["time"]
    embeddings = np.arange(len(NAMES), dtype=np.float32)[:, None]
    given["class_distances"] = np.abs(embeddings - embeddings.T)
    return kind(position[:, None].astype(float), y, NAMES, class_embeddings=embeddings, **given)


def check(part):
    """Each row still has the values that belong to it."""
    assert len(part)
    position = part.x[:, 0].astype(int)
    for name, code in CODES.items():
        np.testing.assert_array_equal(getattr(part, name), code(position), err_msg=name)
    if part.classes == ("normal", "anomalous"):
        assert part.class_embeddings is part.class_distances is None
        return
    places = np.array([[NAMES.index(name)] for name in part.classes], np.float32)
    np.testing.assert_array_equal(part.class_embeddings, places)
    np.testing.assert_array_equal(part.class_distances, np.abs(places - places.T))


def labels(data):
    return np.where(data.y >= 0, (data.y + 1) % data.k, -1)


def apart(data):
    """Train and test parts of the same classes."""
    is_test = np.random.default_rng(0).random(len(data)) < 0.3
    return data.take(~is_test), data.take(is_test)


CUTS = {
    "take": lambda d: d.take([3, 1, 4, 1, 5]),
    "take a mask": lambda d: d.take(np.arange(len(d)) % 2 == 0),
    "take_labelled": lambda d: d.take_labelled(),
    "take_unlabelled": lambda d: d.take_unlabelled(),
    "take_weighted": lambda d: d.take_weighted(),
    "take_classes": lambda d: d.take_classes(["b", "d"]),
    "concat": lambda d: d.take([5, 6]).concat(d.take([1, 2])),
}
PROTOCOLS = {
    "asymmetric_noise": lambda d: protocols.asymmetric_noise(d, 0.2, {"a": "b"}),
    "class_tasks": lambda d: protocols.class_tasks(*apart(d), [3, 3]),
    "cross_validation_steps": lambda d: protocols.cross_validation_steps(
        d, protocols.stratified_folds(d.y, 4, groups=d.group)
    ),
    "domain_stream": lambda d: protocols.domain_stream(d, [2, 0]),
    "episodes": lambda d: protocols.episodes(d, 3, 10, n_classes=4, n_episodes=2),
    "few_labels": lambda d: protocols.few_labels(d, 3),
    "few_shot": lambda d: protocols.few_shot(d, 3),
    "few_shot_increments": lambda d: protocols.few_shot_increments(*apart(d), 3, 2, 4),
    "label_shift": lambda d: protocols.label_shift(d, np.full(6, 1 / 6)),
    "leave_one_domain_out": lambda d: protocols.leave_one_domain_out(d, include_unlabelled=True),
    "long_tail": lambda d: protocols.long_tail(d, 4.0),
    "one_class_split": lambda d: protocols.one_class_split(d, "c"),
    "proportional_noise": lambda d: protocols.proportional_noise(d, 0.2),
    "replace_labels": lambda d: protocols.replace_labels(d, labels(d)),
    "symmetric_noise": lambda d: protocols.symmetric_noise(d, 0.2),
    "unseen_classes": lambda d: protocols.unseen_classes(d, 2),
}
RETURN_NO_DATA = {"NEVER_TESTED", "Step", "describe_fold_limits", "stratified_folds"}


def parts(made):
    """Every `Data` that a cut or a protocol gave."""
    steps = [made] if isinstance(made, Data | Step) else list(made)
    assert steps
    for step in steps:
        found = [step] if isinstance(step, Data) else [step.train, step.test]
        yield from (part for part in found if len(part))


def test_every_public_method_and_protocol_is_in_the_tables():
    verbs = {
        name
        for name, value in vars(Data).items()
        if inspect.isfunction(value) and value.__annotations__.get("return") == "Data"
    }
    assert verbs == {name for name in CUTS if " " not in name}
    assert set(protocols.__all__) - RETURN_NO_DATA == set(PROTOCOLS)


def test_every_field_has_a_code():
    """A new field of `Data` must be added here, and is then checked everywhere."""
    assert set(row_field_names(Dated)) == {"x", "y", *CODES}
    assert set(row_field_names(Data)) == set(row_field_names(Dated)) - {"time"}
    given = {f.name for f in fields(Data)} - set(row_field_names(Data))
    assert given == {
        *("classes", "class_embeddings", "class_distances", "class_model"),
        "description_embeddings",
    }


@pytest.mark.parametrize("cut", [*CUTS.values(), *PROTOCOLS.values()], ids=[*CUTS, *PROTOCOLS])
def test_no_field_is_dropped(cut):
    for part in parts(cut(dated())):
        assert isinstance(part, Dated)
        check(part)


def forgetful_take(self, index):
    """The planted fault: a cut that names the fields it carries."""
    rows = np.asarray(index)
    carried = {name: getattr(self, name)[rows] for name in ("x", "y", "domain", "bag", "group")}
    return replace(self, **carried, weight=None, time=None)


def test_a_cut_that_forgets_a_field_is_found(monkeypatch):
    monkeypatch.setattr(data_module.Data, "take", forgetful_take)
    with pytest.raises(AssertionError, match="weight"):
        test_no_field_is_dropped(CUTS["take"])
    with pytest.raises(AssertionError, match="weight"):
        test_no_field_is_dropped(PROTOCOLS["few_shot"])


def test_a_protocol_that_builds_data_by_hand_is_found(monkeypatch):
    def by_hand(data, rate):
        return Data(data.x, data.y, data.classes, domain=data.domain)

    with pytest.raises(AssertionError):
        test_no_field_is_dropped(lambda d: by_hand(d, 0.2))


def test_data_of_different_fields_are_not_joined():
    plain = dated(kind=Data)
    with pytest.raises(ValueError, match="fields differ"):
        replace(dated(), time=None).concat(dated())
    with pytest.raises(ValueError, match="fields differ"):
        dated().concat(plain)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"weight": [1.0, -1.0]}, "weight holds -1.0"),
        ({"weight": [1.0, np.nan]}, "weight holds nan"),
        ({"weight": [1.0]}, r"weight has shape \(1,\); 2 items need \(2,\)"),
        ({"group": [0, -2]}, "group holds -2"),
        ({"group": [0, 0.5]}, "group holds 0.5"),
    ],
)
def test_weights_and_groups_out_of_range_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        Data(np.zeros((2, 1)), [0, 1], NAMES, **wrong)


def test_defaults_and_totals():
    plain = Data(np.zeros((4, 1)), [0, 1, -1, 1], ("a", "b"))
    assert plain.group.tolist() == [-1] * 4
    assert plain.weight.tolist() == [1.0] * 4
    assert plain.sample_weight is None
    assert plain.sum_label_weights().tolist() == [1, 2]
    assert plain.sum_label_weights().dtype == np.int64
    weighted = replace(plain, weight=[0.5, 2, 9, 0])
    assert weighted.sum_label_weights().tolist() == [0.5, 2.0]
    assert weighted.count_labels().tolist() == [1, 2]
