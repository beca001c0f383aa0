"""Groups are compared with true classes, however these are spelled."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ilk.core.errors import InputError
from ilk.updates.discovery_evaluation import evaluate_discovery


def make_discovery(*images: tuple[str | None, str, int]) -> Any:
    """Return groups of images of a true class, a predicted class and a group."""
    grouped = [
        SimpleNamespace(
            row=SimpleNamespace(status="used", label=label),
            nearest_class=predicted,
            group=group,
            unknown_score=float(group),
        )
        for label, predicted, group in images
    ]
    return cast("Any", SimpleNamespace(grouped=grouped))


def test_a_known_class_in_other_letters_is_not_new() -> None:
    images = [("Cat ", "cat", 0), ("DOG", "dog", 0), ("owl", "cat", 1), ("owl", "dog", 1)]
    found = evaluate_discovery(make_discovery(*images), ("cat", "dog"))
    assert (found.n, found.n_new, found.auroc) == (4, 2, 1.0)
    assert found.strict.overall == found.strict.old == found.strict.new == 1.0


def test_all_known_all_new_and_no_truth() -> None:
    known = evaluate_discovery(make_discovery(("cat", "cat", 0)), ("cat", "dog"))
    assert (known.n_new, known.auroc, known.strict.old) == (0, None, 1.0)
    new = evaluate_discovery(make_discovery(("owl", "cat", 1), ("owl", "cat", 0)), ("cat", "dog"))
    assert (new.n_new, new.auroc, new.strict.new) == (2, None, 0.5)
    with pytest.raises(InputError, match="no image has a true class"):
        evaluate_discovery(make_discovery((None, "cat", 0)), ("cat", "dog"))
