"""Another world: a domain that nothing was learnt from, and a stream that wanders through some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ilk.data import UNKNOWN, Data
from ilk.errors import InputError
from ilk.protocols.step import Step


def leave_one_domain_out(data: Data, *, unlabelled: bool = False) -> Iterator[Step]:
    """For each domain: train on the others, answer for it.

    With `unlabelled` its rows go along in training without their labels, for methods that adapt.
    A domain without a labelled row is learnt from and never left out.

    Raises:
        InputError: There is only one domain.
    """
    domains = np.unique(data.domain)
    if len(domains) < 2:
        raise InputError(
            "all rows are of one domain; leaving one out needs two (tell them in Data.domain)"
        )
    for domain in domains:
        out = data.domain == domain
        rows = np.flatnonzero(out & (data.y >= 0))
        if not len(rows):
            continue
        train = replace(data, y=np.where(out, UNKNOWN, data.y)) if unlabelled else data.rows(~out)
        yield Step(train, data.rows(rows), rows)


def stream(data: Data, domains: Sequence[int], batch: int = 32, seed: int = 0) -> Iterator[Step]:
    """Batches of the domains named, one domain after the other, in an order drawn by `seed`.

    Nothing is learnt from: `train` is empty, and `carry` is true throughout.

    Raises:
        InputError: A domain has no row, or a batch would be empty.
    """
    if batch < 1:
        raise InputError(f"batches of {batch} rows hold nothing; ask for at least 1")
    rng = np.random.default_rng(seed)
    for domain in domains:
        rows = rng.permutation(np.flatnonzero((data.domain == domain) & (data.y >= 0)))
        if not len(rows):
            raise InputError(f"no labelled row is of domain {domain}, so no stream comes from it")
        for at in range(0, len(rows), batch):
            part = rows[at : at + batch]
            yield Step(data.rows(part[:0]), data.rows(part), part, carry=True)
