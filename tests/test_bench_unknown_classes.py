"""The benchmark of unknown classes runs small, and its figures mean what they say."""

import json

import pytest

from ilk.bench import unknown_classes
from ilk.bench._tabular_recipe import FIXED, KNOWN, ORACLE, TUNED
from ilk.bench.unknown_classes import MIXTURE, TWICE
from ilk.errors import Unavailable
from ilk.pages.plot_spec import checked


@pytest.fixture(scope="module")
def told():
    return json.loads(json.dumps(unknown_classes.run(small=True)))


def means(told, where, metric):
    found = [t for t in told["tables"] if t["where"] == where and metric in t["metric"]]
    assert len(found) == 1
    return {s["method"]: s["score"]["mean"] for s in found[0]["scores"]}, found[0]


def test_it_gives_json_with_all_old_new_and_the_number(told):
    assert told["left out"] == []
    scores, table = means(told, "digits", ", all rows")
    assert {claim["row"] for claim in table["claims"]} == {"gpc-semi-sup-gmm-gcd"}
    assert scores[MIXTURE] > scores[TWICE]
    old, _ = means(told, "digits", ", old rows")
    new, _ = means(told, "digits", ", new rows")
    for name, score in scores.items():
        low, high = sorted((old[name], new[name]))
        assert low - 0.01 <= score <= high + 0.01  # their shares differ a little by seed
    wrong, table = means(told, "digits", "error of the number")
    assert table["better"] == "lower"
    assert all(value >= 0 for value in wrong.values())


def test_the_oracle_is_the_best_of_what_was_tried(told):
    scores, table = means(told, "digits, the tabular recipe", ", all rows")
    assert scores[ORACLE] >= max(scores[TUNED], scores[FIXED])
    assert {claim["against"] for claim in table["claims"]} >= {FIXED, ORACLE, KNOWN}


def test_the_search_is_told_from_wrong_starts(told):
    starts = {}
    for step in told["trajectories"]["digits"]:
        starts.setdefault(step["method"], set()).add(step["path"][0])
        assert step["true"] == 10
    plot = told["plots"][0]
    checked(plot)
    assert {line[0][1] for line in plot["series"].values()} == {10, 5, 20}
    assert starts == {MIXTURE: {10}, f"{MIXTURE}, from half": {5}, f"{MIXTURE}, from twice": {20}}


def test_a_set_that_is_not_there_is_left_out(monkeypatch):
    def gone(_seed):
        raise Unavailable("no such set; name the folder")

    monkeypatch.setattr(unknown_classes, "sets", lambda _small: {"gone": gone})
    monkeypatch.setattr(unknown_classes, "PARTS", (gone,))
    told = unknown_classes.run(small=True)
    assert told["tables"] == []
    assert told["left out"] == [
        "gone: no such set; name the folder",
        "no such set; name the folder",
    ]
