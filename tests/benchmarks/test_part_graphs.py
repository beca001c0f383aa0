"""The benchmark of part graphs runs small; scenes hold what they are said to hold."""

import json

import numpy as np
import pytest

from benchmarks.part_graphs import run as graphs
from benchmarks.part_graphs.scenes import GRAPH, PART_SETS, SPURIOUS, make_scenes
from ilk.core.errors import Unavailable


@pytest.fixture(autouse=True)
def _shared_data():
    try:
        make_scenes(2, 0)
    except Unavailable as error:
        pytest.skip(str(error))


def test_small_run_gives_json():
    result = json.loads(json.dumps(graphs.run(small=True), allow_nan=False))
    assert [t["metric"] for t in result["tables"]] == list(graphs.METRICS)
    assert len(result["tables"][0]["scores"]) == 6
    assert len(result["tables"][2]["scores"]) == 5  # an end-to-end network has no parts
    assert "speaks" in result["explanation"]


def test_scenes_hold_two_or_three_parts_of_their_class_and_name_it():
    scenes = make_scenes(300, 1)
    for parts, y in zip(scenes.parts, scenes.y, strict=True):
        own = set(np.flatnonzero(parts).tolist()) & set(PART_SETS[y])
        assert len(own) >= 2
        assert parts.sum() <= 4
        assert all(len(own & set(members)) < 2 for c, members in enumerate(PART_SETS) if c != y)
    assert (GRAPH == 1).sum(0).tolist() == [3] * 4


def test_the_spurious_part_goes_with_the_first_class_in_training_alone():
    for correlated, low, high in ((True, 0.8, 0.2), (False, 0.4, 0.6)):
        scenes = make_scenes(600, 2, is_correlated=correlated)
        has = scenes.parts[:, SPURIOUS]
        assert has[scenes.y == 0].mean() > low
        assert has[scenes.y != 0].mean() < high
