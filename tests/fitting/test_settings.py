"""Settings as keywords of `ilk.fit`, and names given without a tuple."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest

import ilk
from ilk.core.errors import InputError, UnknownName
from ilk.fitting.config import FitConfig
from ilk.fitting.settings import configure
from ilk.images import Images, Row, read_images
from ilk.methods.gda import GDA

TUPLES = [f.name for f in fields(FitConfig) if f.type == "tuple[str, ...]"]


@pytest.mark.parametrize("name", TUPLES)
def test_a_name_stands_for_a_tuple_of_one_in_every_field(name):
    assert getattr(FitConfig(**{name: "a {}"}), name) == ("a {}",)
    assert FitConfig(**{name: "a {}"}) == FitConfig(**{name: ["a {}"]})
    assert FitConfig(**{name: np.array(["a {}", "b {}"])}) == FitConfig(**{name: ("a {}", "b {}")})
    assert getattr(FitConfig(**{name: {"b {}", "a {}"}}), name) == ("a {}", "b {}")


def test_all_fields_of_several_names_are_found():
    assert {"encoders", "classifiers", "methods", "classes", "prompts", "descriptions"} <= {*TUPLES}


def test_methods_may_be_objects():
    config = FitConfig(methods=[GDA(shrink=0.2), "Ridge", GDA])
    assert config.methods == ("GDA(shrink=0.2)", "Ridge", "GDA")
    assert FitConfig(methods=GDA(shrink=0.2)).methods == ("GDA(shrink=0.2)",)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"methods": 3}, "methods is 3; give a name, or a list of names"),
        ({"encoders": None}, "encoders is None; give"),
        ({"encoders": b"hog"}, "encoders is b'hog'; give"),
        ({"encoders": {"hog": 1}}, "encoders is .*; give"),
        ({"encoders": ["hog", 3]}, "encoders contains 3, a int"),
        ({"encoders": GDA()}, "encoders contains GDA"),
        ({"folds": "3"}, "folds is '3'; it must be a whole number"),
        ({"folds": 2.5}, "folds is 2.5; it must be a whole number"),
        ({"folds": True}, "folds is True; it must be a whole number"),
        ({"coverage": "0.9"}, "coverage is '0.9'; it must be a number"),
        ({"seed": -1}, "seed is -1; it must be at least 0"),
        ({"criterion": ["accuracy"]}, "it must be text"),
    ],
)
def test_values_of_the_wrong_type_get_one_sentence(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        FitConfig(**wrong)


def test_keywords_replace_those_of_the_configuration():
    config = configure(FitConfig(folds=3, seed=4), {"seed": 5, "labels": ["a"]})
    assert (config.folds, config.seed) == (3, 5)
    with pytest.raises(UnknownName, match="no setting is called 'fold'; the nearest is folds"):
        configure(None, {"fold": 3})
    with pytest.raises(InputError, match="folds is 1"):
        ilk.fit("photos/", folds=1)


def test_the_signature_shows_every_setting_with_its_default():
    shown = inspect.signature(ilk.fit).parameters
    read = inspect.signature(read_images).parameters
    for f in fields(FitConfig):
        first = read.get(f.name, f)  # what reading decides, too
        assert shown[f.name].default == first.default
    for name in ("labels", "path_column", "label_column", "merge_spellings"):
        assert shown[name].default == read[name].default
    assert not {"verify", "source", "source_name", "settings"} & set(shown)


def test_settings_of_reading_do_not_go_with_images_that_are_read():
    with pytest.raises(InputError, match="labels= is for images that are not yet read"):
        ilk.fit(Images(None, (Row("a.png"),)), labels=["a"])
