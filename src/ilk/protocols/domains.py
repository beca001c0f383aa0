"""Domain shift: leave one domain out, and streams that pass through several domains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ilk.core.data import UNLABELLED, Data
from ilk.core.errors import InputError
from ilk.protocols.step import Step


def leave_one_domain_out(data: Data, *, include_unlabelled: bool = False) -> Iterator[Step]:
    """Yield, for each domain, a step that trains on the others and tests on it.

    A domain without labelled rows is trained on and never tested.

    Args:
        data: Rows of at least two domains.
        include_unlabelled: Keep the rows of the tested domain in training without their labels, for
            methods that adapt.

    Raises:
        InputError: If there is only one domain.
    """
    domains = np.unique(data.domain)
    if len(domains) < 2:
        raise InputError("all rows are of one domain; leaving one out needs two (set Data.domain)")
    for domain in domains:
        is_target = data.domain == domain
        rows = np.flatnonzero(is_target & (data.y >= 0))
        if not len(rows):
            continue
        train = (
            replace(data, y=np.where(is_target, UNLABELLED, data.y))
            if include_unlabelled
            else data.take(~is_target)
        )
        yield Step(train, data.take(rows), rows)


def domain_stream(
    data: Data, domains: Sequence[int], batch_size: int = 32, seed: int = 0
) -> Iterator[Step]:
    """Yield test batches of the given domains, one domain after the other, shuffled by `seed`.

    `train` is empty and `warm_start` is true in every step.

    Raises:
        InputError: If a domain has no labelled row, or `batch_size` is below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; give at least 1")
    rng = np.random.default_rng(seed)
    for domain in domains:
        rows = rng.permutation(np.flatnonzero((data.domain == domain) & (data.y >= 0)))
        if not len(rows):
            raise InputError(f"domain {domain} has no labelled row to stream; choose others")
        for start in range(0, len(rows), batch_size):
            batch_rows = rows[start : start + batch_size]
            yield Step(
                data.take(batch_rows[:0]), data.take(batch_rows), batch_rows, warm_start=True
            )
