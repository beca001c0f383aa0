"""Classes without a label: the rows without one hold known classes and others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ilk.data import UNKNOWN, Data
from ilk.errors import InputError
from ilk.protocols.step import Step


def unseen_classes(data: Data, hidden: int, labelled: float = 0.5, seed: int = 0) -> Step:
    """Train on rows of which `hidden` classes, drawn by `seed`, have no label at all.

    Of the other classes a share `labelled` keeps its label; everything without one is to be grouped
    (Vaze et al. 2022, arXiv 2201.02609, generalised category discovery). In `train` the known
    classes come first and the hidden ones are not named: `train.classes` are the known alone.
    In `test` the rows without a label stand with their true class; its list of classes is
    the known, in the same order, then the hidden.

    Raises:
        InputError: No class, or every class, would be hidden; or the share leaves nothing labelled
            or nothing without a label.
    """
    if not 1 <= hidden < data.k:
        raise InputError(f"{hidden} of {data.k} classes cannot be hidden; hide 1 to {data.k - 1}")
    if not 0 < labelled <= 1:
        raise InputError(f"a labelled share of {labelled} leaves nothing known; give one in (0, 1]")
    rng = np.random.default_rng(seed)
    drawn = rng.permutation(data.k)
    order = np.concatenate([np.sort(drawn[hidden:]), np.sort(drawn[:hidden])])
    known = data.k - hidden
    y = np.where(data.y >= 0, np.argsort(order)[data.y], UNKNOWN)
    shown = np.zeros(len(data), bool)
    for c in range(known):
        rows = rng.permutation(np.flatnonzero(y == c))
        shown[rows[: max(1, round(labelled * len(rows)))]] = True
    names = tuple(data.classes[c] for c in order)
    hints = None if data.hints is None else data.hints[order]
    whole = replace(data, y=y, classes=names, hints=hints)
    rows = np.flatnonzero(~shown & (y >= 0))
    if not len(rows):
        raise InputError(
            f"a labelled share of {labelled}, and {hidden} hidden classes without a row, leave "
            "nothing without a label; give a smaller share"
        )
    train = replace(
        whole,
        y=np.where(shown, y, UNKNOWN),
        classes=names[:known],
        hints=None if hints is None else hints[:known],
    )
    return Step(train, whole.rows(rows), rows)
