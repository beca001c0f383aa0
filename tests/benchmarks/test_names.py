"""The benchmark of names runs small, and counts a name right where WordNet says so."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.names import run as names
from ilk.core.data import Data
from ilk.vocabulary.group_names import NameSuggestion
from ilk.vocabulary.wordnet import load_vocabulary


@pytest.mark.skipif(
    not Path("../shared/data/pacs_subset").is_dir(), reason="needs ../shared/data/pacs_subset"
)
def test_small_run(monkeypatch, tmp_path):
    monkeypatch.setenv("ILK_TRIALS", str(tmp_path))
    results = json.loads(json.dumps(names.run(small=True)))
    guess, calibration, groups = results["tables"]
    score = {row["method"]: row["score"]["mean"] for row in guess["scores"]}
    assert score["most frequent class"] == pytest.approx(1 / 6)
    assert score["PretrainedHead, names only"] > 0.6  # measured: 0.70 on all photographs
    assert [row["score"]["mean"] < 0.3 for row in calibration["scores"]] == [True]
    assert {row["method"] for row in groups["scores"]} >= {"pure groups", "discovered groups"}
    assert len(results["suggested names"]["PACS, photographs"]["guitar"]) == 2


@pytest.mark.parametrize(
    ("suggested", "truth", "right"),
    [
        ("beagle", "dog", True),
        ("animal", "dog", True),
        ("dog", "dog", True),
        ("lion", "dog", False),
        ("ruminant", "giraffe", True),
        ("mammal", "giraffe", True),
        ("ox", "giraffe", False),
    ],
)
def test_what_counts_as_right(suggested, truth, right):
    synset = load_vocabulary().find(suggested)[0]
    assert names.is_right(NameSuggestion(suggested, synset, 0.9), truth) is right
    assert not names.is_right(None, truth)


def test_halves_share_no_row_and_keep_the_classes():
    data = Data(np.arange(20, dtype=np.float32)[:, None], np.arange(20) % 3, tuple("abc"))
    first, second = names.split_halves(data, 0)
    assert sorted([*first.x[:, 0], *second.x[:, 0]]) == list(range(20))
    assert (abs(first.count_labels() - second.count_labels()) <= 1).all()
