"""Checks that every kind of method shares: its file, its fields and what its models hold."""

import inspect
import re
import sys
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import numpy as np

from ilk.artifacts.pack import pack, unpack
from ilk.core.contracts import describe
from ilk.core.registry import parse_call


def check_citation(method_class):
    """The file opens with one sentence and then cites its paper."""
    paragraphs = sys.modules[method_class.__module__].__doc__.split("\n\n")
    assert paragraphs[0].endswith(".")
    assert re.search(r"arXiv \d{4}\.\d{4,5}|doi:10\.\d{4,}/\S+", paragraphs[1])
    assert re.search(r"\b(19|20)\d\d\b", paragraphs[1])


def check_is_value(method_class, base):
    """A frozen, hashable dataclass whose fields have defaults and are documented."""
    assert issubclass(method_class, base)
    assert method_class.input_kind in ("features", "images")
    method = method_class()
    assert method == method_class()
    assert hash(method) == hash(method_class())
    for f in fields(method_class):
        assert re.search(rf"^ +{f.name}: \S", inspect.getdoc(method_class), re.M), f.name
        try:
            setattr(method, f.name, 1)
        except FrozenInstanceError:
            continue
        raise AssertionError(f"{f.name} can be assigned")


def check_parses_back(method_class):
    """What `describe` prints is parsed to an equal method, whatever the fields."""
    classes = {method_class.__name__: method_class}
    assert parse_call(method_class.__name__, classes) == method_class()
    for f in fields(method_class):
        other = replace(method_class(), **{f.name: _other_value(str(f.type), f.default)})
        assert other != method_class()
        assert parse_call(describe(other), classes) == other


def _other_value(type_text, default):
    if "bool" in type_text:
        return not default
    if "str" in type_text:
        return "leading"
    return 0.25 if "float" in type_text else (default or 1) * 2


def check_savable(model):
    """Every field survives packing, and an equal model comes back."""
    assert is_dataclass(model)
    restored = unpack(*pack({"part": model}))["part"]
    assert type(restored) is type(model)
    check_equal(restored, model)


def check_equal(a, b):
    for f in fields(a):
        np.testing.assert_array_equal(getattr(a, f.name), getattr(b, f.name))


def check_seeded(method, data):
    """Two fits are equal, whatever the global random state."""
    np.random.seed(1)
    first = method.fit(data)
    np.random.seed(2)
    check_equal(first, method.fit(data))


def check_input_unchanged(fit, data):
    """`fit` writes to no array of its input, even where it could."""
    arrays = {f.name: getattr(data, f.name) for f in fields(data)}
    copies = {n: a.copy() for n, a in arrays.items() if isinstance(a, np.ndarray)}
    fit(data)
    for name, before in copies.items():
        np.testing.assert_array_equal(arrays[name], before)


def check_rows_independent(score, x):
    """A row's score depends on that row alone: neither on the batch size nor on the order."""
    whole = score(x)
    alone = np.concatenate([score(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_allclose(alone, whole, rtol=1e-6, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(x))
    np.testing.assert_allclose(score(x[order]), whole[order], rtol=1e-6, atol=1e-6)
    assert len(score(x[:0])) == 0
