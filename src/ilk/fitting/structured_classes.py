"""Classes that only a file of similar classes names, and what to expect of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ilk.core.contracts import Method, describe
from ilk.core.errors import InputError
from ilk.core.short_lists import list_first
from ilk.fitting.candidates import has_tag
from ilk.fitting.class_structure import ClassStructure
from ilk.fitting.config import FitConfig
from ilk.fitting.fit_state import FitState
from ilk.images import Images
from ilk.methods.loki import compute_class_distances, is_reachable

MAX_CHECKED = 200  # classes without an image; each costs the solution of a linear programme
MAX_SHOWN = 5  # names in a note

Ids = NDArray[np.int64]


def add_structure_classes(
    structure: ClassStructure, images: Images, config: FitConfig, methods: Sequence[Method]
) -> FitConfig:
    """Return `config` with the classes that only `structure` names.

    Raises:
        InputError: The structure lacks a class, none of the methods uses it, or one cannot predict
            a class without images.
    """
    users = [method for method in methods if has_tag(method, "any_embedding_width")]
    if not users:
        raise InputError(
            f"{describe(methods[0])} does not use a structure of classes; add --method Loki, or "
            "leave out --class-structure (class_structure=)"
        )
    classes = structure.list_classes(tuple(sorted({*images.classes, *config.classes})))
    unseen = sorted({*classes} - {*images.classes})
    others = [method for method in methods if method not in users]
    if unseen and others:
        raise InputError(
            f"{describe(others[0])} cannot predict {unseen[0]!r}, which has no image; leave the "
            f"method out, or the class out of {structure.file}"
        )
    return replace(config, classes=classes)


def collect_structure_notes(state: FitState) -> list[str]:
    """Return which classes have no training image, and which of them can never be predicted."""
    data = state.features
    if data.class_distances is None or not has_tag(state.method, "any_embedding_width"):
        return []
    counts = data.count_labels()
    unseen, seen = np.flatnonzero(counts == 0), np.flatnonzero(counts)
    if not len(unseen) or not len(seen):
        return []
    reachable: NDArray[np.bool_] = np.ones(len(unseen), bool)
    if len(unseen) <= MAX_CHECKED:
        reachable = is_reachable(compute_class_distances(data)[:, seen], unseen)
    scored = "the accuracy in cross-validation is that on the classes with images"
    notes = []
    if reachable.any():
        notes.append(
            f"{_describe_missing(data.classes, unseen[reachable])} and may be predicted where "
            f"similar classes are likely; {scored}"
        )
    if not reachable.all():
        notes.append(
            f"{_describe_missing(data.classes, unseen[~reachable])} and can never be predicted: "
            "whatever the probabilities of the classes with images, one of those is nearer on "
            "average; only a class that lies between others can be predicted without an image"
            + ("" if reachable.any() else f"; {scored}")
        )
    return notes


def _describe_missing(classes: Sequence[str], ids: Ids) -> str:
    return f"{_list_names(classes, ids)} {'has' if len(ids) == 1 else 'have'} no training image"


def _list_names(classes: Sequence[str], ids: Ids) -> str:
    return list_first([repr(classes[c]) for c in ids], MAX_SHOWN)
