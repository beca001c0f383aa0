"""The benchmark of causal paths runs small; its measures are those of their names."""

import json

import numpy as np
import pytest

from benchmarks.causal_paths import run as causal
from ilk.core.errors import Unavailable


def test_small_run_gives_json():
    try:
        result = json.loads(json.dumps(causal.run(small=True), allow_nan=False))
    except Unavailable as error:
        pytest.skip(str(error))
    assert len(result["tables"]) == 4
    inner, last, stability, maps = ({s["method"] for s in t["scores"]} for t in result["tables"])
    assert inner - last == {causal.NODES}
    assert {causal.PATHS, "as many by random"} <= stability
    assert {causal.PATHS, causal.CAM} <= maps
    assert len(result["graphs"]) == 2


def test_jaccard_by_hand():
    one, other = np.array([1, 2, 3]), np.array([2, 3, 4])
    assert causal.compute_jaccard(one, other) == 0.5
    assert causal.compute_jaccard(one[:0], one[:0]) == 1.0


def test_the_score_is_the_log_odds_of_the_softmax():
    z = np.random.default_rng(0).standard_normal((5, 10)).astype(np.float32)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    np.testing.assert_allclose(causal.make_score(3)(z), np.log(p[:, 3] / (1 - p[:, 3])), rtol=1e-5)
