"""A domain left out is never learnt from with its labels; a stream shows every row once."""

from dataclasses import replace

import numpy as np
import pytest

from ilk.core.data import Data
from ilk.core.errors import InputError
from ilk.protocols import domain_stream, leave_one_domain_out


def three(n=60, seed=0):
    """Rows that say where they stand; a tenth has no label; domains 2, 5 and 7."""
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.1, -1, rng.integers(0, 3, n))
    x = np.arange(n, dtype=np.float32)[:, None]
    return Data(x, y, ("a", "b", "c"), domain=rng.choice([2, 5, 7], n))


def test_each_domain_is_left_out_once_and_only_the_others_are_learnt_from():
    data = three()
    steps = list(leave_one_domain_out(data))
    assert len(steps) == 3
    for step, domain in zip(steps, (2, 5, 7), strict=True):
        np.testing.assert_array_equal(np.unique(step.test.domain), [domain])
        assert domain not in step.train.domain
        assert len(step.train) == np.sum(data.domain != domain)
        np.testing.assert_array_equal(step.test.x, data.x[step.test_rows])
        np.testing.assert_array_equal(step.test.y, data.y[step.test_rows])
    tested = np.sort(np.concatenate([step.test_rows for step in steps]))
    np.testing.assert_array_equal(tested, np.flatnonzero(data.y >= 0))


def test_the_domain_left_out_may_come_along_without_its_labels():
    data = three()
    for step in leave_one_domain_out(data, include_unlabelled=True):
        domain = step.test.domain[0]
        np.testing.assert_array_equal(step.train.x, data.x)
        np.testing.assert_array_equal(step.train.y, np.where(data.domain == domain, -1, data.y))
        assert (step.test.y >= 0).all()


def test_a_domain_without_a_label_is_learnt_from_and_never_left_out():
    data = three()
    bare = replace(data, y=np.where(data.domain == 5, -1, data.y))
    steps = list(leave_one_domain_out(bare))
    assert [int(step.test.domain[0]) for step in steps] == [2, 7]
    assert all(5 in step.train.domain for step in steps)


def test_one_domain_is_refused_in_words():
    data = three()
    with pytest.raises(InputError, match=r"all rows are of one domain; leaving one out needs two"):
        next(leave_one_domain_out(data.take(data.domain == 2)))


def test_a_stream_shows_every_labelled_row_of_its_domains_once_in_the_order_of_domains():
    data = three()
    steps = list(domain_stream(data, (7, 2), batch_size=4))
    assert all(len(step.train) == 0 and step.warm_start for step in steps)
    assert all(1 <= len(step.test) <= 4 and len(set(step.test.domain)) == 1 for step in steps)
    rows = np.concatenate([step.test_rows for step in steps])
    wanted = np.flatnonzero((data.y >= 0) & (data.domain != 5))
    np.testing.assert_array_equal(np.sort(rows), wanted)
    domains = data.domain[rows]
    assert list(domains) == sorted(domains, reverse=True)
    for step in steps:
        np.testing.assert_array_equal(step.test.x, data.x[step.test_rows])


def test_a_streams_order_hangs_on_the_seed_alone():
    rows = [
        np.concatenate([step.test_rows for step in domain_stream(three(), (5,), 8, seed=seed)])
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(rows[0], rows[1])
    assert not np.array_equal(rows[0], rows[2])
    assert not np.array_equal(rows[0], np.sort(rows[0]))


def test_a_stream_of_nothing_is_refused_in_words():
    with pytest.raises(InputError, match=r"domain 3 has no labelled row"):
        list(domain_stream(three(), (2, 3)))
    with pytest.raises(InputError, match=r"batch_size is 0"):
        next(domain_stream(three(), (2,), batch_size=0))
