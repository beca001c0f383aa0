"""The model of scaling agrees with what can be worked out by hand."""

import pytest

from benchmarks.scaling.model import Work, find_breaks, make_table, predict_seconds, schedule

EVEN = Work(seconds=0.01, spread=0.0, n_bytes=20_000, startup=0.0, n=80_000)


def test_shards_go_to_the_first_free_worker():
    assert schedule([3, 1, 1, 1], 2) == 3
    assert schedule([1, 1, 1, 3], 2) == 4  # the last shard alone: at most the mean plus it
    assert schedule([2.0] * 5, 8) == 2


def test_even_shards_are_linear_until_a_worker_has_too_few():
    assert predict_seconds(EVEN, 1, 2, 500) == pytest.approx(400)
    assert predict_seconds(EVEN, 8, 2, 500) == pytest.approx(50)
    assert predict_seconds(EVEN, 8, 2, 4000) == pytest.approx(80)  # 20 shards for 16 workers
    rows = make_table(EVEN, (1, 8), (2,), (500, 4000), (1e9,))
    assert [row["efficiency"] for row in rows] == pytest.approx([1, 1, 1, 400 / (8 * 80)])


def test_a_shared_disk_ends_it():
    # 2 cores encode 200 images per second: 4 MB/s; 10 MB/s carry 2.5 nodes
    assert find_breaks(EVEN, 2, (10e6,))[0]["nodes"] == pytest.approx(2.5)
    assert predict_seconds(EVEN, 8, 2, 500, 10e6) == pytest.approx(160)
    assert predict_seconds(EVEN, 2, 2, 500, 10e6) == pytest.approx(200)


def test_the_start_costs_each_run_once():
    slow = Work(seconds=0.01, spread=0.0, n_bytes=0, startup=30.0, n=80_000)
    assert predict_seconds(slow, 8, 2, 500) == pytest.approx(80)
