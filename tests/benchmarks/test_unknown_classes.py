"""The benchmark of unknown classes runs small, and its figures are correct."""

import json

import pytest

from benchmarks.unknown_classes import run as unknown_classes
from benchmarks.unknown_classes.run import MIXTURE, TWICE
from benchmarks.unknown_classes.tabular_recipe import FIXED, HIDDEN_CLASSES, KNOWN_MEANS, ORACLE
from benchmarks.unknown_classes.unknown_images import CHOSEN, DISTANCE
from ilk.core.errors import Unavailable
from tools.docs.plot_spec import check_spec


@pytest.fixture(scope="module")
def results():
    return json.loads(json.dumps(unknown_classes.run(small=True)))


def means(results, where, metric):
    tables = [t for t in results["tables"] if t["setting"] == where and metric in t["metric"]]
    assert len(tables) == 1
    return {s["method"]: s["score"]["mean"] for s in tables[0]["scores"]}, tables[0]


def test_small_run_gives_accuracy_on_all_old_and_new_rows_and_the_number(results):
    assert results["left out"] == []
    scores, table = means(results, "digits", "matched accuracy, all rows")
    assert {claim["entry"] for claim in table["claims"]} == {"gpc-semi-sup-gmm-gcd"}
    assert scores[MIXTURE] > scores[TWICE]
    old, _ = means(results, "digits", "matched accuracy, old rows")
    new, _ = means(results, "digits", "matched accuracy, new rows")
    for name, score in scores.items():
        low, high = sorted((old[name], new[name]))
        assert low - 0.01 <= score <= high + 0.01  # their shares differ a little by seed
    wrong, table = means(results, "digits", "error of the number")
    assert table["better"] == "lower"
    assert all(value >= 0 for value in wrong.values())


def test_the_strict_figure_stands_beside_the_matched_one_where_methods_know_names(results):
    matched, _ = means(results, "digits", "matched accuracy, all rows")
    strict, _ = means(results, "digits", "strict accuracy")
    assert {MIXTURE, TWICE} <= strict.keys() < matched.keys()
    assert "k-means, known number" not in strict
    assert all(value <= matched[name] for name, value in strict.items())


def test_unknown_images_are_scored_by_each_score_and_the_chosen_one(results):
    where = "unknown images, digits"
    scores, table = means(results, where, "AUROC of rows of unknown")
    assert {CHOSEN, DISTANCE, "energy", "nearest neighbour"} <= scores.keys()
    assert 0.9 < scores[CHOSEN] <= max(scores.values())
    assert [claim["baseline"] for claim in table["claims"]] == [DISTANCE]
    far, _ = means(results, where, "flagged as unknown, inverted images")
    assert far[CHOSEN] > 0.95
    alarms, table = means(results, where, "flagged as unknown, rows of known classes")
    assert (alarms[CHOSEN] < 0.08, table["better"]) == (True, "lower")
    strict, _ = means(results, where, "pinned), all rows")
    assert strict[CHOSEN] > 0.7


def test_the_oracle_is_the_best_of_what_was_tried(results):
    scores, table = means(results, "digits, the tabular recipe", "matched accuracy, all rows")
    assert scores[ORACLE] >= max(scores[HIDDEN_CLASSES], scores[FIXED])
    assert {claim["baseline"] for claim in table["claims"]} >= {FIXED, ORACLE, KNOWN_MEANS}


def test_the_search_recovers_from_wrong_starts(results):
    starts = {}
    for step in results["trajectories"]["digits"]:
        starts.setdefault(step["method"], set()).add(step["path"][0])
        assert step["true"] == 10
    plot = results["plots"][0]
    check_spec(plot)
    assert {line[0][1] for line in plot["series"].values()} == {10, 5, 20}
    assert starts == {MIXTURE: {10}, f"{MIXTURE}, from half": {5}, f"{MIXTURE}, from twice": {20}}


def test_a_missing_data_set_is_left_out(monkeypatch):
    def gone(_seed):
        raise Unavailable("no such set; name the folder")

    monkeypatch.setattr(unknown_classes, "list_datasets", lambda _small: {"gone": gone})
    monkeypatch.setattr(unknown_classes, "TABLE_MAKERS", (gone,))
    results = unknown_classes.run(small=True)
    assert results["tables"] == []
    assert results["left out"] == [
        "gone: no such set; name the folder",
        "no such set; name the folder",
    ]
