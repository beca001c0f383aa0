"""The benchmark of rules runs small; its noise is noise, and its index is that of the paper."""

import json

import numpy as np
import pytest

from benchmarks.surrogate_rules import run as rules
from benchmarks.surrogate_rules.tables_of_noise import read_table


def test_small_run_gives_json():
    result = json.loads(json.dumps(rules.run(small=True), allow_nan=False))
    assert [t["metric"] for t in result["tables"]][2] == "share of the first columns that are real"
    fidelity = {s["method"]: s["score"]["mean"] for s in result["tables"][0]["scores"]}
    assert fidelity[rules.PROBES] > fidelity[rules.RANDOM] + 0.03
    assert "->" in result["rules with most rows, seed 0"]["planted"][0]
    assert len(result["verdict"]) == len(result["tables"])


def test_noise_columns_know_nothing_of_the_labels():
    table = read_table("breast cancer", 0)
    assert table.is_real.sum() == 30
    assert len(table.is_real) == 500
    z = np.corrcoef(table.train.x.T, table.train.y)[-1, :-1]
    assert np.abs(z[table.is_real]).mean() > 0.3
    assert np.abs(z[~table.is_real]).mean() < 0.08
    parts = [{tuple(r[:5]) for r in p.x} for p in (table.train, table.other, table.test)]
    assert len(set.union(*parts)) == 569


def test_kuncheva_index_by_hand():
    assert rules.compute_kuncheva_index([{1, 2}, {1, 2}], 10) == pytest.approx(1.0)
    assert rules.compute_kuncheva_index([{1, 2}, {1, 3}], 10) == pytest.approx(0.6 / 1.6)
    rng = np.random.default_rng(0)
    sets = [set(rng.choice(20, 5, replace=False).tolist()) for _ in range(200)]
    assert rules.compute_kuncheva_index(sets, 20) == pytest.approx(0.0, abs=0.02)
