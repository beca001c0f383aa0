"""Calls that a user writes: arguments of another type are refused by name."""

from dataclasses import MISSING, fields
from typing import Any

import pytest

from ilk.core.errors import InputError
from ilk.core.typed_values import check_type, get_hints
from ilk.detectors import list_detectors, parse_detector
from ilk.methods import list_methods, parse
from ilk.methods.gda import GDA


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("PatchMemory(max_kept=2.5)", "max_kept is 2.5 instead of a whole number"),
        ("PatchMemory(fraction='a')", "fraction is 'a' instead of a finite number"),
        ("PatchMemory(shrinkage=1e999)", "shrinkage is inf instead of a finite number"),
        ("NearestNeighbour(neighbours=1.5)", "neighbours is 1.5 instead of a whole number"),
    ],
)
def test_arguments_of_detectors_have_the_types_of_the_fields(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        parse_detector(text)


def test_arguments_of_methods_have_the_types_of_the_fields() -> None:
    with pytest.raises(InputError, match=r"folds is 2\.5 instead of a whole number"):
        parse("Loki(folds=2.5)")
    with pytest.raises(InputError, match="rows is 'nope'; allowed are"):
        parse("GDA(rows='nope')")  # the method's own sentence comes first
    with pytest.raises(InputError, match="uniform is a list instead of true or false"):
        parse("GDA(uniform=[])")


def test_flags_may_be_numbers_and_every_default_is_of_its_type() -> None:
    assert parse("GDA(uniform=1)") == GDA(uniform=True)
    kinds: list[Any] = [*list_methods().values(), *list_detectors().values()]
    for kind in kinds:
        hints = get_hints(kind)
        for field in fields(kind):
            if field.default is not MISSING:
                check_type(field.default, hints[field.name], f"{kind.__name__}.{field.name}")
